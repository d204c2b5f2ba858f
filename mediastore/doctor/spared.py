"""Files that were not deleted, because they are not the registered ones, or cannot be shown to be."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from mediastore.blobs import posix
from mediastore.blobs.deleting import standing
from mediastore.index.spared import Spared, registered, spared
from mediastore.model import from_ms

from .finding import NAMED_AT_MOST, Finding, counted, human_bytes
from .server import Server, looked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ADVICE: Final = "It is not touched: take it away, or store it again, borrowed (Cleanup.FORGET) if it is to stay."


def findings(server: Server, here: Mapping[str, str]) -> list[Finding]:
    """Name what was spared in the roots of this host (root id -> path) and stands there still."""
    return looked("spared", lambda: _spared(server, here))


def _spared(server: Server, here: Mapping[str, str]) -> Iterator[Finding]:
    noted: list[Spared] = server.link.perform(spared())
    again: list[bool] = server.link.perform(registered(noted)) if noted else []
    left = [each for each, taken in zip(noted, again, strict=True) if not taken]
    mine = [(each, now) for each in left if each.root in here and (now := _now(each, here))]
    for each, now in mine[:NAMED_AT_MOST]:
        detail = (
            f"{here[each.root]}/{each.path} was not deleted at {each.when:%Y-%m-%d %H:%M} UTC: "
            f"expected {in_words(each.expected)}, there is {in_words(now)}"
        )
        yield Finding("spared", "warning", detail, _ADVICE)
    if len(mine) > NAMED_AT_MOST:
        more = f"{counted(len(mine) - NAMED_AT_MOST, 'more file')} of earlier times"
        yield Finding("spared", "warning", more, "See to the named ones first.")
    others = sum(each.root not in here for each in left)
    if others:
        detail = f"{counted(others, 'file')} in roots that are not here; `mediastore doctor` there names them"
        yield Finding("spared", "ok", detail)


def _now(each: Spared, here: Mapping[str, str]) -> str:
    """Return what stands at a path now; "" if nothing does, or if nobody can tell."""
    with contextlib.suppress(OSError):
        root = posix.open_root(here[each.root])
        try:
            return standing(root, each.path)
        finally:
            os.close(root)
    return ""


def in_words(identity: str) -> str:
    """Say how a file was known, or what stands at its path, for people."""
    kind, _, rest = identity.partition(":")
    parts = rest.split(":")
    if kind in {"file", "stat"} and len(parts) == 3 and all(map(str.isdecimal, parts)):  # noqa: PLR2004
        inode, size, at = parts
        written = f"{from_ms(int(at) // 10**6):%Y-%m-%d %H:%M:%S}.{int(at) % 10**9:09d}"
        return f"a file with inode {inode}, {human_bytes(int(size))}, written {written} UTC"
    if kind == "link":
        return f"the file with inode {rest} and its held link"
    return f"a {identity}"
