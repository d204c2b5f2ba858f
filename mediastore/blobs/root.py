"""Roots: directories that hold media, and the marker that says which root a directory is.

A host acts only in a directory whose marker it has verified, so the same path on two hosts is never confused.
The marker records its own inode number: a copied or restored tree carries another one, and nothing is deleted there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mediastore.errors import BlobsUnavailable, InvalidRoot
from mediastore.journal import Found
from mediastore.markers import parse_marker
from mediastore.plain import BOOKKEEPING
from mediastore.settings import default_root

from . import numbers, posix
from .homes import Opened, give_rights, make_homes

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKER: Final = "root"
#: Where the marker lies, relative to its root.
MARKER: Final = f"{BOOKKEEPING}/{_MARKER}"
_MARKER_MAX_BYTES = 4096
_DAY_S: Final = 86_400.0
#: Errors that mean: the directory is not there, or its file system is mounted no more.
_AWAY: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENOTCONN, errno.ENODEV}
)
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
    """A verified root.

    Attributes:
        id: What its marker says.
        path: Without symlinks.
        marker: How its marker looked when it was read: device, inode number, and when the inode last changed.
        directory: The device and the inode number of the root itself.
        adopted: The seq at which the directory became this root; what refs up to it say of inodes was said of another.
    """

    id: str
    path: str
    marker: tuple[int, int, int]
    directory: tuple[int, int]
    adopted: int = 0

    def opened(self) -> Opened:
        """Open the root for one operation, `with` it, and make sure that its marker is the one that was read.

        No descriptor is kept in between, so a file system can be unmounted, and an unmounted one is noticed. An inode number
        alone proves nothing: on two disks that were set up alike, the markers have the same.

        Raises:
            BlobsUnavailable: the directory is gone, or its marker does not look as it did: it is to be read `again`.
        """
        try:
            root = Opened(self.path, posix.open_root(self.path))
        except OSError as error:
            raise _unavailable(f"root {self.path} cannot be opened", error) from None
        try:
            seen = posix.look_below(BOOKKEEPING, _MARKER, at=root.fd)
        except OSError as error:
            root.close()
            raise _unavailable(f"root {self.path} cannot be entered", error) from None
        # A hard-linked copy has the same marker, and another directory.
        same = _place(root) == self.directory
        if seen is None or _look(seen) != self.marker or not same:
            kind = numbers.guessing(root)
            root.close()
            guess = f"; {kind} may have changed inode numbers" if kind else ""
            raise BlobsUnavailable(
                f"root {self.path} is not the root it was (unmounted or replaced?{guess})"
            )
        return root


def _look(seen: os.stat_result) -> tuple[int, int, int]:
    return seen.st_dev, seen.st_ino, seen.st_ctime_ns


def _place(there: Opened) -> tuple[int, int]:
    seen = os.fstat(there.fd)
    return seen.st_dev, seen.st_ino


def _root(marker: Marker, real: str, there: Opened) -> Root:
    return Root(marker.root, real, _look(marker.seen), _place(there), marker.adopted)


def _unavailable(words: str, error: OSError) -> BlobsUnavailable:
    """Return the error for a root that is away, or, with the name of the system's error, for one that is there."""
    code = error.errno or 0
    name = "" if code in _AWAY else errno.errorcode.get(code, "EUNKNOWN")
    return BlobsUnavailable(f"{words}: {os.strerror(code)}", name)


def verify(path: str, namespace: str) -> Root:
    """Return the root at `path`, marking a directory that has no marker yet.

    Raises:
        InvalidRoot: it cannot be a root, or its marker is not of this namespace and this very directory.
    """
    real = os.path.realpath(path)
    if path == str(default_root()) and not os.path.isdir(real):
        Path(real).mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_unsuitable(path, real)
    with _directory(path, real) as root:
        marked = _is_marked(root)
        if not marked:
            refuse_nested(path, real)
            _refuse_unknowable(path, root)
        make_homes(root, path)
        if not marked:
            _mark(path, root, namespace)
        marker = _read(path, root, namespace)
        fault = marker.fault(root)
        if fault:
            _refuse_unknowable(path, root)
            advice = f"`mediastore roots adopt {path}` makes it the root"
            raise InvalidRoot(path, f"{fault}; if the root is to be here, {advice}")
        return _root(marker, real, root)


