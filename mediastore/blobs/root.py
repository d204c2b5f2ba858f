"""Roots: directories that hold media, and the marker that says which root a directory is.

A host acts only in a directory whose marker it has verified, so the same path on two hosts is never confused.
The marker records its own inode number: a copied or restored tree carries another one, and nothing is deleted there.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mediastore.errors import BlobsUnavailable, InvalidRoot
from mediastore.settings import default_root

from . import posix

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = ".mediastore"
NEW: Final = f"{HOME}/new"
HELD: Final = f"{HOME}/held"
QUARANTINE: Final = f"{HOME}/quarantine"
PARKED: Final = f"{HOME}/parked"
_MARKER: Final = f"{HOME}/root"
_MARKER_MAX_BYTES = 4096
#: Never a root themselves; what lies below the second group is refused too.
_SYSTEM = frozenset(
    """/ /bin /boot /dev /etc /home /lib /lib32 /lib64 /libx32 /media /mnt /opt /proc /root /run
    /sbin /srv /sys /tmp /usr /var /dev/shm /usr/local /var/cache /var/lib /var/log /var/mail
    /var/spool /var/tmp /Users /System /Library /private""".split()  # noqa: SIM905 - forty lines would say no more
)
_SYSTEM_TREES = (
    "/bin/",
    "/boot/",
    "/etc/",
    "/lib/",
    "/lib64/",
    "/proc/",
    "/sbin/",
    "/sys/",
    "/usr/bin/",
    "/usr/lib/",
    "/usr/sbin/",
)


@dataclass(frozen=True, slots=True)
class Root:
    """A verified root: its id, its path without symlinks, and the inode number of its marker."""

    id: str
    path: str
    marker: int

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open the root for one operation and make sure it is still the one that was verified.

        No descriptor is kept in between, so a file system can be unmounted, and an unmounted one is noticed.

        Raises:
            BlobsUnavailable: the directory is gone or another one stands in its place.
        """
        try:
            fd = posix.open_directory(self.path)
        except OSError as error:
            raise BlobsUnavailable(
                f"root {self.path} cannot be opened: {os.strerror(error.errno or 0)}"
            ) from None
        try:
            seen = posix.look_or_none(_MARKER, at=fd)
            if seen is None or seen.st_ino != self.marker:
                raise BlobsUnavailable(
                    f"root {self.path} is not the root it was (unmounted or replaced?)"
                )
            yield fd
        finally:
            os.close(fd)


def verify(path: str, namespace: str) -> Root:
    """Return the root at `path`, marking a directory that has no marker yet.

    Raises:
        InvalidRoot: it cannot be a root, or its marker is not of this namespace and this very directory.
    """
    real = os.path.realpath(path)
    if path == str(default_root()) and not os.path.isdir(real):
        Path(real).mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_unsuitable(path, real)
    try:
        fd = posix.open_directory(real)
    except OSError as error:
        raise InvalidRoot(path, os.strerror(error.errno or 0)) from None
    try:
        marked = posix.look_or_none(_MARKER, at=fd) is not None
        if not marked:
            refuse_nested(path, real)
        _make_homes(path, fd)
        if not marked:
            _mark(path, fd, namespace)
        return Root(_read(path, fd, namespace), real, posix.look(_MARKER, at=fd).st_ino)
    finally:
        os.close(fd)


def refuse_unsuitable(path: str, real: str) -> None:
    """Refuse what can never be a root: no directory, the system's, a home.

    Raises:
        InvalidRoot: it says why.
    """
    if not os.path.isdir(real):
        raise InvalidRoot(path, "it is not a directory; create it, or mount what should be there")
    if real in _SYSTEM or f"{real}/".startswith(_SYSTEM_TREES):
        raise InvalidRoot(path, f"{real} belongs to the system")
    homes = {os.path.realpath(Path.home()), *(entry.pw_dir for entry in pwd.getpwall())}
    if real in homes or os.path.dirname(real) in {"/home", "/Users"}:
        raise InvalidRoot(path, f"{real} is a home directory; use a directory of its own inside it")
    if f"/{HOME}" in real:
        raise InvalidRoot(path, f"it lies inside another root's {HOME}")


