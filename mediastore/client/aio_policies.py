"""Retention policies, the asyncio half."""

from __future__ import annotations

from datetime import datetime

from mediastore.flows import ending, policing
from mediastore.model import Duration, Swept
from mediastore.policies import Policy, PolicyChange

from .driver import AsyncDriver


class AsyncPolicies(AsyncDriver):
    """What names lifetimes; the methods are those of `MediaStore`, awaited."""

    async def set_policy(self, name: str, lifetime: Duration) -> PolicyChange:
        """As `MediaStore.set_policy`; what a cancelled call leaves, a sweep does."""
        return await self._run(policing.set_policy(self._ctx, name, lifetime))

    async def policies(self) -> list[Policy]:
        """As `MediaStore.policies`."""
        return await self._run(policing.listing(self._ctx))

    async def remove_policy(self, name: str, *, force: bool = False) -> PolicyChange:
        """As `MediaStore.remove_policy`."""
        return await self._run(policing.remove_policy(self._ctx, name, force=force))

    async def apply_policy(self, ref: str, policy: str | None) -> datetime | None:
        """As `MediaStore.apply_policy`."""
        return await self._run(policing.apply_policy(self._ctx, ref, policy))

    async def enforce_policy(self) -> Swept:
        """As `MediaStore.enforce_policy`."""
        return await self._run(ending.sweep(self._ctx, budget=None))
