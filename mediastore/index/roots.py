"""What the index knows of roots: where they are, what they hold, which were forgotten, and the scripts that change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediastore.errors import InvalidRoot
from mediastore.hosts import Forgotten, RootInfo
from mediastore.journal import Bound, Hidden, Placed
from mediastore.model import from_ms
from mediastore.plain import is_plain_id, is_plain_path, plain_id

from .records import checked_identity, counted, moment, reading, whole
from .steps import BATCH, Command, Marks, Read, from_json, raw, raw_pairs, text

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Place:
    """Where a root was last seen, as "host:path"; `forgotten_ms` when it was given up, 0 while it is not.

    Attributes:
        known: Whether the index has ever heard of this root.
    """

    known: bool
    place: str = ""
    forgotten_ms: int = 0


def forgotten_words(words: str) -> tuple[int, str]:
    """Return when a root was forgotten, in milliseconds, and where it was last seen."""
    ms, _, place = words.partition(" ")
    with reading("lost"):
        moment(ms)
        place.encode()
    return int(ms), place


def place_of(root: str, *, unrooted: bool = False) -> Read[Place]:
    """Read where a root was last seen, and whether it was forgotten."""

    def parse(_: Marks, replies: list[Any], __: int) -> Place:
        if replies[1] is not None:
            ms, place = forgotten_words(raw(replies[1]))
            return Place(known=True, place=place, forgotten_ms=ms)
        known = replies[0] is not None
        with reading("roots"):
            return Place(known, text(replies[0]) if known else "")

    return Read(
        lambda p, _: [("HGET", f"{p}roots", root), ("HGET", f"{p}lost", root)],
        parse,
        unrooted=unrooted,
    )


def was_forgotten(path: str, root: str, words: str) -> InvalidRoot:
    """Return the error for a root that is used although it was forgotten."""
    ms, place = forgotten_words(words)
    when = f"{from_ms(ms):%Y-%m-%d %H:%M} UTC"
    detail = f"root {root} of {place} was forgotten on {when}; `mediastore roots adopt DIR` takes it back"
    return InvalidRoot(path, detail)


@dataclass(frozen=True, slots=True)
class Known:
    """How a blob knows its file now, "" once it is gone; `current`: whether its path is its own still."""

    identity: str
    current: bool


def identity_of(root: str, path: str, blob: str) -> Read[Known]:
    """Read how a blob knows its file now.

    An adopted root gave its blobs new identities; the refs that were stored before still carry the old one.
    """

    def parse(_: Marks, replies: list[Any], __: int) -> Known:
        current = replies[0] is not None and raw(replies[0]) == blob
        with reading(f"blob:{blob}"):
            said = checked_identity(text(replies[1])) if replies[1] is not None else ""
            return Known(said, current)

    return Read(
        lambda p, _: [("HGET", f"{p}path:{root}", path), ("HGET", f"{p}blob:{blob}", "identity")],
        parse,
    )


def listing() -> Command[list[RootInfo]]:
    """Read every root in numbers; which of them are here, the caller knows."""

    def parse(reply: Any) -> list[RootInfo]:
        return sorted(
            (_info(row) for row in from_json(reply)["roots"] or []), key=lambda r: r.place
        )

    return Command("roots", (), parse, unrooted=True)


def _info(row: Sequence[Any]) -> RootInfo:
    ms, place = forgotten_words(row[2]) if row[2] else (0, "")
    # Counters that an older version did not move may be behind.
    with reading("stats"):
        blobs, size, waiting, waits_ms, stuck, lost = (max(0, counted(said)) for said in row[3:9])
    with reading("roots"):
        row[1].encode()
    return RootInfo(
        root=plain_id(row[0], "roots"),
        place=row[1] or place,
        here=False,
        verified=False,
        blobs=blobs,
        size_bytes=size,
        waiting=waiting,
        oldest_waiting_s=waits_ms / 1000,
        stuck=stuck,
        lost=lost,
        forgotten_at=from_ms(ms) if ms else None,
    )


def hidden(root: str, counted: Hidden, op: str) -> Command[None]:
    """Note what of a root lives under held links only."""
    return Command("hidden", (root, counted.blobs, counted.size_bytes), lambda _: None, op)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What one batch gave up of a forgotten root; `left` blobs wait for the next one."""

    known: bool
    place: str
    at_ms: int
    blobs: int
    size_bytes: int
    left: int

    def told(self, root: str, blobs: int, size_bytes: int) -> Forgotten:
        """Return the result of the batches together."""
        return Forgotten(root, self.place, from_ms(self.at_ms), blobs, size_bytes)


