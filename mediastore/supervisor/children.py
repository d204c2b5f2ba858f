"""A child process: started in a session of its own, read line by line, started again with back-off."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from mediastore.state import Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
#: Whoever lived that long did not die of its start.
SETTLED_S: Final = 60.0
_LINE_BYTES: Final = 65536


class BackOff:
    """How long to wait before the next start: a second, doubled by each short life, half a minute at most."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S

    def after(self, lived_s: float) -> float:
        """Return the pause after a life of this length."""
        if lived_s > SETTLED_S:
            self._pause_s = FIRST_PAUSE_S
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause


class Child:
    """Worker or beat. A signal to its group reaches all it started, and no other process."""

    def __init__(
        self, name: str, command: list[str], *, directory: Path, environ: Mapping[str, str]
    ) -> None:
        """Remember what to run; `start` runs it.

        Args:
            name: "worker" or "beat".
            command: What follows `celery` on its command line.
            directory: Where it runs; nothing there is imported.
            environ: Its whole environment; may be changed between two starts.
        """
        self.name, self._command, self._directory = name, command, directory
        self.environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._back_off = BackOff()
        self._rest = b""
        self._quietly = False
        self._since, self._began = time.time(), 0.0
        self.restarts = -1
        self.due = 0.0  # monotonic; when to start, while it is down

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> int | None:
        """The descriptor from which to read what it says, while there is one."""
        pipe = self._process.stdout if self._process is not None else None
        return pipe.fileno() if pipe is not None and not pipe.closed else None

    def start(self, lifeline: int) -> None:
        """Start it, holding this end of the lifeline."""
        program = [sys.executable, "-P", "-m", "mediastore.supervisor.child", str(lifeline)]
        self._process = subprocess.Popen(
            [*program, *self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
            env=self.environ,
            pass_fds=[lifeline],
            start_new_session=True,  # the terminal's Ctrl-C is for the supervisor alone
        )
        if self._process.stdout is not None:
            os.set_blocking(self._process.stdout.fileno(), False)
        self._since, self._began = time.time(), time.monotonic()
        self._quietly = False
        self.restarts += 1

    def lines(self) -> Iterator[str]:
        """Read what it has said since; a last line without an end comes when it is over."""
        while (fd := self.output) is not None:
            try:
                some = os.read(fd, _LINE_BYTES)
            except BlockingIOError:
                return
            *whole, self._rest = (self._rest + some).split(b"\n")
            if not some or len(self._rest) >= _LINE_BYTES:
                whole, self._rest = [*whole, self._rest] if self._rest else whole, b""
            yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
            if not some:
                self._close()

    def buried(self) -> str:
        """See off a child that has died, with all that it started; say how it died."""
        process = self._process
        if process is None:
            return ""
        self.kill()
        code = process.wait()
        self._close()
        self._process, self._since = None, time.time()
        self.due = time.monotonic() + self._back_off.after(time.monotonic() - self._began)
        if self._quietly:
            return "ended"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def ask_to_end(self) -> None:
        """Let a worker finish its batch. A beat has nothing to finish.

        Celery's beat answers SIGTERM with an exception from wherever it is; in its first second that
        is an import, and two thousand lines of traceback.
        """
        if self._process is None:
            return
        if self.name == "beat":
            self._quietly = True
            self.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """End it and all it started, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def seen(self) -> Process:
        """Say how it is."""
        pid = self._process.pid if self._process is not None and self.alive else None
        state = "up" if pid else "starting again"
        return Process(
            name=self.name, state=state, pid=pid, since=self._since, restarts=max(0, self.restarts)
        )

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
