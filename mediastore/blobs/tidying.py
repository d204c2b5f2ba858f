"""What crashed calls left on the disk, and its end."""

from __future__ import annotations

import contextlib
import errno
import logging

from . import inscribing, owned, posix
from .root import HELD, NEW, QUARANTINE, TMP, drafts

logger = logging.getLogger("mediastore")


def _old(fd: int, directory: str, before: float) -> list[str]:
    """Name the entries that were last changed before a time, by this host's clock on both sides."""
    found = (
        (name, posix.look_or_none(f"{directory}/{name}", at=fd))
        for name in posix.names(directory, at=fd)
    )
    return [name for name, seen in found if seen is not None and seen.st_ctime < before]


def strays(fd: int, before: float) -> tuple[str, ...]:
    """Name the blobs and claims whose names in our directories are older than `before`."""
    held = (name.split(".")[0] for place in (NEW, TMP) for name in _old(fd, place, before))
    return (*dict.fromkeys(held), *_old(fd, QUARANTINE, before))


def tidy(fd: int, before: float, known: frozenset[str]) -> int:
    """Give known blobs' second names their places, remove what nobody knows; returns how many names went."""
    removed = 0
    for name in _old(fd, NEW, before):
        with contextlib.suppress(OSError):  # one that cannot move keeps no other waiting
            if name.split(".")[0] in known:
                posix.rename(f"{NEW}/{name}", fd, f"{HELD}/{name}", fd)
            else:
                removed += _remove(fd, f"{NEW}/{name}")
    for name in _old(fd, TMP, before):
        # One that is known is being written, slowly: it is the trash's business.
        if name.split(".")[0] not in known:
            removed += _remove(fd, f"{TMP}/{name}")
    for token in _old(fd, QUARANTINE, before):
        if token not in known:
            with contextlib.suppress(OSError):  # a file that somebody put there
                removed += _remove_empty(fd, f"{QUARANTINE}/{token}")
    inscribing.tidy(fd, before)
    for draft in drafts(fd):
        seen = posix.look_or_none(draft, at=fd)
        if seen is not None and seen.st_ctime < before:
            _remove(fd, draft)
    return removed


def _remove(fd: int, name: str) -> int:
    """Remove a name that nobody knows; one that cannot go keeps no other waiting.

    Who was given the path of a draft may have made directories beside it: what is in one is parked.
    """
    try:
        owned.unlink(name, at=fd)
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "EUNKNOWN")
        logger.warning("%s cannot be removed now: %s", name, code)
        return 0
    return 1


def _remove_empty(fd: int, directory: str) -> int:
    """Remove a directory of a forgotten claim if nothing but empty directories is in it: files are never guessed at."""
    for name in posix.names(directory, at=fd):
        with contextlib.suppress(OSError):
            _remove_empty(fd, f"{directory}/{name}")
    try:
        posix.remove_directory(directory, at=fd)
    except OSError:
        return 0
    return 1
