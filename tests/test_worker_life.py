"""The life of a real worker: killed and replaced, stopped in each way, alive while it waits, seen by others."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest
import redis

from mediastore import celery as ours
from mediastore.connection import Link
from mediastore.embedded import EmbeddedServer, find_engine
from mediastore.heartbeat import signs
from mediastore.index import presence
from mediastore.speech import Speech

from .worker_fleet import children, fleet_of, real

__all__ = ["fleet_of"]  # a fixture

pytestmark = real
STALLING = "tests.stalling_worker"


@pytest.fixture
def stall(tmp_path):
    """Give the file that stops sweeps as long as it is there."""
    path = tmp_path / "stall"
    path.write_text("")
    return path


@pytest.fixture
def seldom(fleet_of, tmp_path):
    """Give a maker of fleets whose clocks are too slow to help: what is done, is done by one tick."""

    def make(**chosen):
        slow = {
            "sweep_interval": 3600,
            "drain_interval": 3600,
            "health_dir": str(tmp_path / "health"),
        }
        return fleet_of(**{**slow, **chosen})

    return make


def idle(fleet):
    return fleet.count("llen", "mediastore") == fleet.count("hlen", "unacked") == 0


def stalled(fleet, stall, *options, **extra):
    """Start a worker and return it in mid-sweep, with no other tick on its way."""
    others = " ready." in fleet.log
    stalling = fleet.worker(*options, app=STALLING, MEDIASTORE_TEST_STALL=str(stall), **extra)
    app = ours.make_app(fleet.settings)

    def begun():
        if others and not stall.with_suffix(".in").exists() and idle(fleet):
            app.tasks[ours.SWEEP].apply_async()  # another worker has taken those before
        return stall.with_suffix(".in").exists()

    fleet.until(begun)
    fleet.until(
        lambda: (fleet.count("llen", "mediastore"), fleet.count("hlen", "unacked")) == (0, 1)
    )
    app.close()
    return stalling


def expired(fleet):
    path = fleet.put("expired.jpg", "chat:1", ttl=0.05)
    fleet.until(lambda: fleet.store.refs("chat:1") == [])
    return path


def scores(fleet):
    with redis.Redis.from_url(fleet.settings.redis_url) as client:
        name = f"mediastore:celery:{fleet.settings.namespace}:unacked_index"
        return [score for _, score in client.zrange(name, 0, -1, withscores=True)]


# --- killed


def test_a_worker_killed_in_mid_sweep_is_replaced_by_another_that_has_its_tick(seldom, stall):
    fleet = seldom()
    fleet.worker()
    fleet.ready(1)
    fleet.until(lambda: idle(fleet))
    doomed = stalled(fleet, stall, "--concurrency", "1")
    path = expired(fleet)

    fleet.kill(doomed)

    took_s = fleet.gone(path)
    print(f"replaced within {took_s:.1f} s")


@pytest.mark.torture  # thirteen seconds
def test_the_tick_of_a_live_worker_is_not_given_to_another(seldom, stall):
    fleet = seldom()
    stalled(fleet, stall)
    (begun,) = scores(fleet)

    # Renewed when it would have come back long ago.
    fleet.until(lambda: scores(fleet)[0] > begun + 10, limit_s=40)

    assert len(stall.with_suffix(".in").read_text().split()) == 1
    stall.unlink()
    fleet.until(lambda: idle(fleet))


@pytest.mark.torture  # thirteen seconds
def test_the_processes_of_a_worker_are_replaced_after_so_many_ticks(fleet_of):
    fleet = fleet_of(worker_max_tasks=2, worker_concurrency=1)
    worker = fleet.worker()
    fleet.ready(1)
    seen = set()

    def replaced():
        seen.update(children(worker))
        return len(seen) > 3

    fleet.until(replaced, limit_s=40)

    assert fleet.gone(fleet.release_one("released.jpg")) >= 0


# --- stopped


def test_sigterm_waits_for_the_pass(seldom, stall):
    fleet = seldom()
    worker = stalled(fleet, stall)

    worker.terminate()
    fleet.until(lambda: "Warm shutdown" in fleet.log)
    stall.unlink()

    assert worker.wait(30) == 0
    assert stall.with_suffix(".out").exists()


def test_a_remapped_sigterm_ends_a_pass_that_takes_longer_than_the_soft_limit(seldom, stall):
    fleet = seldom(soft_shutdown=1.5)
    worker = stalled(fleet, stall, REMAP_SIGTERM="SIGQUIT")
    pids = children(worker)
    path = expired(fleet)

    worker.terminate()
    worker.wait(30)  # the pass stands still for ever

    assert "Initiating Soft Shutdown, terminating in 1.5 seconds" in fleet.log
    assert not stall.with_suffix(".out").exists()
    fleet.forget(worker)
    fleet.until(lambda: not any(alive(pid) for pid in pids))
    fleet.worker()
    fleet.gone(path)


def test_an_idle_worker_ends_at_once_by_a_remapped_sigterm(seldom):
    fleet = seldom()
    worker = fleet.worker(REMAP_SIGTERM="SIGQUIT")
    fleet.ready(1)
    fleet.until(lambda: idle(fleet))

    worker.terminate()
    worker.wait(15)  # soft_shutdown is 20 s

    assert "Soft Shutdown" not in fleet.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_that_hangs_while_it_stops_is_ended_and_its_children_too(seldom, number):
    fleet = seldom(soft_shutdown=0.5)
    worker = fleet.worker(app="tests.hanging_worker")
    fleet.ready(1)
    pids = children(worker)

    worker.send_signal(number)

    assert worker.wait(30) == 1
    fleet.forget(worker)
    fleet.until(lambda: not any(alive(pid) for pid in pids))
    assert "did not stop within" in fleet.log


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- alive


def beats(fleet, more_than=0.0):
    """Say whether a worker has left a heartbeat after that time."""
    found = signs(fleet.health, "worker")
    return bool(found) and found[0].at > more_than


def last(fleet):
    return signs(fleet.health, "worker")[0].at


def test_a_worker_whose_children_are_busy_is_alive_and_one_whose_loop_stands_is_not(seldom, stall):
    fleet = seldom()
    worker = stalled(fleet, stall, "--concurrency", "1")
    first = last(fleet)
    fleet.until(lambda: beats(fleet, first))

    os.kill(worker.pid, signal.SIGSTOP)
    fleet.until(lambda: not signs(fleet.health, "worker")[0].fresh(2))
    os.kill(worker.pid, signal.SIGCONT)
    fleet.until(lambda: signs(fleet.health, "worker")[0].fresh(2))

    stall.unlink()
    worker.terminate()
    assert worker.wait(30) == 0
    assert signs(fleet.health, "worker") == []


def test_a_worker_and_a_beat_that_wait_for_their_broker_are_alive(seldom, tmp_path):
    fleet = seldom(url=f"unix://{tmp_path}/nobody.sock")
    fleet.worker()
    fleet.beat()
    fleet.until(lambda: beats(fleet) and signs(fleet.health, "beat") != [])
    first = max(last(fleet), signs(fleet.health, "beat")[0].at)

    fleet.until(lambda: beats(fleet, first) and signs(fleet.health, "beat")[0].at > first)

    assert " ready." not in fleet.log


def test_a_worker_whose_server_went_away_is_alive(seldom, tmp_path):
    if find_engine() is None:
        pytest.skip("no server to kill")
    with EmbeddedServer(tmp_path / "server") as server:
        fleet = seldom(url=server.url)
        fleet.worker()
        fleet.ready(1)
        server.kill()
        fleet.until(lambda: "Cannot connect" in fleet.log)
        first = last(fleet)

        fleet.until(lambda: beats(fleet, first))

        fleet.end()


def test_a_health_directory_that_cannot_be_written_stops_nobody(seldom, tmp_path):
    (tmp_path / "file").write_text("")
    fleet = seldom(health_dir=str(tmp_path / "file" / "health"))
    fleet.worker()
    fleet.beat()
    fleet.gone(fleet.release_one("released.jpg"))

    fleet.until(lambda: fleet.log.count("no heartbeat can be left") == 2)


# --- seen


def test_workers_and_beats_note_themselves_in_the_index(fleet_of):
    fleet = fleet_of()
    fleet.worker()
    fleet.beat()
    everybody = {"worker:w0@here", f"beat:beat@{socket.gethostname()}"}

    with redis.Redis.from_url(fleet.settings.redis_url) as client:
        link = Link(client, Speech(fleet.settings.namespace))
        fleet.until(lambda: set(link.perform(presence.last_seen())) == everybody)


def test_a_worker_without_a_beat_names_no_beat(fleet_of):
    fleet = fleet_of()
    fleet.worker()

    with redis.Redis.from_url(fleet.settings.redis_url) as client:
        link = Link(client, Speech(fleet.settings.namespace))
        fleet.until(lambda: set(link.perform(presence.last_seen())) == {"worker:w0@here"})


def test_a_worker_and_a_beat_log_json_when_asked(fleet_of):
    fleet = fleet_of(log_format="json")
    for start in (fleet.worker, fleet.beat):
        start(PYTHONWARNINGS="ignore")  # of running as root, which Python says by itself
    fleet.gone(fleet.release_one("released.jpg"))

    def swept():
        words = [json.loads(line) for line in fleet.log.splitlines() if line.startswith("{")]
        return any(each.get("deleted") == 1 and each["logger"] == "mediastore" for each in words)

    fleet.until(swept)
    lines = [line for line in fleet.log.splitlines() if line and not line.startswith("{")]
    assert lines == []
