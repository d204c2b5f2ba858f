"""Messages that no tick is, on a broker of Redis: a worker drops them and goes on."""

from __future__ import annotations

import json

import pytest
import redis

from mediastore import celery as ours
from mediastore.embedded import EmbeddedServer, find_engine
from mediastore.heartbeat import signs

from .poison import in_base64, oddities, poison, tick
from .worker_fleet import fleet_of, real

__all__ = ["fleet_of"]  # a fixture

pytestmark = real


@pytest.fixture
def lists(fleet_of):
    """Give a fleet, the client of its broker, and the names of its lists."""
    # Ticks come at the start and are then long in coming: what a worker does is what the test asks of it.
    fleet = fleet_of(sweep_interval="1h", drain_interval="1h")
    with redis.Redis.from_url(fleet.settings.redis_url) as broker:
        yield fleet, broker, lambda name: f"mediastore:celery:{fleet.settings.namespace}:{name}"


@pytest.mark.parametrize("pool", ["solo", "prefork", "threads"])
def test_a_worker_drops_every_kind_of_poison_and_goes_on(lists, pool):
    fleet, broker, key = lists
    worker = fleet.worker("--pool", pool, "-c", "2", MEDIASTORE_HEALTH_DIR=str(fleet.home))
    fleet.ready(1)

    def carries_out(ticks: int) -> None:
        """Wait until a tick is carried out behind all that lies there; more of them than the pool has places."""
        released = fleet.release_one(f"{ticks}.jpg")
        for number in range(ticks):
            broker.lpush(key(ours.QUEUE), json.dumps(tick(f"good-{number}")))
        fleet.gone(released)
        fleet.until(lambda: not broker.exists(*map(key, (ours.QUEUE, "unacked", "unacked_index"))))

    broker.lpush(key(ours.QUEUE), *poison().values())
    carries_out(3)

    said = [line for line in fleet.log.splitlines() if "that is no tick" in line]
    assert len(said) == len(poison())
    assert max(map(len, said)) < 500
    [sign] = signs(fleet.home, "worker")
    fleet.until(lambda: signs(fleet.home, "worker")[0].dropped == len(poison()))
    assert sign.pid == worker.pid

    broker.lpush(key(ours.QUEUE), *oddities().values())
    carries_out(4)

    assert worker.poll() is None
    assert fleet.log.count(" ready.") == 1
    assert "Traceback" not in fleet.log
    assert "Connection to broker lost" not in fleet.log


def test_poison_among_the_unacknowledged_ends_no_worker_and_keeps_nothing_else_there(lists):
    fleet, broker, key = lists
    kept = {
        **{f"{n}": raw for n, raw in enumerate(poison().values())},
        **{f"as-{n}": json.dumps([None, "", ours.QUEUE]) for n in range(1)},
        **{
            f"route-{n}": json.dumps([tick(f"{n}"), wrong, wrong])
            for n, wrong in enumerate((7, {}))
        },
        "lost": json.dumps([tick("lost"), "", ours.QUEUE]),
    }
    broker.hset(key("unacked"), mapping=kept)
    broker.zadd(key("unacked_index"), {tag: number for number, tag in enumerate(kept)})
    released = fleet.release_one("released.jpg")

    worker = fleet.worker("--pool", "solo")

    fleet.gone(released)
    fleet.until(lambda: not broker.exists(*map(key, (ours.QUEUE, "unacked", "unacked_index"))))
    assert worker.poll() is None
    assert fleet.log.count("that is no tick") == len(kept) - 1
    assert "Traceback" not in fleet.log


def test_poison_in_remote_control_ends_no_worker(lists):
    fleet, broker, key = lists
    worker = fleet.worker("--pool", "solo")
    fleet.ready(1)
    topic = key("/0.celery.pidbox")
    fleet.until(lambda: broker.pubsub_numpat() > 0)
    bodies = ["7", "[]", "null", "{}", '{"method": 7}', '{"method": "ping", "arguments": 7}']
    spoken = [json.dumps({**tick(body), "body": in_base64(body)}) for body in bodies]

    for raw in (*poison().values(), *oddities().values(), *spoken):
        fleet.until(lambda raw=raw: broker.publish(topic, raw) == 1)

    app = ours.make_app(fleet.settings)
    assert "Traceback" not in fleet.log
    assert app.control.ping(timeout=10, limit=1)
    assert worker.poll() is None
    assert "Connection to broker lost" not in fleet.log


def test_a_broker_that_refuses_is_waited_for(fleet_of, tmp_path):
    """A primary that becomes a replica, as in a failover, or a list of a wrong type: each ended every worker."""
    if find_engine() is None:
        pytest.skip("no server to make a replica of")
    with EmbeddedServer(tmp_path / "server") as server:
        fleet = fleet_of(server.url, sweep_interval="1h", drain_interval="2s")
        worker = fleet.worker("--pool", "solo")
        fleet.ready(1)
        key = f"mediastore:celery:{fleet.settings.namespace}:{ours.QUEUE}"

        with redis.Redis.from_url(server.url) as broker:
            fleet.until(lambda: not broker.exists(key))
            broker.execute_command("REPLICAOF", "127.0.0.1", "1")
            fleet.until(lambda: "read only replica" in fleet.log)
            broker.execute_command("REPLICAOF", "NO", "ONE")
            fleet.gone(fleet.release_one("after the failover.jpg"))

            fleet.until(lambda: not broker.exists(key))
            lost = fleet.log.count("Connection to broker lost")
            broker.set(key, "no list")
            fleet.until(lambda: fleet.log.count("Connection to broker lost") > lost)
            broker.delete(key)
            fleet.gone(fleet.release_one("after the wrong type.jpg"))

        assert worker.poll() is None
        fleet.end()
