"""Refs that move, the asyncio half."""

from __future__ import annotations

from datetime import datetime

from mediastore.flows import ending, moving, places, scoping
from mediastore.lifetimes import ScopeDeadline, Tombstone, Waiting
from mediastore.model import Duration, Media, Ref, Released, check_scope

from .base import AnyPath, path_text
from .driver import AsyncDriver


class AsyncMoving(AsyncDriver):
    """What moves refs; the methods are those of `MediaStore`, awaited."""

    async def touch(self, ref: str, ttl: Duration | None = None) -> datetime | None:
        """As `MediaStore.touch`."""
        return await self._run(moving.extend(self._ctx, ref, "touch", ttl))

    async def pin(self, ref: str) -> None:
        """As `MediaStore.pin`."""
        await self._run(moving.extend(self._ctx, ref, "pin"))

    async def unpin(self, ref: str) -> datetime | None:
        """As `MediaStore.unpin`."""
        return await self._run(moving.extend(self._ctx, ref, "unpin"))

    async def transfer(self, ref: str, scope: str) -> None:
        """As `MediaStore.transfer`."""
        await self._run(moving.transfer(self._ctx, ref, check_scope(scope)))

    async def promote(self, ref: str) -> str:
        """As `MediaStore.promote`."""
        return await self._run(moving.transfer(self._ctx, ref, ""))

    async def share(self, ref: str, scope: str, ttl: Duration | None = None) -> Ref:
        """As `MediaStore.share`."""
        return await self._run(moving.share(self._ctx, ref, scope, ttl))

    async def delete_media(self, ref: str) -> Released:
        """As `MediaStore.delete_media`."""
        return await self._run(ending.delete(self._ctx, ref))

    async def refs_at(self, path: AnyPath) -> list[Media]:
        """As `MediaStore.refs_at`."""
        return await self._run(places.refs_at(path_text(path)))

    async def delete_path(self, path: AnyPath) -> Released:
        """As `MediaStore.delete_path`."""
        return await self._run(places.delete(self._ctx, path_text(path)))

    async def restore(self, ref: str, scope: str | None = None, ttl: Duration | None = None) -> Ref:
        """As `MediaStore.restore`."""
        return await self._run(moving.restore(self._ctx, ref, scope, ttl))

    async def tombstone(self, ref: str) -> Tombstone:
        """As `MediaStore.tombstone`."""
        return await self._run(moving.tombstone(ref))

    async def waiting(self, scope: str, *, limit: int = 100) -> list[Waiting]:
        """As `MediaStore.waiting`."""
        return await self._run(moving.waiting(scope, limit))

    async def scope_deadlines(self, scope: str) -> list[ScopeDeadline]:
        """As `MediaStore.scope_deadlines`."""
        return await self._run(scoping.deadlines(scope))
