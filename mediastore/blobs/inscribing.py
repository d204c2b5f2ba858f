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

from mediastore.errors import InvalidRequest
from mediastore.sidecars import ENDING, MAX_BYTES, Sidecar

from . import owned, posix
from .root import DRAFTS, META

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediastore.sidecars import Inscription

logger = logging.getLogger("mediastore")

#: How often a directory may go under us before we give up.
_MOST_TRIES: Final = 100
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def announce(fd: int, token: str, refs: Iterable[tuple[str, str]]) -> None:
    """Make the temporary names."""
    for ref, blob in refs:
        if _ID.fullmatch(ref) and _ID.fullmatch(blob):
            with contextlib.suppress(OSError):
                _announce(fd, blob, f"{DRAFTS}/{blob}/{ref}.{token}")


def _announce(fd: int, blob: str, own: str) -> None:
    for _ in range(_MOST_TRIES):
        try:
            # In this order: what a killed writer has left is found by the first.
            for directory in (f"{DRAFTS}/{blob}", f"{META}/{blob}"):
                _make_directory(fd, directory)
            file = posix.create_file(own, 0o600, at=fd)
        except FileNotFoundError:
            continue  # somebody has just removed the empty directory
        try:
            owned.share(fd, file)
        finally:
            os.close(file)
        return


def _make_directory(fd: int, directory: str) -> None:
    if posix.look_or_none(directory, at=fd) is not None:
        return
    with contextlib.suppress(FileExistsError):
        posix.make_directory(directory, 0o700, at=fd)
    made = posix.open_to_change(directory, at=fd)
    try:
        owned.share(fd, made)
    finally:
        os.close(made)


def inscribe(
    fd: int, token: str, inscriptions: Iterable[Inscription], *, durable: bool
) -> tuple[bool, ...]:
    """Write and remove; one that fails does not stop the others."""
    return tuple(_done(fd, token, each, durable=durable) for each in inscriptions)


def _done(fd: int, token: str, each: Inscription, *, durable: bool) -> bool:
    own = f"{DRAFTS}/{each.blob}/{each.ref}.{token}"
    try:
        done = _settle(fd, own, each, durable=durable)
    except (OSError, InvalidRequest) as error:
        name = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
        logger.debug("the sidecar of a ref on blob %s is left for later: %s", each.blob, name)
        done = False
    _let_go(fd, each.blob, own)
    return done


def _settle(fd: int, own: str, each: Inscription, *, durable: bool) -> bool:
    target = each.path + ENDING if each.path else f"{META}/{each.blob}/{each.ref}{ENDING}"
    if each.what == "clear":
        clear(fd, each.blob)
    if each.what in {"write", "remove"}:
        _fence(fd, each, own)
    if each.what == "remove":
        _unlink_in(fd, target)
    return each.what != "write" or _written(fd, own, target, each, durable=durable)


def _fence(fd: int, each: Inscription, own: str) -> None:
    """Take the temporary names of this sidecar away from everybody else."""
    directory = f"{DRAFTS}/{each.blob}"
    with contextlib.suppress(FileNotFoundError):
        for name in posix.names(directory, at=fd):
            other = f"{directory}/{name}"
            if name.startswith(f"{each.ref}.") and other != own:
                with contextlib.suppress(FileNotFoundError):
                    posix.unlink(other, at=fd)


def _written(fd: int, own: str, target: str, each: Inscription, *, durable: bool) -> bool:
    """Fill the temporary name and move it to its place; False where it is gone."""
    try:
        with posix.walked(fd, target) as (parent, name):
            try:
                text = _text(each, name, at=parent)
                posix.write_file(own, text, at=fd, durable=durable)
                posix.rename(own, fd, name, parent)
            except FileNotFoundError:
                return False
            if durable:
                posix.sync_directory(".", at=parent)
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


def _unlink_in(fd: int, path: str) -> None:
    try:
        with posix.walked(fd, path) as (parent, name):
            posix.unlink(name, at=parent)
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _let_go(fd: int, blob: str, own: str) -> None:
    """Remove our temporary name if it is there still, and the directories if nothing is in them."""
    with contextlib.suppress(OSError):
        if posix.look_or_none(own, at=fd) is not None:
            posix.unlink(own, at=fd)
    _prune(fd, blob)


def _prune(fd: int, blob: str) -> None:
    """Remove the directories, unless another sidecar of the blob is announced: its writer needs both, and prunes later."""
    with contextlib.suppress(OSError):
        if posix.names(f"{DRAFTS}/{blob}", at=fd):
            return
    for directory in (f"{META}/{blob}", f"{DRAFTS}/{blob}"):
        with contextlib.suppress(OSError):
            posix.remove_directory(directory, at=fd)


def clear(fd: int, blob: str) -> None:
    """Remove every sidecar of a blob but the one beside its file; first those that are being written."""
    if not _ID.fullmatch(blob):
        return
    found = [
        directory
        for directory in (f"{DRAFTS}/{blob}", f"{META}/{blob}")
        if posix.look_or_none(directory, at=fd) is not None
    ]
    for directory in found:
        _empty(fd, directory)
    if found:
        _prune(fd, blob)


def _empty(fd: int, directory: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for name in posix.names(directory, at=fd):
            with contextlib.suppress(FileNotFoundError):
                posix.unlink(f"{directory}/{name}", at=fd)


def tidy(fd: int, before: float) -> None:
    """Remove what killed writers left: old temporary names, and directories with nothing in them."""
    for blob in posix.names(DRAFTS, at=fd):
        directory = f"{DRAFTS}/{blob}"
        seen = posix.look_or_none(directory, at=fd)
        if seen is not None and seen.st_ctime < before:
            with contextlib.suppress(OSError):
                _empty(fd, directory)
                _prune(fd, blob)
