"""Registering a file where it lies: finding its root, and taking a second name for it that pins it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from mediastore.errors import (
    BlobsUnavailable,
    FileMissing,
    InvalidPath,
    NotARegularFile,
    OutsideRoots,
)
from mediastore.journal import Held
from mediastore.plain import BOOKKEEPING

from . import posix
from .homes import HELD, NEW, held_name, path_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from mediastore.blobs import Hold

    from .homes import Opened
    from .root import Root

#: How often a directory of ours is made again for one store.
_MOST_TRIES: Final = 3


def place(roots: Collection[Root], path: str) -> tuple[Root, str]:
    """Return the root of a path and the path relative to it: aliases of one file come out the same.

    Raises:
        InvalidPath, NotARegularFile, OutsideRoots: it cannot be registered.
    """
    check_text(path)
    parent = os.path.realpath(
        os.path.dirname(path) or "."
    )  # before normalising: `link/..` is not `.`
    name = os.path.basename(path)
    if name in {"", ".", ".."}:
        raise NotARegularFile(f"{path} is a directory, not a regular file")
    real = os.path.join(parent, name)
    for root in roots:
        if real.startswith(root.path + "/"):
            relative = real[len(root.path) + 1 :]
            refuse_ours(path, relative)
            return root, relative
    raise OutsideRoots(f"{path} is outside every root ({', '.join(r.path for r in roots)})")


def refuse_ours(path: str, relative: str) -> None:
    """Refuse a path below `.mediastore`: readers are given held links, and one that is registered again would be deleted twice.

    Raises:
        InvalidPath: it is one; the text says how to have one more ref.
    """
    if relative.split("/", maxsplit=1)[0] == BOOKKEEPING:
        raise InvalidPath(
            f"{path} lies in {BOOKKEEPING}, the store's own bookkeeping; "
            "for one more ref of the same bytes call share(ref, scope)"
        )


def hold(root: Root, there: Opened, path: str, step: Hold) -> Held:
    """Take the second name for the file at `path`, relative to the root.

    Raises:
        FileMissing, NotARegularFile, OutsideRoots: nothing was done.
    """
    try:
        with posix.walked(there.fd, path) as (parent, name):
            seen = _regular(step.path, posix.look(name, at=parent))
            linked = not step.borrow and _link(step, there, parent, name)
        # A link does not leave a mount; without one, nothing else would notice a bind mount of the same disk.
        if not linked and posix.reach(there.fd, path).beyond:
            raise _beyond(step.path, root)
    except FileNotFoundError:
        raise FileMissing(step.path) from None
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise _beyond(step.path, root) from None
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            raise FileMissing(step.path) from None
        raise
    if linked:
        seen = _linked(step, there, linked)
    stat_form = f"{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}"
    identity = (
        f"link:{seen.st_ino}"
        if linked
        else f"inode:{seen.st_ino}"
        if step.borrow
        else f"stat:{stat_form}"
    )
    custody = "borrowed" if step.borrow else "adopted"
    return Held(root.id, path, seen.st_size, identity, stat_form, custody)


def _beyond(path: str, root: Root) -> OutsideRoots:
    return OutsideRoots(
        f"{path} lies on another file system, or another mount, than its root {root.path}: "
        "a root ends where something is mounted inside it"
    )


def _link(step: Hold, there: Opened, parent: int, name: str) -> str:
    """Take the second name; empty where the file system does not allow one.

    Raises:
        OSError: EXDEV if the file lies on another mount, a bind mount of the same disk included.
    """
    target = held_name(step.blob, name)
    for _ in range(_MOST_TRIES):
        try:
            posix.link(name, parent, target, there.home(NEW))
        except FileNotFoundError:
            if posix.look_or_none(name, at=parent) is None:
                raise
            # The file is there: it is our directory that somebody has removed just now.
            there.reopen(NEW)
        except OSError as error:
            if error.errno == errno.EXDEV or error.errno not in posix.NO_LINKS:
                raise
            return ""
        else:
            return target
    raise BlobsUnavailable(f"{path_in(NEW, '')[:-1]} of a root is removed again and again")


def _linked(step: Hold, there: Opened, target: str) -> os.stat_result:
    """Look at what the second name holds: between our look and the link another file may have come there."""
    try:
        return _regular(step.path, posix.look(target, at=there.home(NEW)))
    except NotARegularFile:
        posix.unlink(target, at=there.home(NEW))
        raise


def keep(there: Opened, held: Held, blob: str) -> bool:
    """Give the second name its lasting place; returns whether the file is still at its path."""
    name = held_name(blob, held.path)
    if held.identity.startswith("link:"):
        with contextlib.suppress(FileNotFoundError):
            posix.rename(name, there.home(NEW), name, there.home(HELD))
    return _still_there(there, held)


def drop(there: Opened, held: Held, blob: str) -> bool:
    """Let the second name go; returns whether the file is still at its path."""
    # Looked at while the second name still pins the inode: the number cannot have come back.
    still_there = _still_there(there, held)
    if held.identity.startswith("link:"):
        with contextlib.suppress(FileNotFoundError):
            posix.unlink(held_name(blob, held.path), at=there.home(NEW))
    return still_there


def _still_there(there: Opened, held: Held) -> bool:
    """Whether the file that was given a second name is at its path."""
    try:
        with posix.walked(there.fd, held.path) as (parent, name):
            return posix.look(name, at=parent).st_ino == int(held.stat.partition(":")[0])
    except OSError:
        return False


def check_text(path: str) -> None:
    """Refuse a path that cannot be a file name.

    Raises:
        InvalidPath: it holds a NUL, or is not UTF-8.
    """
    if "\x00" in path:
        raise InvalidPath(f"{path!r:.200} holds a NUL")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidPath(f"{path!r:.200} is not UTF-8") from None


def _regular(path: str, seen: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(seen.st_mode):
        raise NotARegularFile(f"{path} is a {posix.kind(seen.st_mode)}, not a regular file")
    return seen
