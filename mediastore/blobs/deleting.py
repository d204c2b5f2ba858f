"""Deleting claimed files: only the file that was registered, whoever else moves names about meanwhile.

POSIX has no compare-and-unlink, and a path can be replaced under us at any moment. So a name is first moved into
the claim's own directory, compared there with the held link, and only then removed or put back. Each later step
goes through that directory by name: whoever takes the claim over moves the directory away first, and every
further step of the late worker fails. A missing entry of our own therefore means "stop", never "done".
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from itertools import count
from typing import Final

from mediastore.journal import Claim, Doomed, Outcome

from . import inscribing, owned, posix
from .root import HELD, NEW, PARKED, QUARANTINE, held_name

logger = logging.getLogger("mediastore")

#: Trying again soon cannot help; somebody has to change a right or a mount.
_HOPELESS: Final = frozenset({errno.EPERM, errno.EACCES, errno.EROFS})


class Fenced(Exception):
    """Another sweeper took this claim over; the files are its business now."""


def destroy(root: int, token: str, claim: Claim) -> tuple[Outcome, ...]:
    """Delete the blobs of a claim; one that fails does not stop the others.

    Returns one outcome for each blob that is still ours to report; none for those another sweeper took over.
    """
    own = f"{QUARANTINE}/{token}"
    outcomes: list[Outcome] = []
    try:
        _fence(root, own, claim.prev)
        # One by one, so that what was done before a fence is reported.
        for blob in claim.blobs:
            outcomes.append(_outcome(root, own, blob))  # noqa: PERF401
    except Fenced:
        logger.info(
            "a claim was taken over by another sweeper; %d blobs left to it",
            len(claim.blobs) - len(outcomes),
        )
    except OSError as error:
        # Nothing is reported: the claim lapses, and the next one knows the same chain of tokens.
        logger.warning("a claim cannot be taken over now: %s", os.strerror(error.errno or 0))
    return tuple(outcomes)


def _outcome(root: int, own: str, blob: Doomed) -> Outcome:
    try:
        return Outcome(blob.blob, freed=_delete(root, own, blob))
    except OSError as error:
        code = error.errno or 0
        name = errno.errorcode.get(code, "EUNKNOWN")
        logger.warning("blob %s cannot be deleted now: %s", blob.blob, name)
        return Outcome(blob.blob, errno=name, stuck=code in _HOPELESS)


def _fence(root: int, own: str, prev: tuple[str, ...]) -> None:
    """Move the directories of the earlier claims into ours, then their entries up; newest first, the oldest may lie inside."""
    for token in reversed(prev):
        with contextlib.suppress(FileNotFoundError):
            posix.rename(f"{QUARANTINE}/{token}", root, f"{own}/{token}", root)
    _stop_if_fenced(root, own)
    try:
        _flatten(root, own, own, frozenset(prev))
    except FileNotFoundError:
        raise Fenced from None


def _flatten(root: int, own: str, directory: str, tokens: frozenset[str]) -> None:
    """Move the entries of the earlier claims' directories up; a directory that is no claim's is an entry like any other."""
    for name in posix.names(directory, at=root):
        inner = f"{directory}/{name}"
        if name in tokens:
            _flatten(root, own, inner, tokens)
            posix.remove_directory(inner, at=root)
        elif directory != own:
            _move(root, own, inner, f"{own}/{name}")


def _stop_if_fenced(root: int, own: str) -> None:
    if posix.look_or_none(own, at=root) is None:
        raise Fenced


def _move(root: int, own: str, source: str, target: str) -> bool:
    """Move a name into the claim's directory; False when there is no such name.

    Raises:
        Fenced: the directory is no longer ours.
    """
    try:
        posix.rename(source, root, target, root)
    except FileNotFoundError:
        _stop_if_fenced(root, own)
        return False
    return True


def _delete(root: int, own: str, blob: Doomed) -> int:
    """Delete one claimed blob; returns the bytes that became free."""
    if blob.custody in {"owned", "draft"}:
        inscribing.clear(root, blob.blob)
        return owned.delete(root, blob)
    held, taken = f"{own}/{blob.blob}.held", f"{own}/{blob.blob}"
    linked = blob.identity.startswith("link:")
    if linked and not _take_held(root, own, blob, held):
        return 0  # nowhere: an earlier worker destroyed it and died before it could say so
    removed = _settle(root, own, blob, taken, held if linked else None)
    if blob.path and blob.custody != "borrowed":
        removed = _take_path(root, own, blob, taken, held if linked else None) or removed
    if not linked:
        return blob.size if removed else 0
    freed = _bytes_freed(root, held)
    _unlink(held, at=root)
    return freed


def _take_held(root: int, own: str, blob: Doomed, held: str) -> bool:
    """Bring the held link into the claim's directory; a store that was killed may have left it in `new/`.

    A name moves from `new/` to `held/` only, so a third look is conclusive.
    """
    if posix.look_or_none(held, at=root) is not None:
        return True
    name = held_name(blob.blob, blob.name)
    return any(_move(root, own, f"{place}/{name}", held) for place in (HELD, NEW, HELD))


def _registered(root: int, path: str, blob: Doomed, held: str | None, *, at: int) -> bool:
    """Whether the name is the registered file: the same inode as the held link, or size and times as registered."""
    seen = posix.look_or_none(path, at=at)
    if seen is None:
        return False
    if held is None:
        return blob.identity == f"stat:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}"
    own = posix.look_or_none(held, at=root)
    return own is not None and (seen.st_dev, seen.st_ino) == (own.st_dev, own.st_ino)


def _take_path(root: int, own: str, blob: Doomed, taken: str, held: str | None) -> bool:
    """Move the registered file from its path into the claim's directory and remove it there; True if this call did."""
    try:
        with posix.walked(root, blob.path) as (parent, name):
            if not _registered(root, name, blob, held, at=parent):
                logger.debug("blob %s: its path holds another file now; left alone", blob.blob)
            else:
                posix.rename(name, parent, taken, root)
    except OSError as error:
        # The way there is gone or leads elsewhere: nothing of ours is at its end, unless it is we who are late.
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV}:
            raise
    _stop_if_fenced(root, own)
    return _settle(root, own, blob, taken, held)


