"""Commands and reads about lifetimes: deadlines that move, refs that move, leases, what is remembered of the dead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediastore.lifetimes import Kept, LeaseInfo, ScopeDeadline, Taken, Tombstone, Waiting
from mediastore.model import MediaMeta, Ref, encode_scope, from_ms
from mediastore.plain import is_plain_id, plain_id, plain_path

from .records import (
    checked_custody,
    checked_identity,
    facts_of,
    moment,
    reading,
    scope_of,
    score_ms,
    whole,
)
from .steps import (
    BATCH,
    END_BATCH,
    Command,
    Lifetime,
    Marks,
    Read,
    from_json,
    pairs,
    raw,
    raw_pairs,
    scored,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mediastore.lifetimes import Handoff

    from .reads import Obituary


@dataclass(frozen=True, slots=True)
class Moved:
    """The verdict on a ref that was to be changed: "done", "dead", and what else its script says; `scope` where it is now."""

    verdict: str
    scope: str = ""
    expires_at: datetime | None = None


def _moved(reply: Any) -> Moved:
    a = from_json(reply)
    due = a.get("expires_at")
    said = a.get("scope", "")
    return Moved(a["verdict"], scope_of(said) if said else "", from_ms(int(due)) if due else None)


def extend(ref: str, verb: str, ttl: int | str, op: str) -> Command[Moved]:
    """Touch, pin or unpin a live ref; `ttl` in ms, "" for the same length again, "never"."""
    return Command("extend", (ref, verb, ttl), _moved, op)


def transfer(ref: str, scope: str, op: str) -> Command[Moved]:
    """Move a live ref to another scope; "" for the parent of its own."""
    return Command("transfer", (ref, encode_scope(scope)), _moved, op)


def share(ref: str, new: str, scope: str, life: Lifetime, op: str) -> Command[Moved]:
    """Make one more ref of a live ref's bytes."""
    args = (ref, new, encode_scope(scope), "" if life is None else life)
    return Command("share", args, _moved, op)


def restore(ref: str, new: str, scope: str, life: Lifetime, op: str) -> Command[Moved]:
    """Make a new ref of a dead one's bytes; `scope` "" for the one that it was in."""
    args = (ref, new, encode_scope(scope), "" if life is None else life)
    return Command("restore", args, _moved, op)


@dataclass(frozen=True, slots=True)
class Limited:
    """When a scope is due, None for never; and whether it holds what has to be told that it idles."""

    due: datetime | None
    others: bool


def limit(scope: str, ttl: int | str, idle: int | str, op: str) -> Command[Limited]:
    """Give a scope deadlines, in ms; "" leaves one as it is, "never" takes it away."""

    def parse(reply: Any) -> Limited:
        a = from_json(reply)
        return Limited(from_ms(int(float(a["due"]))) if a["due"] else None, bool(a["others"]))

    return Command("limit", (encode_scope(scope), ttl, idle), parse, op)


def idle(scope: str, after: int, op: str) -> Command[int | None]:
    """Tell the next refs of a scope that it idles; returns the seq to go on after, None at the end."""

    def parse(reply: Any) -> int | None:
        going_on = from_json(reply)["next"]
        return int(going_on) if going_on else None

    return Command("idle", (encode_scope(scope), after, END_BATCH), parse, op)


def note(scope: str, op: str) -> Command[float | None]:
    """Say that something was read in an idling scope; returns for how many seconds that need not be said again."""

    def parse(reply: Any) -> float | None:
        again = from_json(reply)["again"]
        return int(again) / 1000 if again else None

    return Command("note", (encode_scope(scope),), parse, op)


def _lineage(scope: str) -> list[str]:
    """Return a scope and those above it, as key names spell them, nearest first."""
    parts = encode_scope(scope).split("/")
    return ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]


