"""Whether so much is due that nothing ends by itself: since when, how much, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mediastore.index import breaker, presence

from .finding import Finding, counted
from .server import Server, looked

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADVICE: Final = (
    "If it is right: `mediastore breaker allow --until 1h`. If not: put the policy or the ttl right, `mediastore restore` "
    "what must stay, then allow the rest. docs/operating.md, The breaker."
)


def findings(server: Server) -> list[Finding]:
    """Look whether the breaker is tripped."""
    return looked("breaker", lambda: _tripped(server))


def _tripped(server: Server) -> Iterator[Finding]:
    now_ms: int = server.link.perform(presence.server_ms())
    found = server.link.perform(breaker.breaker(now_ms))
    usual = f"{found.mean:.0f} in an hour"
    if found.tripped:
        detail = (
            f"refs and scopes end no more by themselves since {found.tripped.since:%Y-%m-%d %H:%M} UTC: "
            f"{found.due} of {counted(found.live, 'ref')} are past the deadline, and lately {usual} ended by themselves"
        )
        yield Finding("breaker", "problem", detail, _ADVICE)
        return
    detail = (
        f"all may end by itself until {found.allowed_until:%Y-%m-%d %H:%M} UTC"
        if found.allowed_until
        else f"not tripped; {usual} ended by themselves, over {counted(found.hours, 'hour')} in which any did"
    )
    if not server.settings.breaker_min:
        detail = "switched off here: breaker_min is 0"
    yield Finding("breaker", "ok", detail)
