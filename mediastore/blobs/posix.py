"""Every call to the file system that changes something or decides something, in one place.

Each of them takes a descriptor of a directory and one name in it, never a path: if a part of a path is replaced by a
symlink between two calls, the second would act elsewhere. `walked` is the only way from a path to such a pair.
The crash tests stop the process before and after each of these; nothing else in the package names `os.link` and its like.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mediastore.errors import Corrupt
from mediastore.plain import plain_path

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A descriptor that only names a place: needs search rights, not read rights. Elsewhere than on Linux: a plain one.
_PLACE: Final = getattr(os, "O_PATH", os.O_RDONLY)
_DIRECTORY: Final = _PLACE | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: One that can be listed, synced, and given other rights.
_LISTED: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Of anything, a symlink itself included where a descriptor can name one.
_ENTRY: Final = _PLACE | _FILE
#: What opening says where a way ends: no such name, or a symlink or a file in the middle of it.
_NOTHING_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})

#: What opening says of a name that is not there, or that is no file any more.
NO_FILE: Final = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EISDIR, errno.ENXIO),
        errno.ENAMETOOLONG,
    }
)
#: What a file system, or the kernel's protected_hardlinks, says where a second name is not allowed.
NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
)


def single(name: str) -> str:
    """Return a name that leads to one entry of one directory.

    Raises:
        Corrupt: it is empty, "." or "..", or holds a slash or a NUL; a name of several parts would be looked up part by
            part, and whoever may write to one of those directories could lead it elsewhere.
    """
    if not name or "/" in name or "\x00" in name or name in {".", ".."}:
        raise Corrupt(f"not the name of one file: {name!r:.100}")
    return name


def open_root(path: str) -> int:
    """Open the directory of a root by its absolute path; a final symlink is refused."""
    return os.open(path, _DIRECTORY)


def open_directory(name: str, *, at: int) -> int:
    """Open a directory to act in; a symlink is refused."""
    return os.open(single(name), _DIRECTORY, dir_fd=at)


def open_to_change(name: str, *, at: int) -> int:
    """Open a directory whose rights are to be changed: by a descriptor that only names a place they cannot be."""
    return os.open(single(name), _LISTED, dir_fd=at)


def look(name: str, *, at: int) -> os.stat_result:
    """Stat a name without following it; opens nothing, so a FIFO cannot hang us."""
    return os.stat(single(name), dir_fd=at, follow_symlinks=False)


def look_or_none(name: str, *, at: int) -> os.stat_result | None:
    """As `look`; None where there is no such name."""
    try:
        return look(name, at=at)
    except FileNotFoundError:
        return None


def look_below(directory: str, name: str, *, at: int) -> os.stat_result | None:
    """Stat an entry of a directory that is not open; None where there is no such entry.

    If the directory is a symlink, the answer is of another one: for a first look only, never for what is then acted on.
    """
    try:
        place = f"{single(directory)}/{single(name)}"
        return os.stat(place, dir_fd=at, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_file(name: str, *, at: int) -> int:
    """Open a file for reading; a symlink is refused, and a FIFO does not make us wait."""
    return os.open(single(name), os.O_RDONLY | _FILE, dir_fd=at)


def create_file(name: str, mode: int, *, at: int) -> int:
    """Make a new, empty file and open it for writing; an existing name is refused."""
    return os.open(single(name), os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE, mode, dir_fd=at)


def write_file(name: str, text: bytes, *, at: int, durable: bool) -> None:
    """Fill a file that is there; a symlink is refused, and no file is made."""
    fd = os.open(single(name), os.O_WRONLY | _FILE, dir_fd=at)
    try:
        write(fd, text)
        if durable:
            sync(fd)
    finally:
        os.close(fd)


def read_file(name: str, limit: int, *, at: int) -> bytes | None:
    """Read a regular file of at most `limit` bytes; None for anything else that has the name."""
    try:
        fd = open_file(name, at=at)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENXIO, errno.ENOTDIR}:
            raise
        return None
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > limit:
            return None
        with os.fdopen(os.dup(fd), "rb") as file:
            text = file.read(limit + 1)
        return text if len(text) <= limit else None
    finally:
        os.close(fd)


def write(fd: int, piece: bytes | memoryview) -> None:
    """Write all of it."""
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]


def set_times(fd: int, atime_ns: int, mtime_ns: int) -> None:
    """Set the access and the modification time of an open file."""
    os.utime(fd, ns=(atime_ns, mtime_ns))


def sync(fd: int) -> None:
    """Have a file's bytes on the disk."""
    os.fsync(fd)


def sync_directory(*, at: int) -> None:
    """Have the names of an open directory on the disk."""
    fd = open_to_list(at=at)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def link(source: str, source_at: int, target: str, target_at: int) -> None:
    """Give a file one more name; a symlink is linked, not followed, and an existing target is refused."""
    os.link(
        single(source),
        single(target),
        src_dir_fd=source_at,
        dst_dir_fd=target_at,
        follow_symlinks=False,
    )


