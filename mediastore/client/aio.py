"""The asyncio client."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from mediastore.flows import content, ending, hosting, listing, storing, sweeping
from mediastore.hosts import Adopted, Forgotten, RootInfo
from mediastore.model import Duration, Media, MediaMeta, Ref, Released, ReleasePlan, Swept
from mediastore.stats import Stats
from mediastore.sweeper import AsyncSweeper

from .aio_content import AsyncContent
from .aio_leasing import AsyncLeasing
from .aio_many import AsyncMany
from .aio_moving import AsyncMoving
from .aio_policies import AsyncPolicies
from .aio_quotas import AsyncQuotas
from .base import AnyPath, checked_meta, checked_plan, path_text
from .breaker import AsyncBreakers
from .epochs import AsyncEpochs
from .rebuilding import AsyncRebuilding
from .scope import AsyncScope
from .scoping import Scoping


class AsyncMediaStore(
    Scoping[AsyncScope],
    AsyncContent,
    AsyncMoving,
    AsyncLeasing,
    AsyncMany,
    AsyncPolicies,
    AsyncQuotas,
    AsyncRebuilding,
    AsyncEpochs,
    AsyncBreakers,
):
    """The store for asyncio: Redis natively, files in threads. The methods are those of `MediaStore`, awaited."""

    _scopes = AsyncScope
    _sweeper: AsyncSweeper | None = None

    # --- the first seed: register files where they lie

    async def store(
        self,
        path: AnyPath,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        move: bool = False,
    ) -> Ref:
        """As `MediaStore.store`."""
        named, meta = self._scope_meant(scope), checked_meta(meta)
        if move:
            return await self._run(content.take_over(self._ctx, path_text(path), named, meta, ttl))
        return await self._run(storing.store(self._ctx, path_text(path), named, meta, ttl))

    async def resolve(self, ref: str) -> Path:
        """As `MediaStore.resolve`."""
        return (await self._run(storing.resolve(self._ctx, ref)))[0]

    async def resolve_with_meta(self, ref: str) -> tuple[Path, MediaMeta]:
        """As `MediaStore.resolve_with_meta`."""
        return await self._run(storing.resolve(self._ctx, ref))

    async def release_all(self, scope: str, *, wait: bool = True) -> Released:
        """As `MediaStore.release_all`; once the cut is made, a cancelled call's rest is done by a sweep."""
        return await self._run(ending.release_all(self._ctx, scope, wait=wait))

    async def clean_expired(self) -> int:
        """As `MediaStore.clean_expired`."""
        return (await self._run(sweeping.expire(self._ctx))).expired

    async def sweep(self, budget: Duration | None = None) -> Swept:
        """As `MediaStore.sweep`."""
        return await self._run(sweeping.sweep(self._ctx, budget=budget))

    async def drain(self, budget: Duration | None = None) -> Swept:
        """As `MediaStore.drain`."""
        return await self._run(sweeping.sweep(self._ctx, budget=budget, expiry=False, tidy=False))

    async def start(self) -> None:
        """As `MediaStore.start`; a task of the running loop."""
        if self._sweeper is None:
            self._sweeper = AsyncSweeper(
                self._rhythm, lambda full: self.sweep() if full else self.drain()
            )
        self._sweeper.start(enabled=self.settings.cleanup_enabled)

    async def stop(self) -> None:
        """As `MediaStore.stop`; a pass in progress is cancelled, the next sweep finishes it."""
        if self._sweeper is not None:
            await self._sweeper.stop()

    # --- looking

    async def get(self, ref: str) -> Media:
        """As `MediaStore.get`."""
        return await self._run(storing.get(ref))

    async def refs(
        self, scope: str, *, limit: int = 100, after: str | Media | None = None
    ) -> list[Media]:
        """As `MediaStore.refs`."""
        return await self._run(listing.list_refs(scope, limit, after))

    async def scopes(self, prefix: str = "") -> list[str]:
        """As `MediaStore.scopes`."""
        return await self._run(listing.list_scopes(prefix))

    async def stats(self) -> Stats:
        """As `MediaStore.stats`."""
        return await self._run(listing.stats())

    async def plan_release(self, scope: str) -> ReleasePlan:
        """As `MediaStore.plan_release`."""
        return await self._run(listing.plan_release(scope))

    async def execute(self, plan: ReleasePlan) -> Released:
        """As `MediaStore.execute`."""
        return await self.release_all(checked_plan(plan).scope)

    # --- roots and hosts

    async def roots(self) -> list[RootInfo]:
        """As `MediaStore.roots`."""
        return await self._run(hosting.list_roots())

    async def forget_root(self, root: str, *, even_here: bool = False) -> Forgotten:
        """As `MediaStore.forget_root`."""
        return await self._run(hosting.forget(self._ctx, root, even_here=even_here))

    async def adopt_root(self, path: AnyPath) -> Adopted:
        """As `MediaStore.adopt_root`; a cancelled call is one that stopped halfway."""
        return await self._run(hosting.adopt(self._ctx, path_text(path), self._host))

    async def close(self) -> None:
        """As `MediaStore.close`."""
        await self.stop()
        await self._stop_renewing()
        if self._link is not None and not self._given:
            await self._link.close()
        self._link = None

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store; nothing is released."""
        await self.close()
