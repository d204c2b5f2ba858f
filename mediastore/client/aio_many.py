"""The same for many at once, the asyncio half."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mediastore.errors import MediaStoreError
from mediastore.flows import many
from mediastore.model import Duration, MediaMeta, Ref, Released

from .base import AnyPath, checked_items, checked_texts
from .driver import AsyncDriver


class AsyncMany(AsyncDriver):
    """What acts on many at once; the methods are those of `MediaStore`, awaited."""

    async def store_many(
        self,
        items: Iterable[AnyPath | tuple[AnyPath, MediaMeta]],
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> list[Ref | MediaStoreError]:
        """As `MediaStore.store_many`."""
        named = self._scope_meant(scope)
        return await self._run(many.store_many(self._ctx, checked_items(items, meta), named, ttl))

    async def resolve_many(self, refs: Iterable[str]) -> list[Path | MediaStoreError]:
        """As `MediaStore.resolve_many`."""
        return await self._run(many.resolve_many(self._ctx, checked_texts(refs, "refs")))

    async def release_many(
        self, scopes: Iterable[str], *, wait: bool = True
    ) -> list[Released | MediaStoreError]:
        """As `MediaStore.release_many`."""
        return await self._run(
            many.release_many(self._ctx, checked_texts(scopes, "scopes"), wait=wait)
        )
