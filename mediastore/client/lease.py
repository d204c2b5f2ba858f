"""Leases as their holders have them: a path that stays, and whether it still does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from mediastore.errors import LeaseLost, MediaStoreError, Unavailable
from mediastore.model import from_ms
from mediastore.renewer import Term

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from mediastore.lifetimes import Taken
    from mediastore.model import Duration, MediaMeta, Ref
    from mediastore.renewer import Renewer

R = TypeVar("R")
E = TypeVar("E")
M = TypeVar("M", bound="AbstractContextManager[Any]")
A = TypeVar("A", bound="AbstractAsyncContextManager[Any]")

Deadlines = Sequence[int | MediaStoreError | None]

#: How long a cancelled end may take to leave.
_LEAVE_S = 0.1


@dataclass(frozen=True, slots=True)
class Keeper(Generic[R, E]):
    """What a lease needs of its store: whom to ask, how long to wait, what time it is, who renews in the background."""

    renew: Callable[[list[Taken]], R]
    end: Callable[[Taken], E]
    ttl_ms: Callable[[Duration], int]
    renewer: Renewer
    clock: Callable[[], float]
    longest_s: float
    patience_s: float


class BaseLease(Generic[R, E]):
    """What both kinds of lease are made of; nothing here does I/O."""

    def __init__(self, keeper: Keeper[R, E], taken: Taken, sent_s: float) -> None:
        """Hold what was given for a call that was sent at `sent_s`."""
        self._keeper = keeper
        self._term = Term(taken, sent_s, keeper.longest_s, keeper.clock)

    @property
    def ref(self) -> Ref:
        """The ref it was taken through; it may be dead by now."""
        return self._term.taken.ref

    @property
    def meta(self) -> MediaMeta:
        """What was known of the media when the lease was taken."""
        return self._term.taken.meta

    @property
    def path(self) -> Path:
        """The file, for subprocesses as well: it is there for as long as the lease holds, whatever becomes of the ref.

        Ask again after every pause: a path that was kept does not tell that the lease was lost.

        Raises:
            LeaseLost: it does not hold any more.
        """
        self._check()
        return self._term.taken.path

    @property
    def expires_at(self) -> datetime:
        """Its deadline on the server's clock, as of the last renewal."""
        return from_ms(self._term.taken.until_ms)

    @property
    def lost(self) -> bool:
        """Whether it was lost. It stays lost for ever; false after it was ended in time."""
        return bool(self._term.lost)

    def __repr__(self) -> str:
        """Name the ref and how the lease stands."""
        state = self._term.lost or ("it was ended" if self._term.over else f"{self.expires_at}")
        return f"<{type(self).__name__} of {self.ref}: {state}>"

    def _check(self) -> None:
        why = self._term.lost or ("it was ended" if self._term.over else "")
        if why:
            raise LeaseLost(self.ref, why)

    def keep_renewed(self) -> Self:
        """Have it renewed in the background until it ends or nobody has it any more."""
        self._keeper.renewer.add(self._term)
        return self

    def abandon(self) -> None:
        """Let it lapse. A finalizer may run anywhere, in the middle of a call to Redis as well, so it says nothing to anybody."""
        self._term.over = True

    def __del__(self) -> None:
        self.abandon()

    def _wanted(self, ttl: Duration | None) -> Taken:
        """Return what is to be renewed."""
        taken = self._term.taken
        return taken if ttl is None else replace(taken, ttl_ms=self._keeper.ttl_ms(ttl))

    def _renewed(
        self, wanted: Taken, sent_s: float, answer: int | MediaStoreError | None
    ) -> datetime:
        if isinstance(answer, MediaStoreError):
            raise answer
        self._term.renewed(sent_s, answer, wanted.ttl_ms)
        self._check()
        return self.expires_at

    def _close(self) -> bool:
        """Stop the renewal. Returns whether there is something to end: once, and never of a parent process's lease."""
        if not self._term.mine or self._term.over:
            return False
        _ = self._term.lost  # the last look: what is over is not looked at any more
        self._keeper.renewer.drop(self._term)
        return True

    def _closed(self, *, held: bool) -> None:
        why = self._term.lost or ("" if held else "it had lapsed on the server")
        if why:
            raise LeaseLost(self.ref, why)


