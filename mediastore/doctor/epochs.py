"""Whether the namespace is frozen: why, since when, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mediastore.index import epochs, presence

from .finding import Finding
from .server import Server, looked

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADVICE: Final = (
    "`mediastore epoch show` says what each root shows. If Redis was restored: `mediastore rebuild` on each host, "
    "then `mediastore epoch accept`. If it is another Redis: stop, and set MEDIASTORE_REDIS_URL. docs/operating.md, "
    "A restored Redis."
)


def findings(server: Server) -> list[Finding]:
    """Look whether the index is the one that the roots know."""
    return looked("epoch", lambda: _frozen(server))


def _frozen(server: Server) -> Iterator[Finding]:
    now_ms: int = server.link.perform(presence.server_ms())
    chain = server.link.perform(epochs.chain((), now_ms))
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