def _settle(root: int, own: str, blob: Doomed, taken: str, held: str | None) -> bool:
    """Remove what was moved here from the path, if it is the registered file; put anything else back where it was."""
    if posix.look_or_none(taken, at=root) is None:
        return False
    if _registered(root, taken, blob, held, at=root):
        _unlink(taken, at=root)
        return True
    logger.warning(
        "blob %s: its path was replaced at the last moment; what came there is put back", blob.blob
    )
    try:
        moved = _put_back(root, blob, taken)
    except OSError as error:
        if not (isinstance(error, FileExistsError) and _same_file(root, taken, blob.name)):
            _park(root, own, blob, taken)
            return False
        moved = False
    if not moved:
        _unlink(taken, at=root)
    return False


def _put_back(root: int, blob: Doomed, taken: str) -> bool:
    """Give what is not ours its name again, over nothing; True if it was moved: a directory has no second name."""
    moved = posix.kind(posix.look(taken, at=root).st_mode) == "directory"
    with posix.walked(root, blob.name) as (parent, name):
        # A directory takes the place of nothing, or of an empty directory; never of a file.
        (posix.rename if moved else posix.link)(taken, root, name, parent)
    return moved


def _same_file(root: int, taken: str, path: str) -> bool:
    with posix.walked(root, path) as (parent, name):
        there, here = posix.look_or_none(name, at=parent), posix.look_or_none(taken, at=root)
    return (
        there is not None
        and here is not None
        and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    )


def _park(root: int, own: str, blob: Doomed, taken: str) -> None:
    """Keep a file that is not ours and has no place to go back to; `doctor` reports it."""
    names = (held_name(blob.blob + "-" * n, blob.name) for n in count())
    free = next(n for n in names if posix.look_or_none(f"{PARKED}/{n}", at=root) is None)
    if _move(root, own, taken, f"{PARKED}/{free}"):
        logger.error(
            "blob %s: a file that is not ours could not be put back; it is kept in %s/%s",
            blob.blob,
            PARKED,
            free,
        )


def _bytes_freed(root: int, held: str) -> int:
    seen = posix.look_or_none(held, at=root)
    return seen.st_size if seen is not None and seen.st_nlink == 1 else 0


def _unlink(path: str, *, at: int) -> None:
    try:
        posix.unlink(path, at=at)
    except FileNotFoundError:
        # Nobody but the owner of the directory removes its entries: ours is elsewhere now.
        raise Fenced from None
