"""Scopes as objects: what is stored inside one is released when it is left, however it is left."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import suppress
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any, Self

from mediastore.errors import InvalidRequest, MediaStoreError
from mediastore.flows import scoping
from mediastore.model import check_scope, parse_duration

if TYPE_CHECKING:
    from datetime import datetime

    from mediastore.content import MediaContent
    from mediastore.model import Duration, Media, MediaMeta, Ref, Released

    from .aio import AsyncMediaStore
    from .base import AnyPath
    from .blocking import MediaStore
    from .writer import AsyncWriter, Writer

logger = logging.getLogger("mediastore")


class _Stay:
    """One stay inside a scope, from entering it to leaving it; emptied when it is over.

    An async generator is often finalised in another context than the one it was entered in, where no token can be
    reset; and tasks keep the context they were started with. So every context asks the stay itself.
    """

    __slots__ = ("pid", "scope")

    def __init__(self, scope: BaseScope) -> None:
        self.scope: BaseScope | None = scope
        self.pid = os.getpid()


_stays: ContextVar[tuple[_Stay, ...]] = ContextVar("mediastore_scopes", default=())


def innermost(store: object) -> Any:
    """Return the scope of this store that was entered last in this context and not left; None without one."""
    for stay in reversed(_stays.get()):
        if stay.scope is not None and stay.scope._store is store:  # noqa: SLF001 - our own
            return stay.scope
    return None


class BaseScope:
    """What both kinds of scope are made of; making one does no I/O."""

    def __init__(
        self, store: Any, name: str, ttl: Duration | None = None, idle: Duration | None = None
    ) -> None:
        """Use `store.scope(...)`, or `scope(...)` of a scope for one below it."""
        self._store = store
        self._name = check_scope(name)
        for length in (ttl, idle):
            if length is not None:
                parse_duration(length)
        self._ttl, self._idle = ttl, idle
        self._inside = threading.Lock()
        self._stay: _Stay | None = None

    @property
    def name(self) -> str:
        """The scope's path, such as ``"chat:42/msg:7"``: what every `scope` argument takes."""
        return self._name

    def __str__(self) -> str:
        """Return the name."""
        return self._name

    def __repr__(self) -> str:
        """Show the name."""
        return f"{type(self).__name__}({self._name!r})"

    def scope(
        self, child: str, *, ttl: Duration | None = None, idle: Duration | None = None
    ) -> Self:
        """Return the scope `child` below this one; leaving this one releases that one too.

        Args:
            child: What follows the name and a slash: ``"msg:7"``, or several segments.
            ttl: As in `MediaStore.scope`.
            idle: As in `MediaStore.scope`.

        Raises:
            InvalidScope: `child` is malformed, or both together are too long.
            InvalidRequest: `ttl` or `idle` is no duration.
        """
        return type(self)(self._store, f"{self._name}/{check_scope(child)}", ttl, idle)

    @property
    def _has_deadline(self) -> bool:
        return self._ttl is not None or self._idle is not None

    def _enter(self) -> None:
        if not self._inside.acquire(blocking=False):
            raise InvalidRequest(
                f"scope {self._name!r} is entered already, and leaving it once would release what both blocks "
                f"stored: leave it first, or enter one below it, such as {self!r}.scope('part')"
            )
        self._stay = _Stay(self)
        _stays.set((*(stay for stay in _stays.get() if stay.scope is not None), self._stay))

    def _leave(self) -> bool:
        """From here on nobody stores into the scope by default; it may be entered again once it is released.

        Returns whether it is to be released: a forked child that unwinds its parent's block ends nothing of it.
        """
        stay, self._stay = self._stay, None
        if stay is not None:
            stay.scope = None
        _stays.set(tuple(stay for stay in _stays.get() if stay.scope is not None))
        return stay is None or stay.pid == os.getpid()

    def _tell(self, error: BaseException, failure: BaseException) -> None:
        """Say that the release failed without hiding what ended the block."""
        why = str(failure) or type(failure).__name__
        words = f"the release of scope {self._name!r} failed: {why}"
        logger.warning("%s; its refs end by their deadlines, or by another release", words)
        with suppress(Exception):  # an error may refuse notes; it matters more than they do
            error.add_note(words)