def forget(root: str, op: str, *, begun: bool = False) -> Command[GivenUp]:
    """Forget a root, and give up the next blobs that wait in its trash; `begun`: only one that is forgotten already."""

    def parse(reply: Any) -> GivenUp:
        a = from_json(reply)
        ms, place = forgotten_words(a["words"]) if a["words"] else (0, "")
        return GivenUp(bool(a["known"]), place, ms, a["blobs"], a["bytes"], a["left"])

    return Command("forget", (root, BATCH, int(begun)), parse, op, unrooted=True)


def adopt(root: str, place: str, op: str, *, copied: bool) -> Command[int]:
    """Say where a root is from now on; returns the seq up to which everything was said before, 0 for an unknown root.

    `copied`: its marker was made in another directory, so the inode numbers of replaced files are forgotten.
    """
    args = (root, place, int(copied))
    return Command("adopt", args, lambda r: int(from_json(r)["seq"]), op, unrooted=True)


@dataclass(frozen=True, slots=True)
class Paths:
    """One page of a root's paths and their current blobs; `cursor` is 0 at the end."""

    cursor: int
    blobs: tuple[tuple[str, str], ...]


def paths(root: str, cursor: int) -> Read[Paths]:
    """Read the next paths of a root that blobs have."""

    def parse(_: Marks, replies: list[Any], __: int) -> Paths:
        going_on, found = replies[0]
        blobs = raw_pairs(found).items()
        # A path that leads elsewhere has no file here, and an id that is none no blob.
        good = ((p, b) for p, b in blobs if is_plain_path(p) and is_plain_id(b))
        return Paths(int(going_on), tuple(good))

    return Read(
        lambda p, _: [("HSCAN", f"{p}path:{root}", cursor, "COUNT", BATCH)], parse, unrooted=True
    )


def placed(blobs: Sequence[tuple[str, str]]) -> Read[tuple[Placed, ...]]:
    """Read how these blobs, given as (path, id), know their files; only those that no sweeper has ever claimed."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        fields = ("state", "ever", "identity", "size")
        return [("HMGET", f"{p}blob:{blob}", *fields) for _, blob in blobs]

    def parse(_: Marks, replies: list[Any], __: int) -> tuple[Placed, ...]:
        found = []
        for (path, blob), row in zip(blobs, replies, strict=True):
            state, ever, identity, size = (raw(v) if v is not None else "" for v in row)
            if state == "live" or (state == "doomed" and ever != "1"):
                with reading(f"blob:{blob}"):
                    found.append(Placed(blob, path, checked_identity(identity), whole(size)))
        return tuple(found)

    return Read(build, parse, unrooted=True)


def older(root: str, cursor: int) -> Read[tuple[int, tuple[str, ...]]]:
    """Read the next blobs of a root whose path is another blob's, after a cursor; returns the next cursor, 0 at the end."""

    def parse(_: Marks, replies: list[Any], __: int) -> tuple[int, tuple[str, ...]]:
        going_on, found = replies[0]
        return int(going_on), tuple(b for b in raw_pairs(found).values() if is_plain_id(b))

    return Read(
        lambda p, _: [("HSCAN", f"{p}older:{root}", cursor, "COUNT", BATCH)], parse, unrooted=True
    )


def displaced(root: str, blobs: Sequence[str]) -> Read[tuple[Placed, ...]]:
    """Read how these blobs know their files; only those of the root whose path is another blob's, and that can be read still."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        fields = ("state", "ever", "identity", "size", "root", "path")
        return [("HMGET", f"{p}blob:{blob}", *fields) for blob in blobs]

    def parse(_: Marks, replies: list[Any], __: int) -> tuple[Placed, ...]:
        found = []
        for blob, row in zip(blobs, replies, strict=True):
            state, ever, identity, size, home, path = (raw(v) if v is not None else "" for v in row)
            readable = state == "live" or (state == "doomed" and ever != "1")
            if readable and home == root and identity.startswith("link:") and is_plain_path(path):
                with reading(f"blob:{blob}"):
                    found.append(Placed(blob, path, checked_identity(identity), whole(size)))
        return tuple(found)

    return Read(build, parse, unrooted=True)


@dataclass(frozen=True, slots=True)
class Rebound:
    """Where the index says the root is, and how many blobs got their new identity."""

    place: str
    bound: int


def rebind(root: str, place: str, op: str, bound: Sequence[Bound]) -> Command[Rebound]:
    """Give blobs of a root that is being adopted their new identities."""
    args = [part for b in bound for part in (b.blob, b.before, b.identity)]
    return Command(
        "rebind", (root, place, *args), lambda r: Rebound(**from_json(r)), op, unrooted=True
    )
