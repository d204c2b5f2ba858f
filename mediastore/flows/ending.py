"""Ending refs, by release or by time, and deleting the bytes that nobody holds any more."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from mediastore import blobs
from mediastore.errors import BlobsUnavailable, Corrupt, IndexVersion, RefGone, as_value
from mediastore.index import changes, listing, lives, reads, roots as hosts
from mediastore.index.steps import BATCH, REPLAY_WINDOW_MS
from mediastore.model import (
    Duration,
    Ref,
    Released,
    Swept,
    check_scope,
    encode_scope,
    parse_duration,
)

from . import sidecars
from .context import LOOK_AGAIN_AT_MOST_S, LOOK_AGAIN_S, Context, Flow
from .deleting import delete_batch, delete_named
from .policing import go_on
from .storing import lookup

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
logger = logging.getLogger("mediastore")

#: What a crashed call left is looked for after ten replay windows: by then no delayed command can still need it.
STRAY_AGE_S: Final = 10 * REPLAY_WINDOW_MS / 1000


@dataclass(slots=True)
class _Tally:
    """What one call has done so far."""

    released: int = 0
    expired: int = 0
    by_hand: int = 0
    kept: int = 0
    doomed: int = 0
    deleted: int = 0
    freed: int = 0
    failed: int = 0
    spared: int = 0

    def ended(self, batch: changes.Ended) -> None:
        self.released += batch.released
        self.expired += batch.expired
        self.by_hand += batch.deleted
        self.kept += batch.kept
        self.doomed += len(batch.doomed)

    def acknowledged(self, *batches: changes.Acknowledged) -> None:
        for batch in batches:
            self.deleted += batch.deleted
            self.kept += batch.kept
            self.spared += batch.kept
            self.freed += batch.freed
            self.failed += batch.failed

    @property
    def settled(self) -> int:
        """Blobs that are done with, whether a file went or was left to its owner."""
        return self.deleted + self.spared

    @property
    def pending(self) -> int:
        """Blobs this call left without a ref and did not see to: borrowed ones end when their held link has gone."""
        return max(0, self.doomed - self.settled - self.failed)


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
        self._tally = _Tally()
        self._tally.ended(cut)
        self._still_closed = bool(cut.closed)
        self._deadline = 0.0

    @property
    def done(self) -> Released:
        """What this call has done so far."""
        tally = self._tally
        return Released(
            tally.released,
            tally.deleted,
            tally.freed,
            tally.kept,
            tally.pending,
            tally.failed,
            self._still_closed,
        )

    def work_off(self, ctx: Context) -> Flow[None]:
        """Drain and delete what the cut has ended, as far as this process can within the setting `release_budget`."""
        roots = yield from blobs.Roots()
        self._deadline = (yield from blobs.Elapsed()) + ctx.settings.seconds("release_budget")
        self._tally.acknowledged(*(yield from delete_named(ctx, roots, self._cut.doomed)))
        if self._cut.closed:
            name = encode_scope(self._scope)
            self._still_closed = yield from _drain(ctx, name, self._deadline, self._tally, roots)

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
    tally = _Tally()
    tally.ended(ended)
    roots = yield from blobs.Roots()
    tally.acknowledged(*(yield from delete_named(ctx, roots, ended.doomed)))
    return Released(
        tally.by_hand, tally.deleted, tally.freed, tally.kept, tally.pending, tally.failed
    )


def _drain(
    ctx: Context, name: str, deadline: float, tally: _Tally, roots: Iterable[str]
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
    ctx: Context, scope: str, roots: dict[str, str], deadline: float, tally: _Tally
) -> Flow[None]:
    """Wait for, or finish, what other processes have begun to delete of this scope: then the caller's own roots are clean."""
    wait = LOOK_AGAIN_S
    deadline = min(deadline, (yield from blobs.Elapsed()) + ctx.settings.seconds("timeout"))
    while True:
        before = tally.settled
        here = yield from blobs.Standing()  # a root that went away meanwhile is waited for by nobody
        usable = [root for root, stands in here.items() if stands]
        busy = yield from _going(scope, usable, deadline)
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


def expire(ctx: Context) -> Flow[Swept]:
    """End every ref whose deadline has passed, and delete the files that only they held."""
    tally = _Tally()
    roots = yield from blobs.Roots()
    deadline = (yield from blobs.Elapsed()) + ctx.settings.seconds("sweep_budget")
    yield from _expire(ctx, deadline, tally, roots)
    return (yield from _swept(tally, worked=tally.expired + tally.released > 0))


def _expire(ctx: Context, deadline: float, tally: _Tally, roots: Iterable[str]) -> Flow[None]:
    doomed: list[tuple[str, str]] = []
    while True:
        batch = yield from changes.expire(ctx.new_id(), ctx.terms)
        tally.ended(batch)
        doomed += batch.doomed
        over = batch.done or (yield from blobs.Elapsed()) > deadline
        if over or len(doomed) >= BATCH:
            tally.acknowledged(*(yield from delete_named(ctx, roots, doomed)))
            doomed = []
        if over:
            return


