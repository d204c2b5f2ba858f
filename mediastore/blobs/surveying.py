"""Looking for every sidecar of a root, file by file: what an index that was lost can be made from again.

Only the directories in which the store itself writes are looked at. Symlinks are not followed, other mounts not entered,
and what cannot be read is named, never touched. Memory is bounded by the refs of one file, not by the root.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from mediastore.errors import Corrupt, InvalidRequest
from mediastore.naming import HOMES
from mediastore.sidecars import ENDING, MAX_BYTES, Kin, Sidecar

from . import posix
from .homes import META, path_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from contextlib import AbstractContextManager

    from .homes import Opened

#: The most refs of one file that are handed out at once.
_BATCH: Final = 10
#: Deeper than any directory that the store makes.
_DEEPEST: Final = 8
#: What is said of a place that cannot be, or cannot be entered, or holds no sidecar of ours.
_UNREADABLE: Final = (OSError, InvalidRequest, Corrupt)
#: Where the sidecars of further refs lie.
_META: Final = path_in(META, "")


class Survey:
    """A walk through one root, which goes on where it stopped."""

    def __init__(self, opened: AbstractContextManager[Opened]) -> None:
        """Open the root; `close` closes it."""
        self._stack = contextlib.ExitStack()
        self._there = self._stack.enter_context(opened)
        self._found = self._walk()

    def close(self) -> None:
        """End the walk."""
        self._found.close()
        self._stack.close()

    def next(self, refs: int) -> tuple[Kin, ...]:
        """Return what is found next, of about so many refs; empty at the end."""
        batch: list[Kin] = []
        count = 0
        for kin in self._found:
            batch.append(kin)
            count += max(1, len(kin.told))
            if count >= refs:
                break
        return tuple(batch)

    def _walk(self) -> Generator[Kin, None, None]:
        """Go through the files with several sidecars first, then through the others."""
        for entry in self._entries(_META):
            if isinstance(entry, Kin):
                yield entry
            elif entry.is_dir(follow_symlinks=False):
                yield from self._family(entry.name)
            else:
                yield Kin(broken=(path_in(META, entry.name),))
        for home in sorted(HOMES):
            yield from self._below(home, 0)

    def _below(self, directory: str, depth: int) -> Iterator[Kin]:
        for entry in self._entries(directory):
            if isinstance(entry, Kin):
                yield entry
                continue
            path = f"{directory}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST:
                    yield from self._below(path, depth + 1)
            elif entry.name.endswith(ENDING) and not self._is_there(path + ENDING):
                yield from self._beside(path)

    def _entries(self, directory: str) -> Iterator[os.DirEntry[str] | Kin]:
        """Go through a directory without holding all of it; one that cannot be entered is named."""
        with contextlib.ExitStack() as stack:
            try:
                parent, name = stack.enter_context(self._at(directory))
                fd = (
                    posix.open_to_change(name, at=parent) if name else posix.open_to_list(at=parent)
                )
                stack.callback(os.close, fd)
                here = os.fstat(fd).st_dev == os.fstat(self._there.fd).st_dev
                found = stack.enter_context(os.scandir(fd))
            except FileNotFoundError:
                return
            except _UNREADABLE:
                yield Kin(broken=(directory,))
                return
            if here:
                yield from found
            else:
                yield Kin(broken=(directory,))

    @contextlib.contextmanager
    def _at(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory of a path: of one of further sidecars, or of content.

        Raises:
            OSError: there is no such directory.
        """
        with contextlib.ExitStack() as stack:
            if not path.startswith(_META):
                yield stack.enter_context(posix.walked(self._there.fd, path))
                return
            here = self._there.home(META)
            *blob, name = path.removeprefix(_META).split("/")
            for each in blob:
                here = stack.enter_context(posix.inside(each, at=here))
            yield here, name

    def _is_there(self, path: str) -> bool:
        """Whether there is such a name: what has a sidecar of its own is content, whatever it is called."""
        with contextlib.suppress(*_UNREADABLE), self._at(path) as (parent, name):
            return posix.look_or_none(name, at=parent) is not None
        return False

    def _beside(self, path: str) -> Iterator[Kin]:
        """Look at a sidecar beside a file; where the blob has others, they were found together."""
        told = self._read(path)
        if told is None or told.path + ENDING != path:
            if told is not None or self._is_there(path):  # else it was deleted just now
                yield Kin(broken=(path,))
        elif self._place(told.blob) != told.path:
            yield self._kin([(told, True)], more=False)

    def _names(self, blob: str) -> list[str]:
        with (
            contextlib.suppress(*_UNREADABLE),
            posix.inside(blob, at=self._there.home(META)) as directory,
        ):
            return [name for name in posix.names(at=directory) if name.endswith(ENDING)]
        return []

    def _place(self, blob: str) -> str:
        """Return where a file lies as the first of its further sidecars has it that can be read; empty without any."""
        for name in self._names(blob):
            told = self._further(blob, name)
            if told is not None:
                return told.path
        return ""

    def _further(self, blob: str, name: str) -> Sidecar | None:
        told = self._read(path_in(META, f"{blob}/{name}"))
        return told if told and (told.blob, told.ref.id + ENDING) == (blob, name) else None

    def _family(self, blob: str) -> Iterator[Kin]:
        """Look at a blob whose refs have sidecars of their own, and at the one beside its file."""
        place = self._place(blob)
        broken, order = [], []
        for name in self._names(blob):
            told = self._further(blob, name)
            if told is not None and told.path == place:
                order.append((_rank(told), path_in(META, f"{blob}/{name}")))
            elif told is not None or self._is_there(path_in(META, f"{blob}/{name}")):
                broken.append(path_in(META, f"{blob}/{name}"))
        if place:
            told = self._read(place + ENDING)
            if told is not None and (told.blob, told.path) == (blob, place):
                order.append((_rank(told), place + ENDING))
        if broken:
            yield Kin(broken=tuple(broken))
        order.sort()
        for start in range(0, len(order), _BATCH):
            part = [(path, self._read(path)) for _, path in order[start : start + _BATCH]]
            known = [(each, path == place + ENDING) for path, each in part if each is not None]
            yield self._kin(known, more=start + _BATCH < len(order))

    def _kin(self, told: list[tuple[Sidecar, bool]], *, more: bool) -> Kin:
        """Part the refs whose file is as they say from those that miss it."""
        size = self._size(told[0][0].path) if told else None
        there = tuple(each for each in told if each[0].size == size)
        return Kin(there, more=more, missing=len(told) - len(there))

    def _size(self, path: str) -> int | None:
        with contextlib.suppress(*_UNREADABLE), self._at(path) as (parent, name):
            seen = posix.look_or_none(name, at=parent)
            if seen is not None and stat.S_ISREG(seen.st_mode):
                return seen.st_size
        return None

    def _read(self, path: str) -> Sidecar | None:
        """Read a sidecar; None where there is none, or none that is ours."""
        try:
            with self._at(path) as (parent, name):
                text = posix.read_file(name, MAX_BYTES, at=parent)
            return Sidecar.parse(text) if text is not None else None
        except _UNREADABLE:
            return None


def refs_of(there: Opened, path: str, blob: str, most: int) -> tuple[str, ...]:
    """Return the ids of the refs that have sidecars of a blob, the one beside its file first."""
    found: dict[str, None] = {}
    with contextlib.suppress(*_UNREADABLE), posix.walked(there.fd, path) as (parent, name):
        text = posix.read_file(name + ENDING, MAX_BYTES, at=parent)
        told = Sidecar.parse(text) if text is not None else None
        if told is not None and (told.blob, told.path) == (blob, path):
            found[told.ref.id] = None
    with (
        contextlib.suppress(*_UNREADABLE),
        posix.inside(blob, at=there.home(META)) as directory,
    ):
        names = sorted(posix.names(at=directory))
        found |= dict.fromkeys(name.removesuffix(ENDING) for name in names if name.endswith(ENDING))
    return tuple(found)[:most]


def _rank(told: Sidecar) -> float:
    """Put the longest-lived first: they keep the file while the others are made."""
    pinned = told.pinned or told.expires_ms is None
    return float("-inf") if pinned else -float(told.expires_ms or 0)
