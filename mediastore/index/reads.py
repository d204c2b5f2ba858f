"""What is read from the index: the ref on the hot path without a script, the rest as pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from mediastore.errors import Reason, RefGone
from mediastore.model import Media, MediaMeta, Ref, Stats, decode_scope, encode_scope, from_ms

from .steps import BATCH, END_BATCH, Command, Marks, Read, from_json, pairs, scored, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


_KNOWN = MediaMeta.__dataclass_fields__.keys()


def facts_of(fields: Mapping[str, str]) -> MediaMeta:
    """Return the metadata among the fields of a ref."""
    return MediaMeta.from_dict({name: value for name, value in fields.items() if name in _KNOWN})


def _media(
    ref_id: str, f: Mapping[str, str], state: str = "live", custody: str = "adopted"
) -> Media:
    return Media(
        ref=Ref(f"media://{ref_id}"), scope=decode_scope(f["scope"]), root=f["root"], path=Path(f["path"]),
        size_bytes=int(f["size"]), custody=custody, state=state, stored_at=from_ms(int(f["stored_at"])),
        expires_at=from_ms(int(f["expires_at"])) if "expires_at" in f else None, meta=facts_of(f),
        seq=int(f["seq"]), blob=f["blob"], identity=f["identity"], pinned="pinned" in f,
        idle_s=int(f["idle"]) / 1000 if "idle" in f else None, detected_type=f.get("detected", ""),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead ref that no sweep has come to yet: what it was, a mark above it, and whether its own deadline has passed.

    `cut` is the scope that was released, as key names spell it, and the seq of its newest release, in microseconds.
    Which of several came first, and whether the deadline did, `farewell` finds out.
    """

    media: Media
    cut: tuple[str, int] | None
    expired: bool


Found = Media | Dead | None


def _found(ref: Ref, fields: Mapping[str, str], marks: Marks, now_ms: int) -> Found:
    if not fields:
        return None
    media = _media(ref.id, fields)
    cut = marks.cut(fields["scope"], int(fields["seq"]))
    expired = "expires_at" in fields and int(fields["expires_at"]) <= now_ms
    return Dead(media, cut, expired) if cut or expired else media


def lookup(refs: Sequence[Ref]) -> Read[list[Found]]:
    """Read refs: the server's time, the marks not seen yet, the refs; in this order every answer was true.

    Any other order can hand out a ref that was released and drained in between (PROTOCOL C8, C10).
    Of each its Media, or that it is dead; None where its hash is missing. `farewell` then says why.
    """

    def build(p: str, marks: Marks) -> list[tuple[str | int, ...]]:
        newer = ("ZRANGE", f"{p}closed", f"({marks.since()}", "+inf", "BYSCORE", "WITHSCORES")
        return [newer, *(("HGETALL", f"{p}ref:{ref.id}") for ref in refs)]

    def parse(marks: Marks, replies: list[Any], now_ms: int) -> list[Found]:
        marks.learn((scope, int(seq)) for scope, seq in scored(replies[0]))
        rows = zip(refs, replies[1:], strict=True)
        return [_found(ref, pairs(reply), marks, now_ms) for ref, reply in rows]

    return Read(build, parse, timed=True)


#: Who ended a ref that came to its deadline.
OWN_DEADLINE: Final = "its own deadline"


@dataclass(frozen=True, slots=True)
class Obituary:
    """What is remembered of a dead ref: by its tombstone, or by itself until a sweep comes to it; its blob counts it until then."""

    reason: Reason
    when: datetime
    by: str
    scope: str
    blob: str
    meta: MediaMeta
    counted: bool = False

    def error(self, ref: Ref) -> RefGone:
        """Return the error that says so."""
        return RefGone(ref, self.reason, self.when, self.by)


def _by(cause: str, cut: str, who: str) -> str:
    if cause == "expired":
        return f"the deadline of scope {decode_scope(cut)!r}" if cut != "." else OWN_DEADLINE
    call = f"release_all({decode_scope(cut)!r})" if cause == "released" else "delete_media()"
    return f"{call} of {who}" if who != "." else call


def _from_tombstone(words: str) -> Obituary | None:
    said = words.split(" ", 6)
    cause, rest = said[0], said[1:]
    if cause not in _REASONS or len(rest) < _WORDS:
        return None  # burnt before it was a ref
    flat = json.loads(rest[5]) if len(rest) > _WORDS else []
    at, scope, cut, who, blob = rest[:5]
    by = _by(cause, cut, who)
    return Obituary(
        _REASONS[cause], from_ms(int(at)), by, decode_scope(scope), blob, facts_of(pairs(flat))
    )


_REASONS: Final[dict[str, Reason]] = {r: r for r in get_args(Reason)}
#: How many words a tombstone has after its cause, without the facts.
_WORDS: Final = 5


