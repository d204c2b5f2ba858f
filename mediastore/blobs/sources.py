"""Sources of content: whatever it was handed over as, bytes come out in pieces no larger than asked for.

The exceptions of a caller's own iterator or file object go to the caller as they are.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mediastore.content import MediaContent, data_url
from mediastore.errors import (
    BlobsUnavailable,
    FileMissing,
    InvalidPath,
    InvalidRequest,
    NotARegularFile,
)

from . import posix, responses
from .decoding import base64_size, encoded, from_base64, from_percent
from .pieces import Buffer, Bytes, Pieces, Source, flat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

#: What is asked of an async file object at once.
_PIECE: Final = 1024 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_USED_UP: Final = "the iterator gave no bytes; it may have been used up before"
_NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class _File(Source):
    """Of the caller's file object; it is never closed."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file
        self._sized = False
        self._size: int | None = None

    @property
    def size(self) -> int | None:
        self.open()
        return self._size

    def open(self) -> None:
        # Before the first read, which moves the position.
        if not self._sized:
            self._size, self._sized = self._left(), True

    def _left(self) -> int | None:
        file = self._file
        try:
            if isinstance(file, io.BytesIO):
                return max(0, file.getbuffer().nbytes - file.tell())
            # Others may have the descriptor of what they unpack, whose size says nothing.
            if isinstance(getattr(file, "raw", file), io.FileIO):
                seen = os.fstat(file.fileno())
                return max(0, seen.st_size - file.tell()) if stat.S_ISREG(seen.st_mode) else None
        except (OSError, ValueError):
            pass
        return None

    @property
    def announced(self) -> int | None:
        return responses.announced(self._file)

    @property
    def empty(self) -> str:
        file = self._file
        try:
            # Nothing was read, and it stands at its front: there is nothing in it.
            if file.seekable() and file.tell() == 0:
                return ""
        except (AttributeError, OSError, ValueError):
            pass
        return "the file object gave no bytes; if it has been read or written, rewind it: seek(0)"

    def close(self) -> None:
        super().close()
        self._file = None

    def _more(self, size: int, /) -> Buffer:
        self.open()
        return flat(self._file.read(size), "read() of the file object gave")


