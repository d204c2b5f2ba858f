"""Every call to the file system that changes something or decides something, in one place.

The crash tests stop the process before and after each of these; nothing else in the package names `os.link` and its like.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A descriptor that only names a place: needs search rights, not read rights. Elsewhere than on Linux: a plain one.
_PLACE: Final = getattr(os, "O_PATH", os.O_RDONLY)
_DIRECTORY: Final = _PLACE | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: What a file system, or the kernel's protected_hardlinks, says where a second name is not allowed.
NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
)


def open_directory(path: str, *, at: int | None = None) -> int:
    """Open a directory to act in; a final symlink is refused."""
    return os.open(path, _DIRECTORY, dir_fd=at)


def open_to_change(path: str, *, at: int) -> int:
    """Open a directory whose rights are to be changed: by a descriptor that only names a place they cannot be."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)


def look(path: str, *, at: int) -> os.stat_result:
    """Stat a name without following it; opens nothing, so a FIFO cannot hang us."""
    return os.stat(path, dir_fd=at, follow_symlinks=False)


def look_or_none(path: str, *, at: int) -> os.stat_result | None:
    """As `look`; None where there is no such name."""
    try:
        return look(path, at=at)
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_file(name: str, *, at: int) -> int:
    """Open a file for reading; a symlink is refused, and a FIFO does not make us wait."""
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)


def create_file(name: str, mode: int, *, at: int) -> int:
    """Make a new, empty file and open it for writing; an existing name is refused."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, mode, dir_fd=at)


def write_file(name: str, text: bytes, *, at: int, durable: bool) -> None:
    """Fill a file that is there; a symlink is refused, and no file is made."""
    fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
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


def sync(fd: int) -> None:
    """Have a file's bytes on the disk."""
    os.fsync(fd)


def sync_directory(path: str, *, at: int) -> None:
    """Have a directory's names on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def link(source: str, source_at: int, target: str, target_at: int) -> None:
    """Give a file a second name; a symlink is linked, not followed, and an existing target is refused."""
    os.link(source, target, src_dir_fd=source_at, dst_dir_fd=target_at, follow_symlinks=False)


def rename(source: str, source_at: int, target: str, target_at: int) -> None:
    """Move a name."""
    os.rename(source, target, src_dir_fd=source_at, dst_dir_fd=target_at)


def unlink(path: str, *, at: int) -> None:
    """Remove a name."""
    os.unlink(path, dir_fd=at)


def make_directory(path: str, mode: int, *, at: int) -> None:
    """Make a directory."""
    os.mkdir(path, mode, dir_fd=at)


def remove_directory(path: str, *, at: int) -> None:
    """Remove an empty directory."""
    os.rmdir(path, dir_fd=at)


def names(path: str, *, at: int) -> list[str]:
    """List a directory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def walked(root: int, path: str) -> Iterator[tuple[int, str]]:
    """Walk from a root's descriptor to the directory of `path`, following no symlink and leaving no file system.

    Yields the directory's descriptor and the last name.

    Raises:
        OSError: a directory on the way is missing (ENOENT), a symlink or a file (ENOTDIR, ELOOP), or on another mount (EXDEV).
    """
    *parents, name = path.split("/")
    device = os.fstat(root).st_dev
    here = os.dup(root)
    try:
        for parent in parents:
            there = open_directory(parent, at=here)
            os.close(here)
            here = there
            if os.fstat(here).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        yield here, name
    finally:
        os.close(here)


def kind(mode: int) -> str:
    """Name the type of a file in words."""
    tests = {
        "directory": stat.S_ISDIR,
        "symlink": stat.S_ISLNK,
        "FIFO": stat.S_ISFIFO,
        "socket": stat.S_ISSOCK,
    }
    return next((name for name, test in tests.items() if test(mode)), "device")
