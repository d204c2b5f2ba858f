"""Leases, the blocking half."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mediastore.errors import MediaStoreError
from mediastore.flows import leasing

from .driver import Driver
from .files import LeasedFile
from .lease import Deadlines, Holding, Keeper, Lease

if TYPE_CHECKING:
    from mediastore.lifetimes import LeaseInfo, Taken
    from mediastore.model import Duration
    from mediastore.renewer import Term
    from mediastore.settings import Settings

#: How long the lease of an open file outlives a killed process.
_OPEN_S: Final = 60.0


def open_ttl_s(settings: Settings) -> float:
    """Return the ttl of an open file's lease."""
    return min(_OPEN_S, settings.seconds("lease_max"))


class Leasing(Driver):
    """What keeps bytes in use."""

    @cached_property
    def _keeper(self) -> Keeper[Deadlines, bool]:
        return self._make_keeper(
            self._renew, lambda taken: self._run(leasing.end(self._ctx, taken))
        )

    def _renew(self, leases: list[Taken]) -> Deadlines:
        return self._run(leasing.renew(self._ctx, leases))

    def _renew_due(self, terms: list[Term]) -> Deadlines:
        return self._renew([term.taken for term in terms])

    def take_lease(self, ref: str, ttl: Duration = "1m") -> Lease:
        """Take a lease through a live ref: its bytes stay for `ttl`, whatever becomes of the ref.

        It is renewed by hand only, with `Lease.renew`; as a context manager it ends at the exit.
        A lease excludes nobody, and does not keep the ref alive: a release counts at once.

        Args:
            ref: A live ref.
            ttl: How long the bytes stay after this call, and after each renewal.

        Raises:
            InvalidRequest: the ttl has no end, or is none.
            InvalidRef, RefGone, RefUnknown, WrongHost: as `resolve`; no lease was taken.
            BlobMissing: the registered bytes are nowhere any more; no lease was taken.
            IndexUnavailable: Redis failed; a lease that was taken all the same lapses by itself.
        """
        sent_s = self._elapsed_s()
        return Lease(self._keeper, self._run(leasing.take(self._ctx, ref, ttl)), sent_s)

    def lease(self, ref: str, ttl: Duration = "1m") -> Holding[Lease]:
        """Hold a lease while the body runs: taken at the start, renewed in the background, ended at the exit.

            with store.lease(ref) as held:
                subprocess.run(["ffmpeg", "-i", held.path, ...])

        A thread renews all leases of the store, at a third of their ttl. It cannot help a process that is
        stopped or cut off from Redis for longer than the ttl, nor beyond the setting `lease_max`: then `held.path`
        raises LeaseLost, and so does the exit.

        Args:
            ref: A live ref.
            ttl: How long the bytes outlive a killed process.

        Raises:
            MediaStoreError: as `take_lease`; LeaseLost at the exit if it was lost meanwhile.
        """
        return Holding(lambda: self.take_lease(ref, ttl).keep_renewed())

    def open(self, ref: str) -> LeasedFile:
        """Open the ref's file for reading, in binary; a context manager. A release does not take it away.

        Its lease is renewed in the background until the file is closed.

        Raises:
            BlobMissing: the registered bytes are nowhere any more; a path that somebody removed or replaced is no hindrance.
            MediaStoreError: as `take_lease`.
        """
        sent_s = self._elapsed_s()
        taken = self._run(leasing.take(self._ctx, ref, open_ttl_s(self.settings)))
        held = Lease(self._keeper, taken, sent_s)
        try:
            held.keep_renewed()
            return LeasedFile(self._run(leasing.opened(taken)), held)
        except BaseException:
            with suppress(MediaStoreError):
                held.end()
            raise

    def handoff(self, ref: str, ttl: Duration = "5m") -> str:
        """Return a token that another process swaps for a lease of its own: the bytes stay until then.

        It is text, for a Celery message or an HTTP call, and works once.

        Args:
            ref: A live ref; it may die before the token is used.
            ttl: How long the token is good for. A message that is lost costs this time, nothing more.

        Raises:
            MediaStoreError: as `take_lease`.
        """
        return self._run(leasing.handoff(self._ctx, ref, ttl))

    def accept(self, token: str, ttl: Duration = "1m") -> Lease:
        """Swap the token of a hand-over for a lease. It is renewed by hand only; as a context manager it ends at the exit.

        Args:
            token: What `handoff` returned.
            ttl: As in `take_lease`.

        Raises:
            InvalidRequest: it is no such token.
            LeaseLost: it was used, or came too late.
            BlobMissing, WrongHost: as `resolve`; the token is still good for others.
            IndexUnavailable: Redis failed; the token may have been used up.
        """
        sent_s = self._elapsed_s()
        return Lease(self._keeper, self._run(leasing.accept(self._ctx, token, ttl)), sent_s)

    def leases(self, ref: str) -> list[LeaseInfo]:
        """Return who holds a lease on the bytes of a live ref, through whichever ref it was taken."""
        return self._run(leasing.leases(ref))
