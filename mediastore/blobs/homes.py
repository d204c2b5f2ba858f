"""Our own directories in a root, in `.mediastore/`: their names, and how they are opened.

Each is opened by its name in an open `.mediastore`, without following a symlink, and all that is done in it is done through
that descriptor. So a root may be shared with a group: if one of its members puts a symlink in the place of such a
directory, we find that out when we open it, and nothing outside of the root is ever listed, changed or removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from typing import Final, Self

from mediastore.errors import InvalidRoot
from mediastore.plain import BOOKKEEPING, plain_id

from . import posix

NEW: Final = "new"
HELD: Final = "held"
QUARANTINE: Final = "quarantine"
SPARE: Final = "spare"
PARKED: Final = "parked"
TMP: Final = "tmp"
META: Final = "meta"
DRAFTS: Final = "drafts"
#: Without one of these nothing can be stored or deleted; without `spare` only a full disk cannot be helped.
NEEDED: Final = (NEW, HELD, QUARANTINE, PARKED, TMP, META, DRAFTS)

#: How many empty directories are kept for the claims of a time when none can be made.
SPARES: Final = 8
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,12}")


def held_name(blob: str, path: str) -> str:
    """Return what a blob is called in our directories: its id and the file's extension, so that programs recognise it."""
    extension = os.path.splitext(path)[1]
    return plain_id(blob, "a blob") + (extension if _EXTENSION.fullmatch(extension) else "")


def path_in(home: str, name: str) -> str:
    """Return where an entry of one of our directories lies, relative to its root."""
    return f"{BOOKKEEPING}/{home}/{name}"


class Opened:
    """A root that is open for one operation, with those of our directories that it has needed so far."""

    __slots__ = ("_homes", "fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        """Take over the descriptor of the root at `path`."""
        self.path = path
        self.fd = fd
        self._homes: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close every descriptor."""
        for fd in self._homes.values():
            os.close(fd)
        os.close(self.fd)
        self._homes = {}

    @property
    def ours(self) -> int:
        """The descriptor of `.mediastore`.

        Raises:
            OSError: there is none, or something else has its name.
        """
        if BOOKKEEPING not in self._homes:
            self._homes[BOOKKEEPING] = posix.open_directory(BOOKKEEPING, at=self.fd)
        return self._homes[BOOKKEEPING]

    def home(self, name: str) -> int:
        """Return the descriptor of one of our directories, open until the root is closed; it is made if it is not there.

        Most are empty as a rule, and what cleans a disk takes empty directories away.

        Raises:
            OSError: it cannot be made, or something else has its name.
        """
        found = self.home_or_none(name)
        if found is None:
            with contextlib.suppress(FileExistsError):  # another process was faster
                make_directory(name, at=self.ours, like=self.fd)
            found = self._homes[name] = posix.open_directory(name, at=self.ours)
        return found

    def home_or_none(self, name: str) -> int | None:
        """As `home`, for whoever only looks: None where there is no such directory.

        Raises:
            OSError: something else has its name.
        """
        if name not in self._homes:
            try:
                self._homes[name] = posix.open_directory(name, at=self.ours)
            except FileNotFoundError:
                return None
        return self._homes[name]

    def reopen(self, name: str) -> int:
        """As `home`, anew: the directory that was opened may have been removed since."""
        if name in self._homes:
            os.close(self._homes.pop(name))
        return self.home(name)


def make_homes(root: Opened, name: str) -> None:
    """Make those of our directories that are not there.

    Raises:
        InvalidRoot: one of them cannot be made; `name` is what the caller calls the root.
    """
    try:
        _make(BOOKKEEPING, root.fd, root.fd)
        for home in NEEDED:
            _make(home, root.ours, root.fd)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InvalidRoot(name, f"{BOOKKEEPING} cannot be made in it: {why}") from None
    keep_spares(root)


def keep_spares(root: Opened) -> None:
    """Have empty directories for the claims of a time when none can be made; a disk that is full already gives none."""
    with contextlib.suppress(OSError):
        _make(SPARE, root.ours, root.fd)
        for _ in range(SPARES - len(posix.names(at=root.home(SPARE)))):
            _make(secrets.token_hex(11), root.home(SPARE), root.fd)


def _make(name: str, at: int, root: int) -> None:
    if posix.look_or_none(name, at=at) is None:
        with contextlib.suppress(FileExistsError):
            make_directory(name, at=at, like=root)


def make_directory(name: str, *, at: int, like: int) -> None:
    """Make one of our directories with the group and the mode of a root, so that its other users can work in it.

    Raises:
        OSError: it cannot be made; FileExistsError where it is there.
    """
    posix.make_directory(name, 0o700, at=at)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # somebody has moved it since
        made = posix.open_to_change(name, at=at)
        try:
            give_rights(made, os.fstat(like))
        finally:
            os.close(made)


def give_rights(made: int, like: os.stat_result) -> None:
    """Give an open file or directory of ours the group and the mode of a root; by its name it could be another one by now."""
    seen = os.fstat(made)
    mode = stat.S_IMODE(like.st_mode)
    if not stat.S_ISDIR(seen.st_mode):
        mode &= 0o666
    with contextlib.suppress(PermissionError):
        if seen.st_gid != like.st_gid:
            os.fchown(made, -1, like.st_gid)
    with contextlib.suppress(PermissionError):
        os.fchmod(made, mode)


def take_spare(root: Opened, token: str) -> None:
    """Make the directory of a claim: of one that was kept for it, else a new one.

    Raises:
        OSError: none was kept, and none can be made.
    """
    quarantine = root.home(QUARANTINE)
    with contextlib.suppress(OSError):
        for name in posix.names(at=root.home(SPARE)):
            seen = posix.look_or_none(name, at=root.home(SPARE))
            if seen is None or not stat.S_ISDIR(seen.st_mode):
                continue
            with contextlib.suppress(FileNotFoundError):  # another process took it
                posix.rename(name, root.home(SPARE), token, quarantine)
                return
    make_directory(token, at=quarantine, like=root.fd)


def put_away(root: Opened, token: str) -> None:
    """Keep the empty directory of a claim that is over for another one, or remove it if enough are kept.

    Only its own worker may call it: whoever else had opened the directory could find the next claim's files in it.

    Raises:
        OSError: it is not empty, or is not there any more.
    """
    quarantine = root.home(QUARANTINE)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        with posix.inside(token, at=quarantine) as own:
            empty = not posix.names(at=own)
        if empty and len(posix.names(at=root.home(SPARE))) < SPARES:
            posix.rename(token, quarantine, token, root.home(SPARE))
            return
    posix.remove_directory(token, at=quarantine)
