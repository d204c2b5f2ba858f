"""Content that is handed over and given back, for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore.flows import content as flows

from .base import checked_meta
from .content import checked_content
from .driver import AsyncDriver

if TYPE_CHECKING:
    from mediastore.content import MediaContent
    from mediastore.model import Duration, MediaMeta, Ref


class AsyncContent(AsyncDriver):
    """What writes and reads content; the methods are those of `Content`, awaited."""

    async def store_media(
        self,
        content: MediaContent,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> Ref:
        """As `MediaStore.store_media`; also of an async iterator. A cancelled call is swept up after."""
        return await self._run(
            flows.store(self._ctx, checked_content(content), scope, checked_meta(meta), ttl)
        )
