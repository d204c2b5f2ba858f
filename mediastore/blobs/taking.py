"""Taking a file that lies somewhere for content: without a copy where the file system allows it.

The file gets our name as a second one, and loses its own only when its ref is there. Whatever is stopped in between,
it is not lost: its owner finds it where it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from mediastore.errors import FileMissing, InvalidPath, NotARegularFile

from . import posix
from .homes import TMP
from .registering import check_text, refuse_ours
from .root import is_marked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .homes import Opened
    from .owned import Draft
    from .root import Root

_NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
#: What else stands in the way of a link and not of a copy.
_OTHERS: Final = frozenset({errno.EXDEV, errno.EROFS})


@contextlib.contextmanager
def _beside(path: str) -> Iterator[tuple[int, str]]:
    """Open the directory of a file; yields its descriptor and the file's name."""
    check_text(path)
    directory, name = os.path.split(path)
    try:
        fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise FileMissing(path) from None
    try:
        yield fd, name
    finally:
        os.close(fd)


def _seen(path: str) -> os.stat_result:
    with _beside(path) as (fd, name):
        seen = posix.look_or_none(name, at=fd) if name else os.fstat(fd)
    if seen is None:
        raise FileMissing(path)
    if not stat.S_ISREG(seen.st_mode):
        raise NotARegularFile(f"{path} is a {posix.kind(seen.st_mode)}, not a regular file")
    return seen


def locate(roots: Collection[Root], path: str) -> tuple[str, str]:
    """Return the root of a file and its path there; both empty where it lies in no root at all.

    A root is known by its marker: it may have another path as well, and be somebody else's.

    Raises:
        FileMissing, NotARegularFile, InvalidPath: it is no file that can be taken.
    """
    _seen(path)
    parent, name = os.path.split(path)
    real = os.path.join(os.path.realpath(parent or "."), name)
    above = os.path.dirname(real)
    while not is_marked(above):
        if above == os.path.dirname(above):
            return "", ""
        above = os.path.dirname(above)
    relative = os.path.relpath(real, above)
    refuse_ours(path, relative)
    for root in roots:
        with contextlib.suppress(OSError):
            if os.path.samefile(above, root.path):
                return root.id, relative
    raise InvalidPath(
        f"{path} lies in {above}, a root that this process does not have: refs in it could lose the file; "
        "hand over a copy"
    )


def identify(path: str) -> tuple[int, ...]:
    """Return device and inode number of a regular file, its size and its time."""
    return _marks(_seen(path))


def _marks(seen: os.stat_result) -> tuple[int, ...]:
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


def take(there: Opened, draft: Draft, path: str) -> bool:
    """Make the temporary name one of the file's; False where that cannot be.

    A file with further names is copied: whoever writes under one of them would change what we keep.
    """
    second = f"{draft.name}.take"
    with _beside(path) as (parent, name):
        if _seen(path).st_nlink > 1:
            return False
        try:
            posix.link(name, parent, second, there.home(TMP))
        except OSError as error:
            if error.errno not in posix.NO_LINKS | _OTHERS:
                raise
            return False
    try:
        posix.rename(second, there.home(TMP), draft.name, there.home(TMP))
    except OSError:
        posix.unlink(second, at=there.home(TMP))
        raise
    return True


def leave(path: str, seen: tuple[int, ...], marked: int | None) -> bool:
    """Remove the name if it is still that file's, and nobody has written to it since: a copy would lack that.

    `marked` is the modification time that we gave it, if we did.
    """
    ours = (*seen[:-1], seen[-1] if marked is None else marked)
    with contextlib.suppress(FileMissing), _beside(path) as (fd, name):
        now = posix.look_or_none(name, at=fd)
        if now is not None and _marks(now) in {seen, ours}:
            posix.unlink(name, at=fd)
            return True
    return False
