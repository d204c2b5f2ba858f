"""What every check returns, and how numbers read in its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

State = Literal["ok", "warning", "problem"]

#: The most blobs or files that are named one by one.
NAMED_AT_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do about it; no advice where all is well."""

    name: str
    state: State
    detail: str
    advice: str = ""


def human_bytes(size: float) -> str:
    """Return a number of bytes as people read it."""
    if size < 1024:  # noqa: PLR2004
        return f"{size:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:  # noqa: PLR2004
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def human_span(seconds: float) -> str:
    """Return a length of time as people read it."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it must be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
