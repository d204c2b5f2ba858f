"""Whether the index is the one that the roots know: a look at each root, and what it is to show from now on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mediastore import blobs
from mediastore.errors import MediaStoreError
from mediastore.index import epochs
from mediastore.index.epochs import Looks, Ticked

if TYPE_CHECKING:
    from mediastore.journal import Watched

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
            why = (yield from _look_at(ctx, root)) or why
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


def _look_at(ctx: Context, root: str) -> Flow[str]:
    watched = yield from blobs.Watch(root)
    if watched is None:
        return ""  # it is away, and nothing is deleted there
    try:
        ticked = yield from _tick(ctx, root, watched)
        if ticked.entry and watched.draft:
            yield from blobs.Show(root, watched.draft, watched.shown, ticked.entry)
    except MediaStoreError:
        yield from _put_away(root, watched)
        raise
    yield from _put_away(root, watched)
    return ticked.why


def _tick(ctx: Context, root: str, watched: Watched) -> Flow[Ticked]:
    said = root, watched.shown, ctx.pause_ms
    ticked = yield from epochs.tick(*said, ctx.new_id(), ctx.new_id())
    if ticked.why not in _LOOK_AGAIN:
        return ticked
    again = yield from blobs.WatchAlone(root, watched.draft)
    if again != watched.shown:
        return Ticked(
            "unknown", ""
        )  # somebody has changed it just now: the next look sees what it is
    return (yield from epochs.tick(*said, ctx.new_id(), ctx.new_id(), sure=True))


def _put_away(root: str, watched: Watched) -> Flow[None]:
    if watched.draft:
        yield from blobs.Unwatch(root, watched.draft)
