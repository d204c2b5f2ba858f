"""What is read from the index: the ref on the hot path without a script, the rest as pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediastore.errors import RefGone, RefUnknown
from mediastore.model import Media, MediaMeta, Ref, Stats, decode_scope, encode_scope, from_ms

from .steps import BATCH, END_BATCH, Command, Marks, Read, from_json, pairs, scored, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _media(
    ref_id: str, f: Mapping[str, str], state: str = "live", custody: str = "adopted"
) -> Media:
    known = MediaMeta.__dataclass_fields__.keys()
    return Media(
        ref=Ref(f"media://{ref_id}"), scope=decode_scope(f["scope"]), root=f["root"], path=Path(f["path"]),
        size_bytes=int(f["size"]), custody=custody, state=state, stored_at=from_ms(int(f["stored_at"])),
        expires_at=from_ms(int(f["expires_at"])) if "expires_at" in f else None,
        meta=MediaMeta.from_dict({name: value for name, value in f.items() if name in known}),
        seq=int(f["seq"]), blob=f["blob"], identity=f["identity"],
    )  # fmt: skip


def lookup(ref: Ref) -> Read[Media | None]:
    """Read one ref: the server's time, the marks not seen yet, the ref; in this order every answer was true.

    Any other order can hand out a ref that was released and drained in between (PROTOCOL C8, C10).
    Returns None where the hash is missing; `farewell` then says why.

    Raises:
        RefGone: it has expired, or a release of its scope has ended it.
    """

    def build(p: str, marks: Marks) -> list[tuple[str | int, ...]]:
        newer = ("ZRANGE", f"{p}closed", f"({marks.since()}", "+inf", "BYSCORE", "WITHSCORES")
        return [newer, ("HGETALL", f"{p}ref:{ref.id}")]

    def parse(marks: Marks, replies: list[Any], now_ms: int) -> Media | None:
        marks.learn((scope, int(seq)) for scope, seq in scored(replies[0]))
        fields = pairs(replies[1])
        if not fields:
            return None
        if "expires_at" in fields and int(fields["expires_at"]) <= now_ms:
            raise RefGone(ref, "expired")
        if marks.ended(fields["scope"], int(fields["seq"])):
            raise RefGone(ref, "released")
        return _media(ref.id, fields)

    return Read(build, parse, timed=True)


def farewell(ref: Ref) -> Read[None]:
    """Say why a ref is not there.

    Raises:
        RefGone: it has a tombstone.
        RefUnknown: it has none.
    """

    def parse(_: Marks, replies: list[Any], __: int) -> None:
        words = text(replies[0]).split(" ") if replies[0] is not None else []
        if words and words[0] in {"released", "expired", "deleted"}:
            raise RefGone(ref, words[0])  # type: ignore[arg-type]
        raise RefUnknown(ref)

    return Read(lambda p, _: [("GET", f"{p}gone:{ref.id}")], parse)


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
    """What there is to do now: whether refs are due, scopes that are closed, roots with due trash.

    Attributes:
        forgotten: Roots that are forgotten, and not to the end: they leave `roots` when nothing waits there any more.
    """

    expiry: bool
    closed: tuple[str, ...]
    roots: tuple[str, ...]
    forgotten: tuple[str, ...] = ()


def due(roots: Sequence[str], *, forgotten: bool = False) -> Read[Due]:
    """Look whether anything is due; one round trip, whatever is stored. `forgotten`: look for half forgotten roots too."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        first = [
            ("ZRANGE", f"{p}{name}", 0, 0, "WITHSCORES")
            for name in ("expiry", *(f"trash:{r}" for r in roots))
        ]
        given_up = [("HKEYS", f"{p}lost"), ("HKEYS", f"{p}roots")] if forgotten else []
        return [("ZRANGE", f"{p}closed", 0, 7), *first, *given_up]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> Due:
        firsts, given_up = replies[1 : 2 + len(roots)], replies[2 + len(roots) :]
        ripe = [bool(s) and s[0][1] <= now_ms for s in map(scored, firsts)]
        lost, known = ({text(r) for r in reply} for reply in given_up or ((), ()))
        closed = tuple(decode_scope(text(scope)) for scope in replies[0])
        return Due(
            ripe[0],
            closed,
            tuple(root for root, is_due in zip(roots, ripe[1:], strict=True) if is_due),
            tuple(sorted(lost & known)),
        )

    return Read(build, parse, timed=True)


def left_of(scope: str) -> Read[tuple[str, ...]]:
    """Read up to a batch of the blobs that releases of this scope doomed and that are not gone yet."""

    def parse(_: Marks, replies: list[Any], __: int) -> tuple[str, ...]:
        return tuple(text(blob) for blob in replies[0])

    return Read(lambda p, _: [("SRANDMEMBER", f"{p}left:{encode_scope(scope)}", BATCH)], parse)


def roots_of(blobs: Sequence[str]) -> Read[dict[str, tuple[str, str]]]:
    """Read the root of each of these blobs that is not gone, and the errno of its last failed try."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("HMGET", f"{p}blob:{b}", "root", "errno") for b in blobs]

    def parse(_: Marks, replies: list[Any], __: int) -> dict[str, tuple[str, str]]:
        rows = zip(blobs, replies, strict=True)
        return {
            b: (text(row[0]), text(row[1]) if row[1] is not None else "")
            for b, row in rows
            if row[0] is not None
        }

    return Read(build, parse)


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
                         "expired_refs", "expired_bytes", "deleted_blobs", "freed_bytes", "lost_blobs", "lost_bytes")
        }  # fmt: skip
        gauges = {name: int(a[name]) for name in ("scopes", "trash", "stuck", "closed")}
        return Stats(
            roots=pairs(a["roots"] or []),
            oldest_trash_s=int(a["oldest"]) / 1000,
            **counted,
            **gauges,
        )

    return Command("stats", (), parse)
