"""Children that never outlive the demo, and signals that end it at a safe moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import mediastore

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What configures somebody else's fleet must not reach ours.
FOREIGN = ("MEDIASTORE_", "CELERY")
PATIENCE_S = 6.0
# Runs between our fork and the child, as in `embedded`. Not SIGTERM: when we are killed the server
# goes too, and a Celery worker that is asked to end without its broker waits for that for ever.
KILLED_WITH_PARENT = """\
import ctypes, os, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL; kept across exec
os.getppid() == parent or sys.exit("the demo ended before its child began")
os.execv(program[0], program)
"""
LOG_LINES = 12


class Failed(Exception):
    """The demo cannot go on; the text says why."""


class Interrupted(Exception):
    """A signal asked the demo to end."""

    def __init__(self, number: int) -> None:
        """Keep which one."""
        super().__init__(number)
        self.number = number


class Interruption:
    """Notes a signal; `check` raises it where no child is half started.

    Once the demo ends, further signals change nothing: its end is bounded in time.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        """Note nothing yet."""
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: object) -> None:
        self.number = self.number or number

    def check(self) -> None:
        """Raise what was noted.

        Raises:
            Interrupted: a signal has come.
        """
        if self.number is not None:
            raise Interrupted(self.number)


class Child:
    """A process in a session of its own: a signal to it reaches all it started, and no other."""

    def __init__(
        self, name: str, command: list[str], *, log: Path, env: Mapping[str, str], reports: bool
    ) -> None:
        """Start it in the directory of its log.

        Args:
            name: What people call it.
            command: The program and its arguments.
            log: Takes what it says: everything, or what goes to stderr when it reports.
            env: Its whole environment.
            reports: Whether its stdout is a pipe for us.
        """
        self.name, self.log, self.killed = name, log, False
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [*_tied_to_us(), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if reports else file,
                stderr=file,
                cwd=log.parent,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def signal_all(self, number: int) -> None:
        """Send a signal to it and all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it as a crash of the machine would: at once, it and all it started."""
        self.killed = True
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def ask_to_end(self) -> None:
        """Send SIGTERM; it decides how its own children end."""
        if self.alive:
            self.process.terminate()

    def end_by(self, deadline: float) -> None:
        """Wait until the deadline (monotonic), then kill it; nothing it started stays."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        self.signal_all(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def log_tail(self) -> str:
        """Return the last lines it wrote, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "".join(f"\n  {line}" for line in lines)


def end_all(children: list[Child]) -> None:
    """End them side by side; SIGKILL for those that take too long."""
    for child in children:
        child.ask_to_end()
    deadline = time.monotonic() + PATIENCE_S
    for child in children:
        child.end_by(deadline)


def environment(scratch: Path, **settings: str) -> dict[str, str]:
    """Return our environment for a child: these settings, no others, and this very package.

    `scratch` takes its temporary files: a Celery worker that is killed leaves some.

    A child runs in a directory of the demo's, so relative entries of PYTHONPATH would break there.
    The folder that holds `mediastore` also holds `worker`, and comes first: somebody's own
    `worker.py` must never be imported instead.
    """
    env = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
    home = str(Path(mediastore.__file__).parent.parent.resolve())
    said = os.environ.get("PYTHONPATH", "")
    others = [str(Path(entry).absolute()) for entry in said.split(os.pathsep) if entry]
    if others or home not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        env["PYTHONPATH"] = os.pathsep.join([home, *others])
    env["TMPDIR"] = str(scratch)
    settings = {"health_dir": str(scratch / "health"), **settings}
    return env | {f"MEDIASTORE_{name.upper()}": text for name, text in settings.items()}


def _tied_to_us() -> list[str]:
    """What to put before a command so that the child is killed when we are."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return []
    return [sys.executable, "-I", "-S", "-c", KILLED_WITH_PARENT, str(os.getpid())]
