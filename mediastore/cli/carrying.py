"""A command of somebody else's, carried out while a lease holds: signals reach it, and its exit code is ours."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from .output import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

#: As env, nohup and the shells say it.
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
_BY_SIGNAL: Final = 128

#: What is passed on. Of these a terminal sends the first two to both of us.
_TYPED: Final = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON: Final = (*_TYPED, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
#: How often the lease is looked at.
_LOOK_S: Final = 0.5
#: How long a command that uses bytes which may be gone gets to end by itself.
_MERCY_S: Final = 5.0


def carry_out(command: Sequence[str], path: Path, lost: Callable[[], bool]) -> int:
    """Run a command with the path for `{}` and in MEDIASTORE_PATH; return the exit code as a shell tells it.

    Args:
        command: The program and its arguments.
        path: The leased file.
        lost: Whether the lease is lost; then the command is ended: SIGTERM, five seconds later SIGKILL.
    """
    words = [word.replace("{}", str(path)) for word in command]
    with _signals() as passing:
        try:
            child = subprocess.Popen(words, env={**os.environ, "MEDIASTORE_PATH": str(path)})
        except OSError as error:
            note(f"error: {command[0]}: {error.strerror}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        passing.to(child)
        code = _wait(child, lost)
    return _BY_SIGNAL - code if code < 0 else code


def _wait(child: subprocess.Popen[bytes], lost: Callable[[], bool]) -> int:
    killed_at: float | None = None
    while True:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(_LOOK_S)
        if killed_at is None and lost():
            note("the file may be gone: ending the command")
            child.terminate()
            killed_at = time.monotonic() + _MERCY_S
        if killed_at is not None and time.monotonic() >= killed_at:
            child.kill()


class _Passing:
    """Passes signals on; what comes before there is a child waits for it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def to(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        for number in self._early:
            child.send_signal(number)

    def __call__(self, number: int, _: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
        elif not (number in _TYPED and _in_the_foreground()):
            self._child.send_signal(number)


def _in_the_foreground() -> bool:
    """Whether a terminal sends what is typed on it to our process group, and so to the command as well."""
    try:
        tty = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(tty) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(tty)


@contextmanager
def _signals() -> Iterator[_Passing]:
    """Pass signals on to a command; those that were ignored when we began (nohup) stay ignored, by it as well."""
    passing = _Passing()
    before = {number: signal.getsignal(number) for number in _PASSED_ON}
    mine = [number for number, action in before.items() if action != signal.SIG_IGN]
    for number in mine:
        signal.signal(number, passing)
    try:
        yield passing
    finally:
        for number in mine:
            signal.signal(number, before[number])