def _refuse_unknowable(path: str, root: Opened) -> None:
    why = numbers.fault(root)
    if why:
        raise InvalidRoot(path, why)


def _is_marked(root: Opened) -> bool:
    try:
        return posix.look_or_none(_MARKER, at=root.ours) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False


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
    if f"/{BOOKKEEPING}" in real:
        raise InvalidRoot(path, f"it lies inside another root's {BOOKKEEPING}")


def refuse_nested(path: str, real: str) -> None:
    """Refuse a directory inside another root.

    Raises:
        InvalidRoot: it names the other root.
    """
    above = os.path.dirname(real)
    while True:
        if is_marked(above):
            raise InvalidRoot(path, f"it lies inside the root {above}; roots do not nest")
        if above == os.path.dirname(above):
            return
        above = os.path.dirname(above)


def is_marked(path: str) -> bool:
    """Return True if the directory at `path` has the marker of a root, of any root."""
    return os.path.lexists(os.path.join(path, BOOKKEEPING, _MARKER))


def _new_id() -> str:
    """Return a random root id; one that starts with a dash would read as an option on a command line."""
    while True:
        root = secrets.token_urlsafe(16)
        if not root.startswith("-"):
            return root


def _draft(root: Opened, id_: str, namespace: str, **more: int) -> str:
    """Write a marker for this directory under a name of its own."""
    draft = f"{_MARKER}.{secrets.token_hex(8)}"
    file = posix.create_file(draft, 0o600, at=root.ours)
    try:
        inode = os.fstat(file).st_ino
        words = {"root": id_, "namespace": namespace, "inode": inode, "format": 1, **more}
        posix.write(file, json.dumps(words).encode() + b"\n")
        posix.sync(file)
        give_rights(file, os.fstat(root.fd))
    finally:
        os.close(file)
    return draft


def remark(root: Opened, id_: str, namespace: str, seq: int) -> None:
    """Replace the marker by one made in this directory."""
    draft = _draft(root, id_, namespace, adopted=seq)
    posix.rename(draft, root.ours, _MARKER, root.ours)


def freshen(root: Opened, now: float) -> None:
    """Touch the marker once a day: what cleans a disk by age must never find it old. Who may not, leaves it to others."""
    seen = posix.look_or_none(_MARKER, at=root.ours)
    if seen is not None and seen.st_mtime < now - _DAY_S:
        with contextlib.suppress(OSError):
            posix.touch(_MARKER, at=root.ours)


def _mark(path: str, root: Opened, namespace: str) -> None:
    try:
        draft = _draft(root, _new_id(), namespace)
        with contextlib.suppress(FileExistsError):  # somebody else was first: theirs is the marker
            _publish(draft, root.ours)
        with contextlib.suppress(FileNotFoundError):
            posix.unlink(draft, at=root.ours)
    except OSError as error:
        raise InvalidRoot(
            path, f"its marker cannot be written: {os.strerror(error.errno or 0)}"
        ) from None


