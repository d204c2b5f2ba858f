"""Sidecars that follow the index: of further refs of a file, and anew where a ref has changed.

Whoever writes one makes an empty temporary name for it first, reads the index second, and renames third; and before
that it removes the temporary names of everybody else who is at the same sidecar. So of two that overtake each other,
the one that has read the index later wins: the other has no name left to rename. A deletion removes the temporary names
of its blob before all others; what is announced after that reads of a blob that is going, and removes itself.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mediastore.errors import Corrupt, InvalidRequest
from mediastore.plain import plain_id
from mediastore.sidecars import ENDING, MAX_BYTES, Sidecar

from . import posix, rights
from .homes import DRAFTS, META

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mediastore.sidecars import Inscription

    from .homes import Opened

logger = logging.getLogger("mediastore")

#: How often a directory may go under us before we give up.
_MOST_TRIES: Final = 100
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def announce(there: Opened, token: str, refs: Iterable[tuple[str, str]]) -> None:
    """Make the temporary names."""
    for ref, blob in refs:
        if _ID.fullmatch(ref) and _ID.fullmatch(blob):
            with contextlib.suppress(OSError):
                _announce(there, blob, f"{ref}.{token}")


def _announce(there: Opened, blob: str, own: str) -> None:
    for _ in range(_MOST_TRIES):
        try:
            # In this order: what a killed writer has left is found by the first.
            for home in (DRAFTS, META):
                _make_directory(there, home, blob)
            with posix.inside(blob, at=there.home(DRAFTS)) as drafts:
                file = posix.create_file(own, 0o600, at=drafts)
        except FileNotFoundError:
            continue  # somebody has just removed the empty directory
        try:
            rights.share(there.fd, file)
        finally:
            os.close(file)
        return


def _make_directory(there: Opened, home: str, blob: str) -> None:
    if posix.look_or_none(blob, at=there.home(home)) is not None:
        return
    with contextlib.suppress(FileExistsError):
        posix.make_directory(blob, 0o700, at=there.home(home))
    made = posix.open_to_change(blob, at=there.home(home))
    try:
        rights.share(there.fd, made)
    finally:
        os.close(made)


def inscribe(
    there: Opened, token: str, inscriptions: Iterable[Inscription], *, durable: bool
) -> tuple[bool, ...]:
    """Write or remove sidecars; returns which of them are now as they should be."""
    return tuple(_done(there, token, each, durable=durable) for each in inscriptions)


def _done(there: Opened, token: str, each: Inscription, *, durable: bool) -> bool:
    own = f"{each.ref}.{token}"
    try:
        plain_id(each.blob), plain_id(each.ref)
        done = _settle(there, own, each, durable=durable)
    except (OSError, InvalidRequest, Corrupt) as error:
        name = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
        logger.debug("the sidecar of a ref on blob %s is left for later: %s", each.blob, name)
        done = False
    _let_go(there, each.blob, own)
    return done


def _settle(there: Opened, own: str, each: Inscription, *, durable: bool) -> bool:
    if each.what == "clear":
        clear(there, each.blob)
    if each.what in {"write", "remove"}:
        _fence(there, each, own)
    if each.what == "remove":
        _remove(there, each)
    return each.what != "write" or _written(there, own, each, durable=durable)


def _remove(there: Opened, each: Inscription) -> None:
    try:
        with _at(there, each) as (parent, name):
            posix.unlink(name, at=parent)
    except OSError as error:
        if error.errno not in _GONE:
            raise


@contextlib.contextmanager
def _at(there: Opened, each: Inscription) -> Iterator[tuple[int, str]]:
    """Open the directory of a ref's sidecar."""
    with contextlib.ExitStack() as stack:
        if each.path:
            found = stack.enter_context(posix.walked(there.fd, each.path + ENDING))
        else:
            meta = stack.enter_context(posix.inside(each.blob, at=there.home(META)))
            found = meta, f"{each.ref}{ENDING}"
        yield found


