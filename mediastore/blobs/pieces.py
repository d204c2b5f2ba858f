"""Bytes that come in pieces: no more at once than is asked for, whatever they were handed over as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from mediastore.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Buffer = bytes | bytearray | memoryview


class Source(ABC):
    """Bytes to be stored, read once from the front to the end.

    Made without I/O; the first `size`, `head` or `read` opens what must be opened.

    Attributes:
        async_: Its bytes are awaited: `ahead` and `aread` stand for `head` and `read`.
    """

    async_ = False

    def __init__(self) -> None:
        """Start at the front."""
        self._peeked = b""
        self._rest: Buffer = b""
        self._ended = self._closed = False

    @property
    def size(self) -> int | None:
        """How many bytes are said to come, for early refusals only; None where nobody knows."""
        return None

    @property
    def announced(self) -> int | None:
        """How many bytes the source itself promises, and is kept to; None where it promises nothing."""
        return None

    @property
    def empty(self) -> str:
        """Why a source that gave no byte cannot be meant as an empty file; "" if it can."""
        return ""

    def head(self, size: int = 8192) -> bytes:
        """Return the next `size` bytes, fewer only if the source ends before; `read` gives them again."""
        while len(self._peeked) < size:
            piece = self._next(size - len(self._peeked))
            if not piece:
                break
            self._peeked += piece
        return self._peeked[:size]

    def read(self, size: int) -> bytes:
        """Return the next bytes, at least one and at most `size`; b"" at the end, and from then on."""
        return self._from_head(size) or self._next(size)

    async def ahead(self, size: int = 8192) -> bytes:
        """As `head`, awaited where `async_` is set."""
        return self.head(size)

    async def aread(self, size: int) -> bytes:
        """As `read`, awaited where `async_` is set."""
        return self.read(size)

    def close(self) -> None:
        """Let go of everything; what the caller opened stays open. Twice is harmless; reading on is a ValueError."""
        self._peeked = self._rest = b""
        self._closed = True

    def __enter__(self) -> Self:
        """Return it; reading opens what must be opened."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _from_head(self, size: int) -> bytes:
        if size < 1:
            raise ValueError("a read asks for one byte or more")
        piece, self._peeked = self._peeked[:size], self._peeked[size:]
        return piece

    def _next(self, size: int) -> bytes:
        """Return bytes from behind the head."""
        self._check_open()
        if not self._rest and not self._ended:
            try:
                self._take(self._more(size))
            except StopIteration as error:
                # asyncio would wait for ever for a thread that ends with it.
                raise RuntimeError("the source raised StopIteration") from error
        return self._part(size)

    def _check_open(self) -> None:
        # An end that is none would store half a file.
        if self._closed:
            raise ValueError("the source is closed")

    def _take(self, piece: Buffer) -> None:
        self._ended = not piece
        self._rest = piece

    def _part(self, size: int) -> bytes:
        """Return a part of what is at hand; the rest is not copied."""
        whole = self._rest
        if len(whole) <= size:
            self._rest = b""
            return bytes(whole)
        view = memoryview(whole)
        self._rest = view[size:]
        return bytes(view[:size])

    @abstractmethod
    def _more(self, size: int, /) -> Buffer:
        """Fetch a piece of any length, `size` if that can be chosen; an empty one is the end."""


class Bytes(Source):
    """Of bytes in memory."""

    def __init__(self, data: Buffer) -> None:
        """Take a buffer."""
        super().__init__()
        view = memoryview(data)
        self._size = view.nbytes
        # A view of no bytes cannot be cast.
        self._take(view.cast("B") if view.nbytes else b"")

    @property
    def size(self) -> int | None:
        """Its length."""
        return self._size

    def _more(self, _size: int, /) -> Buffer:
        return b""


class Pieces(Source):
    """Of an iterator: the caller's, or one that decodes text."""

    def __init__(
        self,
        pieces: Callable[[], Iterator[Any]],
        size: Callable[[], int | None] = lambda: None,
        *,
        announced: int | None = None,
        empty: str = "",
    ) -> None:
        """Take what makes the iterator, what counts its bytes, how many are promised, and why none are too few."""
        super().__init__()
        self._announced = announced
        self._start = pieces
        self._empty = empty
        self._pieces: Iterator[Any] | None = None
        self._count = size

    @property
    def size(self) -> int | None:
        """How many bytes there are to come, where that was counted."""
        return self._count()

    @property
    def announced(self) -> int | None:
        """As it was told."""
        return self._announced

    @property
    def empty(self) -> str:
        """As it was told."""
        return self._empty

    def close(self) -> None:
        """Let the iterator go."""
        super().close()
        self._pieces = None

    def _more(self, _size: int, /) -> Buffer:
        if self._pieces is None:
            self._pieces = self._start()
        for piece in self._pieces:
            if whole := flat(piece, "the iterator gave"):
                return whole
        return b""


def flat(piece: object, said: str) -> Buffer:
    """Return a piece as bytes that can be counted."""
    if isinstance(piece, bytes | bytearray):
        return piece
    if isinstance(piece, str):
        raise InvalidRequest(f'{said} text, not bytes; a file is opened with "rb"')
    if isinstance(piece, memoryview) and piece.c_contiguous:
        return piece.cast("B") if piece.nbytes else b""
    raise InvalidRequest(f"{said} {type(piece).__name__}, not bytes")
