"""Heartbeats and the command that reads them; log lines for machines."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mediastore import celery as ours
from mediastore.celery.health import Heartbeats
from mediastore.cli.health import probe
from mediastore.heartbeat import Heartbeat, health_directory, signs
from mediastore.logs import JsonLines

from .celery_fixtures import Consumer, Timer, app, pulse_of, waiting  # noqa: F401 - fixtures
from .cli_fixtures import bot, env, lane, run, told  # noqa: F401 - fixtures


@pytest.fixture
def settings(settings, tmp_path):
    """Give settings with a health directory that no other test's workers know."""
    return replace(settings, health_dir=str(tmp_path / "beats"))


@pytest.fixture
def health(tmp_path, monkeypatch):
    """Give the directory of the heartbeats; it is not there yet."""
    monkeypatch.setenv("MEDIASTORE_HEALTH_DIR", str(tmp_path / "health"))
    return tmp_path / "health"


def leave(directory, role="worker", node="celery@here", ago_s=0.0):
    Heartbeat(directory, role, node).write()
    (path,) = (p for p in directory.iterdir() if node.partition("/")[0] in p.name)
    words = json.loads(path.read_text())
    path.write_text(json.dumps({**words, "at": time.time() - ago_s}))


# --- the command


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_a_fresh_heartbeat_is_health(health, role):
    leave(health, role)

    done = run("health", role)

    assert (done.exit_code, done.stderr) == (0, "")
    assert re.fullmatch(r"celery@here is alive: \d+ s ago\n", done.stdout)


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_no_heartbeat_is_told_with_what_to_do(health, role):
    leave(health, "beat" if role == "worker" else "worker")

    done = run("health", role)

    assert (done.exit_code, done.stdout) == (4, "")
    assert f"no {role} has left a heartbeat in {health}" in done.stderr
    assert f"celery -A worker {role}" in done.stderr


@pytest.mark.parametrize(("ago_s", "code"), [(25, 0), (31, 4), (-3, 0), (-60, 4)])
def test_an_old_heartbeat_and_one_from_the_future_are_none(health, ago_s, code):
    leave(health, ago_s=ago_s)

    assert run("health", "worker").exit_code == code
    assert run("health", "worker", "--max-age", "1h").exit_code == (4 if ago_s < -5 else 0)


def test_one_node_may_be_meant(health):
    leave(health, node="w1@here")
    leave(health, node="w2@here", ago_s=99)

    assert run("health", "worker").exit_code == 0
    assert run("health", "worker", "--node", "w1@here").exit_code == 0
    silent = run("health", "worker", "--node", "w2@here")
    assert silent.exit_code == 4
    assert re.search(r"w2@here is silent: its last heartbeat was (99|1\d\d) s ago", silent.stderr)


def test_health_in_json(health):
    leave(health, ago_s=99)
    done = run("health", "worker", "--json")

    assert done.exit_code == 4
    (beat,) = json.loads(done.stdout)["heartbeats"]
    assert (beat["node"], beat["pid"], beat["alive"]) == ("celery@here", os.getpid(), False)
    leave(health)
    assert told("health", "worker")["healthy"] is True


@pytest.mark.parametrize(
    "words", [("health",), ("health", "cron"), ("health", "beat", "--max-age", "x")]
)
def test_a_wrong_question_is_a_usage_error(health, words):
    assert run(*words).exit_code == 2


def test_what_is_no_heartbeat_is_passed_over(health):
    health.mkdir()
    said = {"role": "worker", "node": "n", "pid": 1, "at": int(time.time())}
    wrong: list[dict[str, Any]] = [
        {"role": 1},
        {"role": "beat"},
        {"node": []},
        {"pid": -1},
        {"pid": "1"},
        {"at": "1"},
        {"at": 1e300},
        {"at": True},
    ]
    texts = [json.dumps(said | each) for each in wrong]
    good = json.dumps(said)
    texts += [
        good.replace(str(said["at"]), number) for number in ("NaN", "1e999", "9" * 400, "9" * 5000)
    ]
    for number, text in enumerate(
        ["", "[]", "{}", "\xff", "[" * 100_000, good + " " * 20_000, *texts]
    ):
        (health / f"worker-{number}.json").write_text(text)
    os.mkfifo(health / "worker-fifo.json")
    os.mkdir(health / "worker-directory.json")

    assert run("health", "worker").exit_code == 4


def test_a_probe_imports_neither_redis_nor_celery(health):
    leave(health)
    code = (
        "import sys; sys.argv = ['mediastore', 'health', 'worker']\n"
        "from mediastore.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'redis', 'celery', 'kombu', 'asyncio', 'rich', 'pydantic'} & set(sys.modules)))"
    )

    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "options", [(), ("--json",), ("--max-age", "1h"), ("--node", "celery@here")]
)
def test_a_probe_is_answered_as_the_command_answers(health, capsys, options):
    for ago_s in (0, 50, 9999):
        leave(health, ago_s=ago_s)
        said = run("health", "worker", *options)

        code = probe(["health", "worker", *options])

        told = capsys.readouterr()
        assert code == said.exit_code
        assert len(told.out.splitlines()) == len(said.stdout.splitlines())
        assert told.err == said.stderr


