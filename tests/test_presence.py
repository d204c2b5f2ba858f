"""Who sweeps, as doctor says it on any host; and doctor of many namespaces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from mediastore import MediaStore
from mediastore.connection import Link
from mediastore.doctor import examine
from mediastore.index import presence
from mediastore.index.presence import KEPT_MS
from mediastore.speech import Speech

from .doctor_fixtures import found, key, lane, mine, staff  # noqa: F401 - fixtures


@pytest.fixture
def used(mine, cat):
    """Give settings of a namespace in which something lives."""
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="chat:1")
    return mine


def test_the_workers_and_beats_of_other_hosts_are_named_with_their_age(used):
    staff(used, "worker:celery@a", "beat:beat@b", ago_s=30)
    staff(used, "worker:celery@c")

    worker, beat = found(used, "worker"), found(used, "beat")

    assert (worker.state, worker.advice) == ("ok", "")
    assert worker.detail == "celery@c 0 s ago, celery@a 30 s ago"
    assert (beat.state, beat.detail) == ("ok", "beat@b 30 s ago")


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_nobody_seen_where_there_is_something_to_sweep_is_a_warning_with_the_command(used, role):
    one = found(used, role)

    assert (one.state, one.detail) == ("warning", "none was seen within 3 min")
    assert f"celery -A worker {role}" in one.advice


def test_whoever_is_silent_for_three_intervals_is_named_but_not_counted(used):
    staff(used, "worker:celery@a", ago_s=250)

    one = found(used, "worker")

    assert one.state == "warning"
    assert "the last was celery@a 4 min ago" in one.detail
    assert found(replace(used, drain_interval="2m"), "worker").state == "ok"


def test_nobody_is_missed_where_there_is_nothing_to_sweep(mine):
    assert found(mine, "worker").state == found(mine, "beat").state == "ok"


@pytest.mark.parametrize("off", [{"cleanup_enabled": False}, {"sweep_interval": 0}])
def test_nobody_is_missed_where_sweeping_is_off(used, off):
    assert found(replace(used, **off), "worker").state == "ok"


def test_who_was_not_seen_for_a_day_is_forgotten_and_a_note_never_goes_back(mine, key):
    with redis.Redis.from_url(mine.redis_url, decode_responses=True) as client:
        link = Link(client, Speech(mine.namespace))
        link.perform(presence.seen(["worker:old"], 1))
        link.perform(presence.seen(["worker:new"], KEPT_MS + 1000))
        link.perform(presence.seen(["worker:new"], KEPT_MS + 10))

        left = client.zrange(key("seen"), 0, -1, withscores=True)

    assert [tuple(each) for each in left] == [("worker:new", KEPT_MS + 1000)]


# --- many namespaces


def test_doctor_looks_at_each_namespace_and_at_the_server_once(mine, media, cat):
    for name in ("a", "b"):
        (media / name).mkdir()
    names = [f"{mine.namespace}-{n}" for n in ("a", "b")]
    roots = [str(media / "{namespace}")]
    several = replace(mine, namespaces=names, roots=roots)
    (media / names[0]).mkdir()  # and the other is missing

    told = {finding.name: finding for finding in examine(several)}

    assert len(told) == len(examine(several))
    assert [name for name in told if name in {"server", "version", "clock"}] != []
    for name in names:
        assert told[f"{name} journal"].state == "ok"
        assert told[f"{name} settings"].detail.startswith(f"namespace {name}")
    assert told[f"{names[0]} root {media / names[0]}"].state == "ok"
    assert told[f"{names[1]} root {media / names[1]}"].state == "problem"