class Scope(BaseScope):
    """A scope as a context manager: what was stored in it or below is released when the block ends.

    The name is absolute, whatever scope is entered around it. Inside the block it is `store.current_scope()`.
    At a normal end and after an exception the release waits for the files (`release_all`); a KeyboardInterrupt or
    anything else that is no `Exception` makes only the cut, and a sweep removes the files. If the release fails, its
    error is raised, unless the block raised: then that error goes on, with a note and a WARNING in the log.
    A process that is killed releases nothing: give `ttl` or `idle`, and a sweep does. Nor does a forked child that
    leaves its parent's block, by `sys.exit` as a rule: the block is over when the parent leaves it.

    The object may be entered again once it has been left, and not before.
    """

    _store: MediaStore

    def store(
        self, path: AnyPath, *, meta: MediaMeta | None = None, ttl: Duration | None = None
    ) -> Ref:
        """Register a file in this scope. As `MediaStore.store`."""
        return self._store.store(path, scope=self._name, meta=meta, ttl=ttl)

    def store_media(
        self,
        content: MediaContent,
        *,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        move: bool = False,
    ) -> Ref:
        """Write content in this scope. As `MediaStore.store_media`."""
        return self._store.store_media(content, scope=self._name, meta=meta, ttl=ttl, move=move)

    def writer(
        self,
        *,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        size_bytes: int | None = None,
        sha256: str = "",
        suffix: str = "",
    ) -> Writer:
        """Have a library write content in this scope. As `MediaStore.writer`."""
        said: Any = {"size_bytes": size_bytes, "sha256": sha256, "suffix": suffix}
        return self._store.writer(scope=self._name, meta=meta, ttl=ttl, **said)

    def share(self, ref: str, *, ttl: Duration | None = None) -> Ref:
        """Make a new ref in this scope on the bytes of `ref`. As `MediaStore.share`."""
        return self._store.share(ref, self._name, ttl=ttl)

    def transfer(self, ref: str) -> None:
        """Move `ref` into this scope. As `MediaStore.transfer`."""
        self._store.transfer(ref, self._name)

    def refs(self, *, limit: int = 100, after: str | Media | None = None) -> list[Media]:
        """Return live refs of exactly this scope, in store order. As `MediaStore.refs`."""
        return self._store.refs(self._name, limit=limit, after=after)

    def open(self) -> datetime | None:
        """Set the scope's deadlines without a `with` block, and return when it is due unless something happens in it.

        Opening a scope again, by any process, can only lengthen its deadlines; `NEVER` removes one. Any release of it,
        or of one above, forgets them. None: it has no deadline now; or neither `ttl` nor `idle` was given, which asks
        the server nothing.

        Raises:
            IndexUnavailable: Redis failed; call again.
        """
        if not self._has_deadline:
            return None
        flow = scoping.open_scope(self._store._ctx, self._name, self._ttl, self._idle)  # noqa: SLF001 - a friend of the client
        return self._store._run(flow)  # noqa: SLF001

    def release(self, *, wait: bool = True) -> Released:
        """End every ref of this scope and below now. As `MediaStore.release_all`."""
        return self._store.release_all(self._name, wait=wait)

    def __enter__(self) -> Self:
        """Set the deadlines, and become the current scope.

        Raises:
            InvalidRequest: it is entered already.
            IndexUnavailable: Redis failed; it was not entered.
        """
        self._enter()
        try:
            self.open()
        except BaseException:
            self._leave()
            self._inside.release()
            raise
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Release the scope. Raises what `release` raises where the block itself raised nothing."""
        if not self._leave():
            self._inside.release()
            return
        ordinary = _ordinary(error)
        try:
            self.release(wait=ordinary)
        except Exception as failure:
            if error is None:
                raise
            self._tell(error, failure)
        except BaseException:
            if ordinary:  # interrupted, perhaps before the cut; a second cut changes nothing
                with suppress(MediaStoreError):
                    self.release(wait=False)
            raise
        finally:
            self._inside.release()


class AsyncScope(BaseScope):
    """As `Scope`, for `async with`; its methods are those of `Scope`, awaited.

    Cancellation makes only the cut. The release is a task of its own, which a cancellation of the block's task does
    not reach: once cancelled, leaving takes at most the setting `timeout`, and the cancellation is raised after it.
    """

    _store: AsyncMediaStore

    async def store(
        self, path: AnyPath, *, meta: MediaMeta | None = None, ttl: Duration | None = None
    ) -> Ref:
        """As `Scope.store`."""
        return await self._store.store(path, scope=self._name, meta=meta, ttl=ttl)

    async def store_media(
        self,
        content: MediaContent,
        *,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        move: bool = False,
    ) -> Ref:
        """As `Scope.store_media`."""
        stored = self._store.store_media(content, scope=self._name, meta=meta, ttl=ttl, move=move)
        return await stored

    def writer(
        self,
        *,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        size_bytes: int | None = None,
        sha256: str = "",
        suffix: str = "",
    ) -> AsyncWriter:
        """As `Scope.writer`."""
        said: Any = {"size_bytes": size_bytes, "sha256": sha256, "suffix": suffix}
        return self._store.writer(scope=self._name, meta=meta, ttl=ttl, **said)

    async def share(self, ref: str, *, ttl: Duration | None = None) -> Ref:
        """As `Scope.share`."""
        return await self._store.share(ref, self._name, ttl=ttl)

    async def transfer(self, ref: str) -> None:
        """As `Scope.transfer`."""
        await self._store.transfer(ref, self._name)

    async def refs(self, *, limit: int = 100, after: str | Media | None = None) -> list[Media]:
        """As `Scope.refs`."""
        return await self._store.refs(self._name, limit=limit, after=after)

    async def open(self) -> datetime | None:
        """As `Scope.open`."""
        if not self._has_deadline:
            return None
        flow = scoping.open_scope(self._store._ctx, self._name, self._ttl, self._idle)  # noqa: SLF001 - a friend of the client
        return await self._store._run(flow)  # noqa: SLF001

    async def release(self, *, wait: bool = True) -> Released:
        """As `Scope.release`."""
        return await self._store.release_all(self._name, wait=wait)

    async def __aenter__(self) -> Self:
        """As `Scope.__enter__`."""
        self._enter()
        try:
            await self.open()
        except BaseException:
            self._leave()
            self._inside.release()
            raise
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """As `Scope.__exit__`; a cancellation that arrives meanwhile is raised after the release."""
        if not self._leave():
            self._inside.release()
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError as failure:
            # A coroutine that is cleared away after its loop has gone: nothing can be awaited any more.
            self._tell(error or failure, failure)
            self._inside.release()
            return
        try:
            await self._release_whatever_comes(error)
        finally:
            self._inside.release()

    async def _release_whatever_comes(self, error: BaseException | None) -> None:
        """Wait for the release through cancellations, but no longer than `timeout` after the first."""
        ordinary = _ordinary(error)
        limit_s = self._store.settings.seconds("timeout")
        clock = asyncio.get_running_loop().time
        until = inf if ordinary else clock() + limit_s
        cancelled: asyncio.CancelledError | None = None
        task, tries = self._releasing(wait=ordinary), 1
        while not task.done() and clock() < until:
            try:
                await asyncio.wait([task], timeout=None if until == inf else until - clock())
            except asyncio.CancelledError as stop:
                cancelled = stop
                until = min(until, clock() + limit_s)
            if task.done() and task.cancelled() and tries == 1:
                # A loop that ends cancels every task once, this one too: the cut is still worth making.
                task, tries = self._releasing(wait=False), 2
        failure = _failure_of(task, limit_s)
        # A cancellation is swallowed for nothing; only what ends the task or the program anyway goes before it.
        yields = ordinary or isinstance(error, GeneratorExit)
        outcome = (cancelled or error) if yields else error
        if failure is not None:
            if outcome is None:
                raise failure
            self._tell(outcome, failure)
        if outcome is not error and outcome is not None:
            raise outcome

    def _releasing(self, *, wait: bool) -> asyncio.Task[Released]:
        return asyncio.create_task(self.release(wait=wait), name=f"release {self._name}")


def _ordinary(error: BaseException | None) -> bool:
    """Whether a block ended in a way that leaves time to wait for the files."""
    return error is None or isinstance(error, Exception)


def _failure_of(task: asyncio.Task[Any], limit_s: float) -> BaseException | None:
    """Return what went wrong with a release; one that has not ended yet is given up."""
    if not task.done():
        task.cancel()
        return TimeoutError(f"it did not end within {limit_s:g} s")
    return asyncio.CancelledError() if task.cancelled() else task.exception()
