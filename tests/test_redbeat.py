"""Two beats of which one waits: RedBeat, where it is installed, works with our entries."""

from __future__ import annotations

import pytest
import redis

from mediastore import Settings, celery as ours
from mediastore.celery import config

from .worker_fleet import fleet_of, real

__all__ = ["fleet_of"]  # a fixture

SCHEDULER = ("-S", "redbeat.RedBeatScheduler")


def test_an_application_without_redbeat_is_told_nothing_of_it(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda _: None)

    assert not [name for name in ours.make_app().conf.changes if name.startswith("redbeat")]


def test_redbeat_has_keys_of_the_namespace_and_a_lock_of_five_loops(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda _: True)
    settings = Settings(redis_url="unix:///r.sock", broker_url="amqp://rabbit//", namespace="bots")

    conf = ours.make_app(settings).conf

    assert conf.redbeat_redis_url == "unix:///r.sock"
    assert conf.redbeat_key_prefix == "mediastore:beat:bots:"
    assert conf.redbeat_lock_timeout == 5 * conf.beat_max_loop_interval
    assert conf.beat_scheduler == "mediastore.celery:Clock"  # until -S says otherwise


class TestTwoBeats:
    pytestmark = real

    def test_a_standby_takes_over_when_the_leader_is_killed(self, fleet_of):
        pytest.importorskip("redbeat", reason="celery-redbeat is an extra")
        fleet = fleet_of(sweep_interval="1h")

        def ticks():
            return fleet.count("llen", "mediastore")

        leader = fleet.beat(*SCHEDULER, app="tests.quick_redbeat")
        fleet.until(lambda: "Acquired lock" in fleet.log and ticks() > 0)
        fleet.beat(*SCHEDULER, app="tests.quick_redbeat")
        fleet.until(lambda: fleet.log.count("beat: Starting") == 2)
        sent = ticks()
        fleet.until(lambda: ticks() > sent + 2)  # and the standby waits
        assert fleet.log.count("Acquired lock") == 1

        fleet.kill(leader)
        fleet.until(lambda: fleet.log.count("Acquired lock") == 2)
        sent = ticks()
        fleet.until(lambda: ticks() > sent)

        fleet.worker()
        fleet.gone(fleet.release_one("released.jpg"))
        prefix = f"mediastore:beat:{fleet.settings.namespace}:"
        with redis.Redis.from_url(fleet.settings.redis_url, decode_responses=True) as client:
            fleet.end()
            ours_alone = set(client.scan_iter(f"{prefix}*", count=1000))
            assert any(key.endswith(ours.DRAIN) for key in ours_alone)
            client.delete(*ours_alone)
