"""Somebody removes a registered file by hand, and its bytes stay under the held link until the last ref ends: they are hidden.

A held link is the only name of such bytes, so the number of names tells. A root may hold millions of files, so they are
counted in parts: of each part, the names whose hash is in it are looked at.
"""

from __future__ import annotations

import os
import stat
import zlib
from contextlib import contextmanager
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Final

from mediastore.journal import Hidden

from . import posix
from .homes import HELD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .homes import Opened

#: How many names hashes may tell apart.
_WHOLE: Final = 1 << 32
#: So many held links are looked at in the first part, and then as many as take about so long.
_FIRST: Final = 1000
_PART_S: Final = 0.1


@contextmanager
def _entries(there: Opened) -> Iterator[Iterator[os.DirEntry[str]]]:
    fd = posix.open_to_list(at=there.home(HELD))
    try:
        with os.scandir(fd) as found:
            yield found
    finally:
        os.close(fd)


def _only_name(entry: os.DirEntry[str]) -> int | None:
    """Return the size of a file whose only name this is; None of another, or of one that has gone."""
    try:
        seen = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return seen.st_size if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 else None


class Count:
    """A count of one root, part by part."""

    def __init__(self) -> None:
        """Begin at the first part; its width is found when the root is looked at."""
        self._low, self._width, self._least = 0, 0, 0
        self._patience_s = _PART_S
        self._blobs = self._bytes = 0

    def go_on(self, there: Opened) -> Hidden | None:
        """Count the next part; returns the numbers of all parts after the last one, else None."""
        if not self._width:
            self._measure(there)
        started, high = monotonic(), self._low + self._width
        with _entries(there) as found:
            for entry in found:
                if self._low <= zlib.crc32(os.fsencode(entry.name)) < high:
                    size = _only_name(entry)
                    if size is not None:
                        self._blobs, self._bytes = self._blobs + 1, self._bytes + size
        # Never narrower than the first part: on a slow disk as well a count must come to its end.
        fast = monotonic() - started < self._patience_s
        self._low = high
        self._width = self._width * 2 if fast else max(self._least, self._width // 2)
        return Hidden(self._blobs, self._bytes) if high >= _WHOLE else None

    def _measure(self, there: Opened) -> None:
        """Choose the first part. If the names alone take long to list, looking at some of them may take as long."""
        started = monotonic()
        with _entries(there) as found:
            self._width = self._least = _WHOLE * _FIRST // max(_FIRST, sum(1 for _ in found))
        self._patience_s = max(_PART_S, 2 * (monotonic() - started))


def count(there: Opened, most: int) -> tuple[Hidden, bool]:
    """Count all of a root, of at most so many held links; returns the numbers, and whether there are more."""
    blobs = size = 0
    with _entries(there) as found:
        for entry in islice(found, most):
            only = _only_name(entry)
            if only is not None:
                blobs, size = blobs + 1, size + only
        more = next(found, None) is not None
    return Hidden(blobs, size), more
