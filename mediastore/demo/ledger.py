"""What the bots said they did, and the table in which that must agree with the index and the disk.

The ledger hears the bots and nobody else. It never reads a counter of the index, so the two can
disagree, and then the table says so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mediastore.model import Media
    from mediastore.stats import Stats


@dataclass(frozen=True, slots=True)
class Intent:
    """One store that a bot has begun: which file, under which scope."""

    path: str
    scope: str
    size_bytes: int
    sha256: str


@dataclass(slots=True)
class Ledger:
    """What was stored by whom, built from reports.

    A bot killed between a store and its report has stored a ref that nobody reported. So it
    announces each store before, does one at a time, and what a dead bot had begun is looked up in
    the index by scope and path (`begun`, `found`, `never_stored`). Nothing else comes from there.
    """

    stored: dict[str, Intent] = field(default_factory=dict)
    begun: dict[str, Intent] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def hear(self, bot: str, report: dict[str, Any]) -> None:
        """Take one report of a bot."""
        facts = dict(report)
        did = facts.pop("did")
        counts = self.counts.setdefault(bot, Counter())
        counts[did] += 1
        if did == "storing":
            self.begun[bot] = Intent(**facts)
        elif did == "stored":
            self.stored[facts["ref"]] = self.begun.pop(bot)
        elif did == "forgone":
            self.begun.pop(bot, None)
        elif did == "failed":
            self.failures.append(f"{bot}: {facts['error']}")
        elif did in {"read", "asked"}:
            counts.update({f"{did} {word}": number for word, number in facts.items()})

    def found(self, bot: str, ref: str) -> None:
        """Enter the store that a killed bot had no time to report."""
        self.stored[ref] = self.begun.pop(bot)

    def never_stored(self, bot: str) -> None:
        """Strike out what a killed bot had announced and not done."""
        self.begun.pop(bot)

    def count(self, what: str) -> int:
        """Sum one count over all bots."""
        return sum(counts[what] for counts in self.counts.values())

    @property
    def size_bytes(self) -> int:
        """The bytes of all refs; two refs of one file count it twice, as the index does."""
        return sum(intent.size_bytes for intent in self.stored.values())

    @property
    def files(self) -> int:
        """How many files were registered; one that was registered again counts once."""
        return len({intent.path for intent in self.stored.values()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the index and the disk say once everything is quiet.

    Attributes:
        listed: Every live ref, as `scopes()` and `refs()` list them.
        whole: How many of them resolve to the very bytes that their bot stored.
        files: Regular files in the root, outside of our bookkeeping, and their size.
        held: Names in `held/`.
        left: Names in `new/`, `quarantine/` and `parked/`.
    """

    stats: Stats
    listed: tuple[Media, ...]
    whole: int
    files: int
    file_bytes: int
    held: int
    left: tuple[str, ...]

    @property
    def listed_bytes(self) -> int:
        """The bytes of the live refs, counted as the ledger counts."""
        return sum(media.size_bytes for media in self.listed)


class Row(NamedTuple):
    """One line of the table: two numbers that must be equal, found in different ways."""

    what: str
    first: int
    second: int
    meaning: str

    @property
    def ok(self) -> bool:
        """Whether they are."""
        return self.first == self.second


def rows(ledger: Ledger, seen: Evidence) -> list[Row]:
    """Return the table: the bots' word against the index's, then the index's against the disk's."""
    stats, size = seen.stats, seen.listed_bytes
    ended = f"{stats.released_refs:,} released + {stats.expired_refs:,} expired"
    ended_bytes = f"{stats.released_bytes:,} + {stats.expired_bytes:,}"
    sum_refs = stats.released_refs + stats.expired_refs + stats.refs
    sum_bytes = stats.released_bytes + stats.expired_bytes + size
    waiting = stats.trash + stats.closed
    handed = f"{ledger.count('read right'):,} read right, {ledger.count('read late'):,} too late"
    dead = f"{ledger.count('asked gone'):,} were dead"
    return [
        Row("refs the bots stored", len(ledger.stored), sum_refs, f"{ended} + {stats.refs:,} live"),
        Row("bytes the bots stored", ledger.size_bytes, sum_bytes, f"{ended_bytes} + {size:,}"),
        Row(
            "files the bots stored", ledger.files, stats.deleted_blobs + stats.blobs,
            f"{stats.deleted_blobs:,} deleted + {stats.blobs:,} live",
        ),
        Row("live refs, byte for byte right", seen.whole, stats.refs, "live refs in the index"),
        Row("live refs listed by scope", len(seen.listed), stats.refs, "live refs in the index"),
        Row("files on the disk", seen.files, stats.blobs, "live files in the index"),
        Row("bytes on the disk", seen.file_bytes, stats.size_bytes, "bytes of live files"),
        Row("held links", seen.held, stats.blobs, "live files in the index"),
        Row("names left by killed processes", len(seen.left), 0, "new, quarantine, parked"),
        Row("files waiting or stuck", waiting + stats.stuck, 0, "trash, closed scopes, stuck"),
        Row("refs read with wrong bytes", ledger.count("read wrong"), 0, handed),
        Row("refs alive after a release", ledger.count("asked alive"), 0, dead),
        Row("bots that failed", len(ledger.failures), 0, ""),
    ]  # fmt: skip


def adds_up(table: list[Row]) -> bool:
    """Whether every line does; an empty table shows nothing and does not."""
    return bool(table) and all(row.ok for row in table)
