"""The breaker, the blocking and the asyncio half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore.flows import breaker as flows

from .driver import AsyncDriver, Driver

if TYPE_CHECKING:
    from mediastore.breaker import Breaker
    from mediastore.model import Duration


class Breakers(Driver):
    """What stops refs from ending by themselves when they are too many, and how they are let go on."""

    def breaker(self) -> Breaker:
        """Say whether the breaker is tripped, on what, and how much is due; changes nothing.

        It trips before a sweep ends its first ref, if more is due than the setting `breaker_min`, than the share
        `breaker_share` of all refs, and than ten times what ended in an hour lately. Then no ref and no scope ends by
        itself until `allow_breaker`, or until no more than `breaker_min` is due. Releases are carried out as ever, and
        a ref past its deadline resolves no more; its file stays, and `restore` makes a new ref of it.
        """
        return self._run(flows.look())

    def allow_breaker(self, until: Duration) -> Breaker:
        """Let all that is due end, in every process, for as long from now; a breaker that is tripped is reset.

        Args:
            until: For how long, such as ``"1h"``: 7 days at most. It trips again after that, if as much is due then.

        Returns:
            How it is with the breaker then.

        Raises:
            InvalidRequest: `until` is no duration, `NEVER`, or longer than 7 days; nothing was changed.
        """
        return self._run(flows.allow(self._ctx, until))


class AsyncBreakers(AsyncDriver):
    """The methods are those of `MediaStore`, awaited."""

    async def breaker(self) -> Breaker:
        """As `MediaStore.breaker`."""
        return await self._run(flows.look())

    async def allow_breaker(self, until: Duration) -> Breaker:
        """As `MediaStore.allow_breaker`."""
        return await self._run(flows.allow(self._ctx, until))
