"""Scopes with a deadline: a fixed one, an idle one, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.index import lives
from mediastore.model import Duration, check_scope

from .listing import children_of
from .moving import duration_word

if TYPE_CHECKING:
    from datetime import datetime

    from mediastore.lifetimes import ScopeDeadline

    from .context import Context, Flow


def open_scope(
    ctx: Context, scope: str, ttl: Duration | None, idle: Duration | None
) -> Flow[datetime | None]:
    """Give a scope deadlines, or move those it has away; returns when it is due, None for never."""
    check_scope(scope)
    words = duration_word(ttl), duration_word(idle)
    limited = yield from lives.limit(scope, *words, ctx.new_id())
    if limited.others:
        yield from _tell_of_idling(ctx, scope)
    return limited.due


def _tell_of_idling(ctx: Context, scope: str) -> Flow[None]:
    """Tell what was there before that reading it counts as activity. Stopped halfway, the rest counts when it is changed."""
    until = (yield from blobs.Elapsed()) + ctx.settings.seconds("release_budget")
    tree = [scope]
    for node in tree:
        after: int | None = 0
        while after is not None:
            after = yield from lives.idle(node, after, ctx.new_id())
            if (yield from blobs.Elapsed()) > until:
                return
        tree += yield from children_of(node)


def deadlines(scope: str) -> Flow[list[ScopeDeadline]]:
    """Read when a scope ends by itself: its own deadline and those of the scopes above it, the soonest first."""
    return (yield from lives.scope_deadlines(check_scope(scope)))
