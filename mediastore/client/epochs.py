"""Epochs, whether the index is the one that the roots know: the blocking and the asyncio half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore.flows import accepting as flows

from .driver import AsyncDriver, Driver

if TYPE_CHECKING:
    from mediastore.epochs import Accepted, Epoch


class Epochs(Driver):
    """What a namespace that is frozen is looked at with, and let go on."""

    def epoch(self) -> Epoch:
        """Say whether the namespace is frozen, why, and what waits for that; changes nothing.

        It is frozen where a root shows an entry that the index does not know: Redis came back older, from a snapshot say,
        or is another one. Then refs are stored, resolved and released, also those whose deadline has passed; but nothing
        expires and nothing is deleted, for the index does not know what was pinned, touched or borrowed since.
        """
        return self._run(flows.epoch())

    def accept_epoch(self, *, let_go: bool = False) -> Accepted:
        """Take the index as it is: the namespace goes on, on every host.

        For 24 hours nothing that is there now ends by itself: no ref at its deadline, no scope, no file that waits to be
        deleted; what is released from now on goes at once. Call `rebuild` first, on each host that has a root: it brings
        back content of which the index knows nothing. Called twice, the 24 hours begin again.

        Args:
            let_go: Let second names of registered files go of which the index knows nothing, in the roots of this process;
                the only name of bytes is kept in `.mediastore/parked`. Without it they pin their files' bytes.
        """
        return self._run(flows.accept(self._ctx, let_go=let_go))


class AsyncEpochs(AsyncDriver):
    """The methods are those of `MediaStore`, awaited."""

    async def epoch(self) -> Epoch:
        """As `MediaStore.epoch`."""
        return await self._run(flows.epoch())

    async def accept_epoch(self, *, let_go: bool = False) -> Accepted:
        """As `MediaStore.accept_epoch`."""
        return await self._run(flows.accept(self._ctx, let_go=let_go))
