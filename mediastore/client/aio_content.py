"""Content that is handed over and given back, for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore import naming
from mediastore.content import Announced
from mediastore.flows import content as flows, storing
from mediastore.flows.orders import Asked
from mediastore.model import Duration, MediaMeta, Ref, parse_duration
from mediastore.values import parse_size

from .base import checked_meta
from .content import INLINE, checked_content
from .driver import AsyncDriver
from .writer import AsyncWriter

if TYPE_CHECKING:
    from mediastore.content import MediaContent


class AsyncContent(AsyncDriver):
    """What writes and reads content; the methods are those of `Content`, awaited."""

    async def store_media(
        self,
        content: MediaContent,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        move: bool = False,
    ) -> Ref:
        """As `MediaStore.store_media`; also of an async iterator. What a cancelled call has begun goes with a sweep."""
        meta = checked_meta(meta)
        home = self._home_of(scope, meta)
        return await self._run(
            flows.store(self._ctx, checked_content(content), home, meta, ttl, move=move)
        )

    def writer(
        self,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        size_bytes: int | None = None,
        sha256: str = "",
        suffix: str = "",
    ) -> AsyncWriter:
        """As `MediaStore.writer`, with `async with`."""
        meta = checked_meta(meta)
        said = Announced(size_bytes, sha256)
        asked = Asked(self._home_of(scope, meta), meta, ttl, said, naming.suffix(suffix))
        return AsyncWriter(self, asked)

    async def retrieve_media(self, ref: str) -> MediaContent:
        """As `MediaStore.retrieve_media`."""
        return await self._run(flows.retrieve(self._ctx, ref))

    async def get_url(self, ref: str, expires_in: Duration | None = None) -> str:
        """As `MediaStore.get_url`."""
        if expires_in is not None:
            parse_duration(expires_in)
        return (await self._run(storing.resolve(self._ctx, ref)))[0].as_uri()

    async def get_base64(self, ref: str, limit: int | str = INLINE) -> str:
        """As `MediaStore.get_base64`."""
        return (await self._run(flows.encoded(self._ctx, ref, parse_size("limit", limit))))[0]

    async def get_data_url(self, ref: str, limit: int | str = INLINE) -> str:
        """As `MediaStore.get_data_url`."""
        text, kind = await self._run(flows.encoded(self._ctx, ref, parse_size("limit", limit)))
        return f"data:{kind};base64,{text}"
