"""Celery is an alarm clock: what its messages may be, what a pass does, when the clocks tick."""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
from pathlib import Path

import celery
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery._state import get_current_app
from celery.utils.quorum_queues import detect_quorum_queues
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads

from mediastore import MediaStore, Settings, celery as ours
from mediastore.celery import consumer, tasks
from mediastore.errors import InvalidSettings
from mediastore.model import Swept

from .celery_fixtures import app, pulse_of

__all__ = ["app"]  # a fixture


HERE = Path(__file__).parent.parent
NOTHING = Swept(0, 0, 0, 0, 0, 0, 0, 0)


# --- what the application is


def test_a_message_is_json_and_nothing_else(app):
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == "json"
    with pytest.raises(ContentDisallowed):
        loads(
            pickle.dumps({}),
            "application/x-python-serialize",
            "binary",
            accept=app.conf.accept_content,
        )


def test_no_argument_of_a_message_says_what_is_deleted(app):
    for name in (ours.SWEEP, ours.DRAIN):
        with pytest.raises(TypeError):
            app.tasks[name].apply_async(args=["/etc/passwd"])
        with pytest.raises(TypeError):
            app.tasks[name].apply_async(kwargs={"scope": "chat:1"})


def test_a_pass_ends_before_the_soft_limit_and_a_dead_workers_tick_comes_back_within_10_s(app):
    task = app.tasks[ours.SWEEP]
    options = ours.make_app().conf.broker_transport_options

    assert tasks.BUDGET_AT_MOST_S < task.soft_time_limit < task.time_limit
    # A live worker's tick must not be handed to another one, though it miss two renewals.
    assert options["visibility_timeout"] > 3 * consumer.RENEW_S
    # kombu looks for a dead worker's ticks this often; its defaults make it 100 s.
    looks_s = options["unacked_restore_interval"] * options["unacked_restore_throttle"]
    assert options["visibility_timeout"] + looks_s < 10
    assert options["unacked_mutex_expire"] < 10  # kombu's own is five minutes


@pytest.mark.parametrize(("setting", "budget_s"), [(10, 10.0), (3600, tasks.BUDGET_AT_MOST_S)])
@pytest.mark.parametrize("name", ["sweep", "drain"])
def test_the_budget_of_a_pass_is_the_setting_within_the_limits(
    settings, monkeypatch, name, setting, budget_s
):
    seen = []

    def one_pass(_, budget):
        seen.append(budget)
        return NOTHING

    monkeypatch.setattr(MediaStore, name, one_pass)
    app = ours.make_app(dataclasses.replace(settings, sweep_budget=setting))

    app.tasks[f"mediastore.{name}"]()

    assert seen == [budget_s]


def test_a_tick_outlives_neither_its_process_nor_its_use(app):
    for name in (ours.SWEEP, ours.DRAIN):
        task = app.tasks[name]
        assert task.acks_late
        assert task.reject_on_worker_lost
        assert task.ignore_result
        assert task.queue == ours.QUEUE
    assert app.conf.result_backend is None


def test_every_beat_entry_expires_about_when_the_next_one_comes(settings):
    entries = ours.beat_schedule(settings)

    assert {name: entry["schedule"] for name, entry in entries.items()} == {
        ours.SWEEP: 300.0,
        ours.DRAIN: 5.0,
    }
    assert entries[ours.SWEEP]["options"]["expires"] == 300.0
    # Not five seconds: a beat whose clock is that much behind would send only expired ticks.
    assert entries[ours.DRAIN]["options"]["expires"] == 30.0


@pytest.mark.parametrize("off", [{"cleanup_enabled": False}, {"sweep_interval": 0}])
def test_without_sweeps_releases_are_still_carried_out(settings, off):
    chosen = dataclasses.replace(settings, **off)

    assert list(ours.beat_schedule(chosen)) == [ours.DRAIN]
    app = ours.make_app(chosen)
    assert [tick.name for tick in pulse_of(app)._tasks()] == [ours.DRAIN]


def test_two_namespaces_on_one_server_never_hear_each_other():
    prefixes = {
        ours.make_app(Settings(namespace=name)).conf.broker_transport_options["global_keyprefix"]
        for name in ("bots", "agents")
    }

    assert prefixes == {"mediastore:celery:bots:", "mediastore:celery:agents:"}