def farewell(ref: Ref, dead: Dead | None = None) -> Read[Obituary | None]:
    """Read why a ref is not there; None where nobody remembers it."""
    line = _lineage(encode_scope(dead.media.scope)) if dead and dead.cut else []

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        cuts = [("HMGET", f"{p}cuts", *line)] if line else []
        return [("GET", f"{p}gone:{ref.id}"), *cuts]

    def parse(_: Marks, replies: list[Any], __: int) -> Obituary | None:
        said = _from_tombstone(text(replies[0])) if replies[0] is not None else None
        if said or not dead:
            return said
        known = [] if not line else [text(v) if v is not None else "" for v in replies[1]]
        return _unburied(dead, list(zip(line, known, strict=True)))

    return Read(build, parse)


def _lineage(scope: str) -> list[str]:
    segments = scope.split("/")
    return ["/".join(segments[:n]) for n in range(len(segments), 0, -1)]


def _unburied(dead: Dead, cuts: Sequence[tuple[str, str]]) -> Obituary:
    """Return what ended a ref that no sweep has come to: whichever of its deadline and the releases above it came first."""
    media = dead.media
    ends = []
    # The seq of a release may be ahead of the time: a deadline that has not passed ended nothing.
    if dead.expired and media.expires_at is not None:
        ends.append((round(media.expires_at.timestamp() * 1000) * 1000, 0, "expired", ".", "."))
    for scope, said in cuts:
        words = said.split(" ") if said else []
        for seq, cause, who in zip(words[::3], words[1::3], words[2::3], strict=True):
            if int(seq) >= media.seq:
                ends.append((int(seq), 1, cause, scope, who))
    if dead.cut:
        # Its mark may be gone by now, and its tombstone may have lapsed.
        ends.append((dead.cut[1], 2, "released", dead.cut[0], "."))
    at, _, cause, scope, who = min(ends)
    by = _by(cause, scope, who)
    when, reason = from_ms(at // 1000), _REASONS[cause]
    return Obituary(reason, when, by, media.scope, media.blob, media.meta, counted=True)


@dataclass(frozen=True, slots=True)
class BlobState:
    """A blob as the journal sees it; `due` when a sweeper may take it (over), `errno` why the last try failed."""

    state: str
    custody: str
    holders: int
    errno: str
    due: bool


def blob_state(root: str, blob: str) -> Read[BlobState | None]:
    """Read the state of a blob; None once it is gone."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        fields = ("state", "custody", "refs", "errno")
        return [("HMGET", f"{p}blob:{blob}", *fields), ("ZSCORE", f"{p}trash:{root}", blob)]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> BlobState | None:
        state, custody, refs, errno = replies[0]
        if state is None:
            return None
        due = replies[1] is not None and float(text(replies[1])) <= now_ms
        return BlobState(
            text(state), text(custody), int(refs), text(errno) if errno is not None else "", due
        )

    return Read(build, parse, timed=True)


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do now: whether refs or scopes are due, scopes that are closed, roots with due trash.

    Attributes:
        forgotten: Roots that are forgotten, and not to the end: they leave `roots` when nothing waits there any more.
        changing: Policies that were changed or removed, and not all refs moved yet.
    """

    expiry: bool
    deadlines: bool
    closed: tuple[str, ...]
    roots: tuple[str, ...]
    forgotten: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()


def due(roots: Sequence[str], *, forgotten: bool = False) -> Read[Due]:
    """Look whether anything is due; one round trip, whatever is stored. `forgotten`: look for half forgotten roots too."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        first = [
            ("ZRANGE", f"{p}{name}", 0, 0, "WITHSCORES")
            for name in ("expiry", "deadlines", *(f"trash:{r}" for r in roots))
        ]
        given_up = [("HKEYS", f"{p}lost"), ("HKEYS", f"{p}roots")] if forgotten else []
        return [("ZRANGE", f"{p}closed", 0, 7), ("HKEYS", f"{p}changing"), *first, *given_up]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> Due:
        firsts, given_up = replies[2 : 4 + len(roots)], replies[4 + len(roots) :]
        ripe = [bool(s) and s[0][1] <= now_ms for s in map(scored, firsts)]
        lost, known = ({text(r) for r in reply} for reply in given_up or ((), ()))
        closed = tuple(decode_scope(text(scope)) for scope in replies[0])
        return Due(
            ripe[0],
            ripe[1],
            closed,
            tuple(root for root, is_due in zip(roots, ripe[2:], strict=True) if is_due),
            tuple(sorted(lost & known)),
            tuple(sorted(map(text, replies[1]))),
        )

    return Read(build, parse, timed=True)


def roots_of(blobs: Sequence[str]) -> Read[dict[str, str]]:
    """Read the root of each of these blobs that is going now: not gone, not in grace or leased, no try has failed."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("HMGET", f"{p}blob:{b}", "root", "errno", "state", "due") for b in blobs]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> dict[str, str]:
        going = {}
        for blob, (root, errno, state, due) in zip(blobs, replies, strict=True):
            waits = state is not None and text(state) == "doomed" and float(due or 0) > now_ms
            if root is not None and errno is None and not waits:
                going[blob] = text(root)
        return going

    return Read(build, parse, timed=True)


def paths_of(blobs: Sequence[str]) -> Read[list[str]]:
    """Read the path of each of these blobs; empty for one that is gone."""

    def parse(_: Marks, replies: list[Any], __: int) -> list[str]:
        return ["" if path is None else text(path) for path in replies]

    return Read(lambda p, _: [("HGET", f"{p}blob:{b}", "path") for b in blobs], parse)


def holders_of(places: Sequence[tuple[str, str]]) -> Read[list[str]]:
    """Read which blob each place (root, path) has now; empty where it has none."""

    def parse(_: Marks, replies: list[Any], __: int) -> list[str]:
        return ["" if holder is None else text(holder) for holder in replies]

    return Read(lambda p, _: [("HGET", f"{p}path:{root}", path) for root, path in places], parse)


def root_of(blob: str) -> Read[str]:
    """Read the root of a blob; empty once it is gone."""

    def parse(_: Marks, replies: list[Any], __: int) -> str:
        return text(replies[0]) if replies[0] is not None else ""

    return Read(lambda p, _: [("HGET", f"{p}blob:{blob}", "root")], parse)


def known_ids(blobs: Sequence[str], *, unrooted: bool = False) -> Read[frozenset[str]]:
    """Read which of these blob ids and claim tokens the index knows."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("EXISTS", f"{p}blob:{b}", f"{p}claim:{b}") for b in blobs]

    def parse(_: Marks, replies: list[Any], __: int) -> frozenset[str]:
        return frozenset(b for b, count in zip(blobs, replies, strict=True) if count)

    return Read(build, parse, unrooted=unrooted)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scope: its live refs, each with the number of refs on its blob; `after` is None at the end."""

    refs: tuple[Media, ...]
    holders: tuple[int, ...]
    after: int | None


def page(scope: str, after: int, limit: int) -> Command[Page]:
    """Read the live refs of a scope in store order."""

    def parse(reply: Any) -> Page:
        a = from_json(reply)
        rows = a["refs"] or []
        media = tuple(
            _media(row[0], pairs(row[1]), row[2] or "missing", row[3] or "adopted") for row in rows
        )
        return Page(
            media, tuple(int(row[4] or 0) for row in rows), int(a["next"]) if a["next"] else None
        )

    return Command("list", (encode_scope(scope), after, min(limit, END_BATCH)), parse)


def scope_names(prefix_of: str, after: str) -> Read[tuple[str, ...]]:
    """Read the next scopes that hold refs, dead or alive, whose name starts with a text."""
    start = encode_scope(prefix_of)
    low = f"({encode_scope(after)}" if after else f"[{start}"

    def parse(_: Marks, replies: list[Any], __: int) -> tuple[str, ...]:
        return tuple(decode_scope(text(name)) for name in replies[0])

    return Read(
        lambda p, _: [
            (
                "ZRANGE",
                f"{p}scopes",
                low,
                f"[{start}\x7f" if start else "+",
                "BYLEX",
                "LIMIT",
                0,
                BATCH,
            )
        ],
        parse,
    )


def children(scope: str, skip: int) -> Read[tuple[str, ...]]:
    """Read the next scopes directly below a scope."""

    def parse(_: Marks, replies: list[Any], __: int) -> tuple[str, ...]:
        return tuple(decode_scope(text(name)) for name in replies[0])

    return Read(
        lambda p, _: [("ZRANGE", f"{p}children:{encode_scope(scope)}", skip, skip + BATCH - 1)],
        parse,
    )


def stats() -> Command[Stats]:
    """Read the namespace in numbers."""

    def parse(reply: Any) -> Stats:
        a = from_json(reply)
        counters = pairs(a["counters"] or [])
        counted = {
            name: int(counters.get(name, 0))
            for name in ("refs", "blobs", "size_bytes", "stored_refs", "stored_bytes", "released_refs", "released_bytes",
                         "expired_refs", "expired_bytes", "deleted_refs", "deleted_bytes", "deleted_blobs", "freed_bytes", "lost_blobs", "lost_bytes",
                         "waiting", "waiting_bytes", "reserved", "reserved_bytes")
        }  # fmt: skip
        gauges = {name: int(a[name]) for name in ("scopes", "trash", "stuck", "closed")}
        return Stats(
            roots=pairs(a["roots"] or []),
            oldest_trash_s=int(a["oldest"]) / 1000,
            **counted,
            **gauges,
        )

    return Command("stats", (), parse)
