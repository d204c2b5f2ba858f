"""Ending refs, by release or by time, and deleting the bytes that nobody holds any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import RefGone
from mediastore.index import changes, lives, reads
from mediastore.index.steps import BATCH
from mediastore.model import (
    Ref,
    Released,
    check_scope,
    encode_scope,
)

from .context import LOOK_AGAIN_AT_MOST_S, LOOK_AGAIN_S, Context, Flow
from .deleting import delete_named
from .storing import lookup

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Tally:
    """What one call has done so far."""

    released: int = 0
    expired: int = 0
    by_hand: int = 0
    kept: int = 0
    doomed: int = 0
    deleted: int = 0
    freed: int = 0
    gone: int = 0
    spared: int = 0
    #: Of those kept: borrowed ones whose held link had to go first.
    lent: int = 0
    #: Of those gone: their root was forgotten, so that nothing of them enters its trash.
    lost: int = 0
    #: Claimed, and not deleted.
    faults: int = 0
    #: By root: not claimed, because no directory can be made for a claim there.
    barred: dict[str, int] = field(default_factory=dict)
    #: By part, "expiry", "deadlines" or a root: what was not done because the namespace is frozen, or by the breaker.
    frozen: dict[str, int] = field(default_factory=dict)
    #: Which of these the breaker alone stops: it stops nothing else.
    held_back: set[str] = field(default_factory=set)

    def ended(self, batch: changes.Ended) -> None:
        """Count the refs that a script has ended."""
        self.released += batch.released
        self.expired += batch.expired
        self.by_hand += batch.deleted
        self.kept += batch.kept
        self.gone += batch.lost
        self.lost += batch.lost
        self.doomed += len(batch.doomed)

    def acknowledged(self, *batches: tuple[str, changes.Acknowledged]) -> None:
        """Count what became of blobs, given as (root, what was done)."""
        for root, batch in batches:
            self.deleted += batch.deleted
            self.gone += batch.gone
            self.spared += batch.spared
            self.kept += batch.kept
            self.lent += batch.kept
            self.freed += batch.freed
            self.faults += batch.failed
            if batch.barred:
                self.barred[root] = self.barred.get(root, 0) + batch.barred
            if batch.frozen:
                self.frozen[root] = self.frozen.get(root, 0) + batch.frozen

    @property
    def failed(self) -> int:
        """Blobs that could not be deleted now."""
        return self.faults + sum(self.barred.values())

    @property
    def settled(self) -> int:
        """Blobs of the trash that are done with, whatever became of their files."""
        return self.deleted + self.gone - self.lost + self.spared + self.lent

    @property
    def pending(self) -> int:
        """Blobs this call left without a ref and did not see to: borrowed ones end when their held link has gone."""
        return max(0, self.doomed - self.settled - self.failed)

    def told(self, refs: int, *, closed: bool = False) -> Released:
        """Return what a call that ended so many refs has done."""
        return Released(
            refs=refs,
            deleted=self.deleted,
            freed_bytes=self.freed,
            kept=self.kept,
            gone=self.gone,
            spared=self.spared,
            pending=self.pending,
            failed=self.failed,
            closed=closed,
        )


def release_all(ctx: Context, scope: str, *, wait: bool) -> Flow[Released]:
    """Cut first: every ref below is dead to everybody. Then drain and delete what this process can."""
    check_scope(scope)
    release = Release(scope, (yield from changes.release(scope, ctx.new_id(), ctx.terms)))
    if wait:
        yield from release.work_off(ctx)
        yield from release.see_off(ctx)
    return release.done


class Release:
    """One scope after its cut: what it ended is worked off, then what others delete of it is waited for."""

    def __init__(self, scope: str, cut: changes.Ended) -> None:
        """Begin with what the cut did."""
        self._scope, self._cut = scope, cut
        self._tally = Tally()
        self._tally.ended(cut)
        self._still_closed = bool(cut.closed)
        self._deadline = 0.0

    @property
    def done(self) -> Released:
        """What this call has done so far."""
        return self._tally.told(self._tally.released, closed=self._still_closed)

    def work_off(self, ctx: Context) -> Flow[None]:
        """Drain and delete what the cut has ended, as far as this process can within the setting `release_budget`."""
        roots = yield from blobs.Roots()
        self._deadline = (yield from blobs.Elapsed()) + ctx.settings.seconds("release_budget")
        self._tally.acknowledged(*(yield from delete_named(ctx, roots, self._cut.doomed)))
        if self._cut.closed:
            name = encode_scope(self._scope)
            self._still_closed = yield from drain(ctx, name, self._deadline, self._tally, roots)

    def see_off(self, ctx: Context) -> Flow[None]:
        """Wait for what else of the scope is on its way out, after `work_off`."""
        expected = self._cut.closed or self._cut.others or self._tally.pending
        if expected and not self._still_closed:
            roots = yield from blobs.Roots()
            yield from _see_off(ctx, self._scope, roots, self._deadline, self._tally)


def delete(ctx: Context, ref: str) -> Flow[Released]:
    """End one ref, and delete its bytes where nobody else holds them."""
    wanted = Ref.parse(ref)
    ended = yield from changes.delete(wanted.id, ctx.new_id(), ctx.terms)
    if ended is None:
        yield from lookup(wanted)
        raise RefGone(wanted, "expired")  # by a clock that has stepped back since
    tally = Tally()
    tally.ended(ended)
    roots = yield from blobs.Roots()
    tally.acknowledged(*(yield from delete_named(ctx, roots, ended.doomed)))
    return tally.told(tally.by_hand)


def drain(
    ctx: Context, name: str, deadline: float, tally: Tally, roots: Iterable[str]
) -> Flow[bool]:
    """End the refs of a closed scope, as key names spell it, batch by batch; True when the time was up before the end."""
    doomed: list[tuple[str, str]] = []
    while True:
        batch = yield from changes.drain(name, ctx.new_id(), ctx.terms)
        tally.ended(batch)
        doomed += batch.doomed
        late = (yield from blobs.Elapsed()) > deadline
        if batch.done or late or len(doomed) >= BATCH:
            tally.acknowledged(*(yield from delete_named(ctx, roots, doomed)))
            doomed = []
        if batch.done or late:
            return not batch.done


def _see_off(
    ctx: Context, scope: str, roots: dict[str, str], deadline: float, tally: Tally
) -> Flow[None]:
    """Wait for, or finish, what other processes have begun to delete of this scope: then the caller's own roots are clean."""
    wait = LOOK_AGAIN_S
    deadline = min(deadline, (yield from blobs.Elapsed()) + ctx.settings.seconds("timeout"))
    while True:
        before = tally.settled
        here = yield from blobs.Standing()  # a root that went away meanwhile is waited for by nobody
        usable = [root for root, stands in here.items() if stands and root not in tally.barred]
        busy = [] if tally.frozen else (yield from _going(scope, usable, deadline))
        if not busy or (yield from blobs.Elapsed()) > deadline:
            return
        tally.acknowledged(*(yield from delete_named(ctx, roots, busy)))
        if tally.settled == before:
            # Versions of a path go one after the other, and the first may be nobody's work.
            first = yield from _before(busy)
            tally.acknowledged(*(yield from delete_named(ctx, roots, first)))
        if tally.settled == before:
            yield from blobs.Pause(wait)
            wait = min(wait * 2, LOOK_AGAIN_AT_MOST_S)


def _before(busy: list[tuple[str, str]]) -> Flow[list[tuple[str, str]]]:
    """Find the blobs that have the paths of these now."""
    paths = yield from reads.paths_of([blob for _, blob in busy])
    places = [(root, path) for (root, _), path in zip(busy, paths, strict=True)]
    holders = yield from reads.holders_of(places)
    found = {(root, holder) for (root, _), holder in zip(places, holders, strict=True) if holder}
    return sorted(found - set(busy))


def _going(scope: str, roots: Iterable[str], deadline: float) -> Flow[list[tuple[str, str]]]:
    """Find some blobs that ended in a scope and are going now, in these roots; none only after a look at all of them.

    A page whose blobs went between the two reads, or wait for something else, says nothing of the others. As many
    as grace and leases keep, the look ends with the time for it.
    """
    cursor = -1
    while cursor:
        page = yield from lives.left_page(scope, max(cursor, 0))
        cursor = page.cursor
        found = (yield from reads.roots_of(page.blobs)) if page.blobs else {}
        busy = [(root, blob) for blob, root in found.items() if root in roots]
        if busy or (yield from blobs.Elapsed()) > deadline:
            return busy
    return []