def sweep(
    ctx: Context, *, budget: Duration | None, expiry: bool = True, tidy: bool = True
) -> Flow[Swept]:
    """One pass: expire what is due, drain what was released, delete what is in the trash of this process's roots.

    Nothing due costs one round trip. Any number of sweepers may run at once. A part that meets what cannot be true is
    left as it is, and said once all the others are done.

    Raises:
        Corrupt: the first such part.
    """
    seconds = ctx.settings.seconds("sweep_budget") if budget is None else parse_duration(budget)
    roots = yield from blobs.Roots()
    deadline = float("inf") if seconds is None else (yield from blobs.Elapsed()) + seconds
    this = _Sweep(ctx, roots, deadline, expiry=expiry)
    due = yield from this.work_off(forgotten=tidy)
    for root in due.sidecars:
        yield from sidecars.work_off(ctx, root, deadline)
    if tidy:
        for root in due.forgotten:
            yield from this.heed(root, _finish_forgetting(ctx, root, deadline))
        for root in roots:
            yield from this.heed(root, _tidy(root))
    swept = yield from _swept(this.tally, worked=this.worked)
    for fault in this.faults.values():
        raise fault
    return swept


class _Sweep:
    """The rounds of one sweep, and the parts that met what cannot be true."""

    def __init__(
        self, ctx: Context, roots: dict[str, str], deadline: float, *, expiry: bool
    ) -> None:
        self._ctx, self._roots, self._deadline, self._expiry = ctx, roots, deadline, expiry
        self.tally, self.worked = _Tally(), False
        self.faults: dict[str, Corrupt] = {}

    def heed(self, part: str, work: Flow[T]) -> Flow[T | None]:
        """Do one part; None if it met what cannot be true, which must keep no other part waiting."""
        try:
            return (yield from work)
        except IndexVersion:
            raise
        except Corrupt as error:
            logger.warning("the sweep goes on without %s: %s", part, error)
            self.faults[part] = as_value(error)
            return None

    def work_off(self, *, forgotten: bool) -> Flow[reads.Due]:
        """Go round until nothing is due, or nothing that can be done, or the time is up; returns what the last look saw."""
        seen, progress = None, True
        while True:
            due = yield from reads.due(tuple(self._roots), forgotten=forgotten)
            todo = self._todo(due)
            late = (yield from blobs.Elapsed()) > self._deadline
            # What was due before and nothing came of is due again: it must not keep us busy.
            stalled = not progress and seen == (todo, self.tally) and not todo.deadlines
            if late or not todo.any or stalled:
                return due
            seen = todo, replace(self.tally)
            self.worked = True
            progress = yield from self._round(todo)
            if not (progress or todo.ends):
                return due  # a root that cannot be written now must not keep us busy

    def _todo(self, due: reads.Due) -> _Todo:
        def left(*parts: str) -> tuple[str, ...]:
            return tuple(part for part in parts if part not in self.faults)

        ending = left(
            *(["expiry"] if due.expiry else []), *(["deadlines"] if due.deadlines else [])
        )
        return _Todo(
            expiry=self._expiry and "expiry" in ending,
            deadlines=self._expiry and "deadlines" in ending,
            changing=left(*due.changing) if self._expiry else (),
            closed=left(*due.closed),
            roots=left(*due.roots),
        )

    def _round(self, todo: _Todo) -> Flow[bool]:
        """Do what is due, each part for itself; returns whether a root had something to delete."""
        ctx, deadline = self._ctx, self._deadline
        for name in todo.changing:
            yield from self.heed(name, go_on(ctx, name, deadline))
        if todo.expiry:
            yield from self.heed("expiry", _expire(ctx, deadline, self.tally, self._roots))
        closed = todo.closed
        if todo.deadlines:
            lapsed = yield from self.heed("deadlines", iter(changes.lapse(ctx.new_id())))
            closed += lapsed.closed if lapsed else ()
        for name in closed:
            yield from self.heed(name, _drain(ctx, name, deadline, self.tally, self._roots))
        progress = False
        for root in todo.roots:
            done = yield from self.heed(root, delete_batch(ctx, root))
            if done is not None:
                self.tally.acknowledged(done)
                progress = True
        return progress


@dataclass(frozen=True, slots=True)
class _Todo:
    """What one round of a sweep is to do."""

    expiry: bool
    deadlines: bool
    changing: tuple[str, ...]
    closed: tuple[str, ...]
    roots: tuple[str, ...]

    @property
    def ends(self) -> bool:
        """Whether refs are to end, or to get another deadline."""
        return bool(self.expiry or self.deadlines or self.changing or self.closed)

    @property
    def any(self) -> bool:
        """Whether there is anything."""
        return self.ends or bool(self.roots)


def _swept(tally: _Tally, *, worked: bool) -> Flow[Swept]:
    left = (yield from listing.stats()).trash if worked else 0
    refs = tally.expired + tally.released
    return Swept(
        refs,
        tally.expired,
        tally.released,
        tally.deleted,
        tally.freed,
        tally.kept,
        left,
        tally.failed,
    )


def _finish_forgetting(ctx: Context, root: str, deadline: float) -> Flow[None]:
    """Go on with a root whose forgetting was stopped halfway: nobody claims what waits there, so it would wait for ever."""
    while (yield from blobs.Elapsed()) <= deadline:
        batch = yield from hosts.forget(root, ctx.new_id(), begun=True)
        if not batch.left:
            return


def _tidy(root: str) -> Flow[int]:
    """Finish what crashed calls left behind on the disk."""
    known: set[str] = set()
    try:
        strays = yield from blobs.Strays(root, STRAY_AGE_S)
        for start in range(0, len(strays), BATCH):
            known |= yield from reads.known_ids(strays[start : start + BATCH])
        return (yield from blobs.Tidy(root, STRAY_AGE_S, frozenset(known)))
    except BlobsUnavailable:
        return 0  # a root that does not answer keeps no other root waiting
