"""Somebody else's Celery application sweeps: what install adds, and that it changes nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import celery
import pytest
import redis

from mediastore import celery as ours
from mediastore.celery.consumer import Hold
from mediastore.celery.shutdown import Limit

from .celery_fixtures import pulse_of
from .worker_fleet import HERE, WORKER_ENDS_S, fleet_of, real

__all__ = ["fleet_of"]  # a fixture

ROUTE = {"mediastore.*": {"queue": "mediastore"}}
THEIRS = {
    "broker_url": "memory://",
    "broker_transport_options": {"visibility_timeout": 4321},
    "task_default_queue": "theirs",
    "task_serializer": "pickle",
    "accept_content": ["pickle", "json"],
    "result_serializer": "pickle",
    "beat_scheduler": "theirs:Scheduler",
    "beat_schedule": {"own": {"task": "own", "schedule": 9.0}},
    "worker_concurrency": 11,
}


@pytest.fixture
def theirs():
    made = celery.Celery("theirs", set_as_current=False)
    yield made
    made.close()


def set_up(app, **conf):
    app.config_from_object(SimpleNamespace(**THEIRS, **conf))


def test_an_application_gets_tasks_a_route_and_entries_and_keeps_the_rest(theirs, settings):
    set_up(theirs)
    before = {name: theirs.conf[name] for name in dict(theirs.conf)}

    ours.install(theirs, settings)

    after = {name: theirs.conf[name] for name in before}
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"task_routes", "beat_schedule"}
    assert after["task_routes"] == ROUTE
    assert set(after["beat_schedule"]) == {"own", ours.SWEEP, ours.DRAIN}
    assert theirs.tasks[ours.SWEEP].soft_time_limit == ours.SOFT_LIMIT_S
    assert theirs.tasks[ours.SWEEP].serializer == "json"
    assert [tick.name for tick in pulse_of(theirs)._tasks()] == [ours.DRAIN, ours.SWEEP]


def test_a_tick_sent_by_name_or_by_beat_goes_to_our_queue_and_theirs_to_theirs(theirs, settings):
    set_up(theirs)
    ours.install(theirs, settings)

    def queue(name):
        return theirs.amqp.router.route({}, name)["queue"].name

    assert (queue(ours.SWEEP), queue("own")) == ("mediastore", "theirs")
    assert theirs.conf.beat_schedule[ours.DRAIN]["options"]["queue"] == "mediastore"


def test_it_may_be_configured_before_or_after_or_again(theirs, settings):
    ours.install(theirs, settings)
    set_up(theirs)
    assert set(theirs.conf.beat_schedule) == {"own", ours.SWEEP, ours.DRAIN}

    set_up(theirs, task_routes=[{"own": {"queue": "x"}}])
    assert theirs.conf.task_routes == [{"own": {"queue": "x"}}, ROUTE]
    assert set(theirs.conf.beat_schedule) == {"own", ours.SWEEP, ours.DRAIN}


def test_what_an_application_says_itself_of_our_tasks_wins(theirs, settings):
    own = {"task": ours.SWEEP, "schedule": 7.0}
    set_up(theirs, task_routes={"mediastore.*": {"queue": "upkeep"}})
    theirs.conf.beat_schedule = {ours.SWEEP: own}

    ours.install(theirs, settings)

    assert theirs.conf.task_routes == {"mediastore.*": {"queue": "upkeep"}}
    assert theirs.conf.beat_schedule[ours.SWEEP] == own


@pytest.mark.parametrize(
    ("routes", "expected"),
    [({"own": "x"}, {"own": "x", **ROUTE}), ("theirs.route", ["theirs.route", ROUTE]),
     (({"own": "x"}, "theirs.route"), [{"own": "x"}, "theirs.route", ROUTE])],
)  # fmt: skip
def test_routes_of_every_form_are_kept(theirs, settings, routes, expected):
    set_up(theirs, task_routes=routes)

    ours.install(theirs, settings)
    ours.install(theirs, settings)  # twice is once

    assert theirs.conf.task_routes == expected


def test_without_beat_its_schedule_stays_as_it_is(theirs, settings):
    set_up(theirs)

    ours.install(theirs, settings, beat=False)

    assert theirs.conf.beat_schedule == THEIRS["beat_schedule"]


def test_its_workers_tick_and_say_that_they_live_and_stop_as_they_always_did(theirs, settings):
    ours.install(theirs, settings)

    assert theirs.steps["consumer"] & {ours.Pulse, Hold} == {ours.Pulse}
    assert Limit not in theirs.steps["worker"]
    assert {Hold} <= ours.make_app(settings).steps["consumer"]
    assert {Limit} <= ours.make_app(settings).steps["worker"]


def test_an_application_that_refuses_json_is_told(theirs, settings, caplog):
    theirs.conf.accept_content = ["pickle"]

    ours.install(theirs, settings)
    _ = theirs.conf.broker_url

    assert "add json to accept_content" in caplog.text


# --- in a project of their own

PROJECT = {
    "theirs.py": """