def scope_deadlines(scope: str) -> Read[list[ScopeDeadline]]:
    """Read the deadlines of a scope and of those above it; the marks first, as `lookup` does: a release ends a deadline."""
    line = _lineage(scope)

    def build(p: str, marks: Marks) -> list[tuple[str | int, ...]]:
        newer = ("ZRANGE", f"{p}closed", f"({marks.since()}", "+inf", "BYSCORE", "WITHSCORES")
        return [newer, ("HMGET", f"{p}lifetimes", *line)]

    def parse(marks: Marks, replies: list[Any], _: int) -> list[ScopeDeadline]:
        marks.learn(scored(replies[0]))
        found = []
        with reading("lifetimes"):
            for name, words in zip(line, replies[1], strict=True):
                fixed, idle, active, seq = map(whole, text(words or "0 0 0 0").split(" "))
                if words and not marks.cut(name, seq):
                    found.append(_deadline(name, fixed, idle, active))
        return sorted(found, key=lambda each: each.due)

    return Read(build, parse)


def _deadline(name: str, fixed: int, idle: int, active: int) -> ScopeDeadline:
    due = min(each for each in (fixed, idle and active + idle) if each)
    return ScopeDeadline(
        scope_of(name),
        from_ms(due),
        from_ms(fixed) if fixed else None,
        idle / 1000 if idle else None,
        from_ms(active),
    )


# --- leases


@dataclass(frozen=True, slots=True)
class Leased:
    """What the index gave: a deadline in ms, and the facts of the blob; None of them where it refused."""

    verdict: str
    until_ms: int = 0
    blob: str = ""
    root: str = ""
    path: str = ""
    identity: str = ""
    custody: str = ""
    meta: MediaMeta | None = None


def _leased(reply: Any) -> Leased:
    a = from_json(reply)
    if a["verdict"] != "done":
        return Leased(a["verdict"])
    meta = facts_of(pairs(a["meta"] or [])) if "meta" in a else None
    root, path, identity, custody = a["facts"]
    blob = a.get("blob", "")
    place = plain_id(root), plain_path(path), checked_identity(identity), checked_custody(custody)
    return Leased("done", int(a["deadline"]), blob, *place, meta)


def lease(ref: str, token: str, ttl_ms: int, longest_ms: int, who: str, op: str) -> Command[Leased]:
    """Take a lease through a live ref."""
    return Command("lease", (ref, token, ttl_ms, longest_ms, who), _leased, op)


def accept(
    handed: Handoff, token: str, ttl_ms: int, longest_ms: int, who: str, op: str
) -> Command[Leased]:
    """Swap the lease of a hand-over for the receiver's own."""
    args = (handed.ref.id, handed.blob, handed.token, token, ttl_ms, longest_ms, who)
    return Command("accept", args, lambda reply: replace(_leased(reply), blob=handed.blob), op)


def renew(leases: Sequence[Taken], op: str) -> Command[list[int | None]]:
    """Renew up to a batch of leases; returns their deadlines in ms, None for one that is lost.

    Also where a root of this process is refused: its leases in the others are none the worse for it.
    """
    args = [part for each in leases for part in (each.blob, each.token, each.ttl_ms)]

    def parse(reply: Any) -> list[int | None]:
        return [int(deadline) or None for deadline in from_json(reply)["deadlines"]]

    return Command("renew", (len(leases), *args), parse, op, unrooted=True)


@dataclass(frozen=True, slots=True)
class Let:
    """What ending a lease found: whether it still held, and whether the bytes may go now."""

    held: bool
    due: bool


def end_lease(blob: str, token: str, op: str) -> Command[Let]:
    """End a lease before its deadline."""

    def parse(reply: Any) -> Let:
        a = from_json(reply)
        return Let(bool(a["held"][0]), bool(a["due"][0]))

    return Command("end_lease", (1, blob, token), parse, op, unrooted=True)


def leases(blob: str) -> Read[list[LeaseInfo]]:
    """Read the leases of a blob that hold."""

    def parse(_: Marks, replies: list[Any], now_ms: int) -> list[LeaseInfo]:
        with reading(f"holders:{blob}"):
            return _holding(replies[0], replies[1], now_ms)

    return Read(lambda p, _: _who_holds(p, blob), parse, timed=True)