class Lease(BaseLease[Deadlines, bool]):
    """A holder's claim on the bytes of a ref: they stay until it ends, whatever becomes of the ref.

    It belongs to the process that took it. In a forked child `renew` and `end` do nothing, and its path is good
    until the deadline that was known at the fork: a child takes a lease of its own, or is handed one.
    As a context manager it ends at the exit, which raises LeaseLost if it was lost meanwhile; where the body
    raised, that becomes a note on the body's exception.
    """

    def renew(self, ttl: Duration | None = None) -> datetime:
        """Make it last from now on for as long as before, never beyond the setting `lease_max`.

        Args:
            ttl: Another length, from now on. A renewal never makes a lease shorter.

        Returns:
            The new deadline.

        Raises:
            InvalidRequest: the ttl is none, or longer than the setting `lease_max`.
            LeaseLost: it had ended, or this came too late.
            IndexUnavailable: Redis failed; the lease holds until its deadline, and may be renewed until then.
        """
        wanted = self._wanted(ttl)
        self._check()
        if not self._term.mine:
            return self.expires_at
        sent_s = self._keeper.clock()
        (answer,) = self._keeper.renew([wanted])
        return self._renewed(wanted, sent_s, answer)

    def end(self) -> None:
        """Give it back; bytes that nobody else needs may go now. A second call does nothing.

        Where Redis does not answer, the lease lapses by itself.

        Raises:
            LeaseLost: it had been lost before, so the file may have gone while it was in use.
        """
        if not self._close():
            return
        try:
            held = self._keeper.end(self._term.taken)
        except Unavailable:
            held = True
        self._closed(held=held)

    def __enter__(self) -> Self:
        """Return the lease."""
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """End it."""
        try:
            self.end()
        except MediaStoreError as lost:
            if error is None:
                raise
            error.add_note(str(lost))


class AsyncLease(BaseLease[Awaitable[Deadlines], Coroutine[Any, Any, bool]]):
    """As `Lease`, awaited. Its end is shielded from cancellation, for as long as the setting `timeout`."""

    async def renew(self, ttl: Duration | None = None) -> datetime:
        """As `Lease.renew`."""
        wanted = self._wanted(ttl)
        self._check()
        if not self._term.mine:
            return self.expires_at
        sent_s = self._keeper.clock()
        (answer,) = await self._keeper.renew([wanted])
        return self._renewed(wanted, sent_s, answer)

    async def end(self) -> None:
        """As `Lease.end`. A cancelled call ends the lease all the same, if Redis answers in time."""
        if not self._close():
            return
        try:
            held = await shielded(self._keeper.end(self._term.taken), self._keeper.patience_s)
        except (Unavailable, TimeoutError):
            held = True
        self._closed(held=held)

    async def __aenter__(self) -> Self:
        """Return the lease."""
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """End it."""
        try:
            await self.end()
        except MediaStoreError as lost:
            if error is None:
                raise
            error.add_note(str(lost))


class _Unheld:
    """What has not been entered; it says so to who takes it for what it makes."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"nothing is held before the block begins: write `with ... as held:`, then held.{name}; "
            "take_lease() returns a lease without a block",
            name=name,
            obj=self,
        )


class Holding(_Unheld, Generic[M]):
    """Makes something when it is entered, and leaves that at the exit. Of one that is forgotten, nothing happens."""

    def __init__(self, make: Callable[[], M]) -> None:
        """Be made by the store."""
        self._make = make
        self._made: list[M] = []

    def __enter__(self) -> M:
        """Return what was made."""
        self._made.append(self._make())
        return self._made[-1]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave it."""
        self._made.pop().__exit__(kind, error, trace)


class AsyncHolding(_Unheld, Generic[A]):
    """As `Holding`, with `async with`."""

    def __init__(self, make: Callable[[], Awaitable[A]]) -> None:
        """Be made by the store."""
        self._make = make
        self._made: list[A] = []

    async def __aenter__(self) -> A:
        """Return what was made."""
        self._made.append(await self._make())
        return self._made[-1]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave it."""
        await self._made.pop().__aexit__(kind, error, trace)


async def shielded(coroutine: Coroutine[Any, Any, E], patience_s: float) -> E:
    """Await a coroutine to its end although the caller may be cancelled meanwhile, but no longer than this.

    Raises:
        TimeoutError: it took longer, and was cancelled.
        CancelledError: the caller was cancelled; the coroutine has come to its end.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(coroutine)
    deadline = loop.time() + patience_s
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and loop.time() < deadline:
        try:
            await asyncio.wait([task], timeout=deadline - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
    in_time = task.done()
    if not in_time:
        task.cancel()
        await asyncio.wait([task], timeout=_LEAVE_S)
    failed = task.done() and not task.cancelled() and task.exception()
    if cancelled is not None:
        raise cancelled
    if not in_time:
        raise TimeoutError
    if failed:
        raise failed
    return task.result()
