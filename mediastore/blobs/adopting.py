"""Adopting a directory as a root: finding each registered file in it, and giving it a second name again.

A copied or restored tree has other inode numbers. What shows that a file is the registered one is its second
name: the same inode where the copy kept hard links, the same bytes where it did not. A file that never had one is known
by its size and time, as it was before; a borrowed one, which is never deleted, by its size. Nothing else is taken for
ours: a release would destroy it. Nobody else acts in the directory meanwhile: its marker is wrong.

If the registered file is not at its path, the held link alone is what readers get, for it has the blob's own name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from mediastore.journal import Bound, Placed

from . import posix
from .claimed import ENTRY, is_claims
from .homes import HELD, NEW, QUARANTINE, Opened, held_name, make_homes
from .parking import park

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
_CHUNK: Final = 1 << 20


@contextlib.contextmanager
def adopting(path: str) -> Iterator[Opened]:
    """Open a directory that is being adopted."""
    with Opened(path, posix.open_root(path)) as there:
        make_homes(there, path)
        yield there


def rebind(there: Opened, blobs: tuple[Placed, ...], drafts: tuple[str, ...]) -> tuple[Bound, ...]:
    """Say how each blob knows its file here; the second names are there when this returns."""
    return tuple(_bind(there, blob, draft) for blob, draft in zip(blobs, drafts, strict=True))


def rebind_displaced(there: Opened, blobs: tuple[Placed, ...]) -> tuple[Bound, ...]:
    """As `rebind`, of blobs whose paths are others' by now: they have their held links, or nothing."""
    return tuple(_not_at_its_path(there, blob, "missing") for blob in blobs)


def _not_at_its_path(there: Opened, blob: Placed, fault: str) -> Bound:
    """Bind a blob to its held link; without one it is lost, for this fault."""
    name = held_name(blob.blob, blob.path)
    for home in (HELD, NEW) if blob.identity.startswith("link:") else ():
        seen = posix.look_or_none(name, at=there.home(home))
        if seen is not None and stat.S_ISREG(seen.st_mode):
            if home == NEW:
                posix.rename(name, there.home(NEW), name, there.home(HELD))
            identity = f"link:{seen.st_ino}"
            return Bound(blob.blob, blob.path, blob.identity, identity, "hidden")
    return Bound(blob.blob, blob.path, blob.identity, blob.lost_identity, fault)


def _bind(there: Opened, blob: Placed, draft: str) -> Bound:
    def bound(identity: str, fault: str = "") -> Bound:
        return Bound(blob.blob, blob.path, blob.identity, identity, fault)

    try:
        with posix.walked(there.fd, blob.path) as (parent, name):
            if posix.reach(there.fd, blob.path).beyond:
                return bound(blob.lost_identity, "missing")  # on a mount inside: not in the root
            seen = posix.look(name, at=parent)
            if not stat.S_ISREG(seen.st_mode):
                return _not_at_its_path(there, blob, "missing")
            if blob.identity.startswith("owned:"):
                same = seen.st_size == blob.size
                return bound(f"owned:{blob.size}") if same else bound(blob.lost_identity, "differ")
            kept = _held_links(there, blob, parent, name, seen.st_ino)
            if not _is_registered(blob, kept, seen):
                return _not_at_its_path(there, blob, "differ")
            if blob.identity.startswith("inode:"):
                return bound(f"inode:{seen.st_ino}")
            linked = _hold(there, blob, kept, parent, name, seen.st_ino, draft)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return _not_at_its_path(there, blob, "missing")
    if linked:
        return bound(f"link:{seen.st_ino}")
    return bound(f"stat:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}")


def _held_links(there: Opened, blob: Placed, parent: int, name: str, inode: int) -> dict[str, str]:
    """Return in which of our directories the blob has a held link, and what that is to the file at the path.

    That is "name", "copy" or "other". A store that was killed left it in `new/`.
    """
    found, held = {}, held_name(blob.blob, blob.path)
    for home in (HELD, NEW):
        seen = posix.look_or_none(held, at=there.home(home))
        if seen is None or not stat.S_ISREG(seen.st_mode):
            continue
        if seen.st_ino == inode:
            found[home] = "name"
        else:
            same = _same_bytes(there.home(home), held, parent, name)
            found[home] = "copy" if same else "other"
    return found


