"""Roots: directories that hold media, and the marker that says which root a directory is.

A host acts only in a directory whose marker it has verified, so the same path on two hosts is never confused.
The marker records its own inode number: a copied or restored tree carries another one, and nothing is deleted there.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mediastore.errors import BlobsUnavailable, InvalidRoot
from mediastore.journal import Found
from mediastore.settings import default_root

from . import posix

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = ".mediastore"
NEW: Final = f"{HOME}/new"
HELD: Final = f"{HOME}/held"
QUARANTINE: Final = f"{HOME}/quarantine"
PARKED: Final = f"{HOME}/parked"
TMP: Final = f"{HOME}/tmp"  # noqa: S108 - ours, inside a root
META: Final = f"{HOME}/meta"
DRAFTS: Final = f"{HOME}/drafts"
MARKER: Final = f"{HOME}/root"
_MARKER_MAX_BYTES = 4096
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,12}")
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


def held_name(blob: str, path: str) -> str:
    """Return what a blob is called in our directories: its id and the file's extension, so that programs recognise it."""
    extension = os.path.splitext(path)[1]
    return f"{blob}{extension}" if _EXTENSION.fullmatch(extension) else blob


@dataclass(frozen=True, slots=True)
class Root:
    """A verified root: its id, its path without symlinks, the inode number of its marker.

    `adopted` is the seq at which the directory became this root; what refs up to it say of inodes was said of another.
    """

    id: str
    path: str
    marker: int
    adopted: int = 0

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
            try:
                seen = posix.look_or_none(MARKER, at=fd)
            except OSError as error:
                raise BlobsUnavailable(
                    f"root {self.path} cannot be entered: {os.strerror(error.errno or 0)}"
                ) from None
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
    with _directory(path, real) as fd:
        marked = posix.look_or_none(MARKER, at=fd) is not None
        if not marked:
            refuse_nested(path, real)
        make_homes(path, fd)
        if not marked:
            _mark(path, fd, namespace)
        marker = _read(path, fd, namespace)
        fault = marker.fault(fd)
        if fault:
            advice = f"`mediastore roots adopt {path}` makes it the root"
            raise InvalidRoot(path, f"{fault}; if the root is to be here, {advice}")
        return Root(marker.root, real, marker.seen.st_ino, marker.adopted)


def refuse_unsuitable(path: str, real: str) -> None:
    """Refuse what can never be a root: no directory, the system's, a home.

    Raises:
        InvalidRoot: it says why.
    """
    try:
        os.stat(real)
    except PermissionError as error:
        raise _barred(path, error) from None
    except OSError:
        pass  # the next question says so
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
        if os.path.exists(os.path.join(above, MARKER)):
            raise InvalidRoot(path, f"it lies inside the root {above}; roots do not nest")
        if above == os.path.dirname(above):
            return
        above = os.path.dirname(above)


def make_homes(path: str, fd: int) -> None:
    """Make the directories of our bookkeeping that are not there."""
    own = os.fstat(fd)
    for name in (HOME, NEW, HELD, QUARANTINE, PARKED, TMP, META, DRAFTS):
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


def _new_id() -> str:
    """Return a random root id; one that starts with a dash would read as an option on a command line."""
    while True:
        root = secrets.token_urlsafe(16)
        if not root.startswith("-"):
            return root