def refuse_nested(path: str, real: str) -> None:
    """Refuse a directory inside another root.

    Raises:
        InvalidRoot: it names the other root.
    """
    above = os.path.dirname(real)
    while True:
        if os.path.exists(os.path.join(above, _MARKER)):
            raise InvalidRoot(path, f"it lies inside the root {above}; roots do not nest")
        if above == os.path.dirname(above):
            return
        above = os.path.dirname(above)


def _make_homes(path: str, fd: int) -> None:
    own = os.fstat(fd)
    for name in (HOME, NEW, HELD, QUARANTINE, PARKED):
        if posix.look_or_none(name, at=fd) is not None:
            continue
        try:
            posix.make_directory(name, 0o700, at=fd)
        except FileExistsError:
            continue
        except OSError as error:
            raise InvalidRoot(
                path, f"{name} cannot be made: {os.strerror(error.errno or 0)}"
            ) from None
        share(name, own, at=fd)


def share(name: str, own: os.stat_result, *, at: int) -> None:
    """Give what we made the root's group and mode, so that bots and workers of different users can share it."""
    mode = (
        stat.S_IMODE(own.st_mode)
        if stat.S_ISDIR(posix.look(name, at=at).st_mode)
        else stat.S_IMODE(own.st_mode) & 0o666
    )
    with contextlib.suppress(PermissionError):
        os.chown(name, -1, own.st_gid, dir_fd=at, follow_symlinks=False)
    with contextlib.suppress(PermissionError):
        os.chmod(name, mode, dir_fd=at)


def _mark(path: str, fd: int, namespace: str) -> None:
    draft = f"{_MARKER}.{secrets.token_hex(8)}"
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
        try:
            words = {
                "root": secrets.token_urlsafe(16),
                "namespace": namespace,
                "inode": os.fstat(file).st_ino,
                "format": 1,
            }
            os.write(file, json.dumps(words).encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        share(draft, os.fstat(fd), at=fd)
        with contextlib.suppress(FileExistsError):  # somebody else was first: theirs is the marker
            _publish(draft, fd)
        with contextlib.suppress(FileNotFoundError):
            posix.unlink(draft, at=fd)
    except OSError as error:
        raise InvalidRoot(
            path, f"its marker cannot be written: {os.strerror(error.errno or 0)}"
        ) from None


def _publish(draft: str, fd: int) -> None:
    """Give the marker its name without replacing one; a file system without links gets it by rename."""
    try:
        posix.link(draft, fd, _MARKER, fd)
    except OSError as error:
        if error.errno not in posix.NO_LINKS:
            raise
        posix.rename(draft, fd, _MARKER, fd)


def _read(path: str, fd: int, namespace: str) -> str:
    try:
        file = os.open(
            _MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd
        )
        try:
            seen, words = os.fstat(file), json.loads(os.read(file, _MARKER_MAX_BYTES))
        finally:
            os.close(file)
        root, of, inode = str(words["root"]), words["namespace"], words["inode"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRoot(
            path, f"its marker {_MARKER} cannot be read ({type(error).__name__})"
        ) from None
    if of != namespace:
        raise InvalidRoot(path, f"it belongs to namespace {of!r}, not {namespace!r}")
    if inode != seen.st_ino:
        raise InvalidRoot(
            path,
            f"its marker was made elsewhere: this is a copy or a restored backup of root {root}",
        )
    if seen.st_nlink > 1 and not _being_published(fd, seen.st_ino):
        raise InvalidRoot(
            path, f"its marker has {seen.st_nlink} names: this is a hard-linked copy of root {root}"
        )
    return root


def drafts(fd: int) -> list[str]:
    """Name the markers that somebody is writing, or left when it was killed."""
    return [f"{HOME}/{name}" for name in posix.names(HOME, at=fd) if name.startswith("root.")]


def _being_published(fd: int, inode: int) -> bool:
    """A marker has two names between its link and the unlink of its draft."""
    found = (posix.look_or_none(draft, at=fd) for draft in drafts(fd))
    return (
        any(draft is None or draft.st_ino == inode for draft in found)
        or posix.look(_MARKER, at=fd).st_nlink == 1
    )
