"""Content that somebody else writes: a block with a temporary path of the store's own."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from mediastore.blobs.local import failure
from mediastore.errors import FileMissing, InvalidRequest, MediaStoreError
from mediastore.flows import content as flows, writing

from .lease import shielded

if TYPE_CHECKING:
    from pathlib import Path

    from mediastore.flows.context import Context
    from mediastore.flows.orders import Asked
    from mediastore.flows.writing import Job
    from mediastore.model import Ref

    from .driver import AsyncDriver, Driver


class BaseWriter:
    """What both kinds of writer are made of."""

    _job: Job | None = None
    _pid = 0
    _file: io.BufferedRandom | None = None
    _ref: Ref | None = None

    def __init__(self, store: Any, asked: Asked) -> None:
        """Be made by the store; nothing happens before the block begins."""
        self._store = store
        self._asked = asked

    @property
    def _ctx(self) -> Context:
        ctx: Context = self._store._ctx  # noqa: SLF001 - a part of the store
        return ctx

    @property
    def path(self) -> Path:
        """The temporary file, for whatever writes to a path: written to, or replaced by another file.

        Raises:
            InvalidRequest: the block has not begun, or is over.
        """
        if self._job is None:
            raise InvalidRequest(
                "a writer has a path inside its block: with store.writer(...) as draft:"
            )
        return self._job.draft.path

    @property
    def file(self) -> io.BufferedRandom:
        """The same file, open for writing and reading; closed at the exit.

        Raises:
            InvalidRequest: as `path`.
            FileMissing: somebody has removed it.
            BlobsUnavailable: it cannot be opened.
        """
        path = self.path
        if self._file is None:
            try:
                self._file = io.BufferedRandom(io.FileIO(path, "r+b"))
            except FileNotFoundError:
                raise FileMissing(str(path)) from None
            except OSError as error:
                raise failure(error) from None
        return self._file

    @property
    def ref(self) -> Ref:
        """The ref of what was written.

        Raises:
            InvalidRequest: the block is not over, or nothing was kept of it.
        """
        if self._ref is None:
            raise InvalidRequest("a writer has a ref after its block, if that came to its end")
        return self._ref

    def __repr__(self) -> str:
        """Say how far it has come."""
        state = self._ref or ("open" if self._job else "not begun, or nothing kept")
        return f"<{type(self).__name__}: {state}>"

    def _begin(self) -> Any:
        if self._job is not None or self._ref is not None:
            raise InvalidRequest("a writer is entered once; make another one for more content")
        self._pid = os.getpid()
        return flows.begin(self._ctx, self._asked)

    def _end(self, job: Job) -> Any:
        return flows.end(self._ctx, job, self._asked)

    def _done(self) -> Job | None:
        """Leave the block; its path is nobody's business any more. None in a forked child: the file is its parent's."""
        job, self._job = self._job, None
        if job is None:
            raise InvalidRequest("this writer's block has not begun")
        if self._pid == os.getpid():
            return job
        if self._file is not None:
            # What stands in its buffer is written by the parent.
            self._file.raw.close()
        return None

    def _close(self) -> None:
        """Close the file that the block had.

        Raises:
            MediaStoreError: what was written to it last cannot be kept.
        """
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            raise failure(error) from None
        except ValueError as error:
            raise InvalidRequest(f"the writer's file cannot be closed: {error}") from None


class Writer(BaseWriter):
    """A block in which content is written under a temporary path; its exit makes the ref.

    It belongs to the process that entered it: in a forked child the exit does nothing, and there is no ref.
    """

    _store: Driver

    def __enter__(self) -> Self:
        """Reserve the file."""
        self._job = self._store._run(self._begin())  # noqa: SLF001
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Make the ref; where the body raised, keep nothing."""
        job = self._done()
        if job is None:
            return
        try:
            if error is None:
                self._close()
        except MediaStoreError:
            self._store._run(writing.give_up(self._ctx, job))  # noqa: SLF001
            raise
        if error is None:
            self._ref = self._store._run(self._end(job))  # noqa: SLF001
            return
        with suppress(MediaStoreError):
            self._close()
        self._store._run(writing.give_up(self._ctx, job))  # noqa: SLF001


class AsyncWriter(BaseWriter):
    """As `Writer`, with `async with`; what is cancelled keeps nothing."""

    _store: AsyncDriver

    async def __aenter__(self) -> Self:
        """Reserve the file."""
        self._job = await self._store._run(self._begin())  # noqa: SLF001
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Make the ref; where the body raised or was cancelled, keep nothing."""
        job = self._done()
        if job is None:
            return
        try:
            if error is None:
                self._close()
        except MediaStoreError:
            await self._give_up(job)
            raise
        if error is None:
            self._ref = await self._store._run(self._end(job))  # noqa: SLF001
            return
        with suppress(MediaStoreError):
            self._close()
        await self._give_up(job)

    async def _give_up(self, job: Job) -> None:
        patience_s = self._store.settings.seconds("timeout")
        with suppress(TimeoutError, MediaStoreError):
            await shielded(self._store._run(writing.give_up(self._ctx, job)), patience_s)  # noqa: SLF001
