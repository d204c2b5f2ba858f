"""Quotas, for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore.flows import quotas as flows

from .driver import AsyncDriver

if TYPE_CHECKING:
    from mediastore.flows.quotas import Limit
    from mediastore.quotas import Quota


class AsyncQuotas(AsyncDriver):
    """What limits how much is held; the methods are those of `Quotas`, awaited."""

    async def set_quota(
        self,
        scope: str | None = None,
        *,
        max_bytes: Limit = None,
        max_refs: Limit = None,
        scope_max_bytes: Limit = None,
        scope_max_refs: Limit = None,
    ) -> Quota:
        """As `MediaStore.set_quota`."""
        limits = {
            "max_bytes": max_bytes,
            "max_refs": max_refs,
            "scope_max_bytes": scope_max_bytes,
            "scope_max_refs": scope_max_refs,
        }
        return await self._run(flows.set_quota(self._ctx, scope, limits))

    async def quota(self, scope: str | None = None) -> Quota:
        """As `MediaStore.quota`."""
        return await self._run(flows.quota(scope))