class _Path(Source):
    """Of a file that this opens and closes; symlinks are followed, a FIFO does not make us wait."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: io.FileIO | None = None
        self._size = 0

    @property
    def size(self) -> int | None:
        self.open()
        return self._size

    def open(self) -> None:
        self._opened()

    def _opened(self) -> io.FileIO:
        if self._file is not None:
            return self._file
        self._check_open()
        try:
            # Looked at before as well: opening a device can do things.
            self._regular(os.stat(self._path))
            file = io.FileIO(os.open(self._path, _FLAGS))
            try:
                self._size = self._regular(os.fstat(file.fileno())).st_size
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise self._refusal(error) from None
        except UnicodeEncodeError:
            raise InvalidPath(f"{str(self._path)!r:.200} is no path here") from None
        self._file = file
        return file

    def close(self) -> None:
        super().close()
        if self._file is not None:
            self._file.close()

    def _regular(self, seen: os.stat_result) -> os.stat_result:
        if not stat.S_ISREG(seen.st_mode):
            raise NotARegularFile(
                f"{self._path} is a {posix.kind(seen.st_mode)}, not a regular file"
            )
        return seen

    def _refusal(self, error: OSError) -> Exception:
        code = error.errno or 0
        if code in _NO_FILE:
            return FileMissing(str(self._path))
        words = f"{os.strerror(code)} ({errno.errorcode.get(code, 'unknown')})"
        if code == errno.ENAMETOOLONG:
            return InvalidPath(f"{str(self._path)!r:.200} cannot be a path: {words}")
        return BlobsUnavailable(f"{self._path} cannot be read: {words}")

    def _more(self, size: int, /) -> Buffer:
        file = self._opened()  # whose refusals are said already; FileMissing is an OSError, too
        try:
            return file.read(size) or b""
        except OSError as error:
            raise self._refusal(error) from None


class _Async(Source):
    """Of an async iterator, or of a file object whose `read` is async."""

    async_ = True

    def __init__(self, data: Any, announced: int | None = None) -> None:
        super().__init__()
        self._data = data
        self._announced = announced
        self._pieces: AsyncIterator[Any] | None = None

    @property
    def announced(self) -> int | None:
        return self._announced

    @property
    def empty(self) -> str:
        # As uploads of web frameworks count themselves.
        counted = getattr(self._data, "size", None) == 0
        return "" if counted else "the async source gave no bytes; it may have been read before"

    async def ahead(self, size: int = 8192) -> bytes:
        while len(self._peeked) < size:
            piece = await self._anext(size - len(self._peeked))
            if not piece:
                break
            self._peeked += piece
        return self._peeked[:size]

    async def aread(self, size: int) -> bytes:
        return self._from_head(size) or await self._anext(size)

    def close(self) -> None:
        super().close()
        self._data = self._pieces = None

    async def _anext(self, size: int) -> bytes:
        self._check_open()
        if not self._rest and not self._ended:
            self._take(await self._amore())
        return self._part(size)

    async def _amore(self) -> Buffer:
        if self._pieces is None:
            reads = hasattr(self._data, "read")
            self._pieces = _reads(self._data) if reads else aiter(self._data)
        async for piece in self._pieces:
            if whole := flat(piece, "the async source gave"):
                return whole
        return b""

    def _more(self, _size: int, /) -> Buffer:
        raise InvalidRequest("this content is awaited: store it with AsyncMediaStore")


async def _reads(file: Any) -> AsyncIterator[Any]:
    while piece := await file.read(_PIECE):
        yield piece
    # Not the end, but an answer that cannot be one.
    if not isinstance(piece, Buffer):
        yield piece


def source_of(content: MediaContent) -> Source:
    """Return the source of content; nothing is opened or read yet.

    Raises:
        InvalidRequest: its URL is none that holds the data.
    """
    kind, data, text = content.kind, content.data, content.spelt
    if kind == "url":
        raise InvalidRequest("URLs are not fetched; download it, and give its bytes as data")
    if kind == "data-url":
        said = data_url(text)
        if said.base64:
            percent = text.find("%", said.start) >= 0
            return Pieces(
                lambda: from_base64(text, said.start, percent=percent),
                lambda: base64_size(text, said.start),
            )
        return Pieces(lambda: from_percent(text, said.start))
    if kind == "base64":
        return Pieces(lambda: from_base64(text), lambda: base64_size(text))
    if kind == "text":
        return Pieces(lambda: encoded(text), lambda: len(text) if text.isascii() else None)
    if content.file_path is not None:
        return _Path(Path(content.file_path))
    made: dict[str, Callable[[Any], Source]] = {
        "bytes": Bytes,
        "file": _File,
        "async": _Async,
        "response": _response,
    }
    return made.get(kind, lambda pieces: Pieces(lambda: iter(pieces), empty=_USED_UP))(data)


def _response(response: Any) -> Source:
    said = responses.announced(response)
    if responses.is_awaited(response):
        return _Async(responses.apieces(response), said)
    return Pieces(
        lambda: responses.pieces(response), announced=said, empty="the response gave no bytes"
    )


def gathered(source: Source, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end: of a source that comes in crumbs, a piece worth writing."""
    pieces: list[bytes] = []
    count = 0
    while count < size and (piece := source.read(size - count)):
        pieces.append(piece)
        count += len(piece)
    return b"".join(pieces)


async def agathered(source: Source, size: int) -> bytes:
    """As `gathered`, of a source that is awaited."""
    pieces: list[bytes] = []
    count = 0
    while count < size and (piece := await source.aread(size - count)):
        pieces.append(piece)
        count += len(piece)
    return b"".join(pieces)
