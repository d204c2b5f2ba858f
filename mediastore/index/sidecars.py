"""The journal of sidecars, what the index says of the refs in it, and refs that are made again from sidecars."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediastore.errors import Corrupt
from mediastore.model import Ref, encode_scope
from mediastore.plain import is_plain_id, plain_path
from mediastore.sidecars import Inscription, Sidecar

from .records import media_of, reading, whole
from .steps import END_BATCH, LARGEST_SEQ, Command, Marks, Read, from_json, raw, raw_pairs, scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mediastore.model import Media

_BLOB = ("state", "ever", "meta", "path", "sha")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the journal: a ref with whose sidecar something is to be done, and the seq of its last change."""

    ref: str
    blob: str
    seq: int

    @property
    def member(self) -> str:
        """The entry as the index has it."""
        return f"{self.ref} {self.blob}"


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of a journal, without those that are none; `after` is what to go on after, None at the end."""

    entries: tuple[Entry, ...]
    after: float | None


def journal(root: str, after: float) -> Read[Page]:
    """Read the next entries of a root, those first that have waited longest."""

    def parse(_: Marks, replies: list[Any], __: int) -> Page:
        found, rows = [], scored(replies[0])
        for member, seq in rows:
            ref, _space, blob = member.partition(" ")
            if is_plain_id(ref) and is_plain_id(blob) and seq == int(seq):
                found.append(Entry(ref, blob, int(seq)))
        return Page(tuple(found), rows[-1][1] if len(rows) == END_BATCH else None)

    newer = (f"({after!r}", LARGEST_SEQ, "BYSCORE", "LIMIT", 0, END_BATCH, "WITHSCORES")
    return Read(lambda p, _: [("ZRANGE", f"{p}meta:{root}", *newer)], parse)


def told(
    root: str, refs: Sequence[tuple[str, str]]
) -> Read[list[tuple[Inscription, Entry | None]]]:
    """Read what is to become of the sidecars of refs, given as (ref, blob), and the entry that is done with it.

    The entries are read first and last: only what has not changed in between was read as one. An index that was
    emptied meanwhile has no entry any more, and nothing is removed for what it does not know.
    """

    def build(p: str, marks: Marks) -> list[tuple[str | int, ...]]:
        entries: list[tuple[str | int, ...]] = [
            ("ZSCORE", f"{p}meta:{root}", f"{ref} {blob}") for ref, blob in refs
        ]
        newer = ("ZRANGE", f"{p}closed", f"({marks.since()}", "+inf", "BYSCORE", "WITHSCORES")
        facts: list[tuple[str | int, ...]] = []
        for ref, blob in refs:
            facts += [("HGETALL", f"{p}ref:{ref}"), ("HMGET", f"{p}blob:{blob}", *_BLOB)]
        return [*entries, newer, *facts, *entries]

    def parse(marks: Marks, replies: list[Any], _: int) -> list[tuple[Inscription, Entry | None]]:
        n = len(refs)
        first, last, facts = replies[:n], replies[-n:], replies[n + 1 : -n]
        marks.learn(scored(replies[n]))
        found: list[tuple[Inscription, Entry | None]] = []
        rows = zip(refs, first, last, facts[::2], facts[1::2], strict=True)
        for (ref, blob), before, after, fields, row in rows:
            left = Inscription(ref, blob, "", "leave")
            if after is None or before is None or float(before) != float(after):
                found.append((left, None))
                continue
            entry = Entry(ref, blob, int(float(after)))
            words = ["" if value is None else raw(value) for value in row]
            try:
                found.append((_inscription(entry, raw_pairs(fields), words, marks), entry))
            except Corrupt:  # told by whoever resolves it
                found.append((left, None))
        return found

    return Read(build, parse)


def _inscription(
    entry: Entry, ref: Mapping[str, str], words: Sequence[str], marks: Marks
) -> Inscription:
    state, ever, first, path, sha = words
    if not (state == "live" or (state == "doomed" and ever == "0")):
        return Inscription(entry.ref, entry.blob, "", "clear")
    beside = plain_path(path, f"blob:{entry.blob}") if first == entry.ref else ""
    if not ref:
        return Inscription(entry.ref, entry.blob, beside, "remove")
    media = media_of(entry.ref, ref)
    if marks.cut(ref["scope"], media.seq):
        return Inscription(entry.ref, entry.blob, beside, "remove")
    return Inscription(
        entry.ref, entry.blob, beside, "write", _sidecar(entry, media, ref, path, sha)
    )


def _sidecar(entry: Entry, media: Media, ref: Mapping[str, str], path: str, sha: str) -> Sidecar:
    with reading(f"ref:{entry.ref}"):
        ttl_ms = whole(ref["ttl"]) if "ttl" in ref else None
    return Sidecar(
        ref=Ref(f"media://{entry.ref}"),
        blob=entry.blob,
        scope=media.scope,
        size=media.size_bytes,
        stored_ms=int(ref["stored_at"]),
        expires_ms=int(ref["expires_at"]) if "expires_at" in ref else None,
        meta=media.meta,
        path=plain_path(path, f"blob:{entry.blob}"),
        sha=sha,
        detected=media.detected_type,
        pinned=media.pinned,
        ttl_ms=ttl_ms,
        seq=entry.seq,
    )


def inscribed(root: str, entries: Sequence[Entry], op: str) -> Command[int]:
    """Take entries off the journal that have not changed since."""
    args: list[str | int] = []
    for entry in entries:
        args += [entry.member, entry.seq]
    return Command(
        "inscribed", (root, len(entries), *args), lambda reply: int(from_json(reply)["done"]), op
    )


@dataclass(frozen=True, slots=True)
class Keeping:
    """The lease that keeps a blob until all of its refs are made again; without a token none is taken."""

    ttl_ms: int
    who: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Revived:
    """A verdict on each ref, in order: "made", "known", "dead", "forgotten" (the root); and how many blobs were made."""

    verdicts: tuple[str, ...]
    blobs: int


def revive(
    root: str, told: Sequence[tuple[Sidecar, bool]], keeping: Keeping, op: str
) -> Command[Revived]:
    """Make refs again of which sidecars tell, each with whether it is the one beside the file; without `op` only look."""
    refs = [json.dumps(_plan(each, beside)) for each, beside in told]
    head: tuple[str | int, ...] = (root, int(not op), keeping.token, keeping.ttl_ms, keeping.who)

    def parse(reply: Any) -> Revived:
        a = from_json(reply)
        return Revived(tuple(a["verdicts"] or []), int(a["blobs"]))

    return Command("revive", (*head, *refs), parse, op)


def _plan(each: Sidecar, beside: bool) -> list[Any]:  # noqa: FBT001 - the last of a row
    facts = each.meta.to_dict() | ({"detected": each.detected} if each.detected else {})
    expires = "" if each.expires_ms is None else each.expires_ms
    ttl = "" if each.ttl_ms is None else each.ttl_ms
    own = [each.ref.id, each.blob, encode_scope(each.scope), each.path, each.size, each.sha]
    flags = [int(each.pinned), int(beside)]
    meta = [str(part) for item in facts.items() for part in item]
    return [*own, each.stored_ms, expires, ttl, *flags, meta]
