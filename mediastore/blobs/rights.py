"""Who may read and delete what the store makes: its own user, and the group of a root that is shared with one."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from . import posix

if TYPE_CHECKING:
    from .homes import Opened
    from .owned import Draft

#: Nobody but the owner's user, unless the root is shared with a group.
FILE_MODE: Final = 0o600


def share(root: int, made: int) -> None:
    """Let the group of a root that it may write to read and delete what we make.

    By its descriptor: a name could lead elsewhere by now, as the group may write here.
    """
    own, seen = os.fstat(root), os.fstat(made)
    if not own.st_mode & stat.S_IWGRP:
        return
    with contextlib.suppress(PermissionError):
        os.fchown(made, -1, own.st_gid)
        os.fchmod(made, 0o2770 if stat.S_ISDIR(seen.st_mode) else 0o660)


def give(fd: int, file: int) -> None:
    """Give a file that somebody else has made the rights of ours."""
    with contextlib.suppress(PermissionError):
        os.fchmod(file, FILE_MODE)
    share(fd, file)


def own(there: Opened, draft: Draft, path: str) -> None:
    """Give a file that was taken the rights of ours, now that its ref is there."""
    with posix.walked(there.fd, path) as (parent, name):
        file = posix.open_file(name, at=parent)
    try:
        seen = os.fstat(file)
        if (seen.st_dev, seen.st_ino) == draft.made:
            give(there.fd, file)
    finally:
        os.close(file)