def rename(source: str, source_at: int, target: str, target_at: int) -> None:
    """Move a name."""
    os.rename(single(source), single(target), src_dir_fd=source_at, dst_dir_fd=target_at)


def unlink(name: str, *, at: int) -> None:
    """Remove a name."""
    os.unlink(single(name), dir_fd=at)


def touch(name: str, *, at: int) -> None:
    """Make a name's times those of now; a symlink is not followed."""
    os.utime(single(name), dir_fd=at, follow_symlinks=False)


def make_directory(name: str, mode: int, *, at: int) -> None:
    """Make a directory."""
    os.mkdir(single(name), mode, dir_fd=at)


def remove_directory(name: str, *, at: int) -> None:
    """Remove an empty directory."""
    os.rmdir(single(name), dir_fd=at)


def open_to_list(*, at: int) -> int:
    """Open an open directory once more, so that it can be listed."""
    return os.open(".", _LISTED, dir_fd=at)


def names(*, at: int) -> list[str]:
    """List an open directory."""
    fd = open_to_list(at=at)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def inside(name: str, *, at: int) -> Iterator[int]:
    """Open a directory for as long as the block lasts; a symlink is refused."""
    fd = open_directory(name, at=at)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def walked(root: int, path: str) -> Iterator[tuple[int, str]]:
    """Walk from a root's descriptor to the directory of `path`, following no symlink and leaving no file system.

    Yields the directory's descriptor and the last name. No path leads out of the root, or into our bookkeeping.

    Raises:
        Corrupt: the path is not made of plain names; nothing was opened.
        OSError: a directory on the way is missing (ENOENT), a symlink or a file (ENOTDIR, ELOOP), or on another mount (EXDEV).
    """
    *parents, name = plain_path(path).split("/")
    if not parents:
        yield root, name
        return
    device = os.fstat(root).st_dev
    here = root
    try:
        for parent in parents:
            there = open_directory(parent, at=here)
            if here != root:
                os.close(here)
            here = there
            if os.fstat(here).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        yield here, name
    finally:
        if here != root:
            os.close(here)


def look_along(root: int, path: str) -> os.stat_result | None:
    """Stat the entry at the end of a path that is walked as `walked` does; None where there is no such entry.

    Raises:
        Corrupt, OSError: as `walked`.
    """
    if "/" not in path:
        return look_or_none(plain_path(path), at=root)
    with walked(root, path) as (parent, name):
        return look_or_none(name, at=parent)


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a path leads without following a symlink.

    Attributes:
        seen: The last entry that there is; None if not even the first name is there.
        whole: Whether that is the end of the path.
        beyond: Whether it lies on another mount than the root, a bind mount of the same disk included.
    """

    seen: os.stat_result | None
    whole: bool
    beyond: bool


def reach(root: int, path: str) -> Reached:
    """Follow a path from a root's descriptor as far as it leads, mount points included. Opens nothing for reading.

    Raises:
        Corrupt: the path is not made of plain names.
        OSError: this user may not look there.
    """
    names_left = plain_path(path).split("/")
    seen, here = None, os.dup(root)
    try:
        while names_left:
            try:
                there = os.open(names_left[0], _ENTRY, dir_fd=here)
            except OSError as error:
                if error.errno not in _NOTHING_THERE:
                    raise
                break
            os.close(here)
            here, seen = there, os.fstat(there)
            names_left.pop(0)
        return Reached(seen, not names_left, mount_of(here) != mount_of(root))
    finally:
        os.close(here)


def mount_of(fd: int) -> str:
    """Return a name of the mount that an open file was reached through; where the system does not tell, of its file system."""
    try:
        with open(f"/proc/self/fdinfo/{fd}") as words:
            for line in words:
                if line.startswith("mnt_id:"):
                    return line.strip()
    except OSError:
        pass
    return f"device {os.fstat(fd).st_dev}"


def file_system_of(fd: int) -> str:
    """Return the type of the file system of an open file, such as "ext4" or "fuse.mergerfs"; "" where the system does not tell."""
    mount = mount_of(fd).removeprefix("mnt_id:").strip()
    try:
        with open("/proc/self/mountinfo") as mounts:
            for line in mounts:
                number, _, rest = line.partition(" ")
                if number == mount:
                    return rest.partition(" - ")[2].partition(" ")[0]
    except OSError:
        pass
    return ""


def kind(mode: int) -> str:
    """Name the type of a file in words."""
    tests = {
        "file": stat.S_ISREG,
        "directory": stat.S_ISDIR,
        "symlink": stat.S_ISLNK,
        "FIFO": stat.S_ISFIFO,
        "socket": stat.S_ISSOCK,
    }
    return next((name for name, test in tests.items() if test(mode)), "device")
