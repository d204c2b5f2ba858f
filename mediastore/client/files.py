"""Files whose bytes stay for as long as they are open."""

from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn, Self

from mediastore.errors import MediaStoreError

from .lease import shielded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from _typeshed import WriteableBuffer

    from .lease import AsyncLease, Lease

#: What `async for` reads at once: a thread's errand costs as much as reading some ten thousand bytes.
_CHUNK_BYTES: Final = 1 << 18


class LeasedFile(io.BufferedReader):
    """A binary file as `open(path, "rb")` gives it, under a lease that is renewed until it is closed.

    Closing never raises for the lease: what was read was read from the registered file.
    """

    def __init__(self, raw: io.FileIO, held: Lease) -> None:
        """Be made by the store."""
        super().__init__(raw)
        self._held = held

    def close(self) -> None:
        """Close the file and end its lease; a second call does nothing."""
        try:
            super().close()
        finally:
            with suppress(MediaStoreError):
                self._held.end()

    def detach(self) -> NoReturn:
        """Refuse: the lease ends with this file."""
        raise io.UnsupportedOperation("a leased file keeps its raw file")

    def __del__(self) -> None:
        # A finalizer runs anywhere, in the middle of a call to Redis as well: the lease is left to lapse.
        self._held.abandon()
        super().__del__()


class AsyncLeasedFile:
    """A binary file under a lease that is renewed until it is closed; its calls are awaited and run in threads.

    `async for` gives its bytes in large pieces.
    """

    def __init__(self, raw: io.FileIO, held: AsyncLease, patience_s: float) -> None:
        """Be made by the store."""
        self._file = io.BufferedReader(raw)
        self._held = held
        self._patience_s = patience_s

    @property
    def name(self) -> str:
        """Where it was opened."""
        return str(self._file.name)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed

    async def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, all that are left where none is given; empty at the end."""
        return await asyncio.to_thread(self._file.read, size)

    async def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer as far as the file goes; returns the number of bytes. A cancelled call may still write into it."""
        return await asyncio.to_thread(self._file.readinto, buffer)

    async def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in the file, as `io.IOBase.seek` counts; returns it."""
        return await asyncio.to_thread(self._file.seek, offset, whence)

    async def tell(self) -> int:
        """Return the place in the file."""
        return await asyncio.to_thread(self._file.tell)

    async def close(self) -> None:
        """Close the file and end its lease; never raises for the lease. A second call does nothing."""
        try:
            with suppress(TimeoutError):  # another call has it now; it is closed after that
                await shielded(asyncio.to_thread(self._file.close), self._patience_s)
        finally:
            with suppress(MediaStoreError):
                await self._held.end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the rest of the file in pieces."""
        while piece := await self.read(_CHUNK_BYTES):
            yield piece

    async def __aenter__(self) -> Self:
        """Return the file."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()
