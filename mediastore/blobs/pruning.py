"""Removing the directories of a root that were left empty, where the setting `prune_empty` says so.

All directories are looked at, in parts of bounded time. No symlink is followed and no mount entered, not even one of the
same file system, and nothing below another `.mediastore` is touched. What is not empty at that instant, rmdir refuses.
"""

from __future__ import annotations

import contextlib
import os
import random
from time import monotonic
from typing import TYPE_CHECKING, Final

from mediastore.plain import BOOKKEEPING

from . import posix

if TYPE_CHECKING:
    from .homes import Opened

#: How long one part takes, beyond the directory that it is in.
_PART_S: Final = 0.2
#: Each level holds a descriptor or two; what lies deeper is left alone.
_DEEPEST: Final = 64


class _TimeIsUp(Exception):
    """The rest is for the next part."""


class Walk:
    """A walk through the directories of one root, which goes on where it stopped."""

    def __init__(self) -> None:
        """Begin anywhere: a process that lives for one part only must not look at the same directories each time."""
        self._anywhere = True
        #: The directory that was done with last, as names from the root; what sorts before it is done with as well.
        self._done: tuple[str, ...] = ()
        self._before = self._until = 0.0
        self._mount: tuple[int, str] = (0, "")
        self._removed = 0

    def go_on(self, there: Opened, before: float) -> int:
        """Look at the next directories; returns how many were removed: empty, and not changed since `before`."""
        self._before, self._until = before, monotonic() + _PART_S
        self._mount, self._removed = _mount_of(there.fd), 0
        whole = not (self._anywhere or self._done)
        with contextlib.suppress(_TimeIsUp):
            self._below(there.fd, (), self._done)
            self._done = ()
            if not whole:
                self._below(there.fd, (), ())
                self._done = ()
        return self._removed

    def _below(self, fd: int, path: tuple[str, ...], done: tuple[str, ...]) -> None:
        """Look at the directories in an open one; `done` is what was done with in it."""
        names = _directories(fd, inner=bool(path))
        if self._anywhere and names:
            names = names[random.randrange(len(names)) :]  # noqa: S311 - no secret
        for name in names:
            if done and (name < done[0] or done == (name,)):
                continue
            with contextlib.suppress(OSError):
                self._look_at(name, fd, path, done[1:] if done and name == done[0] else ())
            self._anywhere, self._done = False, (*path, name)
            if monotonic() > self._until:
                raise _TimeIsUp

    def _look_at(self, name: str, at: int, path: tuple[str, ...], done: tuple[str, ...]) -> None:
        """Look at what is in a directory, then at itself.

        Raises:
            OSError: it is gone, not empty, or must not be entered.
        """
        with posix.inside(name, at=at) as fd:
            if _mount_of(fd) != self._mount:
                return
            # Before those in it are removed, for that changes it.
            seen = os.fstat(fd)
            if len(path) < _DEEPEST:
                self._below(fd, (*path, name), done)
            now = posix.look(name, at=at)
        if seen.st_ctime < self._before and (seen.st_dev, seen.st_ino) == (now.st_dev, now.st_ino):
            posix.remove_directory(name, at=at)
            self._removed += 1


def _directories(fd: int, *, inner: bool) -> list[str]:
    """List the directories in an open one, sorted; none of one that is a root itself."""
    listed = posix.open_to_list(at=fd)
    try:
        with os.scandir(listed) as entries:
            found = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    finally:
        os.close(listed)
    if BOOKKEEPING in found:
        return [] if inner else sorted(name for name in found if name != BOOKKEEPING)
    return sorted(found)


def _mount_of(fd: int) -> tuple[int, str]:
    """Return what tells mounts apart: the device, and the mount's own number where the system gives one."""
    number = ""
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{fd}") as told:
        number = next((line for line in told if line.startswith("mnt_id:")), "")
    return os.fstat(fd).st_dev, number
