"""A fleet of real workers and beats for the tests: each its own process, on one server and one root."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from mediastore import MediaStore, Settings
from mediastore.embedded import _tied_to_us
from mediastore.heartbeat import health_directory

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent.parent
#: A child of billiard's waits 30 s for its results to be read, and in a warm shutdown nobody reads those
#: of a task that was handed over and not yet accepted: so much may be the end of a worker that is not idle.
WORKER_ENDS_S = 45


def variables(settings: Settings) -> dict[str, str]:
    """Return settings as the variables that give them."""
    return {f"MEDIASTORE_{name.upper()}": text for name, text in settings.as_text().items()}


class Fleet:
    """Workers and beats as their own processes, on one server and one root."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.settings = settings
        self.home = home
        self.store = MediaStore.from_settings(settings)
        self.root = Path(self.store.settings.roots[0])
        self._processes: list[subprocess.Popen[bytes]] = []
        self._numbers = itertools.count()
        (home / "log").touch()

    def worker(self, *options: str, app: str = "worker", **extra: str) -> subprocess.Popen[bytes]:
        name = f"w{next(self._numbers)}@here"
        return self.start("worker", "-n", name, *options, app=app, **extra)

    def beat(self, *options: str, app: str = "worker", **extra: str) -> subprocess.Popen[bytes]:
        return self.start("beat", *options, app=app, **extra)

    def start(self, *command: str, app: str = "worker", **extra: str) -> subprocess.Popen[bytes]:
        """Start one of Celery's programs, with further variables where they are named."""
        environ = {**os.environ, "PYTHONPATH": str(HERE), **variables(self.settings), **extra}
        # Celery's banner is no JSON.
        quiet = ["--quiet"] if self.settings.log_format == "json" else []
        program = [sys.executable, "-m", "celery", "-A", app, *quiet, *command, "-l", "info"]
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                # A test run that is killed leaves no fleet behind.
                [*_tied_to_us(), *program],
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

    def until(self, fact: Callable[[], bool], limit_s: float = 60.0) -> float:
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

    def idle(self) -> bool:
        """Whether every task that a worker took is done; a worker that is told to stop now ends at once."""
        return self.log.count("] received") == self.log.count("] succeeded")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and its children as a crash would."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._processes.remove(process)

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Expect nothing more of a process that has ended, or may end as it likes."""
        self._processes.remove(process)

    @property
    def health(self) -> Path:
        """Where the heartbeats are."""
        return health_directory(self.settings)

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
        often = {"sweep_interval": 0.2, "drain_interval": 0.2, "restart_pause": 0, **chosen}
        home = tmp_path / "home"
        home.mkdir()
        made.append(Fleet(dataclasses.replace(settings, redis_url=url, **often), home))
        return made[0]

    yield make
    for fleet in made:
        fleet.end()


real = [pytest.mark.xdist_group("celery"), pytest.mark.slow]