def _is_registered(blob: Placed, kept: dict[str, str], seen: os.stat_result) -> bool:
    """Whether the file at the path is the one that was registered, as far as the tree can tell."""
    if kept:
        return any(relation != "other" for relation in kept.values())
    kind, _, rest = blob.identity.partition(":")
    if kind == "stat":
        return rest.partition(":")[2] == f"{seen.st_size}:{seen.st_mtime_ns}"
    return kind == "inode" and seen.st_size == blob.size


def _same_bytes(at: int, held: str, parent: int, name: str) -> bool:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(open(posix.open_file(held, at=at), "rb"))
        theirs = stack.enter_context(open(posix.open_file(name, at=parent), "rb"))
        if os.fstat(ours.fileno()).st_size != os.fstat(theirs.fileno()).st_size:
            return False
        while True:
            some = ours.read(_CHUNK)
            if some != theirs.read(_CHUNK):
                return False
            if not some:
                return True


def _hold(
    there: Opened,
    blob: Placed,
    kept: dict[str, str],
    parent: int,
    name: str,
    inode: int,
    draft: str,
) -> bool:
    """Make the held link a name of the file at the path; False where the file system has no links.

    A copy of the file under that name is replaced in one step, so that a call stopped here finds one or the other.
    """
    held, linked, new = held_name(blob.blob, blob.path), True, there.home(NEW)
    if kept.get(HELD) != "name":
        try:
            posix.link(name, parent, draft, new)
        except OSError as error:
            if error.errno not in posix.NO_LINKS:
                raise
            linked = False
        else:
            if posix.look(draft, at=new).st_ino != inode:  # somebody replaces files even here
                posix.unlink(draft, at=new)
                raise FileNotFoundError(errno.ENOENT, name)
            if kept.get(HELD) == "other":
                park(there, held, at=there.home(HELD))
            posix.rename(draft, new, held, there.home(HELD))
    for home, relation in kept.items():
        if home != HELD or not linked:
            _let_go(there, held, there.home(home), duplicate=relation == "copy")
    return linked


def held_blobs(there: Opened, *, copied: bool) -> tuple[str, ...]:
    """Name the blobs that have a held link here, each once."""
    named = (name.split(".")[0] for name, *_ in _held(there, copied=copied))
    return tuple(dict.fromkeys(blob for blob in named if ENTRY.fullmatch(blob)))


def _held(there: Opened, *, copied: bool) -> Iterator[tuple[str, int, str]]:
    """Give each held link: its name, the descriptor of its directory, open until the next one is asked for, and the claim."""
    for home in (HELD, NEW) if copied else (HELD,):
        for name in posix.names(at=there.home(home)):
            yield name, there.home(home), ""
    for token in posix.names(at=there.home(QUARANTINE)):
        for name, at in _claimed(token, there.home(QUARANTINE)):
            yield name, at, token


def _claimed(token: str, at: int) -> Iterator[tuple[str, int]]:
    """Give what a claim was deleting; a worker that died while it took claims over left their directories in its own."""
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        posix.inside(token, at=at) as inside,
    ):
        for name in posix.names(at=inside):
            if is_claims(name, inside):
                yield from _claimed(name, inside)
            else:
                yield name, inside


def unhold(there: Opened, blobs: frozenset[str], *, copied: bool) -> tuple[int, int]:
    """Let the held links of these blobs go; return how many were removed, and how many parked."""
    gone, tokens = [], set()
    for name, at, token in _held(there, copied=copied):
        if name.split(".")[0] in blobs:
            gone.append(_let_go(there, name, at, claimed=bool(token)))
            tokens.add(token)
    for token in tokens - {""}:
        _remove_empty(token, there.home(QUARANTINE))
    return gone.count("removed"), gone.count("parked")


def _remove_empty(token: str, at: int) -> None:
    """Remove the directory of a claim, and those in it; one that is not empty is a sweeper's still."""
    with contextlib.suppress(OSError):
        with posix.inside(token, at=at) as inside:
            for name in posix.names(at=inside):
                _remove_empty(name, inside)
        posix.remove_directory(token, at=at)


def _let_go(
    there: Opened, name: str, at: int, *, duplicate: bool = False, claimed: bool = False
) -> str:
    """Remove a held link; the only name of bytes that nothing else holds is parked."""
    seen = posix.look_or_none(name, at=at)
    if seen is None:
        return ""
    if not stat.S_ISREG(seen.st_mode) and not claimed:
        return ""
    if not stat.S_ISREG(seen.st_mode) or (seen.st_nlink == 1 and not duplicate):
        park(there, name, at=at)
        return "parked"
    with contextlib.suppress(FileNotFoundError):
        posix.unlink(name, at=at)
    return "removed"