def test_options_of_redis_are_kept_from_other_brokers(settings):
    app = ours.make_app(dataclasses.replace(settings, broker_url="amqp://rabbit//"))

    assert app.conf.broker_transport_options == {"confirm_publish": True}
    assert app.conf.worker_disable_prefetch is False
    # Quorum queues refuse a prefetch limit for the whole channel.
    assert app.amqp.queues[ours.QUEUE].queue_arguments == {"x-queue-type": "quorum"}
    assert detect_quorum_queues(app, "amqp") == (True, ours.QUEUE)
    assert ours.make_app(settings).amqp.queues[ours.QUEUE].queue_arguments is None


def test_an_application_of_ours_changes_nothing_for_another(monkeypatch):
    # Where it is set, Celery's fixup imports Django; this one does not exist.
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "of.a.neighbour")
    before = get_current_app()

    ours.make_app()

    assert get_current_app() is before


def test_another_application_can_take_the_tasks_in(settings):
    theirs = celery.Celery("theirs", broker="memory://", set_as_current=False)
    theirs.conf.beat_schedule = {**ours.beat_schedule(settings), "own": {"task": "own"}}

    ours.install(theirs, settings)

    assert theirs.tasks[ours.SWEEP].soft_time_limit == ours.SOFT_LIMIT_S
    assert ours.Pulse in theirs.steps["consumer"]
    assert [tick.name for tick in pulse_of(theirs)._tasks()] == [ours.DRAIN, ours.SWEEP]


# --- the broker's URL


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://localhost", "redis://localhost/0"),
        ("redis://host:6380/3", "redis://host:6380/3"),
        ("redis://host/3?db=4", "redis://host/4"),
        ("redis://host/1?socket_timeout=2&protocol=3", "redis://host/1"),
        ("redis://us%40er:p%2Fw@[::1]:6379/0", "redis://us%40er:p%2Fw@[::1]:6379/0"),
        ("redis://host?password=p%40w", "redis://:p%40w@host/0"),
        ("rediss://host:6380/2", "rediss://host:6380/2?ssl_cert_reqs=required"),
        ("rediss://host/0?ssl_cert_reqs=none", "rediss://host/0?ssl_cert_reqs=none"),
        (
            "rediss://host/0?ssl_ca_certs=/ca.pem",
            "rediss://host/0?ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=required",
        ),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/a%20b.sock?db=7", "redis+socket:///run/a%20b.sock?virtual_host=7"),
        ("unix://me:p%40w@/r.sock?db=1", "redis+socket://me:p%40w@/r.sock?virtual_host=1"),
    ],
)
def test_the_broker_is_the_same_redis(redis_url, expected):
    assert ours.broker_url(Settings(redis_url=redis_url)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("amqp://rabbit//", "amqp://rabbit//"),
        ("rediss://broker/0", "rediss://broker/0?ssl_cert_reqs=required"),
    ],
)
def test_the_broker_can_be_another_server(given, expected):
    assert ours.broker_url(Settings(broker_url=given)) == expected


@pytest.mark.parametrize("url", ["redis://:secret@host:port/0", "unix://:secret@/a.sock?db=x"])
def test_a_url_that_cannot_be_read_is_named_without_its_password(url):
    with pytest.raises(InvalidSettings) as caught:
        ours.make_app(Settings(redis_url=url))

    assert "secret" not in str(caught.value)


# --- one pass


def test_each_process_has_one_store_of_its_own(settings, monkeypatch):
    name = settings.namespace
    stores = tasks.Stores(settings)
    parent = stores.mine(name)
    assert stores.mine(name) is parent
    assert parent.settings.retries > settings.retries

    monkeypatch.setattr(os, "getpid", lambda: -1)

    child = stores.mine(name)
    assert child is not parent
    stores.close()
    stores.close()  # nothing left, not an error
    assert stores.mine(name) is not child


def test_an_unreachable_index_is_one_line_and_no_traceback(settings, monkeypatch, caplog):
    monkeypatch.setattr(tasks, "PATIENT_RETRIES", 0)
    nobody = dataclasses.replace(settings, redis_url="unix:///nobody/listens.sock", retries=0)

    ours.make_app(nobody).tasks[ours.SWEEP]()

    (line,) = caplog.records
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)
    assert line.getMessage().startswith("a sweep failed and will be tried again: ")


def test_a_pass_that_takes_too_long_is_one_line_and_no_traceback(app, monkeypatch, caplog):
    def slow(_, budget):
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(MediaStore, "drain", slow)

    app.tasks[ours.DRAIN]()

    (line,) = caplog.records
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)


def test_celerys_own_variable_overrides_the_broker_and_what_it_is_told(monkeypatch, settings):
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://rabbit//")

    app = ours.make_app(dataclasses.replace(settings, broker_url="redis://elsewhere/0"))

    assert app.conf.broker_url == "amqp://rabbit//"
    assert app.conf.broker_transport_options == {"confirm_publish": True}
