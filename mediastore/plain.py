"""Names that the index gives, before they lead anywhere: a path stays in its root, an id is no path.

The scripts hold their arguments to the same rules (`lua/_plain.lua`): nothing else is ever written to the index.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import Corrupt

#: What the store keeps for itself in each root; no registered path begins with it.
BOOKKEEPING: Final = ".mediastore"

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: No NUL, no lone surrogate: such a name was no UTF-8.
_NAME = r"(?!\.\.?(?:/|\Z))[^/\x00\ud800-\udfff]+"
_PATH = re.compile(rf"(?!{re.escape(BOOKKEEPING)}(?:/|\Z)){_NAME}(?:/{_NAME})*")


def is_plain_path(path: object) -> bool:
    """Return whether a path, relative to a root, is made of plain names: it stays in the root, outside our bookkeeping."""
    return isinstance(path, str) and bool(_PATH.fullmatch(path))


def plain_path(path: object, whose: str = "the index") -> str:
    """Return a path, relative to a root, if it is made of plain names.

    Args:
        path: What the index says.
        whose: The key that says it, as the error names it.

    Raises:
        Corrupt: it is empty or absolute, a part of it is "", "." or "..", it holds a NUL or a lone surrogate, or it is
            in our bookkeeping: it would lead out of the root, or into what no ref may name.
    """
    if not is_plain_path(path):
        raise Corrupt(f"{whose} holds a path that is not plain names below a root: {path!r:.100}")
    return str(path)


def is_plain_id(text: object) -> bool:
    """Return whether a text is an id of ours: it may become part of a file name, or of a key."""
    return isinstance(text, str) and bool(_ID.fullmatch(text))


def plain_id(text: object, whose: str = "the index") -> str:
    """Return an id of a blob, a root, a ref or a claim if it is one: it becomes part of file names and keys.

    Raises:
        Corrupt: it is not 1 to 128 characters of `[A-Za-z0-9_-]`.
    """
    if not is_plain_id(text):
        raise Corrupt(f"{whose} holds what is no id: {text!r:.100}")
    return str(text)
