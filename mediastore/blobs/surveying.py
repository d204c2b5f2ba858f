"""Looking for every sidecar of a root, file by file: what an index that was lost can be made from again.

Only the directories in which the store itself writes are looked at. Symlinks are not followed, other mounts not entered,
and what cannot be read is named, never touched. Memory is bounded by the refs of one file, and one number for each file that
has further sidecars.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Final

from mediastore.errors import Corrupt, InvalidRequest
from mediastore.model import is_id
from mediastore.naming import HOMES
from mediastore.sidecars import ENDING, MAX_BYTES, Kin, Sidecar

from . import posix
from .homes import META, path_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from .homes import Opened

#: The most refs of one file that are handed out at once.
_BATCH: Final = 10
#: Deeper than any directory that the store makes.
_DEEPEST: Final = 8
#: Errors of a place that cannot be, cannot be entered, or holds no sidecar of ours.
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
        #: By its path, a file that several families of sidecars name: the directories of those in META.
        self._shared: dict[str, list[str]] = {}

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
        self._shared = self._find_shared()
        for place, blobs in self._shared.items():
            yield from self._families(place, blobs)
        for entry in self._entries(_META):
            if isinstance(entry, Kin):
                yield entry
            elif entry.is_dir(follow_symlinks=False):
                place = self._place(entry.name)
                if entry.name not in self._shared.get(place, ()):
                    yield from self._families(place, [entry.name])
            else:
                yield Kin(broken=(path_in(META, entry.name),))
        for home in sorted(HOMES):
            yield from self._below(home, 0)

    def _find_shared(self) -> dict[str, list[str]]:
        """Find the files that more than one family names; their refs come back together, on one blob.

        Two blobs of one file would each delete it when its own refs have ended.
        """
        seen: set[int] = set()
        twice: set[int] = set()
        for blob in self._further_blobs():
            place = self._place(blob)
            if place and (hash(place) in seen or self._owner(place) not in {"", blob}):
                twice.add(hash(place))
            seen.add(hash(place))
        found: dict[str, list[str]] = {}
        for blob in self._further_blobs() if twice else ():
            place = self._place(blob)
            if place and hash(place) in twice:
                found.setdefault(place, []).append(blob)
        return found

    def _further_blobs(self) -> Iterator[str]:
        for entry in self._entries(_META):
            if not isinstance(entry, Kin) and entry.is_dir(follow_symlinks=False):
                yield entry.name

    def _owner(self, path: str) -> str:
        """Return the blob of which the sidecar beside a file tells; empty where none does."""
        told = self._read(path + ENDING)
        return told.blob if told is not None and told.path == path else ""

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
                if name:
                    fd = posix.open_to_change(name, at=parent)
                else:
                    fd = posix.open_to_list(at=parent)
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

    def _is_there(self, path: str, *, unusable: bool = False) -> bool:
        """Whether there is such a name: what has a sidecar of its own is content, whatever it is called.

        Of a name that nobody may use, such as one that is no UTF-8, `unusable` is returned.
        """
        try:
            with self._at(path) as (parent, name):
                return posix.look_or_none(name, at=parent) is not None
        except Corrupt:
            return unusable
        except OSError:
            return False

    def _beside(self, path: str) -> Iterator[Kin]:
        """Look at a sidecar beside a file; where the blob has others, they were found together."""
        told = self._read(path)
        if told is None or told.path + ENDING != path:
            if told is not None or self._is_there(path, unusable=True):  # else deleted
                yield Kin(broken=(path,))
        elif told.path not in self._shared and self._place(told.blob) != told.path:
            yield self._kin([(told, True)], more=False)

    def _names(self, blob: str) -> list[str]:
        with (
            contextlib.suppress(*_UNREADABLE),
            posix.inside(blob, at=self._there.home(META)) as directory,
        ):
            return [name for name in posix.names(at=directory) if name.endswith(ENDING)]
        return []

    def _place(self, blob: str) -> str:
        """Return where a file lies as its further sidecars have it; empty without any that can be read.

        If they differ, the sidecar beside the file decides, else a file that is there, else most of them.
        """
        places: Counter[str] = Counter()
        for name in self._names(blob):
            told = self._further(blob, name)
            if told is not None:
                places[told.path] += 1
                if len(places) == 1 == places[told.path] and self._owner(told.path) == blob:
                    return told.path
        if len(places) <= 1:
            return next(iter(places), "")
        return max(places, key=lambda p: (self._owner(p) == blob, self._is_there(p), places[p]))

    def _further(self, blob: str, name: str) -> Sidecar | None:
        told = self._read(path_in(META, f"{blob}/{name}"))
        return told if told and (told.blob, told.ref.id + ENDING) == (blob, name) else None

    def _families(self, place: str, blobs: Sequence[str]) -> Iterator[Kin]:
        """Look at the further sidecars of a file, in these directories, and at the one beside it.

        Usually they tell of one blob. If not, that of the one beside the file comes first, and the index puts the
        others' refs on it, one call after the other.
        """
        broken: list[str] = []
        order: list[tuple[float, str, str]] = []
        for path, told in self._all_further(blobs):
            if told is not None and told.path == place:
                order.append((_rank(told), path, told.blob))
            elif told is not None or self._is_there(path, unusable=True):
                broken.append(path)
        beside = self._read(place + ENDING) if place else None
        if beside is not None and beside.path == place:
            order.append((_rank(beside), place + ENDING, beside.blob))
        if broken:
            yield Kin(broken=tuple(broken))
        order.sort()
        first = next((each for each in order if beside and each[2] == beside.blob), None)
        if first is not None:
            order.remove(first)
            order.insert(0, first)
        runs = list(_runs(order))
        for number, run in enumerate(runs):
            part = [(path, self._read(path)) for path in run]
            known = [(each, path == place + ENDING) for path, each in part if each is not None]
            yield self._kin(known, more=number + 1 < len(runs))

    def _all_further(self, blobs: Sequence[str]) -> Iterator[tuple[str, Sidecar | None]]:
        for blob in blobs:
            for name in self._names(blob):
                yield path_in(META, f"{blob}/{name}"), self._further(blob, name)

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


def _runs(order: Sequence[tuple[float, str, str]]) -> Iterator[list[str]]:
    """Part the paths of sidecars into batches, each of one blob."""
    for _, same in groupby(order, key=lambda each: each[2]):
        paths = [path for _, path, _ in same]
        yield from (paths[at : at + _BATCH] for at in range(0, len(paths), _BATCH))


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
        for name in sorted(posix.names(at=directory)):
            if name.endswith(ENDING) and is_id(name.removesuffix(ENDING)):
                found[name.removesuffix(ENDING)] = None
    return tuple(found)[:most]


def _rank(told: Sidecar) -> float:
    """Put the longest-lived first: they keep the file while the others are made."""
    pinned = told.pinned or told.expires_ms is None
    return float("-inf") if pinned else -float(told.expires_ms or 0)
