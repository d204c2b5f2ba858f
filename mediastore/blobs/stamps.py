"""Whether a file of ours still has the bytes that were hashed: its stamp, `<mtime_ns>:<ctime_ns>`.

A file system takes its times from a clock that moves in steps: of some milliseconds on most, of two seconds on some. So a
write right after a look may leave both times as they were. `mark` therefore sets the modification time of a file back before
its bytes are hashed; every later write then gives it another one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from . import posix

if TYPE_CHECKING:
    from .homes import Opened

#: More than one step of the clock of any file system; FAT's has two seconds.
_STEP_NS: Final = 4_000_000_000
#: How much is hashed at once.
_PIECE: Final = 1 << 20
#: What the kernel knows of who has a file open for writing; not every system can say.
_LEASES: Final = all(hasattr(fcntl, name) for name in ("F_SETLEASE", "F_SETSIG"))


def mark(fd: int) -> int | None:
    """Set a file's modification time back, unless it is old enough; returns it in ns.

    Returns None if that is not allowed, as of another user's file: its times then prove nothing.
    """
    seen = os.fstat(fd)
    # The change time was given by the file system's own clock, when the file got our name or our bytes.
    if seen.st_mtime_ns <= seen.st_ctime_ns - _STEP_NS:
        return seen.st_mtime_ns
    try:
        posix.set_times(fd, seen.st_atime_ns, seen.st_ctime_ns - _STEP_NS)
    except OSError:
        return None
    return os.fstat(fd).st_mtime_ns


def unmark(fd: int, marked: int | None, before: int) -> None:
    """Give a file that is not kept the modification time back that it had before `mark`, if nobody wrote to it since."""
    seen = os.fstat(fd)
    if marked is not None and marked != before and seen.st_mtime_ns == marked:
        with suppress(OSError):
            posix.set_times(fd, seen.st_atime_ns, before)


def stamp(marked: int | None, seen: os.stat_result) -> str:
    """Return the stamp of a file that has its final name; empty if its times prove nothing."""
    return "" if marked is None else f"{marked}:{seen.st_ctime_ns}"


def same(there: Opened, path: str, size: int, stamped: str, sha: str) -> bool:
    """Whether a file of ours is as it was, and nobody can write to it now, as far as the kernel tells.

    If only its change time is another one, its bytes are hashed: other rights or a further link change none.
    So are those of a file without a stamp. A file that somebody has written to is not the same, whatever its bytes are.
    """
    try:
        with posix.walked(there.fd, path) as (parent, name):
            fd = posix.open_file(name, at=parent)
    except OSError as error:
        if error.errno in posix.NO_FILE:
            return False
        raise
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != size or _is_written(fd):
            return False
        if stamped == f"{seen.st_mtime_ns}:{seen.st_ctime_ns}":
            return True
        if stamped and stamped.partition(":")[0] != str(seen.st_mtime_ns):
            return False
        return _hashed(fd) == sha and os.fstat(fd).st_mtime_ns == seen.st_mtime_ns
    finally:
        os.close(fd)


def _is_written(fd: int) -> bool:
    """Whether somebody has the file open for writing, or mapped so: the kernel refuses a read lease on it then.

    False if that cannot be told: of another user's file, or of a file system without leases.
    """
    if not _LEASES:
        return False
    # If somebody opens the file during the lease, the kernel sends a signal: one that nobody dies of.
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            return True
        # A child that was forked just now has the descriptor too, so closing it would not end the lease.
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _hashed(fd: int) -> str:
    sha = hashlib.sha256()
    while piece := os.read(fd, _PIECE):
        sha.update(piece)
    return sha.hexdigest()
