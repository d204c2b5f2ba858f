"""Whether the namespace is frozen: why, since when, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mediastore.index import epochs, presence

from .finding import Finding, human_span
from .server import Server, looked

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADVICE: Final = (
    "`mediastore epoch show` says what each root shows. If Redis was restored: `mediastore rebuild` on each host, "
    "then `mediastore epoch accept`. If it is another Redis: stop, and set MEDIASTORE_REDIS_URL. docs/operating.md, "
    "A restored Redis."
)
_MEND_CLOCK: Final = (
    "Put the clock right, of the server or of that host; work goes on with the next sweep. If it is right now and was wrong "
    "before: `mediastore epoch accept`."
)


def findings(server: Server) -> list[Finding]:
    """Look whether the index is the one that the roots know."""
    return looked("epoch", lambda: _frozen(server))


def _frozen(server: Server) -> Iterator[Finding]:
    now_ms: int = server.link.perform(presence.server_ms())
    chain = server.link.perform(epochs.chain((), now_ms))
    if chain.frozen and chain.frozen.reason == "clock":
        at = chain.frozen
        side = "ahead of" if at.ahead_s > 0 else "behind"
        detail = (
            f"nothing expires and nothing is deleted since {at.since:%Y-%m-%d %H:%M} UTC: the server's clock was "
            f"{human_span(abs(at.ahead_s))} {side} what host {at.place} expects"
        )
        yield Finding("epoch", "problem", detail, _MEND_CLOCK)
        return
    if chain.frozen:
        at, where = chain.frozen, chain.frozen.place or "place unknown"
        detail = (
            f"nothing expires and nothing is deleted since {at.since:%Y-%m-%d %H:%M} UTC: root {at.root} ({where}) "
            "shows an epoch that the index does not know"
        )
        yield Finding("epoch", "problem", detail, _ADVICE)
        return
    kept = chain.kept_until
    detail = (
        f"what was there before `epoch accept` stays until {kept:%Y-%m-%d %H:%M} UTC"
        if kept
        else "the index is the one that the roots know"
    )
    yield Finding("epoch", "ok", detail)
