"""The fleet of one state directory, seen from outside: is it there, start it in the background, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from mediastore.embedded import EmbeddedServer
from mediastore.errors import IndexUnavailable
from mediastore.records import whole
from mediastore.state import MOST_PID, Running, state_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: Longer than a supervisor gives its children, so that it is not killed in mid-work.
DOWN_LIMIT_S: Final = 60.0
DETACH_LIMIT_S: Final = 330.0  # a server may replay a long journal first
_LAST_MOMENT_S: Final = 5.0
_POLL_S: Final = 0.05
_LOOKERS_S: Final = 0.5
_LOG_BYTES: Final = 10_000_000
_TAIL_BYTES: Final = 65_536
_LOG_TAIL: Final = 12


class AlreadyRunning(IndexUnavailable):
    """Another `mediastore up` of this user looks after the state directory."""

    code = "already_running"
    hint = "`mediastore status` shows it, `mediastore down` ends it."


class NotUp(IndexUnavailable):
    """It did not come up; the message says why, with its log or with what installs a server."""

    hint = ""


class Fleet:
    """One state directory, its lock and what lies in it."""

    def __init__(self, directory: Path | None = None) -> None:
        """Remember where it is; by default the state directory of this user."""
        self.directory = (directory or state_directory()).absolute()

    @property
    def server(self) -> Path:
        """Where the server of our own lives."""
        return self.directory / "server"

    @property
    def log(self) -> Path:
        """What a supervisor in the background writes."""
        return self.directory / "up.log"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one supervisor.

        Raises:
            AlreadyRunning: somebody else is.
        """
        import fcntl  # absent on Windows, where this module must still import

        self.make()
        with (self.directory / "up.lock").open("a+") as lock:
            deadline = time.monotonic() + _LOOKERS_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    # `status` holds it for a moment when it looks.
                    if time.monotonic() > deadline:
                        raise AlreadyRunning(
                            f"`mediastore up` is running{self._who()}, with its state in {self.directory}"
                        ) from None
                    time.sleep(_POLL_S / 5)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            try:
                yield
            finally:
                lock.truncate(
                    0
                )  # before the lock is given up: nobody shall end whoever has this number next

    def make(self) -> None:
        """Make the state directory, for this user alone: a note in it may hold a password."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def _who(self) -> str:
        pid = self.supervisor
        return f" as process {pid}" if pid else ""

    @property
    def supervisor(self) -> int | None:
        """The process id of the supervisor while it lives."""
        import fcntl

        try:
            with (self.directory / "up.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            # No number but that of one process: -1 and 0 would be everybody's signal.
            with contextlib.suppress(ValueError):
                text = (self.directory / "up.lock").read_text()
                return whole(int(text), 1, MOST_PID)
        return None

    def running(self) -> Running | None:
        """Return what the supervisor says of itself; None where none lives."""
        return Running.read(self.directory) if self.supervisor else None

    def log_tail(self) -> str:
        """Return the last lines of the log, indented."""
        with contextlib.suppress(OSError):
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()[-_LOG_TAIL:]
            return "".join(f"\n  {line}" for line in lines)
        return ""


def detach(fleet: Fleet, arguments: Sequence[str], environ: Mapping[str, str]) -> Running:
    """Run `mediastore ARGUMENTS up` in the background; return when it says that all is up.

    What holds a password goes into `environ`: the list of processes shows arguments to everybody.

    Raises:
        AlreadyRunning: one runs already.
        NotUp: it did not come up; the message ends with its log.
    """
    if (pid := fleet.supervisor) is not None:
        raise AlreadyRunning(f"`mediastore up` is running already, as process {pid}")
    fleet.make()
    Running.remove(fleet.directory)
    if fleet.log.exists() and fleet.log.stat().st_size > _LOG_BYTES:
        fleet.log.replace(fleet.log.with_suffix(".log.1"))
    with os.fdopen(os.open(fleet.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        process = subprocess.Popen(
            # -P: a redis.py in the working directory is not ours to import.
            [sys.executable, "-P", "-m", "mediastore", *arguments, "up"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environ),
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACH_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        running = fleet.running()
        if running is not None and all(each.pid for each in running.processes):
            return running
        time.sleep(_POLL_S)
    process.terminate()
    raise NotUp(f"it did not come up; its log {fleet.log}:{fleet.log_tail()}")


def down(fleet: Fleet) -> bool:
    """End the supervisor and what it looks after, or a server that outlived its supervisor.

    Returns:
        Whether there was anything to end.

    Raises:
        IndexUnavailable: it is still there after a minute.
    """
    pid = fleet.supervisor
    if pid is None:
        return _end_server(fleet)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_LIMIT_S
    while fleet.supervisor == pid:
        if time.monotonic() > deadline:
            raise IndexUnavailable(f"process {pid} does not end; `kill -9 {pid}` loses nothing")
        time.sleep(_POLL_S)
    # The lock is free a moment before the process has ended.
    deadline = time.monotonic() + _LAST_MOMENT_S
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _end_server(fleet: Fleet) -> bool:
    server = EmbeddedServer(fleet.server)
    if not fleet.server.is_dir() or not server.adopt():
        return False
    server.adopted = False  # nobody else looks after it
    server.stop()
    return True
