"""Scopes with a deadline: a fixed one, an idle one, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore.index import lives
from mediastore.model import Duration, check_scope

from .moving import duration_word

if TYPE_CHECKING:
    from datetime import datetime

    from .context import Context, Flow


def open_scope(
    ctx: Context, scope: str, ttl: Duration | None, idle: Duration | None
) -> Flow[datetime | None]:
    """Give a scope deadlines, or move those it has away; returns when it is due, None for never."""
    check_scope(scope)
    words = duration_word(ttl), duration_word(idle)
    return (yield from lives.limit(scope, *words, ctx.new_id()))
