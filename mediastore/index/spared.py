"""Files that were spared: what a sweeper found in the place of a registered file, remembered for whoever looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediastore.plain import plain_id, plain_path

from .records import moment, reading
from .steps import Marks, Read, raw, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Spared:
    """One look at a path where something else stood than the registered file.

    `expected` is how the blob knew its file, `found` what stood there: "file:ino:size:mtime_ns", or what it was instead of a file.
    """

    when: datetime
    root: str
    blob: str
    expected: str
    found: str
    path: str


def spared() -> Read[list[Spared]]:
    """Read what was spared, the newest first; of each path the last time only."""

    def parse(_: Marks, replies: list[Any], __: int) -> list[Spared]:
        with reading("spared"):
            found = [_spared(text(words)) for words in reversed(replies[0])]
        last: dict[tuple[str, str], Spared] = {}
        for each in found:
            last.setdefault((each.root, each.path), each)
        return list(last.values())

    return Read(lambda p, _: [("LRANGE", f"{p}spared", 0, -1)], parse)


def _spared(words: str) -> Spared:
    ms, root, blob, expected, found, path = words.split(" ", 5)
    return Spared(
        *(moment(ms), plain_id(root), plain_id(blob), expected, found, plain_path(path, "spared"))
    )


def registered(places: Sequence[Spared]) -> Read[list[bool]]:
    """Read at which of these paths something is registered again: whatever stands there is that blob's business."""

    def parse(_: Marks, replies: list[Any], __: int) -> list[bool]:
        return [raw(blob or b"") != "" for blob in replies]

    return Read(lambda p, _: [("HGET", f"{p}path:{s.root}", s.path) for s in places], parse)
