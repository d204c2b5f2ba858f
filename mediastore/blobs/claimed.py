"""The directory of one claim: what its worker has moved there, and how another one takes it over."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mediastore.plain import plain_id

from . import posix
from .homes import QUARANTINE, keep_spares
from .parking import park

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .homes import Opened

#: The name of an entry: its blob, with ".held" for the held link, or the token of a claim that was taken over.
ENTRY: Final = re.compile(r"([A-Za-z0-9_-]{22})(\.held)?")
#: How often an old directory is emptied until it can be removed; its late worker puts in one name at the most.
_MOST_TRIES: Final = 100
_HELD: Final = ".held"
_NOT_EMPTY: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})


class Fenced(Exception):
    """Another sweeper took this claim over; the files are its business now."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The directory of a claim, by its name in `quarantine/` and by its descriptor."""

    root: Opened
    token: str
    fd: int

    def check(self) -> None:
        """Make sure that the directory is where it was.

        Raises:
            Fenced: another sweeper has moved it away.
        """
        seen, own = posix.look_or_none(self.token, at=self._quarantine), os.fstat(self.fd)
        if seen is None or (seen.st_dev, seen.st_ino) != (own.st_dev, own.st_ino):
            raise Fenced

    @property
    def _quarantine(self) -> int:
        return self.root.home(QUARANTINE)

    def move(self, name: str, at: int, target: str) -> bool:
        """Move a name into the directory; False if there is no such name.

        Raises:
            Fenced: the directory is no longer ours.
        """
        try:
            posix.rename(name, at, target, self.fd)
        except FileNotFoundError:
            self.check()
            return False
        return True

    def unlink(self, name: str) -> None:
        """Remove an entry.

        Raises:
            Fenced: it is gone. Only its worker removes entries of a directory, so the directory is not ours any more.
        """
        try:
            posix.unlink(name, at=self.fd)
        except FileNotFoundError:
            raise Fenced from None

    def find(self, *names: str) -> bool:
        """Bring entries here from the directories of claims that the index has lost, over nothing.

        The index came back older after a failover: it handed the blobs of such a claim out once more.
        Returns whether the first is here.
        """
        if posix.look_or_none(names[0], at=self.fd) is not None:
            return True
        for there in self._others(self._quarantine):
            if posix.look_or_none(names[0], at=there) is None:
                continue
            for name in names:
                if posix.look_or_none(name, at=self.fd) is None:
                    self.move(name, there, name)
            return posix.look_or_none(names[0], at=self.fd) is not None
        return False

    def _others(self, at: int) -> Iterator[int]:
        """Give the directories of other claims, also of those that were taken over: each is open until the next is asked for."""
        for token in posix.names(at=at):
            if token == self.token:
                continue
            with (
                contextlib.suppress(NotADirectoryError, FileNotFoundError),
                posix.inside(token, at=at) as there,
            ):
                yield there
                yield from self._others(there)

    def take_over(self, prev: tuple[str, ...]) -> None:
        """Move the directories of earlier claims into ours, then their entries up; newest first, the oldest may lie inside.

        Raises:
            Fenced: ours was taken over meanwhile.
            OSError: one of them cannot be emptied; nothing is to be deleted then.
        """
        for token in reversed(prev):
            with contextlib.suppress(FileNotFoundError):
                posix.rename(plain_id(token), self._quarantine, token, self.fd)
        self.check()
        if not prev:
            return
        tokens = frozenset(prev)
        for name in posix.names(at=self.fd):
            if name in tokens:
                self._empty(name, self.fd, tokens)
        keep_spares(
            self.root
        )  # each try of a file that cannot go takes one, and leaves the room for one

    def _empty(self, token: str, at: int, tokens: frozenset[str]) -> None:
        """Move the entries of a directory up and remove it: nothing can enter it from then on."""
        if not is_directory(token, at):
            park(self.root, token, at=at)  # somebody has put it there
            return
        for _ in range(_MOST_TRIES):
            try:
                with posix.inside(token, at=at) as there:
                    # The held links first: without one, a late worker takes no file for the registered one.
                    for name in sorted(posix.names(at=there), key=lambda n: not n.endswith(_HELD)):
                        if name in tokens:
                            self._empty(name, there, tokens)
                        else:
                            self._bring(name, there)
                posix.remove_directory(token, at=at)
            except FileNotFoundError:
                raise Fenced from None
            except OSError as error:
                if error.errno not in _NOT_EMPTY:
                    raise
            else:
                return
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), token)

    def _bring(self, name: str, there: int) -> None:
        """Move an entry into ours, over nothing."""
        if posix.look_or_none(name, at=self.fd) is not None:
            park(self.root, name, at=there)
            return
        with contextlib.suppress(FileNotFoundError):  # its late worker was faster
            posix.rename(name, there, name, self.fd)


def is_directory(name: str, at: int) -> bool:
    """Return True if an entry of an open directory is a directory itself."""
    seen = posix.look_or_none(name, at=at)
    return seen is not None and stat.S_ISDIR(seen.st_mode)


def is_claims(name: str, at: int) -> bool:
    """Return True if an entry is the directory of a claim that was taken over; False if it stood at a blob's path."""
    if not is_directory(name, at):
        return False
    with posix.inside(name, at=at) as inside:
        return all(ENTRY.fullmatch(each) for each in posix.names(at=inside))
