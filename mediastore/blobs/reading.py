"""Finding the file of a blob again: under its path, or under the second name that pins it."""

from __future__ import annotations

import binascii
import errno
import io
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from mediastore.errors import TooLarge

from . import posix
from .homes import HELD, NEW, held_name, path_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .homes import Opened

#: What is encoded at once; a multiple of three, so that no padding comes in the middle.
_PIECE: Final = 3 << 18


def _is(seen: os.stat_result | None, identity: str) -> bool:
    if seen is None or not stat.S_ISREG(seen.st_mode):
        return False
    kind, _, rest = identity.partition(":")
    if kind == "owned":
        return rest == str(seen.st_size)  # the name is given to no other file
    if kind == "stat":
        return rest == f"{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}"
    # While the held link stands, no other file can have this inode number.
    return rest == str(seen.st_ino)


@contextmanager
def _located(there: Opened, path: str) -> Iterator[tuple[int, str]]:
    """Open the directory of a file that a ref was resolved to: the place of held links, or where it was registered.

    Raises:
        OSError: there is no such directory.
    """
    for home in (HELD, NEW):
        if path.startswith(path_in(home, "")):
            fd = there.home_or_none(home)
            if fd is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            yield fd, path.removeprefix(path_in(home, ""))
            return
    with posix.walked(there.fd, path) as found:
        yield found


def _registered(there: Opened, blob: str, path: str, identity: str) -> bool:
    """Whether the file at a path of a root is the registered one."""
    try:
        seen = posix.look_along(there.fd, path)
    except OSError as error:
        if error.errno in posix.NO_FILE:
            return False
        raise
    if not _is(seen, identity):
        return False
    # An inode number that no held link pins comes back with any other file. That there is one shows without a further
    # look in the number of names, on all file systems that count them.
    pinned = not identity.startswith("link:") or (seen is not None and seen.st_nlink > 1)
    return pinned or _held(there, blob, path, identity) is not None


def _held(there: Opened, blob: str, path: str, identity: str) -> str | None:
    """Return the path of a blob's held link, or None if it has none."""
    if not identity.startswith("link:"):
        return None
    name = held_name(blob, path)
    if _is_in(there, NEW, name, identity):
        # Whoever stored it has not come that far, or was killed: a name that is in use must not move later.
        with suppress(OSError):
            posix.rename(name, there.home(NEW), name, there.home(HELD))
    # A name moves from `new/` to `held/` only, so a third look is conclusive.
    for home in (HELD, NEW, HELD):
        if _is_in(there, home, name, identity):
            return path_in(home, name)
    return None


def _is_in(there: Opened, home: str, name: str, identity: str) -> bool:
    """Whether one of our directories has the held link."""
    fd = there.home_or_none(home)
    return fd is not None and _is(posix.look_or_none(name, at=fd), identity)


def located(there: Opened, blob: str, path: str, identity: str) -> str | None:
    """Return the path, relative to the root, under which a blob's bytes can be read: its own, else that of its held link.

    None if they are at neither.
    """
    if _registered(there, blob, path, identity):
        return path
    return _held(there, blob, path, identity)


def lasting(there: Opened, blob: str, path: str, identity: str) -> str | None:
    """Return the path under which a blob's bytes stay whatever happens to its own, or None if they are not there.

    That is its held link; a borrowed file, and one on a file system without hard links, has only its path.
    """
    if identity.startswith("link:"):
        return _held(there, blob, path, identity)
    return path if _registered(there, blob, path, identity) else None


def occupant(there: Opened, path: str, identity: str) -> str:
    """Say what is at a path where the registered file is not."""
    try:
        with _located(there, path) as (parent, name):
            seen = posix.look_or_none(name, at=parent)
    except OSError as error:
        if error.errno not in posix.NO_FILE:
            raise
        return "nothing"
    if seen is None:
        return "nothing"
    if not stat.S_ISREG(seen.st_mode):
        return f"a {posix.kind(seen.st_mode)}"
    # Where the inode number is not all that is compared, it may be the same file.
    same = identity.startswith(("link:", "inode:"))
    return "another file" if same else "a file that was written to or replaced"


def opened(there: Opened, path: str, identity: str) -> io.FileIO | None:
    """Open the file at an absolute path of the root if it is the registered one; it calls itself by that path."""
    try:
        with _located(there, path[len(there.path) + 1 :]) as (parent, name):
            file = io.FileIO(path, opener=lambda *_: posix.open_file(name, at=parent))
    except OSError as error:
        if error.errno in posix.NO_FILE:
            return None
        raise
    if _is(os.fstat(file.fileno()), identity):
        return file
    file.close()
    return None


def encoded(file: io.FileIO, limit: int) -> str:
    """Read a file as base64 text, as much as it has now, and close it.

    Raises:
        TooLarge: it has more than `limit` bytes; less than 0 for any number.
    """
    with io.BufferedReader(file) as whole:
        left = os.fstat(whole.fileno()).st_size
        if 0 <= limit < left:
            raise TooLarge(limit, left)
        pieces = []
        while left > 0 and (piece := whole.read(min(left, _PIECE))):
            pieces.append(binascii.b2a_base64(piece, newline=False))
            left -= len(piece)
        return b"".join(pieces).decode("ascii")
