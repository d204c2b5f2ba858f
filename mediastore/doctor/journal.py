"""The journal: whether somebody sweeps, and what cannot be deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mediastore.errors import Corrupt
from mediastore.index.steps import Marks, Read, pairs, scored

from .finding import NAMED_AT_MOST, Finding, counted, human_span
from .server import Server, looked

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

#: Work that waits longer than this many sweeps is not being done by anybody.
_INTERVALS: Final = 3
#: Where sweeping is off, others sweep at the usual pace.
_SWEEP_S: Final = 300.0

_SWEEP: Final = (
    "Start a worker and a beat (celery -A worker worker, celery -A worker beat), "
    "or `mediastore sweep --watch`."
)
_AGAIN: Final = "it is tried again every five minutes"


@dataclass(slots=True)
class Places:
    """Where each root was last seen, root id -> "host:path", which of them hold something, which were forgotten.

    `read` says whether the index told; else nothing is known, which is not the same as nothing being there.
    """

    read: bool = False
    all: dict[str, str] = field(default_factory=dict)
    in_use: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


def places(server: Server) -> tuple[Places, list[Finding]]:
    """Read where the roots are; what keeps that from being read is the finding."""
    found = Places()

    def read() -> list[Finding]:
        found.all, found.lost = map(pairs, server.read(("HGETALL", "roots"), ("HGETALL", "lost")))
        asked = [("EXISTS", f"{name}:{root}") for root in found.all for name in ("path", "trash")]
        held = server.read(*asked)
        rows = zip(found.all.items(), held[::2], held[1::2], strict=True)
        found.in_use = {root: place for (root, place), blobs, trash in rows if blobs or trash}
        found.read = True
        return []

    return found, looked("journal", read)


def findings(server: Server, roots: Mapping[str, str], here: Container[str]) -> list[Finding]:
    """Look at what waits to be done, and at what failed; `here` are the roots of this host."""
    return [
        *looked("journal", lambda: _waiting(server, roots, here)),
        *looked("stuck", lambda: _stuck(server, roots)),
    ]


def _waiting(server: Server, roots: Mapping[str, str], here: Container[str]) -> Iterator[Finding]:
    expiry, closed, *trash = _queues(server, roots)
    limit_s = _INTERVALS * (server.settings.seconds("sweep_interval") or _SWEEP_S)
    late = False
    if expiry[0] > limit_s:
        late = True
        detail = f"a ref that expired {human_span(expiry[0])} ago is still there: nobody sweeps"
        yield Finding("journal", "problem", detail, _SWEEP)
    if closed[0] > limit_s:
        late = True
        detail = f"{counted(closed[1], 'released scope')} not drained, the first for {human_span(closed[0])}"
        yield Finding("journal", "problem", f"{detail}: nobody sweeps", _SWEEP)
    for (root, place), (age_s, count) in zip(roots.items(), trash, strict=True):
        if age_s > limit_s:
            late = True
            waits = f"{counted(count, 'file')} to delete, the first for {human_span(age_s)}"
            detail = f"root {root} at {place} has {waits}: nobody sweeps there"
            yield Finding(
                "journal", "problem", detail, _SWEEP if root in here else _elsewhere(root)
            )
    if not late:
        files = sum(count for _, count in trash)
        detail = (
            f"{counted(closed[1], 'released scope')} and {counted(files, 'file')} on their way out"
        )
        yield Finding("journal", "ok", detail if closed[1] or files else "nothing waits")


def _elsewhere(root: str) -> str:
    return (
        "Start a worker there, or on another host that has this directory; "
        f"or `mediastore roots forget {root}` if that host is gone for ever."
    )


def _queues(server: Server, roots: Mapping[str, str]) -> list[tuple[float, int]]:
    """Return for each queue how many seconds its first entry has been due, and how many entries it has."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        keys = (f"{p}expiry", f"{p}closed", *(f"{p}trash:{root}" for root in roots))
        firsts = [("ZRANGE", key, 0, 0, "WITHSCORES") for key in keys]
        return [*firsts, *(("ZCARD", key) for key in keys)]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> list[tuple[float, int]]:
        firsts = [scored(reply) for reply in replies[: len(replies) // 2]]
        ages = [(now_ms - first[0][1]) / 1000 if first else 0.0 for first in firsts]
        if firsts[1]:  # the score of a released scope is a seq: microseconds
            ages[1] = (now_ms - firsts[1][0][1] / 1000) / 1000
        counts = map(int, replies[len(replies) // 2 :])
        return list(zip(ages, counts, strict=True))

    queues: list[tuple[float, int]] = server.link.perform(Read(build, parse, timed=True))
    return queues


def _stuck(server: Server, roots: Mapping[str, str]) -> Iterator[Finding]:
    count, reply = server.read(("HLEN", "stuck"), ("HSCAN", "stuck", 0, "COUNT", NAMED_AT_MOST))
    named = list(pairs(reply[1]).items())[:NAMED_AT_MOST]
    for blob, words in named:
        errno, root, path = _words(words)
        detail = f"{path} in root {root} ({roots.get(root, 'place unknown')}): {errno}, blob {blob}"
        yield Finding("stuck", "problem", detail, f"{_remedy(errno)}; {_AGAIN}.")
    if int(count) > len(named):
        more = f"{counted(int(count) - len(named), 'more blob')} cannot be deleted"
        yield Finding("stuck", "problem", more, "Solve the named ones first.")


def _words(words: str) -> tuple[str, str, str]:
    try:
        errno, root, path = words.split(" ", 2)
    except ValueError:
        raise Corrupt(f"the hash `stuck` holds {words!r:.100}") from None
    return errno, root, path


def _remedy(errno: str) -> str:
    if errno in {"EACCES", "EPERM"}:
        return "Give the sweeping user write access to the file's directory"
    if errno == "EROFS":
        return "Mount the root for writing"
    return "Look at the file and its disk, and take away what stands in the way"