def _fence(there: Opened, each: Inscription, own: str) -> None:
    """Take the temporary names of this sidecar away from everybody else."""
    with (
        contextlib.suppress(FileNotFoundError),
        posix.inside(each.blob, at=there.home(DRAFTS)) as drafts,
    ):
        for name in posix.names(at=drafts):
            if name.startswith(f"{each.ref}.") and name != own:
                with contextlib.suppress(FileNotFoundError):
                    posix.unlink(name, at=drafts)


def _written(there: Opened, own: str, each: Inscription, *, durable: bool) -> bool:
    """Fill the temporary name and move it to its place; False where it is gone."""
    try:
        with _at(there, each) as (parent, name):
            try:
                text = _text(each, name, at=parent)
                with posix.inside(each.blob, at=there.home(DRAFTS)) as drafts:
                    posix.write_file(own, text, at=drafts, durable=durable)
                    posix.rename(own, drafts, name, parent)
            except FileNotFoundError:
                return False
            if durable:
                posix.sync_directory(at=parent)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return bool(
            each.path
        )  # where the file should be is no directory: it is missing, and needs none
    return True


def _text(each: Inscription, name: str, *, at: int) -> bytes:
    sidecar = each.sidecar
    if sidecar is None:
        raise InvalidRequest("nothing to write")
    if not sidecar.sha:
        sidecar = replace(sidecar, sha=_sha_there(name, at=at))
    return sidecar.to_text().encode()


def _sha_there(name: str, *, at: int) -> str:
    """Return the hash that the sidecar to be replaced tells: where blobs are not shared, the index does not know it."""
    try:
        text = posix.read_file(name, MAX_BYTES, at=at)
        return Sidecar.parse(text).sha if text else ""
    except (OSError, InvalidRequest):
        return ""


def _let_go(there: Opened, blob: str, own: str) -> None:
    """Remove our temporary name if it is there still, and the directories if nothing is in them."""
    with (
        contextlib.suppress(OSError, Corrupt),
        posix.inside(blob, at=there.home(DRAFTS)) as drafts,
    ):
        if posix.look_or_none(own, at=drafts) is not None:
            posix.unlink(own, at=drafts)
    _prune(there, blob)


def _prune(there: Opened, blob: str) -> None:
    """Remove the directories, unless another sidecar of the blob is announced: its writer needs both, and prunes later."""
    with (
        contextlib.suppress(OSError, Corrupt),
        posix.inside(blob, at=there.home(DRAFTS)) as drafts,
    ):
        if posix.names(at=drafts):
            return
    for home in (META, DRAFTS):
        with contextlib.suppress(OSError, Corrupt):
            posix.remove_directory(blob, at=there.home(home))


def clear(there: Opened, blob: str) -> None:
    """Remove every sidecar of a blob but the one beside its file; first those that are being written."""
    if not _ID.fullmatch(blob):
        return
    homes = [
        home for home in (DRAFTS, META) if posix.look_or_none(blob, at=there.home(home)) is not None
    ]
    for home in homes:
        _empty(there, home, blob)
    if homes:
        _prune(there, blob)


def _empty(there: Opened, home: str, blob: str) -> None:
    with (
        contextlib.suppress(FileNotFoundError),
        posix.inside(blob, at=there.home(home)) as directory,
    ):
        for name in posix.names(at=directory):
            with contextlib.suppress(FileNotFoundError):
                posix.unlink(name, at=directory)


def tidy(there: Opened, before: float) -> None:
    """Remove what killed writers left: old temporary names, and directories with nothing in them."""
    for blob in posix.names(at=there.home(DRAFTS)):
        seen = posix.look_or_none(blob, at=there.home(DRAFTS))
        if seen is not None and seen.st_ctime < before:
            with contextlib.suppress(OSError):
                _empty(there, DRAFTS, blob)
                _prune(there, blob)
