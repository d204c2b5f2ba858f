"""The ready application, and real workers and beats at work: started, killed, doubled, left alone."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from mediastore import MediaStore, Settings, celery as ours
from mediastore.embedded import EmbeddedServer, _tied_to_us, find_engine

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent.parent


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


class Fleet:
    """Workers and beats as their own processes, on one server and one root."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.settings = settings
        self.home = home
        self.store = MediaStore.from_settings(settings)
        self.root = Path(settings.roots[0])
        self._processes: list[subprocess.Popen[bytes]] = []
        self._numbers = itertools.count()

    def worker(self, *options: str, app: str = "worker") -> subprocess.Popen[bytes]:
        name = f"w{next(self._numbers)}@here"
        return self._start("worker", "-n", name, *options, app=app)

    def beat(self) -> subprocess.Popen[bytes]:
        return self._start("beat")

    def _start(self, *command: str, app: str = "worker") -> subprocess.Popen[bytes]:
        given = {
            "redis_url": self.settings.redis_url,
            "namespace": self.settings.namespace,
            "claim": f"{self.settings.seconds('claim')}s",
            "roots": os.pathsep.join(self.settings.roots),
            "sweep_interval": f"{self.settings.seconds('sweep_interval')}s",
            "drain_interval": f"{self.settings.seconds('drain_interval')}s",
        }
        environ = {**os.environ, "PYTHONPATH": str(HERE)}
        environ.update({f"MEDIASTORE_{name.upper()}": text for name, text in given.items()})
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                # A test run that is killed leaves no fleet behind.
                [*_tied_to_us(), sys.executable, "-m", "celery", "-A", app, *command, "-l", "info"],
                env=environ,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def put(self, name: str, scope: str, ttl: float | None = None) -> Path:
        path = self.root / name
        path.write_bytes(name.encode())
        self.store.store(path, scope=scope, ttl=ttl)
        return path

    def release_one(self, name: str) -> Path:
        path = self.put(name, f"one:{name}")
        self.store.release_all(f"one:{name}", wait=False)
        return path

    def until(self, fact: Callable[[], bool], limit_s: float = 20.0) -> float:
        """Wait for a fact; return the seconds it took. Fails with the processes' log."""
        began = time.monotonic()
        while not fact():
            if time.monotonic() - began > limit_s or any(p.poll() for p in self._processes):
                pytest.fail(
                    f"not within {limit_s} s, or a process failed; the log:\n{self.log[-6000:]}"
                )
            time.sleep(0.01)
        return time.monotonic() - began

    def count(self, command: str, key: str) -> int:
        """Ask the broker how long one of Celery's keys is."""
        with redis.Redis.from_url(self.settings.redis_url) as client:
            name = f"mediastore:celery:{self.settings.namespace}:{key}"
            return int(client.execute_command(command, name))

    def gone(self, *paths: Path) -> float:
        return self.until(lambda: not any(path.exists() for path in paths))

    def ready(self, workers: int) -> None:
        self.until(lambda: self.log.count(" ready.") >= workers)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and its children as a crash would."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._processes.remove(process)

    def end(self) -> None:
        for process in [process for process in self._processes if process.poll() is None]:
            self.kill(process)
        self.store.close()


def children(process: subprocess.Popen[bytes]) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


@pytest.fixture
def fleet_of(settings, server_url, tmp_path):
    """Give a maker of fleets, all of whose processes end with the test."""
    made: list[Fleet] = []

    def make(url: str = server_url, **chosen: Any) -> Fleet:
        often = {"sweep_interval": 1, "drain_interval": 1, **chosen}
        home = tmp_path / "home"
        home.mkdir()
        made.append(Fleet(dataclasses.replace(settings, redis_url=url, **often), home))
        return made[0]

    yield make
    for fleet in made:
        fleet.end()


real = [pytest.mark.xdist_group("celery"), pytest.mark.slow]


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
        for process in (beat, worker):
            process.terminate()
            assert process.wait(15) == 0
        assert [path.name for path in fleet.home.iterdir()] == ["log"]  # no schedule, no pid file
        assert "Traceback" not in fleet.log

    def test_a_worker_needs_no_beat(self, fleet_of):
        fleet = fleet_of()
        fleet.worker()
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
        fleet.worker("--pool", "solo")
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
            fleet = fleet_of(server.url, sweep_interval=3, drain_interval=3)
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
