"""Whether the index is the one that the roots know: a look at each root, and what it is to show from now on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mediastore import blobs
from mediastore.errors import MediaStoreError
from mediastore.index import epochs
from mediastore.index.epochs import Looks, Ticked

if TYPE_CHECKING:
    from .context import Context, Flow

logger = logging.getLogger("mediastore")

_FREEZES: Final = frozenset({"epoch", "clock"})
#: How often a process looks at a root: often enough that every root was looked at when the pause after a restart is over.
LOOK_EVERY_S: Final = 20.0
#: Answers that ask for a second look at the file.
_LOOK_AGAIN: Final = frozenset({"unknown", "new"})


def looks(ctx: Context) -> Flow[Looks]:
    """Read what the roots of this process show."""
    return Looks(ctx.pause_ms, (yield from blobs.Shown()), ctx.breaker)


def look(ctx: Context, *, now: bool) -> Flow[str]:
    """Look at the roots of this process that were not looked at lately, or at all of them `now`.

    Returns why nothing may be deleted, as far as this look has found out; "" if nothing speaks against it.
    """
    started = yield from blobs.Elapsed()
    ctx.clock.sweeps = True
    why = ""
    for root in (yield from blobs.Roots()):
        if now or started - ctx.looked.get(root, -LOOK_EVERY_S) >= LOOK_EVERY_S:
            found = yield from _look_at(ctx, root)
            if found is None:
                continue
            why = found or why
            ctx.looked[root] = started
            _tell(ctx, root, why)
    return why


def _tell(ctx: Context, root: str, why: str) -> None:
    """Log once that the namespace is frozen, and once that it goes on."""
    name = ctx.settings.namespace
    if why in _FREEZES and not ctx.frozen:
        ctx.frozen.add(why)
        words = "namespace %s is frozen (%s): nothing expires and nothing is deleted; `mediastore epoch show` says why"
        logger.error(words, name, why, extra={"root": root})
    elif not why and ctx.frozen:
        ctx.frozen.clear()
        logger.warning("namespace %s is not frozen any more: work goes on", name)


def heed(ctx: Context, why: str) -> Flow[None]:
    """Have the namespace frozen where a script has met a root that knows another index."""
    if why == "unknown":
        yield from look(ctx, now=True)


def _look_at(ctx: Context, root: str) -> Flow[str | None]:
    """Look at one root; None if it is away: then it tells nothing, and nothing is deleted there."""
    shown = (yield from blobs.Shown(root)).get(root)
    if shown is None:
        return None
    ticked = yield from _tick(ctx, root, shown)
    if ticked.why in _LOOK_AGAIN:
        # Nobody writes any more what was decided before.
        if (yield from blobs.WatchAlone(root)) != shown:
            return "unknown"  # somebody has changed it just now: the next look sees what it is
        ticked = yield from _tick(ctx, root, shown, sure=True)
    if ticked.entry:
        yield from _write(ctx, root)
    return ticked.why


def _write(ctx: Context, root: str) -> Flow[None]:
    """Have a root show its next entry: the draft first, then the look that decides, then the rename."""
    watched = yield from blobs.Watch(root)
    if watched is None:
        return
    try:
        ticked = yield from _tick(ctx, root, watched.shown)
        if ticked.entry:
            yield from blobs.Show(root, watched.draft, watched.shown, ticked.entry)
    except MediaStoreError:
        yield from blobs.Unwatch(root, watched.draft)
        raise
    yield from blobs.Unwatch(root, watched.draft)


def _tick(ctx: Context, root: str, shown: str, *, sure: bool = False) -> Flow[Ticked]:
    return (
        yield from epochs.tick(root, shown, ctx.pause_ms, ctx.new_id(), ctx.new_id(), sure=sure)
    )