import os
from celery import Celery
from mediastore import Settings
from mediastore.celery import install

app = Celery("theirs", broker=os.environ["THEIR_BROKER"], include=["worker"])
install(app, Settings.from_env())
app.conf.update(
    broker_transport_options={"global_keyprefix": "theirs:"},
    broker_connection_retry_on_startup=True,
    task_serializer="pickle",
    accept_content=["pickle", "json"],
)
app.conf.beat_schedule["own"] = {"task": "theirs.work", "schedule": 1.0, "args": ({1, 2},)}
""",
    "worker.py": """
import pathlib
from theirs import app

@app.task(name="theirs.work")
def work(numbers):
    pathlib.Path("worked").write_text(repr(numbers))
""",
}


@pytest.fixture
def project(fleet_of, server_url):
    """Give a fleet whose working directory is a project with a Celery application of its own."""
    fleet = fleet_of(sweep_interval=1, drain_interval=1)  # calm enough to be idle between two
    for name, text in PROJECT.items():
        (fleet.home / name).write_text(text)
    with redis.Redis.from_url(server_url) as client:
        client.delete(
            *(f"theirs:{name}" for name in ("celery", "mediastore", "unacked", "unacked_index"))
        )
    yield fleet
    fleet.end()


class TestTheirProject:
    pytestmark = real

    def test_its_worker_does_its_work_and_our_sweep(self, project):
        app = ours.make_app(project.settings)
        worker = project.start(
            "worker", "-Q", "celery,mediastore", "-B", "-s", "theirs.db", "--concurrency", "2",
            app="theirs", C_FORCE_ROOT="1", THEIR_BROKER=app.conf.broker_url,
        )  # fmt: skip
        path = project.put("expired.jpg", "chat:1", ttl=1)

        project.gone(project.release_one("released.jpg"), path)

        project.until((project.home / "worked").exists)
        project.until(lambda: (project.home / "worked").read_text() == "{1, 2}")  # by pickle
        project.until(project.idle)
        worker.terminate()
        assert worker.wait(WORKER_ENDS_S) == 0
        assert "Traceback" not in project.log

    def test_a_worker_of_theirs_without_our_queue_never_ticks(self, project):
        app = ours.make_app(project.settings)
        project.start("worker", app="theirs", C_FORCE_ROOT="1", THEIR_BROKER=app.conf.broker_url)
        project.ready(1)

        theirs = celery.Celery("client", broker=app.conf.broker_url, set_as_current=False)
        theirs.conf.broker_transport_options = {"global_keyprefix": "theirs:"}
        theirs.send_task("theirs.work", args=([3],))
        project.until((project.home / "worked").exists)

        with redis.Redis.from_url(project.settings.redis_url) as client:
            assert client.llen("theirs:mediastore") == 0
        theirs.close()

    def test_our_worker_is_found_from_any_directory_but_one_with_a_worker_of_its_own(
        self, project, tmp_path
    ):
        """`--workdir` says where; that directory comes first on Celery's path, and theirs is not on it."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        environ = {**os.environ, "PYTHONPATH": str(HERE), "THEIR_BROKER": "memory://"}

        def told(*words):
            done = subprocess.run(
                [sys.executable, "-P", "-m", "celery", *words, "-A", "worker", "report"],
                cwd=project.home, env=environ, capture_output=True, text=True, check=True,
            )  # fmt: skip
            return done.stdout

        assert "theirs.work" in told()
        ready = told("--workdir", str(elsewhere))
        assert "theirs.work" not in ready
        assert "mediastore.celery:Clock" in ready
