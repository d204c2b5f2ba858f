"""Keeping a file that is not ours to destroy and has no place to go to, where a person finds it."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from itertools import count
from typing import TYPE_CHECKING

from . import posix
from .homes import PARKED, path_in

if TYPE_CHECKING:
    from .homes import Opened

logger = logging.getLogger("mediastore")


def park(root: Opened, name: str, *, at: int, called: str = "") -> None:
    """Move an entry of an open directory to `parked/`, over nothing; `doctor` tells of it.

    Args:
        root: The root.
        name: The entry.
        at: The descriptor of its directory.
        called: What it is called there; its own name by default.

    Raises:
        OSError: it cannot be moved; FileNotFoundError if there is no such entry any more.
    """
    stem, extension = os.path.splitext(called or name)
    parked = root.home(PARKED)
    for n in count():
        kept = f"{stem}{'-' * n}{extension}"
        if posix.look_or_none(kept, at=parked) is None:
            kept = _moved(name, at, kept, parked)
            if kept:
                break
    logger.error("a file that is nobody's to delete is kept in %s", path_in(PARKED, kept))


def _moved(name: str, at: int, kept: str, parked: int) -> str:
    """Move the entry over nothing and return its name; "" if somebody else has parked something under that one just now."""
    try:
        posix.link(name, at, kept, parked)
    except FileExistsError:
        return ""
    except OSError as error:
        if error.errno not in posix.NO_LINKS:
            raise
        if not stat.S_ISDIR(posix.look(name, at=at).st_mode):
            # On a file system without links a rename replaces a file: no other worker may choose the same name.
            kept = f"{secrets.token_hex(8)}-{kept}"
        posix.rename(name, at, kept, parked)
    else:
        posix.unlink(name, at=at)
    return kept
