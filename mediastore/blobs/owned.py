"""Files that the store writes itself: under a temporary name first, then under one that is never used again.

A sweeper that has taken the blob removes the temporary name before the final one, and here a file gets its final
name only from its temporary one. So whoever comes too late finds nothing to rename, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mediastore.errors import (
    BlobsUnavailable,
    FileMissing,
    InvalidRequest,
    NotARegularFile,
    StoreFull,
)
from mediastore.journal import Written
from mediastore.plain import plain_path

from . import posix, stamps
from .homes import TMP, held_name, path_in
from .parking import park
from .rights import FILE_MODE, give, share

if TYPE_CHECKING:
    from hashlib import _Hash

    from mediastore.journal import Doomed

    from .drafting import Begin
    from .homes import Opened

_DIRECTORY_MODE: Final = 0o750
#: How often the room that is left is looked at while a file is written.
_LOOK_BYTES: Final = 16 << 20
#: How often a directory may be pruned under us before we give up.
_MOST_TRIES: Final = 100
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
_ELSEWHERE: Final = _GONE - {errno.ENOENT}
_SIDECAR: Final = ".meta"
#: How much of a file is looked at to see what it is.
HEAD: Final = 8192


@dataclass(slots=True)
class Draft:
    """A file that is being written, and what is known of it so far. Its files are closed when nobody has it any more.

    `name` is its temporary one, in the directory for them; `path` is where others find it by that name.
    """

    root: str
    blob: str
    name: str
    path: Path
    floor: int
    file: io.FileIO
    sidecar: io.FileIO | None = None
    sha: _Hash | None = field(default_factory=hashlib.sha256)
    size: int = 0
    looked: int = 0
    #: Device and inode number, once it is finished.
    made: tuple[int, int] = (0, 0)
    #: Whether somebody else has written it.
    reopened: bool = False
    #: The modification time in ns that it keeps if nobody writes to it any more; None if its times prove nothing.
    marked: int | None = None
    #: The modification time in ns that it had before, if it is still somebody's file as well.
    before: int | None = None

    def close(self) -> None:
        """Close its files; a second call does nothing."""
        self.file.close()
        if self.sidecar is not None:
            self.sidecar.close()

    def __del__(self) -> None:
        self.close()


def begin(there: Opened, step: Begin) -> Draft:
    """Make the temporary files."""
    _room(there.fd, step.need, step.floor)
    name = _named(step.blob, step.extension)
    path = Path(there.path, path_in(TMP, name))
    draft = Draft(step.root, step.blob, name, path, step.floor, _created(there, name))
    if step.sidecar:
        try:
            draft.sidecar = _created(there, _beside(step.blob))
        except (OSError, BlobsUnavailable):
            with contextlib.suppress(OSError):
                discard(there, draft, "")
            raise
    return draft


def _named(blob: str, extension: str) -> str:
    return held_name(blob, extension and f"x{extension}")


def rename(there: Opened, draft: Draft, extension: str) -> bool:
    """Give a temporary name another extension; False where it is gone."""
    name = _named(draft.blob, extension)
    if name == draft.name:
        return True
    try:
        posix.rename(draft.name, there.home(TMP), name, there.home(TMP))
    except FileNotFoundError:
        return False
    draft.name, draft.path = name, Path(there.path, path_in(TMP, name))
    return True


def _created(there: Opened, name: str) -> io.FileIO:
    try:
        file = posix.create_file(name, FILE_MODE, at=there.home(TMP))
    except FileNotFoundError:
        raise BlobsUnavailable(f"{TMP} is gone from a root; start the process again") from None
    made = io.FileIO(file, "r+b")
    try:
        share(there.fd, file)
    except OSError:
        made.close()
        raise
    return made


def _beside(blob: str) -> str:
    return f"{held_name(blob, '')}{_SIDECAR}"


def _room(fd: int, need: int, floor: int) -> None:
    room = os.fstatvfs(fd)
    free = room.f_bavail * room.f_frsize
    if free - need < floor:
        raise StoreFull(
            f"a root has {free} bytes free; {need} more would leave less than the {floor} that the setting min_free keeps"
        )


def write(draft: Draft, piece: bytes) -> int:
    """Append, count and hash."""
    if draft.size - draft.looked >= _LOOK_BYTES:
        draft.looked = draft.size
        _room(draft.file.fileno(), len(piece), draft.floor)
    posix.write(draft.file.fileno(), piece)
    if draft.sha is not None:
        draft.sha.update(piece)
    draft.size += len(piece)
    return draft.size


def reopen(there: Opened, draft: Draft, *, hashed: bool) -> bytes:
    """Begin again with the file that has the temporary name now: a library may have put another one there.

    Raises:
        FileMissing, NotARegularFile: there is none.
    """
    draft.file.close()
    try:
        file = posix.open_file(draft.name, at=there.home(TMP))
    except FileNotFoundError:
        raise FileMissing(str(draft.path)) from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise NotARegularFile(f"{draft.path} is a symlink, not a regular file") from None
    seen = os.fstat(file)
    if not stat.S_ISREG(seen.st_mode):
        os.close(file)
        raise NotARegularFile(f"{draft.path} is a {posix.kind(seen.st_mode)}, not a regular file")
    draft.file, draft.sha = io.FileIO(file, "rb"), hashlib.sha256() if hashed else None
    draft.size, draft.reopened = 0 if hashed else seen.st_size, True
    if seen.st_nlink == 1:
        give(there.fd, file)
    else:  # it is somebody's still, and is to stay as it is where nothing comes of this
        draft.before = seen.st_mtime_ns
    draft.marked = stamps.mark(file) if hashed else None
    return os.pread(file, HEAD, 0)


def absorb(draft: Draft, size: int) -> bool:
    """Count and hash the next bytes."""
    piece = draft.file.read(size) or b""
    if draft.sha is not None:
        draft.sha.update(piece)
    draft.size += len(piece)
    return bool(piece)


def finish(draft: Draft, *, durable: bool) -> Written:
    """Close the file; on the disk first, if it is to be durable.

    Raises:
        InvalidRequest: it has another size than what was counted: somebody else is writing it still.
    """
    file = draft.file.fileno()
    if not draft.reopened:
        draft.marked = stamps.mark(file)
    if durable:
        posix.sync(file)
    seen = os.fstat(file)
    if seen.st_size != draft.size:
        raise _still_written(f"{draft.size} bytes were counted, now it has {seen.st_size}")
    if draft.reopened and draft.sha is None:
        draft.marked = seen.st_mtime_ns
    if draft.marked not in {None, seen.st_mtime_ns}:
        raise _still_written("it was changed while its bytes were hashed")
    draft.made = seen.st_dev, seen.st_ino
    if draft.before is None:  # else its time may have to be given back
        draft.file.close()
    return Written(draft.size, "" if draft.sha is None else draft.sha.hexdigest())


def _still_written(how: str) -> InvalidRequest:
    return InvalidRequest(
        f"this file is still being written: {how}; close it first, or wait for whoever writes it"
    )


def publish(there: Opened, draft: Draft, path: str, sidecar: bytes, *, durable: bool) -> str | None:
    """Give the file its name, then its sidecar; returns its stamp.

    Returns None if the temporary name is gone or names another inode. That happens if the root was copied and the copy
    adopted during the write: the copy holds only the bytes written so far.
    """
    seen = posix.look_or_none(draft.name, at=there.home(TMP))
    if seen is None or (seen.st_dev, seen.st_ino) != draft.made:
        return None
    placed = _renamed(there, draft.name, path, durable=durable)
    if placed is None:
        return None
    stamp = stamps.stamp(draft.marked, placed)
    if draft.sidecar is None:
        return stamp
    with draft.sidecar as file:
        posix.write(file.fileno(), sidecar)
        if durable:
            posix.sync(file.fileno())
    beside = _renamed(there, _beside(draft.blob), path + _SIDECAR, durable=durable)
    return None if beside is None else stamp


def _renamed(there: Opened, name: str, path: str, *, durable: bool) -> os.stat_result | None:
    """Move a temporary name to its place, and make the directories there as often as others prune them.

    Returns what is there then, None if it is gone.
    """
    for _ in range(_MOST_TRIES):
        try:
            with posix.walked(there.fd, path) as (parent, last):
                posix.rename(name, there.home(TMP), last, parent)
                if durable:
                    posix.sync_directory(at=parent)
                return posix.look_or_none(last, at=parent)
        except FileNotFoundError:
            # Looked at before a directory is made: whoever comes too late is to leave none.
            if posix.look_or_none(name, at=there.home(TMP)) is None:
                return None
        except OSError as error:
            if error.errno not in _ELSEWHERE:
                raise
            raise BlobsUnavailable(
                f"{os.path.dirname(path)} of a root is no directory of its own: move away the file, the symlink or the mount "
                f"that stands there ({errno.errorcode[error.errno]})"
            ) from None
        _make_directories(there.fd, os.path.dirname(path), durable=durable)
    raise BlobsUnavailable(f"{os.path.dirname(path)} of a root is removed again and again")


def _make_directories(root: int, path: str, *, durable: bool) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        directory = "/".join(parts[:depth])
        try:
            with posix.walked(root, directory) as (parent, name):
                if posix.look_or_none(name, at=parent) is not None:
                    continue
                posix.make_directory(name, _DIRECTORY_MODE, at=parent)
                if durable:
                    posix.sync_directory(at=parent)
                made = posix.open_to_change(name, at=parent)
        except (FileExistsError, FileNotFoundError):
            continue  # somebody else made it, or pruned the one above: the rename finds out
        try:
            share(root, made)
        finally:
            os.close(made)


def discard(there: Opened, draft: Draft, path: str) -> None:
    """Remove the temporary names, and the final ones where it came that far."""
    if draft.before is not None and not draft.file.closed:
        stamps.unmark(draft.file.fileno(), draft.marked, draft.before)
    draft.close()
    _remove(there, draft.name, draft.blob, path)


def delete(there: Opened, blob: Doomed) -> int | None:
    """Delete a claimed blob: the temporary names first, then the final ones.

    Returns the bytes that became free; None if no file of it was there.

    The names are given to no other file, so an unlink is exact, however late it comes.
    """
    plain_path(blob.name, f"blob {blob.blob}")
    name = held_name(blob.blob, blob.name)
    # Where the way to a file leads elsewhere now, the file may be there still; a draft never came that far.
    return _remove(there, name, blob.blob, blob.name, barred=blob.custody == "owned")


def _remove(
    there: Opened, temporary: str, blob: str, path: str, *, barred: bool = False
) -> int | None:
    """Remove the names of a blob; `barred`: it is an error if the way to the last one is not as the store made it."""
    freed = unlink_draft(there, temporary)
    unlink_draft(there, _beside(blob))
    if not path:
        return freed
    try:
        with posix.walked(there.fd, path) as (parent, name):
            last = unlink(name, at=parent)
            freed = last if freed is None else freed + (last or 0)
            unlink(name + _SIDECAR, at=parent)
    except OSError as error:
        if error.errno != errno.ENOENT and (barred or error.errno not in _GONE):
            raise
    prune(there.fd, os.path.dirname(path))
    return freed


def prune(root: int, directory: str) -> None:
    """Remove a directory and those above it, as far as they are empty."""
    while directory:
        try:
            with posix.walked(root, directory) as (parent, name):
                posix.remove_directory(name, at=parent)
        except OSError as error:
            # One that is gone may have been removed, or was to be made, by somebody who was stopped right there.
            if error.errno != errno.ENOENT:
                return
        directory = os.path.dirname(directory)


def unlink(name: str, *, at: int) -> int | None:
    """Remove a file's name; returns the bytes that became free, None if there is no such file.

    An empty directory that has the name goes as well.
    """
    seen = posix.look_or_none(name, at=at)
    if seen is None:
        return None
    try:
        if stat.S_ISDIR(seen.st_mode):
            posix.remove_directory(name, at=at)
            return None
        posix.unlink(name, at=at)
    except FileNotFoundError:
        return None
    return seen.st_size if seen.st_nlink == 1 else 0


def unlink_draft(there: Opened, name: str) -> int | None:
    """As `unlink`, of a temporary name: a directory that is not empty is parked.

    Whoever was given the path of a draft has made a directory of it; what is in there is not ours to destroy.
    """
    try:
        return unlink(name, at=there.home(TMP))
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        park(there, name, at=there.home(TMP))
        return None
