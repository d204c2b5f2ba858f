"""Where `mediastore get -o` writes: under a name of its own first, which is given up for the wanted one at the end."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mediastore import media_types
from mediastore.errors import InvalidRequest

if TYPE_CHECKING:
    from mediastore.model import Media

_CHUNK: Final = 1 << 20
_NAME_MAX_BYTES: Final = 200
#: No name may hold them on one of the systems that files are carried to.
_FORBIDDEN: Final = frozenset('<>:"|?*')
#: What no link is made for; on these file systems the look before has to do.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EACCES})
#: What whoever chose the place can mend.
_THEIRS: Final = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EINVAL,
        errno.EILSEQ,
    }
)


class _Exists(InvalidRequest):
    hint = "Choose another name, or add --force to replace what is there."


class _NoPlace(InvalidRequest):
    hint = "Name a file in a directory that is there and can be written, or the directory."


@dataclass(frozen=True, slots=True)
class Destination:
    """A file that is not there yet, or is to be replaced."""

    path: Path
    overwrite: bool

    @classmethod
    def of(cls, output: str, media: Media, *, overwrite: bool) -> Destination:
        """Return what was meant: the file, or in a directory one with the name that the metadata knows.

        Raises:
            InvalidRequest: something is there and is not to be overwritten, or nothing can be put there.
        """
        if not output or "\0" in output:
            raise _NoPlace(f"{output!r:.200} is no file name")
        path = Path(output)
        try:
            if path.is_dir():
                path /= file_name(media)
            elif output.endswith("/"):
                raise _NoPlace(f"{output} is no directory")
            seen = path.lstat()
        except FileNotFoundError:
            return cls(path, overwrite)
        except OSError as error:
            raise _refusal(path, error) from None
        if not stat.S_ISREG(seen.st_mode) and not stat.S_ISLNK(seen.st_mode):
            raise _NoPlace(f"{path} is there, and is no file that could be replaced")
        if not overwrite:
            raise _Exists(f"{path} is there already")
        return cls(path, overwrite)

    def fill(self, file: IO[bytes]) -> None:
        """Write the rest of a file there; whatever stops it leaves what was there before.

        Raises:
            InvalidRequest: as `of`; it may also have come meanwhile.
            OSError: the disk is full or broken.
        """
        draft = self.path.with_name(f".mediastore-{secrets.token_hex(8)}.part")
        try:
            made = draft.open("xb")
        except OSError as error:
            raise _refusal(self.path, error) from None
        try:
            with made:
                shutil.copyfileobj(file, made, _CHUNK)
            self._publish(draft)
        finally:
            draft.unlink(missing_ok=True)

    def _publish(self, draft: Path) -> None:
        try:
            if not self.overwrite:
                # Unlike a rename, a link never replaces what came there meanwhile.
                self.path.hardlink_to(draft)
                return
        except FileExistsError:
            raise _Exists(f"{self.path} is there already") from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise _refusal(self.path, error) from None
        if not self.overwrite and os.path.lexists(self.path):
            raise _Exists(f"{self.path} is there already")
        try:
            draft.replace(self.path)
        except OSError as error:
            raise _refusal(self.path, error) from None


def _refusal(path: Path, error: OSError) -> Exception:
    if error.errno not in _THEIRS:
        return error
    return _NoPlace(f"{path} cannot be written: {os.strerror(error.errno or 0)}")


def file_name(media: Media) -> str:
    """Return a name for a file of a ref: that of its metadata, as far as any system takes it; else the ref's id."""
    said = media.meta.filename.replace("\\", "/").rpartition("/")[2]
    name = "".join(c if c.isprintable() and c not in _FORBIDDEN else "_" for c in said)
    # Hidden, `.` and `..`; and what Windows drops.
    name = name.lstrip(". ").rstrip(". ")
    if not name.strip("_"):
        return f"{media.ref.id}{media_types.extension(media.detected_type or media.meta.content_type, '')}"
    stem, ending = Path(name).stem, Path(name).suffix
    room = _NAME_MAX_BYTES - len(ending.encode())
    if room <= 0:
        stem, ending, room = name, "", _NAME_MAX_BYTES
    return stem.encode()[:room].decode(errors="ignore") + ending
