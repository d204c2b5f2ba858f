"""Deleting claimed files: only the file that was registered, whoever else moves names about meanwhile.

POSIX has no compare-and-unlink, and a path can be replaced under us at any moment. So a name is first moved into
the claim's own directory, compared there with the held link, and only then removed or put back. A worker does all of
this through a descriptor of its directory, so that nobody leads it elsewhere by a symlink.

A sweeper that takes a claim over moves the old directory into its own, moves the entries out, the held links first, and
removes the old directory; only then does it begin. From the first of these steps on, the late worker finds its directory
gone from its place; from the last on, nothing can enter it any more. A step of the late worker in between harms nothing: it
finds its entry gone, or the new sweeper finds what it has put there. `tests/test_takeover_model.py` goes through every order.
A missing entry of our own therefore means "stop", never "done".
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from typing import TYPE_CHECKING, Final

from mediastore.errors import Corrupt
from mediastore.journal import Claim, Destroyed, Doomed, Outcome
from mediastore.plain import plain_id, plain_path

from . import inscribing, owned, posix
from .claimed import Claimed, Fenced
from .homes import HELD, NEW, QUARANTINE, held_name, take_spare
from .parking import park

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .homes import Opened

logger = logging.getLogger("mediastore")

#: Trying again soon cannot help; somebody has to change a right or a mount.
_HOPELESS: Final = frozenset({errno.EPERM, errno.EACCES, errno.EROFS, errno.EXDEV})
#: Errors of a walk that mean: nothing of ours is at the end of this path.
_NO_WAY: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG}
)
#: Stands in the journal for an error name if the record of a blob cannot be true.
CORRUPT: Final = "CORRUPT"


def prepare(root: Opened, token: str) -> None:
    """Make the directory of a claim.

    Raises:
        OSError: nothing can be deleted in this root now.
    """
    take_spare(root, plain_id(token))


def destroy(root: Opened, token: str, claim: Claim) -> Destroyed:
    """Delete the blobs of a claim; one that fails does not stop the others.

    Of those that another sweeper took over there is no outcome.
    """
    if claim.bare:
        return Destroyed(tuple(_outcome(root, None, blob) for blob in claim.blobs))
    outcomes: list[Outcome] = []
    try:
        with posix.inside(token, at=root.home(QUARANTINE)) as fd:
            own = Claimed(root, token, fd)
            own.take_over(claim.prev)
            # One by one, so that what was done before a fence is reported.
            for blob in claim.blobs:
                outcomes.append(_outcome(root, own, blob))  # noqa: PERF401
    except (Fenced, FileNotFoundError):
        logger.info(
            "a claim was taken over by another sweeper; %d blobs left to it",
            len(claim.blobs) - len(outcomes),
        )
    except OSError as error:
        # The next claim knows the same chain of tokens.
        logger.warning("a claim cannot be taken over now: %s", os.strerror(error.errno or 0))
        return Destroyed(tuple(_failed(blob, error) for blob in claim.blobs), taken_over=False)
    return Destroyed(tuple(outcomes))


def _outcome(root: Opened, own: Claimed | None, blob: Doomed) -> Outcome:
    try:
        return _delete(root, own, blob)
    except Corrupt as error:
        logger.error("blob %s is left alone: %s", blob.blob, error)  # noqa: TRY400
        return Outcome(blob.blob, errno=CORRUPT, stuck=True)
    except OSError as error:
        return _failed(blob, error)


def _failed(blob: Doomed, error: OSError) -> Outcome:
    code = error.errno or 0
    name = errno.errorcode.get(code, "EUNKNOWN")
    logger.warning("blob %s cannot be deleted now: %s", blob.blob, name)
    return Outcome(blob.blob, errno=name, stuck=code in _HOPELESS)


def _delete(root: Opened, own: Claimed | None, blob: Doomed) -> Outcome:
    """Delete one claimed blob."""
    if blob.own:
        inscribing.clear(root, blob.blob)
        freed = owned.delete(root, blob)
        if freed is not None:
            return Outcome(blob.blob, freed)
        _refuse_behind_a_mount(root, blob)
        return _not_found(root, blob)
    plain_path(blob.name, f"blob {blob.blob}")
    if own is None:
        raise Corrupt(f"blob {blob.blob} was claimed without a directory, and needs one")
    held, taken = f"{plain_id(blob.blob)}.held", blob.blob
    linked = blob.identity.startswith("link:")
    if linked and not _take_held(root, own, blob, held):
        return _not_found(root, blob)
    removed = _settle(root, own, blob, taken, held if linked else None)
    if blob.path and blob.custody != "borrowed":
        removed = _take_path(root, own, blob, taken, held if linked else None) or removed
        if not (removed or (linked and _is_last_name(own, held))):
            _refuse_behind_a_mount(root, blob)
    if linked:
        freed = _bytes_freed(own, held)
        own.unlink(held)
        return Outcome(blob.blob, freed)
    removed = removed or (own.find(taken) and _settle(root, own, blob, taken, None))
    return Outcome(blob.blob, blob.size) if removed else _not_found(root, blob)


def _not_found(root: Opened, blob: Doomed) -> Outcome:
    """Say what became of a blob whose bytes were not here to be removed: by what stands at its path.

    An earlier sweeper may have removed them and died before it could say so; then they were deleted, and by us. A held
    link is removed by nobody else, so without it that is certain, whatever has come to the path since.
    """
    certain = blob.silent and blob.identity.startswith("link:")
    stands = "" if blob.own or certain else standing(root.fd, blob.name)
    if stands:
        logger.debug("blob %s is spared: at its path stands %s", blob.blob, stands)
        return Outcome(blob.blob, kind="spared", found=stands)
    return Outcome(blob.blob, kind="deleted" if blob.silent else "gone")


def standing(root: int, path: str) -> str:
    """Return what stands at a path, a symlink on the way to it included; "" if nothing does."""
    reached = posix.reach(root, path)
    if reached.seen is None:
        return ""
    kind = posix.kind(reached.seen.st_mode)
    if not reached.whole:
        return kind if kind == "symlink" else ""
    if kind == "file":
        return f"file:{reached.seen.st_ino}:{reached.seen.st_size}:{reached.seen.st_mtime_ns}"
    return kind


def _refuse_behind_a_mount(root: Opened, blob: Doomed) -> None:
    """Raise if a mount point lies on the way to a path: the registered file may stand below it, where nobody can look.

    Raises:
        OSError: EXDEV, until nothing is mounted there any more.
    """
    if posix.reach(root.fd, blob.path).beyond:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), blob.path)


def _is_last_name(own: Claimed, held: str) -> bool:
    seen = posix.look_or_none(held, at=own.fd)
    return seen is not None and seen.st_nlink == 1


def _take_held(root: Opened, own: Claimed, blob: Doomed, held: str) -> bool:
    """Bring the held link into the claim's directory; a store that was killed may have left it in `new/`.

    A name moves from `new/` to `held/` only, so a third look is conclusive. A claim that the index has lost, by a
    failover, may have left it in its own directory.
    """
    if posix.look_or_none(held, at=own.fd) is not None:
        own.find(blob.blob)  # the claim before may have been stopped between the two
        return True
    name = held_name(blob.blob, blob.name)
    if any(own.move(name, root.home(home), held) for home in (HELD, NEW, HELD)):
        return True
    # Tidying gives the held link of a lost claim its place again, so that is looked at once more.
    return own.find(held, blob.blob) or own.move(name, root.home(HELD), held)


def _registered(own: Claimed, name: str, blob: Doomed, held: str | None, *, at: int) -> bool:
    """Whether the name is the registered file: the same inode as the held link, or size and times as registered.

    If the held link is gone from our directory, we do not know: a claim made after a failover has found it there.

    Raises:
        Fenced: another sweeper has taken our directory over.
    """
    seen = posix.look_or_none(name, at=at)
    if seen is None:
        return False
    if held is None:
        return blob.identity == f"stat:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}"
    ours = posix.look_or_none(held, at=own.fd)
    if ours is None:
        own.check()
        return False
    return (seen.st_dev, seen.st_ino) == (ours.st_dev, ours.st_ino)


def _take_path(root: Opened, own: Claimed, blob: Doomed, taken: str, held: str | None) -> bool:
    """Move the registered file from its path into the claim's directory and remove it there; True if this call did."""
    ours = False
    try:
        with posix.walked(root.fd, blob.path) as (parent, name):
            ours = _registered(own, name, blob, held, at=parent)
            if ours:
                posix.rename(name, parent, taken, own.fd)
    except OSError as error:
        # The way there is gone or leads elsewhere: nothing of ours is at its end, unless it is we who are late. If it is
        # ours and lies on another mount, it stays for as long as that is there.
        if error.errno not in _NO_WAY or (ours and error.errno == errno.EXDEV):
            raise
    own.check()
    return _settle(root, own, blob, taken, held)


