"""Adopting a directory as a root: finding each registered file in it, and giving it a second name again.

A copied or restored tree has other inode numbers. What shows that a file is the registered one is its second
name: the same inode where the copy kept hard links, the same bytes where it did not. A file that never had one is known
by its size and time, as it was before; a borrowed one, which is never deleted, by its size. Nothing else is taken for
ours: a release would destroy it. Nobody else acts in the directory meanwhile: its marker is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
from itertools import count
from typing import TYPE_CHECKING, Final

from mediastore.journal import Bound, Placed

from . import posix
from .root import HELD, NEW, PARKED, QUARANTINE, held_name, make_homes

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("mediastore")

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 1 << 20
_CLAIMED: Final = re.compile(r"[A-Za-z0-9_-]{22}(\.held)?")


@contextlib.contextmanager
def adopting(path: str) -> Iterator[int]:
    """Open a directory that is being adopted."""
    fd = posix.open_directory(path)
    try:
        make_homes(path, fd)
        yield fd
    finally:
        os.close(fd)


def rebind(fd: int, blobs: tuple[Placed, ...], drafts: tuple[str, ...]) -> tuple[Bound, ...]:
    """Say how each blob knows its file here; the second names are there when this returns."""
    return tuple(_bind(fd, blob, draft) for blob, draft in zip(blobs, drafts, strict=True))


def _bind(fd: int, blob: Placed, draft: str) -> Bound:
    def bound(identity: str, fault: str = "") -> Bound:
        return Bound(blob.blob, blob.path, blob.identity, identity, fault)

    try:
        with posix.walked(fd, blob.path) as (parent, name):
            seen = posix.look(name, at=parent)
            if not stat.S_ISREG(seen.st_mode):
                return bound(blob.lost_identity, "missing")
            if blob.identity.startswith("owned:"):
                same = seen.st_size == blob.size
                return bound(f"owned:{blob.size}") if same else bound(blob.lost_identity, "differ")
            kept = _second_names(fd, blob, parent, name, seen.st_ino)
            if not _is_registered(blob, kept, seen):
                return bound(blob.lost_identity, "differ")
            if blob.identity.startswith("inode:"):
                return bound(f"inode:{seen.st_ino}")
            linked = _hold(fd, blob, kept, parent, name, seen.st_ino, f"{NEW}/{draft}")
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return bound(blob.lost_identity, "missing")
    if linked:
        return bound(f"link:{seen.st_ino}")
    return bound(f"stat:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}")


def _second_names(fd: int, blob: Placed, parent: int, name: str, inode: int) -> dict[str, str]:
    """Return the blob's second names, each with what it is to the file at the path: "name", "copy" or "other".

    A store that was killed left it in `new/`.
    """
    found = {}
    for place in (f"{place}/{held_name(blob.blob, blob.path)}" for place in (HELD, NEW)):
        seen = posix.look_or_none(place, at=fd)
        if seen is None or not stat.S_ISREG(seen.st_mode):
            continue
        if seen.st_ino == inode:
            found[place] = "name"
        else:
            found[place] = "copy" if _same_bytes(fd, place, parent, name) else "other"
    return found


def _is_registered(blob: Placed, kept: dict[str, str], seen: os.stat_result) -> bool:
    """Whether the file at the path is the one that was registered, as far as the tree can tell."""
    if kept:
        return any(relation != "other" for relation in kept.values())
    kind, _, rest = blob.identity.partition(":")
    if kind == "stat":
        return rest.partition(":")[2] == f"{seen.st_size}:{seen.st_mtime_ns}"
    return kind == "inode" and seen.st_size == blob.size


def _same_bytes(fd: int, held: str, parent: int, name: str) -> bool:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(open(os.open(held, _READ, dir_fd=fd), "rb"))
        theirs = stack.enter_context(open(os.open(name, _READ, dir_fd=parent), "rb"))
        if os.fstat(ours.fileno()).st_size != os.fstat(theirs.fileno()).st_size:
            return False
        while True:
            some = ours.read(_CHUNK)
            if some != theirs.read(_CHUNK):
                return False
            if not some:
                return True


def _hold(
    fd: int, blob: Placed, kept: dict[str, str], parent: int, name: str, inode: int, draft: str
) -> bool:
    """Make the held link a name of the file at the path; False where the file system has no links.

    A copy of the file under that name is replaced in one step, so that a call stopped here finds one or the other.
    """
    held = f"{HELD}/{held_name(blob.blob, blob.path)}"
    linked = True
    if kept.get(held) != "name":
        try:
            posix.link(name, parent, draft, fd)
        except OSError as error:
            if error.errno not in posix.NO_LINKS:
                raise
            linked = False
        else:
            if posix.look(draft, at=fd).st_ino != inode:  # somebody replaces files even here
                posix.unlink(draft, at=fd)
                raise FileNotFoundError(errno.ENOENT, name)
            if kept.get(held) == "other":
                park(fd, held)
            posix.rename(draft, fd, held, fd)
    for other, relation in kept.items():
        if other != held or not linked:
            _let_go(fd, other, duplicate=relation == "copy")
    return linked


def held_blobs(fd: int, *, copied: bool) -> tuple[str, ...]:
    """Name the blobs that have a second name here, each once."""
    return tuple(dict.fromkeys(name.split(".")[0] for _, name in _held(fd, copied=copied)))


def _held(fd: int, *, copied: bool) -> list[tuple[str, str]]:
    places = (HELD, NEW) if copied else (HELD,)
    found = [(place, name) for place in places for name in posix.names(place, at=fd)]
    for token in posix.names(QUARANTINE, at=fd):
        found += _claimed(fd, f"{QUARANTINE}/{token}")
    return found


def _claimed(fd: int, directory: str) -> list[tuple[str, str]]:
    """What a claim was deleting; a worker that died while it took claims over left their directories in its own."""
    found: list[tuple[str, str]] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in posix.names(directory, at=fd):
            inner = _is_claims(fd, f"{directory}/{name}")
            found += _claimed(fd, f"{directory}/{name}") if inner else [(directory, name)]
    return found


def _is_claims(fd: int, path: str) -> bool:
    """Whether this is the directory of a claim, and not one that stood at a blob's path."""
    seen = posix.look_or_none(path, at=fd)
    if seen is None or not stat.S_ISDIR(seen.st_mode):
        return False
    return all(_CLAIMED.fullmatch(name) for name in posix.names(path, at=fd))


