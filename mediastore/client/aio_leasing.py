"""Leases, the asyncio half."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from mediastore.errors import IndexUnavailable, MediaStoreError
from mediastore.flows import leasing

from .driver import AsyncDriver, Driver
from .files import AsyncLeasedFile
from .lease import AsyncHolding, AsyncLease, Deadlines, Keeper
from .leasing import open_ttl_s
from .twin import check_twin, twin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from mediastore.lifetimes import LeaseInfo, Taken
    from mediastore.model import Duration
    from mediastore.renewer import Term

S = TypeVar("S", Driver, AsyncDriver)


class AsyncLeasing(AsyncDriver):
    """What keeps bytes in use; the methods are those of `MediaStore`, awaited."""

    _standby: Driver | None = None

    @cached_property
    def _keeper(self) -> Keeper[Awaitable[Deadlines], Coroutine[Any, Any, bool]]:
        return self._make_keeper(
            self._renew, lambda taken: self._run(leasing.end(self._ctx, taken))
        )

    async def _renew(self, leases: list[Taken]) -> Deadlines:
        return await self._run(leasing.renew(self._ctx, leases))

    # --- in the thread that renews, where the connections of the event loop are of no use

    def _renew_due(self, terms: list[Term]) -> Deadlines:
        leases = [term.taken for term in terms]
        if self._given:
            return asyncio.run(self._renew_by_twin(leases))
        if self._standby is None:
            self._standby = self._alike(Driver(None, self.settings))
        return self._standby._run(leasing.renew(self._ctx, leases))  # noqa: SLF001 - it is ours

    async def _renew_by_twin(self, leases: list[Taken]) -> Deadlines:
        """Renew in an event loop of this call alone; nothing of it is left for a fork or an exit to stumble over."""
        try:
            async with (
                asyncio.timeout(2 * self.settings.seconds("timeout")),
                twin(self._client) as client,
            ):
                store = self._alike(AsyncDriver(client, self.settings))
                return await store._run(leasing.renew(self._ctx, leases))  # noqa: SLF001 - it is ours
        except TimeoutError:
            raise IndexUnavailable("Redis did not answer in time") from None

    def _alike(self, store: S) -> S:
        """Let another store know what this one has learnt: the time of the server, the roots."""
        store._speech, store._blobs = self._speech, self._blobs  # noqa: SLF001 - it is ours
        return store

    def _check_twin(self) -> None:
        if self._given:
            check_twin(self._client)

    async def _stop_renewing(self) -> None:
        if self._renewer.running:  # it may be in the middle of a call
            await asyncio.to_thread(self._renewer.stop, self.settings.seconds("timeout"))
        if self._standby is not None:
            self._standby._hang_up()  # noqa: SLF001 - it is ours

    # --- the methods

    async def take_lease(self, ref: str, ttl: Duration = "1m") -> AsyncLease:
        """As `MediaStore.take_lease`."""
        sent_s = self._elapsed_s()
        return AsyncLease(self._keeper, await self._run(leasing.take(self._ctx, ref, ttl)), sent_s)

    def lease(self, ref: str, ttl: Duration = "1m") -> AsyncHolding[AsyncLease]:
        """As `MediaStore.lease`, with `async with`. Renewed by a thread: a loop that is busy or blocked costs no lease.

        The thread has connections of its own, made like those of a client that was passed in. The exit is
        shielded from cancellation, for as long as the setting `timeout`; then the lease lapses by itself.
        """

        async def hold() -> AsyncLease:
            self._check_twin()
            return (await self.take_lease(ref, ttl)).keep_renewed()

        return AsyncHolding(hold)

    def open(self, ref: str) -> AsyncHolding[AsyncLeasedFile]:
        """As `MediaStore.open`: `async with store.open(ref) as f: await f.read()`."""
        return AsyncHolding(lambda: self._open(ref))

    async def _open(self, ref: str) -> AsyncLeasedFile:
        self._check_twin()
        sent_s = self._elapsed_s()
        taken = await self._run(leasing.take(self._ctx, ref, open_ttl_s(self.settings)))
        held = AsyncLease(self._keeper, taken, sent_s)
        try:
            held.keep_renewed()
            raw = await self._run(leasing.opened(taken))
            return AsyncLeasedFile(raw, held, self._keeper.patience_s)
        except BaseException:
            with suppress(MediaStoreError):
                await held.end()
            raise

    async def handoff(self, ref: str, ttl: Duration = "5m") -> str:
        """As `MediaStore.handoff`."""
        return await self._run(leasing.handoff(self._ctx, ref, ttl))

    async def accept(self, token: str, ttl: Duration = "1m") -> AsyncLease:
        """As `MediaStore.accept`."""
        sent_s = self._elapsed_s()
        return AsyncLease(
            self._keeper, await self._run(leasing.accept(self._ctx, token, ttl)), sent_s
        )

    async def leases(self, ref: str) -> list[LeaseInfo]:
        """As `MediaStore.leases`."""
        return await self._run(leasing.leases(ref))