def _settle(root: Opened, own: Claimed, blob: Doomed, taken: str, held: str | None) -> bool:
    """Remove what was moved here from the path, if it is the registered file; put anything else back where it was."""
    if posix.look_or_none(taken, at=own.fd) is None:
        return False
    if _registered(own, taken, blob, held, at=own.fd):
        own.unlink(taken)
        return True
    logger.warning(
        "blob %s: its path was replaced at the last moment; what came there is put back", blob.blob
    )
    put_back(root, taken, own.fd, blob.name)
    return False


def put_back(root: Opened, name: str, at: int, path: str) -> None:
    """Give an entry of a claim's directory its place again, over nothing; where that cannot be, it is parked.

    Raises:
        Fenced: the entry is gone: another sweeper has taken the claim over.
    """
    moved = False
    try:
        moved = _moved_back(root, name, at, path)
    except FileNotFoundError:
        if posix.look_or_none(name, at=at) is None:
            raise Fenced from None
        moved = _parked(root, name, at, path)
    except OSError as error:
        if not (isinstance(error, FileExistsError) and _same_file(root, name, at, path)):
            moved = _parked(root, name, at, path)
    if not moved:
        with _fencing(name, at):
            posix.unlink(name, at=at)


def _parked(root: Opened, name: str, at: int, path: str) -> bool:
    with _fencing(name, at):
        park(root, name, at=at, called=held_name(name, path))
    return True


def _moved_back(root: Opened, name: str, at: int, path: str) -> bool:
    """Return True if the entry was moved, as a directory is; a file is at both places now."""
    moved = posix.kind(posix.look(name, at=at).st_mode) == "directory"
    with posix.walked(root.fd, path) as (parent, last):
        # A directory takes the place of nothing, or of an empty directory; never of a file.
        (posix.rename if moved else posix.link)(name, at, last, parent)
    return moved


def _same_file(root: Opened, name: str, at: int, path: str) -> bool:
    with posix.walked(root.fd, path) as (parent, last):
        there, here = posix.look_or_none(last, at=parent), posix.look_or_none(name, at=at)
    return (
        there is not None
        and here is not None
        and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    )


def _bytes_freed(own: Claimed, held: str) -> int:
    seen = posix.look_or_none(held, at=own.fd)
    return seen.st_size if seen is not None and seen.st_nlink == 1 else 0


@contextlib.contextmanager
def _fencing(name: str, at: int) -> Iterator[None]:
    """If something is not there, and it is the entry itself, another sweeper has it."""
    try:
        yield
    except FileNotFoundError:
        if posix.look_or_none(name, at=at) is not None:
            raise
        raise Fenced from None
