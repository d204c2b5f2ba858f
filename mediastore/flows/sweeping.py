"""One pass over all that is due: refs that expired, scopes that were released, files that nobody holds, and what crashes left."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from mediastore import blobs
from mediastore.errors import BlobsUnavailable, Corrupt, IndexVersion, StoreFull, as_value
from mediastore.index import changes, listing, reads, roots as hosts
from mediastore.index.epochs import Looks, Stopped
from mediastore.index.steps import BATCH, REPLAY_WINDOW_MS
from mediastore.model import Duration, Swept, parse_duration

from . import breaker, epochs, sidecars
from .deleting import delete_batch, delete_named
from .ending import Tally, drain
from .policing import go_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediastore.journal import Hidden

    from .context import Context, Flow

T = TypeVar("T")

logger = logging.getLogger("mediastore")

#: What a crashed call left is looked for after ten replay windows: by then no delayed command can still need it.
STRAY_AGE_S: Final = 10 * REPLAY_WINDOW_MS / 1000


#: Parts of a sweep that end refs or scopes; the others are roots.
_ENDINGS: Final = ("expiry", "deadlines")


def expire(ctx: Context) -> Flow[Swept]:
    """End every ref whose deadline has passed, and delete the files that only they held."""
    tally = Tally()
    roots = yield from blobs.Roots()
    deadline = (yield from blobs.Elapsed()) + ctx.settings.seconds("sweep_budget")
    yield from _expire(ctx, (yield from epochs.looks(ctx)), deadline, tally, roots)
    return (yield from _swept(tally, worked=tally.expired + tally.released > 0))


def _expire(
    ctx: Context, looks: Looks, deadline: float, tally: Tally, roots: Iterable[str]
) -> Flow[None]:
    doomed: list[tuple[str, str]] = []
    while True:
        batch = yield from changes.expire(ctx.new_id(), ctx.terms, looks)
        yield from _heed(ctx, "expiry", batch.stopped, tally)
        tally.ended(batch)
        doomed += batch.doomed
        over = batch.done or (yield from blobs.Elapsed()) > deadline
        if over or len(doomed) >= BATCH:
            tally.acknowledged(*(yield from delete_named(ctx, roots, doomed)))
            doomed = []
        if over:
            return


def _heed(ctx: Context, part: str, stopped: Stopped, tally: Tally) -> Flow[None]:
    """Note why a script did nothing, if it did nothing."""
    breaker.tell(ctx, stopped)
    if stopped.why:
        tally.frozen[part] = stopped.due
        if stopped.why in breaker.REASONS:
            tally.held_back.add(part)
        yield from epochs.heed(ctx, stopped.why)


def sweep(
    ctx: Context, *, budget: Duration | None, expiry: bool = True, tidy: bool = True
) -> Flow[Swept]:
    """One pass: expire what is due, drain what was released, delete what is in the trash of this process's roots.

    Nothing due costs one round trip, and one more for each root every twenty seconds. Any number of sweepers may run at once.
    A part that meets what cannot be true is left as it is, and said once all the others are done.

    Raises:
        Corrupt: the first such part.
    """
    seconds = ctx.settings.seconds("sweep_budget") if budget is None else parse_duration(budget)
    roots = yield from blobs.Roots()
    deadline = float("inf") if seconds is None else (yield from blobs.Elapsed()) + seconds
    this = _Sweep(ctx, roots, deadline, expiry=expiry)
    frozen = yield from this.heed("epochs", epochs.look(ctx, now=False))
    due = yield from this.work_off(forgotten=tidy)
    if due.sidecars:
        # What they say may be newer than the index: it must be known to be the right one now.
        frozen = yield from this.heed("epochs", epochs.look(ctx, now=True))
    stopped = this.tally.frozen.keys() - this.tally.held_back
    sound = frozen == "" and not ctx.frozen and not stopped
    for root in due.sidecars if sound else ():
        yield from sidecars.work_off(ctx, root, deadline)
    if tidy:
        for root in due.forgotten:
            yield from this.heed(root, _finish_forgetting(ctx, root, deadline))
        for root in roots if sound else ():
            yield from this.heed(root, _tidy(root))
            yield from this.heed(root, _count_hidden(ctx, root, due.hidden.get(root)))
            yield from _prune(ctx, root)
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
        self.tally, self.worked = Tally(), False
        self.faults: dict[str, Corrupt] = {}
        self._seen_through: set[str] = set()

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
            seen = (
                todo,
                replace(self.tally, barred=dict(self.tally.barred), frozen=dict(self.tally.frozen)),
            )
            self.worked = True
            progress = yield from self._round(todo)
            if not (progress or todo.ends):
                return due  # a root that cannot be written now must not keep us busy

    def _todo(self, due: reads.Due) -> _Todo:
        def left(*parts: str) -> tuple[str, ...]:
            done_with = self.faults.keys() | self.tally.frozen.keys()
            return tuple(part for part in parts if part not in done_with)

        ending = left(
            *(["expiry"] if due.expiry or due.tripped else []),
            *(["deadlines"] if due.deadlines else []),
        )
        return _Todo(
            expiry=self._expiry and "expiry" in ending,
            deadlines=self._expiry and "deadlines" in ending,
            changing=left(*due.changing) if self._expiry else (),
            closed=left(*due.closed),
            roots=left(*(root for root in due.roots if root not in self._seen_through)),
        )

    def _round(self, todo: _Todo) -> Flow[bool]:
        """Do what is due, each part for itself; returns whether a root had something to delete."""
        ctx, deadline = self._ctx, self._deadline
        for name in todo.changing:
            yield from self.heed(name, go_on(ctx, name, deadline))
        looks = (yield from epochs.looks(ctx)) if todo.expiry or todo.deadlines else Looks()
        if todo.expiry:
            yield from self.heed("expiry", _expire(ctx, looks, deadline, self.tally, self._roots))
        closed = todo.closed
        if todo.deadlines:
            lapsed = yield from self.heed("deadlines", iter(changes.lapse(ctx.new_id(), looks)))
            closed += lapsed.closed if lapsed else ()
            if lapsed:
                yield from _heed(ctx, "deadlines", lapsed.stopped, self.tally)
        for name in closed:
            yield from self.heed(name, drain(ctx, name, deadline, self.tally, self._roots))
        progress = False
        for root in todo.roots:
            done = yield from self.heed(root, delete_batch(ctx, root, deadline=deadline))
            progress = self._note(root, done) or progress
        return progress

    def _note(self, root: str, done: changes.Acknowledged | None) -> bool:
        """Count what was done in a root; returns whether more can be done there."""
        if done is None:
            return False
        if done.barred:
            # It has gone through all that is due there, what this call has named before included.
            self.tally.barred.pop(root, None)
            self._seen_through.add(root)
        if done.frozen:
            self.tally.frozen.pop(root, None)
        self.tally.acknowledged((root, done))
        return not (done.barred or done.frozen)


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


def _swept(tally: Tally, *, worked: bool) -> Flow[Swept]:
    # What failed is in the trash still, and counts once.
    kept_back = sum(count for part, count in tally.frozen.items() if part not in _ENDINGS)
    trash = (yield from listing.stats()).trash if worked else 0
    left = max(0, trash - tally.failed - kept_back)
    refs = tally.expired + tally.released
    return Swept(
        refs=refs,
        expired=tally.expired,
        drained=tally.released,
        deleted=tally.deleted,
        freed_bytes=tally.freed,
        kept=tally.kept,
        gone=tally.gone,
        spared=tally.spared,
        pending=left,
        failed=tally.failed,
        frozen=sum(tally.frozen.values()),
    )


def _finish_forgetting(ctx: Context, root: str, deadline: float) -> Flow[None]:
    """Go on with a root whose forgetting was stopped halfway: nobody claims what waits there, so it would wait for ever."""
    while (yield from blobs.Elapsed()) <= deadline:
        batch = yield from hosts.forget(root, ctx.new_id(), begun=True)
        if not batch.left:
            return


def _tidy(root: str) -> Flow[int]:
    """Finish what crashed calls left behind on the disk."""
    known: dict[str, str] = {}
    try:
        strays = yield from blobs.Strays(root, STRAY_AGE_S)
        for start in range(0, len(strays), BATCH):
            batch = strays[start : start + BATCH]
            found = yield from reads.known_ids(batch)
            paths = yield from reads.paths_of(batch, unclaimed=True)
            known |= {each: path for each, path in zip(batch, paths, strict=True) if each in found}
        return (yield from blobs.Tidy(root, STRAY_AGE_S, known))
    except BlobsUnavailable:
        return 0  # a root that does not answer keeps no other root waiting


def _count_hidden(ctx: Context, root: str, noted: Hidden | None) -> Flow[None]:
    """Go on counting what lives under held links only; the index is told if it says something else."""
    try:
        counted = yield from blobs.CountHidden(root)
        if counted is not None and counted != noted:
            yield from hosts.hidden(root, counted, ctx.new_id())
    except (BlobsUnavailable, StoreFull) as error:
        logger.debug("what lives only under held links is not counted now: %s", error)


def _prune(ctx: Context, root: str) -> Flow[None]:
    """Remove directories that were left empty, if that is wanted."""
    age_s = ctx.settings.seconds("prune_empty")
    try:
        if age_s:
            yield from blobs.Prune(root, age_s)
    except BlobsUnavailable as error:
        logger.debug("no directories are removed now: %s", error)
