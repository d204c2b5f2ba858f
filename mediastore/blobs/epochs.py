"""A root shows one entry of the index's chain of epochs, in `.mediastore/epoch`.

An index that came back older, or another one, does not know it, and then deletes nothing: see `lua/_frozen.lua`.

Whoever has an entry to write makes a draft first, then reads, then asks the index. Before an entry is shown, or taken for the
index's own, all other drafts are removed and the file is read once more: so nobody who was stopped in between for long puts
back what is outdated, or replaces what nobody else has seen yet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING, Final

from mediastore.epochs import ENTRY

from . import posix
from .homes import give_rights

if TYPE_CHECKING:
    from .homes import Opened

EPOCH: Final = "epoch"
UNREADABLE: Final = "?"
_MAX_BYTES: Final = 200
_DRAFT: Final = f"{EPOCH}."
#: Errors that say something of the file. Any other one, such as EMFILE or EIO, says nothing of it.
_BARRED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR})


def shown(there: Opened) -> str:
    """Return the entry that a root shows; "" where it has none, "?" where what has the name is none.

    Raises:
        OSError: it cannot be read now.
    """
    try:
        text = posix.read_file(EPOCH, _MAX_BYTES, at=there.ours)
    except FileNotFoundError:
        return ""
    except OSError as error:
        if error.errno in _BARRED:
            return UNREADABLE
        raise
    entry = (text or b"").decode("ascii", "replace").removesuffix("\n")
    return entry if ENTRY.fullmatch(entry) else UNREADABLE


def draft(there: Opened) -> str:
    """Make a draft.

    Raises:
        OSError: none can be made now.
    """
    name = f"{_DRAFT}{secrets.token_hex(8)}"
    file = posix.create_file(name, 0o600, at=there.ours)
    try:
        give_rights(file, os.fstat(there.fd))
    finally:
        os.close(file)
    return name


def alone(there: Opened, mine: str = "") -> str:
    """Take away all drafts but one's own, and return what the root shows then.

    Raises:
        OSError: it cannot be read now, or a draft cannot be removed.
    """
    for name in drafts(there):
        if name != mine:
            remove(there, name)
    return shown(there)


def show(there: Opened, mine: str, before: str, entry: str) -> bool:
    """Have a root show an entry instead of what it showed `before`; False if somebody else has changed that.

    Raises:
        OSError: it cannot be written.
    """
    try:
        posix.write_file(mine, f"{entry}\n".encode(), at=there.ours, durable=True)
        if alone(there, mine) != before:
            return False
        posix.rename(mine, there.ours, EPOCH, there.ours)
    except FileNotFoundError:
        return False  # somebody else removed the draft
    posix.sync_directory(at=there.ours)
    return True


def drafts(there: Opened) -> list[str]:
    """Name the drafts that somebody has made, or left when it was killed."""
    return [name for name in posix.names(at=there.ours) if name.startswith(_DRAFT)]


def remove(there: Opened, name: str) -> None:
    """Remove a draft, if it is still there."""
    with contextlib.suppress(FileNotFoundError):
        posix.unlink(name, at=there.ours)
