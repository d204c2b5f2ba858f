"""Finding the file of a blob again: under its path, or under the second name that pins it."""

from __future__ import annotations

import stat

from . import posix
from .deleting import held_name
from .root import HELD, NEW


def registered(root: int, path: str, identity: str) -> bool:
    """Whether the file at the path is the registered one; `root` is the root's descriptor."""
    seen = posix.look_or_none(path, at=root)
    if seen is None or not stat.S_ISREG(seen.st_mode):
        return False
    kind, _, rest = identity.partition(":")
    if kind == "stat":
        return rest == f"{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}"
    # While the held link stands, no other file can have this inode number.
    return rest == str(seen.st_ino)


def lasting(root: int, blob: str, path: str, identity: str) -> str | None:
    """Return the name under which a blob's bytes stay whatever happens to its path, or None when they are not there.

    That is its held link; a borrowed file, and one on a file system without hard links, has only its path.
    """
    if identity.startswith("link:"):
        name = held_name(blob, path)
        # A name moves from `new/` to `held/` only, so a third look is conclusive.
        for place in (HELD, NEW, HELD):
            if registered(root, f"{place}/{name}", identity):
                return f"{place}/{name}"
    return path if registered(root, path, identity) else None