def _publish(draft: str, ours: int) -> None:
    """Give the marker its name without replacing one; a file system without links gets it by rename."""
    try:
        posix.link(draft, ours, _MARKER, ours)
    except OSError as error:
        if error.errno not in posix.NO_LINKS:
            raise
        posix.rename(draft, ours, _MARKER, ours)


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker says, and the file it stands in."""

    root: str
    namespace: object
    inode: object
    adopted: int
    seen: os.stat_result

    def fault(self, root: Opened) -> str:
        """Say why this is not the directory that the marker was made in; empty when it is."""
        if self.inode != self.seen.st_ino:
            kind = numbers.guessing(root)
            other = f", or {kind} has given it another inode number than before" if kind else ""
            return f"its marker was made elsewhere: this is a copy or a restored backup of root {self.root}{other}"
        if self.seen.st_nlink > 1 and not _being_published(root, self.seen.st_ino):
            return f"its marker has {self.seen.st_nlink} names: this is a hard-linked copy of root {self.root}"
        return ""


def _read(path: str, root: Opened, namespace: str) -> Marker:
    try:
        marker = _parse(root)
    except (OSError, ValueError) as error:
        raise InvalidRoot(path, f"its marker {MARKER} cannot be read ({_words(error)})") from None
    if marker.namespace != namespace:
        raise InvalidRoot(path, f"it belongs to namespace {marker.namespace!r}, not {namespace!r}")
    return marker


def _words(error: Exception) -> str:
    return os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)


def _parse(root: Opened) -> Marker:
    """Read the marker.

    Raises:
        OSError: it cannot be read.
        ValueError: it says what no marker says.
    """
    file = posix.open_file(_MARKER, at=root.ours)
    try:
        seen, text = os.fstat(file), os.read(file, _MARKER_MAX_BYTES)
    finally:
        os.close(file)
    words = parse_marker(text)
    return Marker(words.root, words.namespace, words.inode, words.adopted, seen)


def inspect(path: str, namespace: str) -> Found:
    """Look at a directory that is to be adopted; nothing in it is changed.

    Raises:
        InvalidRoot: it can never be a root, or has no marker that this namespace can read.
    """
    real = os.path.realpath(path)
    refuse_unsuitable(path, real)
    refuse_nested(path, real)
    with _directory(path, real) as root:
        if not _is_marked(root):
            raise InvalidRoot(path, "it has no marker: the first use makes it a root, a new one")
        marker = _read(path, root, namespace)
        fault = marker.fault(root)
        if fault:
            _refuse_unknowable(path, root)
        return Found(marker.root, real, fault)


def again(root: Root, namespace: str) -> Root | None:
    """Read the marker of a root once more: it was rewritten, as `adopt` does, touched, or mounted anew.

    Returns None if the root is not there. A backup may have given the marker a second name; the copy that it made has
    another directory.
    """
    try:
        with _directory(root.path, root.path) as there:
            marker = _read(root.path, there, namespace)
            found = _root(marker, root.path, there)
            original = marker.inode == marker.seen.st_ino and found.directory == root.directory
            if marker.root != root.id or (marker.fault(there) and not original):
                return None
            return found
    except (InvalidRoot, OSError):
        return None


def stands(root: str, path: str, beside: str) -> bool:
    """Whether the directory at `path` is this root by a marker made in it, and another one than `beside`."""
    try:
        with _directory(path, os.path.realpath(path)) as here, _directory(beside, beside) as other:
            marker, at, there = _parse(here), os.fstat(here.fd), os.fstat(other.fd)
    except (OSError, ValueError, InvalidRoot):
        return False
    same = (at.st_dev, at.st_ino) == (there.st_dev, there.st_ino)
    return marker.root == root and marker.inode == marker.seen.st_ino and not same


@contextlib.contextmanager
def _directory(path: str, real: str) -> Iterator[Opened]:
    try:
        fd = posix.open_root(real)
    except OSError as error:
        raise InvalidRoot(path, os.strerror(error.errno or 0)) from None
    with Opened(real, fd) as root:
        try:
            yield root
        except PermissionError as error:
            raise _barred(path, error) from None


def _barred(path: str, error: OSError) -> InvalidRoot:
    return InvalidRoot(path, f"this user may not enter it: {os.strerror(error.errno or 0)}")


def drafts(root: Opened) -> list[str]:
    """Name the markers that somebody is writing, or left when it was killed; they lie in `.mediastore` itself."""
    return [name for name in posix.names(at=root.ours) if name.startswith(f"{_MARKER}.")]


def _being_published(root: Opened, inode: int) -> bool:
    """A marker has two names between its link and the unlink of its draft."""
    found = (posix.look_or_none(draft, at=root.ours) for draft in drafts(root))
    return (
        any(draft is None or draft.st_ino == inode for draft in found)
        or posix.look(_MARKER, at=root.ours).st_nlink == 1
    )