def _draft(fd: int, root: str, namespace: str, **more: int) -> str:
    """Write a marker for this directory under a name of its own."""
    draft = f"{MARKER}.{secrets.token_hex(8)}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
    try:
        inode = os.fstat(file).st_ino
        words = {"root": root, "namespace": namespace, "inode": inode, "format": 1, **more}
        os.write(file, json.dumps(words).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    share(draft, os.fstat(fd), at=fd)
    return draft


def remark(fd: int, root: str, namespace: str, seq: int) -> None:
    """Replace the marker by one made in this directory."""
    posix.rename(_draft(fd, root, namespace, adopted=seq), fd, MARKER, fd)


def _mark(path: str, fd: int, namespace: str) -> None:
    try:
        draft = _draft(fd, _new_id(), namespace)
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
        posix.link(draft, fd, MARKER, fd)
    except OSError as error:
        if error.errno not in posix.NO_LINKS:
            raise
        posix.rename(draft, fd, MARKER, fd)


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker says, and the file it stands in."""

    root: str
    namespace: object
    inode: object
    adopted: int
    seen: os.stat_result

    def fault(self, fd: int) -> str:
        """Say why this is not the directory that the marker was made in; empty when it is."""
        if self.inode != self.seen.st_ino:
            return f"its marker was made elsewhere: this is a copy or a restored backup of root {self.root}"
        if self.seen.st_nlink > 1 and not _being_published(fd, self.seen.st_ino):
            return f"its marker has {self.seen.st_nlink} names: this is a hard-linked copy of root {self.root}"
        return ""


def _read(path: str, fd: int, namespace: str) -> Marker:
    try:
        marker = _parse(fd)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRoot(
            path, f"its marker {MARKER} cannot be read ({type(error).__name__})"
        ) from None
    if marker.namespace != namespace:
        raise InvalidRoot(path, f"it belongs to namespace {marker.namespace!r}, not {namespace!r}")
    return marker


def _parse(fd: int) -> Marker:
    file = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    try:
        seen, words = os.fstat(file), json.loads(os.read(file, _MARKER_MAX_BYTES))
    finally:
        os.close(file)
    adopted = int(words.get("adopted", 0)) if isinstance(words, dict) else 0
    return Marker(str(words["root"]), words["namespace"], words["inode"], adopted, seen)


def inspect(path: str, namespace: str) -> Found:
    """Look at a directory that is to be adopted; nothing in it is changed.

    Raises:
        InvalidRoot: it can never be a root, or has no marker that this namespace can read.
    """
    real = os.path.realpath(path)
    refuse_unsuitable(path, real)
    refuse_nested(path, real)
    with _directory(path, real) as fd:
        if posix.look_or_none(MARKER, at=fd) is None:
            raise InvalidRoot(path, "it has no marker: the first use makes it a root, a new one")
        marker = _read(path, fd, namespace)
        return Found(marker.root, real, marker.fault(fd))


def again(root: Root, namespace: str) -> Root | None:
    """Return a root whose marker was rewritten since it was verified, as `adopt` does; None if it is not there."""
    try:
        with _directory(root.path, root.path) as fd:
            marker = _read(root.path, fd, namespace)
            if marker.root != root.id or marker.fault(fd):
                return None
            return Root(root.id, root.path, marker.seen.st_ino, marker.adopted)
    except (InvalidRoot, OSError):
        return None


def stands(root: str, path: str, beside: str) -> bool:
    """Whether the directory at `path` is this root by a marker made in it, and another one than `beside`."""
    try:
        with _directory(path, os.path.realpath(path)) as fd, _directory(beside, beside) as other:
            marker, here, there = _parse(fd), os.fstat(fd), os.fstat(other)
    except (OSError, ValueError, KeyError, TypeError, InvalidRoot):
        return False
    same = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
    return marker.root == root and marker.inode == marker.seen.st_ino and not same


@contextlib.contextmanager
def _directory(path: str, real: str) -> Iterator[int]:
    try:
        fd = posix.open_directory(real)
    except OSError as error:
        raise InvalidRoot(path, os.strerror(error.errno or 0)) from None
    try:
        yield fd
    except PermissionError as error:
        raise _barred(path, error) from None
    finally:
        os.close(fd)


def _barred(path: str, error: OSError) -> InvalidRoot:
    return InvalidRoot(path, f"this user may not enter it: {os.strerror(error.errno or 0)}")


def drafts(fd: int) -> list[str]:
    """Name the markers that somebody is writing, or left when it was killed."""
    return [f"{HOME}/{name}" for name in posix.names(HOME, at=fd) if name.startswith("root.")]


def _being_published(fd: int, inode: int) -> bool:
    """A marker has two names between its link and the unlink of its draft."""
    found = (posix.look_or_none(draft, at=fd) for draft in drafts(fd))
    return (
        any(draft is None or draft.st_ino == inode for draft in found)
        or posix.look(MARKER, at=fd).st_nlink == 1
    )
