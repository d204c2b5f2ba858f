"""What the marker of a root says: strictly parsed, for a marker decides where files are deleted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .records import read_object, whole

MAX_BYTES: Final = 4096
_ROOT: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NAMESPACE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_MOST_INODE: Final = 2**64 - 1
_MOST_SEQ: Final = 9 * 10**15


@dataclass(frozen=True, slots=True)
class MarkerWords:
    """What a marker says.

    Attributes:
        root: The id of the root.
        namespace: The namespace that the root belongs to.
        inode: The inode number of the file that the marker was first written in.
        adopted: The seq at which the directory became this root; 0 if it always was.
    """

    root: str
    namespace: str
    inode: int
    adopted: int = 0


def parse_marker(text: bytes) -> MarkerWords:
    """Return what a marker says.

    Raises:
        ValueError: it is no marker of a format known here. Nothing else is raised, whatever the bytes are.
    """
    words = read_object(text, MAX_BYTES)
    whole(words.get("format", 1), 1, 1)
    return MarkerWords(
        root=_matching(_ROOT, words.get("root"), "root"),
        namespace=_matching(_NAMESPACE, words.get("namespace"), "namespace"),
        inode=whole(words.get("inode"), 0, _MOST_INODE),
        adopted=whole(words.get("adopted", 0), 0, _MOST_SEQ),
    )


def _matching(form: re.Pattern[str], value: object, name: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"its {name} is none")
    return value