def unhold(fd: int, blobs: frozenset[str], *, copied: bool) -> tuple[int, int]:
    """Let the second names of these blobs go; return how many were removed, and how many parked."""
    nobodys = [each for each in _held(fd, copied=copied) if each[1].split(".")[0] in blobs]
    gone = [_let_go(fd, f"{place}/{name}") for place, name in nobodys]
    for place in {place for place, _ in nobodys}:
        while place.startswith(f"{QUARANTINE}/"):
            # What is not empty is a sweeper's still.
            with contextlib.suppress(OSError):
                posix.remove_directory(place, at=fd)
            place = os.path.dirname(place)  # noqa: PLW2901
    return gone.count("removed"), gone.count("parked")


def _let_go(fd: int, name: str, *, duplicate: bool = False) -> str:
    """Remove a second name; the only name of bytes that nothing else holds is parked."""
    seen = posix.look_or_none(name, at=fd)
    if seen is None:
        return ""
    if not stat.S_ISREG(seen.st_mode) and not name.startswith(QUARANTINE):
        return ""
    if not stat.S_ISREG(seen.st_mode) or (seen.st_nlink == 1 and not duplicate):
        park(fd, name)
        return "parked"
    with contextlib.suppress(FileNotFoundError):
        posix.unlink(name, at=fd)
    return "removed"


def park(fd: int, name: str) -> None:
    """Keep a file that no blob has any more where a person finds it."""
    stem, extension = os.path.splitext(os.path.basename(name))
    names = (f"{PARKED}/{stem}{'-' * n}{extension}" for n in count())
    free = next(each for each in names if posix.look_or_none(each, at=fd) is None)
    posix.rename(name, fd, free, fd)
    logger.warning("a file that no blob has any more is kept in %s", free)
