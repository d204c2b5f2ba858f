"""Inode numbers: by them a file is known again, so a file system that makes them up as it goes cannot hold a root."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Final

from . import posix

if TYPE_CHECKING:
    from .homes import Opened

#: Said wherever such a root is met.
ADVICE: Final = "Mount it with lasting inode numbers (mergerfs: use_ino), or use a directory on one of its disks."


def guessing(root: Opened) -> str:
    """Return the type of a root's file system if that need not keep inode numbers, such as "fuse.mergerfs"; else "".

    A file system in user space may give a file another number with every mount, or sooner.
    """
    kind = posix.file_system_of(root.fd)
    return kind if kind.startswith("fuse") and kind != "fuseblk" else ""


def fault(root: Opened) -> str:
    """Say why no file of a root could be known again; "" if inode numbers last, or if nobody can tell.

    Two names of one file are given two numbers where numbers belong to names, as by mergerfs without `use_ino`. To see
    that, an empty file is made in the root, linked, and removed; only where the file system may be such a one.
    """
    kind = guessing(root)
    if not kind or _one_number(root):
        return ""
    return (
        f"its file system ({kind}) gives the names of one file different inode numbers, so no file could be known again. "
        f"{ADVICE}"
    )


def _one_number(root: Opened) -> bool:
    """Whether two names of a file have one number; True where there are no links, or nothing can be written."""
    first, second = (f".mediastore.{secrets.token_hex(8)}" for _ in range(2))
    try:
        os.close(posix.create_file(first, 0o600, at=root.fd))
        posix.link(first, root.fd, second, root.fd)
        seen = [posix.look(name, at=root.fd).st_ino for name in (first, second)]
    except OSError:
        return True
    finally:
        for name in (first, second):
            with contextlib.suppress(OSError):
                posix.unlink(name, at=root.fd)
    return seen[0] == seen[1]
