"""The ready application, and real workers and beats at work: started, killed, doubled, left alone."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mediastore import celery as ours
from mediastore.embedded import EmbeddedServer, find_engine

from .worker_fleet import HERE, WORKER_ENDS_S, children, fleet_of, real

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fleet_of"]  # a fixture

IMPATIENT = "tests.impatient_worker"


# --- the ready application


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Clear the environment and go where there is no .env."""
    for name in list(os.environ):
        if name.startswith(("MEDIASTORE_", "CELERY_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_ready_application_reads_the_environment_and_a_dotenv_and_asks_no_server(
    bare, monkeypatch
):
    def refuse(*_):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    (bare / ".env").write_text("MEDIASTORE_NAMESPACE=bots\nMEDIASTORE_SWEEP_INTERVAL=1h\n")
    monkeypatch.setenv("MEDIASTORE_SWEEP_INTERVAL", "2h")
    from worker.app import load

    app = load()

    assert app.conf.broker_transport_options["global_keyprefix"].endswith(":bots:")
    assert app.conf.beat_schedule[ours.SWEEP]["schedule"] == 7200.0


@pytest.mark.parametrize(
    ("name", "value"), [("CLAIM", "never"), ("REDIS_URL", "redis://:secret@host:port")]
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(bare, name, value):
    environ = {**os.environ, f"MEDIASTORE_{name}": value, "PYTHONPATH": str(HERE)}

    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "worker"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"mediastore: {name.lower()}.*\n", done.stderr)
    assert "secret" not in done.stderr


# --- real workers and beats


class TestRealProcesses:
    pytestmark = real

    def test_what_is_released_or_expires_goes_by_beat_and_worker(self, fleet_of):
        fleet = fleet_of()
        beat = fleet.beat()
        fleet.until(lambda: fleet.count("llen", "mediastore") > 0)
        worker = fleet.worker()
        fleet.ready(1)
        kept = fleet.put("kept.jpg", "chat:1")

        fleet.gone(fleet.put("expiring.jpg", "chat:1", ttl=1), fleet.release_one("released.jpg"))

        assert kept.exists()
        beat.terminate()
        assert beat.wait(15) == 0
        fleet.until(fleet.idle)
        worker.terminate()
        assert worker.wait(WORKER_ENDS_S) == 0
        assert [path.name for path in fleet.home.iterdir()] == ["log"]  # no schedule, no pid file
        assert "Traceback" not in fleet.log

    def test_a_worker_needs_no_beat(self, fleet_of):
        fleet = fleet_of()
        fleet.worker(app=IMPATIENT)
        fleet.ready(1)
        fleet.gone(fleet.release_one("by the tick at start.jpg"))

        paths = [fleet.release_one("released.jpg"), fleet.put("expiring.jpg", "chat:1", ttl=1)]

        assert fleet.gone(*paths) < 10

    def test_a_worker_begins_with_what_was_left(self, fleet_of):
        fleet = fleet_of(sweep_interval="1h", drain_interval="1h")
        released = fleet.release_one("released.jpg")
        expired = fleet.put("expired.jpg", "chat:1", ttl=0.05)
        fleet.until(lambda: fleet.store.refs("chat:1") == [])

        fleet.worker()

        fleet.gone(released, expired)

    def test_a_message_in_pickle_is_refused_and_the_worker_goes_on(self, fleet_of):
        fleet = fleet_of()
        fleet.worker("--pool", "solo", app=IMPATIENT)
        fleet.ready(1)
        victim = fleet.put("victim.jpg", "chat:1")
        app = ours.make_app(fleet.settings)

        with app.connection_for_write() as connection:
            app.amqp.Producer(connection).publish(
                pickle.dumps(Bomb(victim)),
                routing_key=ours.QUEUE,
                content_type="application/x-python-serialize",
                content_encoding="binary",
                headers={"task": ours.SWEEP, "id": "bomb"},
            )
        fleet.until(lambda: "ContentDisallowed" in fleet.log)

        fleet.gone(fleet.release_one("released.jpg"))
        assert victim.exists()

    def test_killed_children_and_a_killed_worker_are_replaced(self, fleet_of):
        fleet = fleet_of(claim=2)  # what the dead have claimed is free again after this
        worker = fleet.worker()
        fleet.beat()
        paths = [fleet.release_one("before.jpg")]
        fleet.gone(*paths)

        for kill in range(3):
            doomed = [fleet.put(f"{kill}-{n}.jpg", f"chat:{kill}") for n in range(100)]
            fleet.store.release_all(f"chat:{kill}", wait=False)
            fleet.gone(doomed[0])  # and the others are being deleted now
            paths += doomed
            for pid in children(worker):
                os.kill(pid, signal.SIGKILL)
        fleet.kill(worker)
        paths.append(fleet.release_one("after.jpg"))
        fleet.worker()

        fleet.gone(*paths)
        fleet.until(lambda: fleet.store.stats().trash == 0)
        assert fleet.store.stats().deleted_blobs == len(paths)

    def test_two_workers_and_two_beats_delete_each_file_once(self, fleet_of):
        fleet = fleet_of()
        for start in (fleet.worker, fleet.worker, fleet.beat, fleet.beat):
            start()
        fleet.ready(2)
        fleet.until(lambda: fleet.log.count("beat: Starting") == 2)

        paths = []
        for number in range(60):
            scope = f"chat:{number % 7}"
            ttl = 1 if number % 2 else None
            paths.append(fleet.put(f"{number}.jpg", scope, ttl=ttl))
        for number in range(7):
            fleet.store.release_all(f"chat:{number}", wait=number % 2 == 0)
        paths += [fleet.put(f"{n}.jpg", "chat:8", ttl=0.5 + n / 100) for n in range(60, 100)]
        fleet.gone(*paths)

        fleet.until(lambda: fleet.store.stats().trash == 0)
        stats = fleet.store.stats()
        assert stats.deleted_blobs == len(paths)
        assert stats.released_refs + stats.expired_refs == stats.stored_refs == len(paths)
        assert (stats.refs, stats.blobs, stats.stuck) == (0, 0, 0)

    def test_a_worker_and_a_beat_outlive_their_server(self, fleet_of, tmp_path):
        if find_engine() is None:
            pytest.skip("no server to kill")
        with EmbeddedServer(tmp_path / "server") as server:
            fleet = fleet_of(server.url, sweep_interval=1.5, drain_interval=1.5)
            fleet.worker(app="tests.slow_worker")
            fleet.beat()

            for kill in range(2):
                drains = fleet.log.count("a slow drain")
                fleet.until(lambda seen=drains: fleet.log.count("a slow drain") > seen)
                # One child drains, the other is free. That drain's acknowledgement comes too late.
                fleet.until(lambda: fleet.count("hlen", "unacked") == 1)
                server.kill()
                server.start()
                fleet.gone(fleet.release_one(f"{kill}.jpg"))

            # What Celery would say at length: gossip's error, and a setting's other value.
            assert "Error on restarting" not in fleet.log
            assert "PendingDeprecationWarning" not in fleet.log
            fleet.end()


class Bomb:
    """Unpickling it removes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.unlink, (str(self.path),)
