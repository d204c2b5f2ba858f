"""What a sweep would find, by reading alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .waits import counted, in_grace_or_leased

if TYPE_CHECKING:
    from collections.abc import Container

    from mediastore import Settings
    from mediastore.connection import Link


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep from here would find due now; the files that only expiring refs hold come on top.

    Attributes:
        expired: Refs whose deadline has passed.
        closed: Released scopes that are not drained yet.
        deleted: Files waiting to be deleted in the roots of this host.
        elsewhere: Files waiting in other roots, which a sweep from here cannot touch.
        lapsed: Scopes whose deadline has passed: they are released.
        waiting: Files of ended refs that are not due: they stay for grace or a lease.
    """

    expired: int
    closed: int
    deleted: int
    elsewhere: int
    lapsed: int
    waiting: int
    waiting_bytes: int

    def in_words(self) -> str:
        """Say it."""
        due = f"{counted(self.expired, 'ref')} to expire, {counted(self.closed, 'released scope')} to drain"
        rest = f"; {counted(self.elsewhere, 'file')} in roots elsewhere" if self.elsewhere else ""
        lapsed = f", {counted(self.lapsed, 'scope')} past a deadline" if self.lapsed else ""
        due = f"due now: {due}{lapsed}, {counted(self.deleted, 'file')} to delete{rest}"
        if not self.waiting:
            return due
        return f"{due}\nnot due: {in_grace_or_leased(self.waiting, self.waiting_bytes)}"


def plan_sweep(settings: Settings) -> SweepPlan:
    """Count what is due, by reading; no root is marked and nothing is changed.

    Raises:
        InvalidRoot: a root cannot be trusted, so that nothing would be deleted.
        IndexUnavailable: the server does not answer.
    """
    from mediastore.connection import Link, connect
    from mediastore.doctor.roots import marked
    from mediastore.speech import Speech

    settings = settings.for_namespace(settings.namespace)
    here = marked(settings)
    client = connect(settings)
    try:
        return _plan(Link(client, Speech(settings.namespace)), here)
    finally:
        client.close()


def _plan(link: Link, here: Container[str]) -> SweepPlan:
    from mediastore.index.steps import Read, text

    now_ms, roots = link.perform(
        Read(
            lambda p, _: [("GET", f"{p}clock"), ("HKEYS", f"{p}roots")],
            lambda _, found, now: (max(now, int(found[0] or 0)), [text(r) for r in found[1]]),
            timed=True,
        )
    )
    trash = [f"trash:{root}" for root in roots]
    closed, stay, expired, lapsed, *counts = link.perform(
        Read(
            lambda p, _: [
                ("ZCARD", f"{p}closed"),
                ("HMGET", f"{p}stats", "waiting", "waiting_bytes"),
                *(("ZCOUNT", f"{p}{n}", "-inf", now_ms) for n in ("expiry", "deadlines", *trash)),
                *(("ZCOUNT", f"{p}{name}", f"({now_ms}", "+inf") for name in trash),
            ],
            lambda _, found, __: found,
        )
    )
    due, later = dict(zip(roots, counts, strict=False)), counts[len(roots) :]
    mine = sum(count for root, count in due.items() if root in here)
    # The counter goes down when a sweeper takes a file; one whose time is over is due until then.
    waiting = min(int(stay[0] or 0), sum(later))
    size = int(stay[1] or 0) if waiting else 0
    return SweepPlan(expired, closed, mine, sum(due.values()) - mine, lapsed, waiting, size)