def _who_holds(p: str, blob: str) -> list[tuple[str | int, ...]]:
    return [
        ("ZRANGE", f"{p}lease:{blob}", 0, -1, "WITHSCORES"),
        ("HGETALL", f"{p}holders:{blob}"),
    ]


def _holding(deadlines: Any, holders: Any, now_ms: int) -> list[LeaseInfo]:
    who = {token: words.split(" ") for token, words in raw_pairs(holders).items()}
    return [
        LeaseInfo(who[token][2], moment(who[token][1]), from_ms(score_ms(until)))
        for token, until in scored(deadlines)
        if until > now_ms and token in who
    ]


# --- the dead, and what stays of them


@dataclass(frozen=True, slots=True)
class Remains:
    """What stays of a blob: why its bytes are there, and until when."""

    kept_for: Kept
    until: datetime | None


_REMAINS = ("state", "ever", "due", "grace", "leased")


def _remains(row: Sequence[Any], now_ms: int) -> Remains:
    state, ever, due, grace, leased = (raw(v) if v is not None else "" for v in row)
    if state == "live":
        return Remains("refs", None)
    if state != "doomed" or ever == "1" or score_ms(due) <= now_ms:
        return Remains("", None)
    by_lease = score_ms(leased) > max(now_ms, score_ms(grace))
    return Remains("lease" if by_lease else "grace", from_ms(score_ms(due)))


def remains(said: Obituary) -> Read[Remains]:
    """Read what stays of the blob of a dead ref."""

    def parse(_: Marks, replies: list[Any], now_ms: int) -> Remains:
        *row, refs = replies[0]
        with reading(f"blob:{said.blob}"):
            stays = _remains(row, now_ms)
            alone = stays.kept_for == "refs" and said.counted and whole(refs) <= 1
        return Remains("", None) if alone else stays

    return Read(
        lambda p, _: [("HMGET", f"{p}blob:{said.blob}", *_REMAINS, "refs")], parse, timed=True
    )


def tombstone(ref: Ref, said: Obituary, stays: Remains) -> Tombstone:
    """Return what is remembered of a ref."""
    return Tombstone(
        ref, said.reason, said.when, said.by, said.scope, said.meta, stays.kept_for, stays.until
    )


@dataclass(frozen=True, slots=True)
class LeftPage:
    """Some of the blobs that ended in a scope and are not gone yet; `cursor` is 0 at the end."""

    cursor: int
    blobs: tuple[str, ...]


def left_page(scope: str, cursor: int) -> Read[LeftPage]:
    """Read the next page of them."""

    def parse(_: Marks, replies: list[Any], __: int) -> LeftPage:
        going_on, found = replies[0]
        return LeftPage(int(going_on), tuple(each for each in map(raw, found) if is_plain_id(each)))

    return Read(
        lambda p, _: [("SSCAN", f"{p}left:{encode_scope(scope)}", cursor, "COUNT", BATCH)], parse
    )


def waiting(blobs: Sequence[str]) -> Read[list[Waiting]]:
    """Read which of these blobs wait, and for what."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        rows = [("HMGET", f"{p}blob:{b}", *_REMAINS, "root", "path", "size") for b in blobs]
        return [*rows, *(command for b in blobs for command in _who_holds(p, b))]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> list[Waiting]:
        found = []
        held = replies[len(blobs) :]
        rows = zip(blobs, replies, held[::2], held[1::2], strict=False)
        for blob, row, deadlines, holders in rows:
            with reading(f"blob:{blob}"):
                stays = _remains(row[:5], now_ms)
                if stays.until is None:
                    continue
                root, path = plain_id(text(row[5])), Path(plain_path(text(row[6])))
                who = tuple(each.holder for each in _holding(deadlines, holders, now_ms))
                size = whole(row[7])
                found.append(Waiting(blob, root, path, size, stays.kept_for, stays.until, who))
        return found

    return Read(build, parse, timed=True)
