"""Who sweeps: the workers and beats that noted themselves in the index, on whatever host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mediastore.index import presence

from .finding import NAMED_AT_MOST, Finding, human_span
from .server import Server, looked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Whoever missed this many drains is not there any more.
_INTERVALS: Final = 3
#: A pass may take a minute, and is noted at its end.
_AT_LEAST_S: Final = 180.0

_START: Final = {
    "worker": "Start one on each host that has a root: celery -A worker worker; in an application "
    "of your own: its workers must consume the queue, `-Q celery,mediastore`. Where bots with "
    "store.start() or `mediastore sweep --watch` sweep, none is needed.",
    "beat": "Start one: celery -A worker beat. Until then workers tick by themselves, "
    "three intervals late.",
}


def findings(server: Server, roots: Iterable[str]) -> list[Finding]:
    """Look who was seen lately."""
    return looked("worker", lambda: _seen(server, roots))


def _seen(server: Server, roots: Iterable[str]) -> Iterator[Finding]:
    ages: dict[str, float] = server.link.perform(presence.last_seen())
    settings = server.settings
    limit_s = max(_AT_LEAST_S, _INTERVALS * settings.seconds("drain_interval"))
    sweeping = settings.cleanup_enabled and settings.seconds("sweep_interval")
    keys = ("scopes", "expiry", "closed", *(f"trash:{root}" for root in roots))
    work = any(server.read(*(("EXISTS", key) for key in keys)))
    for role in ("worker", "beat"):
        start = f"{role}:"
        mine = {m.removeprefix(start): age for m, age in ages.items() if m.startswith(start)}
        here = {node: age for node, age in mine.items() if age <= limit_s}
        if here:
            yield Finding(role, "ok", _named(here))
        elif work and sweeping:
            last = f"; the last was {_named(mine)}" if mine else ""
            detail = f"none was seen within {human_span(limit_s)}{last}"
            yield Finding(role, "warning", detail, _START[role])
        else:
            why = "there is nothing to sweep" if sweeping else "sweeping is off here"
            yield Finding(role, "ok", f"none was seen; {why}")


def _named(ages: dict[str, float]) -> str:
    latest = sorted(ages.items(), key=lambda item: item[1])
    shown = ", ".join(f"{node} {human_span(age)} ago" for node, age in latest[:NAMED_AT_MOST])
    return shown + (
        f" and {len(latest) - NAMED_AT_MOST} more" if len(latest) > NAMED_AT_MOST else ""
    )
