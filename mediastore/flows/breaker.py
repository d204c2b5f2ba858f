"""The breaker: it is looked at, and told to let all through; what a sweep heard of it is said once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mediastore.errors import InvalidRequest
from mediastore.index import breaker, presence
from mediastore.model import Duration, parse_duration

if TYPE_CHECKING:
    from mediastore.breaker import Breaker
    from mediastore.index.epochs import Stopped

    from .context import Context, Flow

logger = logging.getLogger("mediastore")

#: What stops only what nobody asked for by name.
REASONS: Final = frozenset({"breaker", "settling"})
#: Whoever wants it for longer does not want a breaker.
_LONGEST_S: Final = 7 * 86_400.0


def look() -> Flow[Breaker]:
    """Read how it is with the breaker."""
    return (yield from breaker.breaker((yield from presence.server_ms())))


def allow(ctx: Context, until: Duration) -> Flow[Breaker]:
    """Let all that is due end, for as long from now."""
    seconds = parse_duration(until)
    if seconds is None or seconds > _LONGEST_S:
        raise InvalidRequest(
            "the breaker can be allowed to let all through for 7 days at most; the setting breaker_min=0 switches it off"
        )
    yield from breaker.allow(max(1, round(seconds * 1000)), ctx.new_id())
    return (yield from look())


def tell(ctx: Context, stopped: Stopped) -> None:
    """Log once that the breaker is tripped, and once that it is not any more."""
    name = ctx.settings.namespace
    if stopped.why == "breaker" and not ctx.tripped:
        ctx.tripped.add(stopped.why)
        words = "namespace %s: the breaker has tripped: %d past the deadline; nothing ends by itself until `mediastore breaker allow`; `mediastore breaker show` says why"
        logger.error(words, name, stopped.due)
    elif not stopped.why and ctx.tripped:
        ctx.tripped.clear()
        logger.warning("namespace %s: the breaker is not tripped any more: work goes on", name)
