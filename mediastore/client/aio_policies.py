"""Retention policies, the asyncio half."""

from __future__ import annotations

import os
from datetime import datetime

from mediastore.flows import policing, sweeping
from mediastore.model import Duration, Swept
from mediastore.policies import Policy, PolicyChange

from .driver import AsyncDriver
from .policies import is_path


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

    async def apply_policy(
        self, ref: str | os.PathLike[str], policy: str | None
    ) -> datetime | None:
        """As `MediaStore.apply_policy`."""
        if is_path(ref):
            return await self._run(policing.apply_to_file(self._ctx, os.fspath(ref), policy))
        return await self._run(policing.apply_policy(self._ctx, str(ref), policy))

    async def enforce_policy(self) -> Swept:
        """As `MediaStore.enforce_policy`."""
        return await self._run(sweeping.sweep(self._ctx, budget=None))