@pytest.mark.parametrize(
    "words",
    ["", "cron", "worker -h", "worker --max-age", "worker --what 3", "worker --max-age soon"],
)
def test_words_of_no_usual_probe_are_left_to_the_parser(health, words):
    assert probe(["health", *words.split()]) is None


# --- the heartbeat


def test_a_heartbeat_is_replaced_whole_and_taken_away_by_its_own_process_alone(health, monkeypatch):
    heartbeat = Heartbeat(health, "worker", "a/b@here")
    heartbeat.write()
    heartbeat.write()
    assert [path.name for path in health.iterdir()] == ["worker-a%2Fb@here.json"]

    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        heartbeat.remove()
    assert len(signs(health, "worker")) == 1
    heartbeat.remove()
    heartbeat.remove()

    assert list(health.iterdir()) == []


def test_a_directory_that_cannot_be_written_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    heartbeat = Heartbeat(tmp_path / "file" / "health", "worker", "w")

    for _ in range(3):
        heartbeat.write()
        heartbeat.remove()
        heartbeat.tidy()

    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "mediastore health" in line.getMessage()


def test_heartbeats_of_a_day_ago_are_taken_away_by_the_next_worker(health):
    leave(health, node="pod-1", ago_s=90_000)
    leave(health, node="pod-2", ago_s=80_000)

    Heartbeat(health, "worker", "pod-3").tidy()

    assert [sign.node for sign in signs(health, "worker")] == ["pod-2"]


def test_beat_leaves_a_heartbeat_at_each_tick_and_takes_it_away(app, settings):
    directory = health_directory(settings)
    clock = ours.Clock(app)

    clock.tick()
    (sign,) = signs(directory, "beat")
    clock.close()

    assert (sign.role, sign.pid) == ("beat", os.getpid())
    assert signs(directory, "beat") == []
    assert app.conf.beat_max_loop_interval < 30


@pytest.mark.parametrize("end", ["stop", "terminate"])
def test_a_worker_takes_its_heartbeat_away_however_it_ends(app, settings, end):
    worker = SimpleNamespace(app=app, hostname="w@here", timer=Timer())
    heartbeats = Heartbeats(worker)
    heartbeats.start(worker)
    assert len(signs(health_directory(settings), "worker")) == 1

    getattr(heartbeats, end)(worker)

    assert signs(health_directory(settings), "worker") == []
    assert worker.timer.calls == []


def test_a_worker_without_our_queue_neither_ticks_nor_says_that_it_lives(app, settings):
    app.amqp.queues.select(["another"])
    timer = SimpleNamespace(call_repeatedly=pytest.fail)
    worker = SimpleNamespace(app=app, hostname="w@here", timer=timer)
    pulse, consumer = pulse_of(app), Consumer(app)

    heartbeats = Heartbeats(worker)
    heartbeats.start(worker)
    heartbeats.stop(worker)
    pulse.start(consumer)
    pulse.stop(consumer)

    assert signs(health_directory(settings), "worker") == []
    assert consumer.timer.calls == []
    app.amqp.queues.select([ours.QUEUE])
    assert waiting(app) == []


def test_the_directory_is_the_setting_or_below_the_state_directory(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert health_directory(replace(settings, health_dir="")) == tmp_path / "mediastore" / "health"
    assert str(health_directory(replace(settings, health_dir="/run/h"))) == "/run/h"


# --- log lines


def test_a_record_is_one_json_object_with_its_fields():
    def line(**fields):
        return JsonLines().format(logging.makeLogRecord({"name": "mediastore", **fields}))

    plain = line(
        levelname="INFO", msg="swept: %d files\nand more", args=(3,), deleted=3, path=Path("/a")
    )
    failed = line(levelname="ERROR", msg="failed", exc_info=(ValueError, ValueError("no"), None))

    words = json.loads(plain)
    assert words.pop("time").endswith("Z")
    assert words == {"level": "info", "logger": "mediastore", "message": "swept: 3 files\nand more", "deleted": 3, "path": "/a"}  # fmt: skip
    assert "\n" not in plain + failed
    assert "ValueError: no" in json.loads(failed)["error"]


def test_a_directory_that_may_not_be_read_is_told_in_a_line(monkeypatch, tmp_path):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("MEDIASTORE_HEALTH_DIR", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.iterdir", refuse)

    done = run("health", "worker")

    assert done.exit_code == 4
    assert f"error: {tmp_path} cannot be read by this user" in done.stderr
    assert "MEDIASTORE_HEALTH_DIR" in done.stderr
