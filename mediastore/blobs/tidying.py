"""What crashed calls left on the disk, and its end."""

from __future__ import annotations

import contextlib
import errno
import logging
from typing import TYPE_CHECKING

from . import epochs, inscribing, owned, posix
from .claimed import ENTRY, Fenced, is_claims, is_directory
from .deleting import put_back
from .homes import HELD, NEW, QUARANTINE, TMP, held_name, keep_spares
from .parking import park
from .root import drafts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .homes import Opened

logger = logging.getLogger("mediastore")


def old_in(at: int, before: float) -> list[str]:
    """Name the entries of an open directory that were last changed before a time, by this host's clock on both sides."""
    found = ((name, posix.look_or_none(name, at=at)) for name in posix.names(at=at))
    return [name for name, seen in found if seen is not None and seen.st_ctime < before]


def strays(there: Opened, before: float) -> tuple[str, ...]:
    """Name the blobs and claims whose names in our directories are older than `before`, and the blobs in such claims."""
    found = [name.split(".")[0] for home in (NEW, TMP) for name in old_in(there.home(home), before)]
    quarantine = there.home(QUARANTINE)
    for token in old_in(quarantine, before):
        found.append(token)
        with contextlib.suppress(OSError), posix.inside(token, at=quarantine) as inside:
            found += _blobs_in(inside)
    return tuple(dict.fromkeys(name for name in found if ENTRY.fullmatch(name)))


def _blobs_in(directory: int) -> Iterator[str]:
    for name in posix.names(at=directory):
        entry = ENTRY.fullmatch(name)
        if entry:
            yield entry[1]
        if is_directory(name, directory):
            with posix.inside(name, at=directory) as inside:
                yield from _blobs_in(inside)


def tidy(there: Opened, before: float, known: Mapping[str, str]) -> int:
    """Give known blobs' held links their places, remove what nobody knows; returns how many names went.

    `known` has the path of each blob that the index knows, "" for one that is claimed, and for each claim that it knows.
    """
    removed = _tidy_new(there, before, known)
    tmp = there.home(TMP)
    for name in old_in(tmp, before):
        # One that is known is being written, slowly: it is the trash's business.
        if name.split(".")[0] not in known:
            with _left(name):
                owned.unlink_draft(there, name)
                removed += 1
    for token in old_in(there.home(QUARANTINE), before):
        if token not in known:
            removed += _tidy_claim(there, token, there.home(QUARANTINE), known)
    inscribing.tidy(there, before)
    for draft in (*drafts(there), *epochs.drafts(there)):
        seen = posix.look_or_none(draft, at=there.ours)
        if seen is not None and seen.st_ctime < before:
            with _left(draft):
                owned.unlink(draft, at=there.ours)
    keep_spares(there)
    return removed


def _tidy_new(there: Opened, before: float, known: Mapping[str, str]) -> int:
    removed, new = 0, there.home(NEW)
    for name in old_in(new, before):
        with _left(name):
            if name.split(".")[0] in known:
                posix.rename(name, new, name, there.home(HELD))
            else:
                owned.unlink(name, at=new)
                removed += 1
    return removed


@contextlib.contextmanager
def _left(name: str) -> Iterator[None]:
    """Go on past a name that cannot go now: it keeps no other waiting."""
    try:
        yield
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "EUNKNOWN")
        logger.warning("%s cannot be removed now: %s", name, code)


def _tidy_claim(there: Opened, token: str, at: int, known: Mapping[str, str]) -> int:
    """Remove the directory of a claim that the index does not know, after putting back what is in it.

    An index that was restored, or has failed over, knows none of the claims made since: nothing in them is unlinked.
    """
    with contextlib.suppress(OSError, Fenced):
        with posix.inside(token, at=at) as inside:
            # The held links last: whoever finds one finds the file at its path, or here.
            for name in sorted(posix.names(at=inside), key=lambda each: each.endswith(".held")):
                with _left(name):
                    _restore(there, name, inside, known)
        posix.remove_directory(token, at=at)
        return 1
    return 0


def _restore(there: Opened, name: str, at: int, known: Mapping[str, str]) -> None:
    entry = ENTRY.fullmatch(name)
    path = known.get(entry[1]) if entry else None
    if path == "":
        return  # a claim has it, and looks here
    if entry and path and entry[2]:
        _hold_again(there, name, at, held_name(entry[1], path))
    elif entry and path:
        put_back(there, name, at, path)
    elif entry and is_claims(name, at):
        _tidy_claim(there, name, at, known)
    else:
        park(there, name, at=at)


def _hold_again(there: Opened, name: str, at: int, held: str) -> None:
    """Give a held link its place again."""
    seen = posix.look_or_none(held, at=there.home(HELD))
    if seen is None:
        # Only this blob has that name, so the rename replaces nothing.
        posix.rename(name, at, held, there.home(HELD))
        return
    if seen.st_ino != posix.look(name, at=at).st_ino:
        park(there, name, at=at)
        return
    posix.unlink(name, at=at)
