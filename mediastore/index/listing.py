"""What is stored, read in pages: the refs of a scope, scopes, and the namespace in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mediastore.model import Media, encode_scope
from mediastore.plain import plain_id
from mediastore.stats import Stats

from .records import counted, media_of, reading, scope_of, whole
from .steps import BATCH, END_BATCH, Command, Marks, Read, from_json, pairs, text


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
            media_of(
                plain_id(row[0], "scope"), pairs(row[1]), row[2] or "missing", row[3] or "adopted"
            )
            for row in rows
        )
        with reading("blobs of the page"):
            holders = tuple(whole(row[4] or 0) for row in rows)
        return Page(media, holders, int(a["next"]) if a["next"] else None)

    return Command("list", (encode_scope(scope), after, min(limit, END_BATCH)), parse)


def scope_names(prefix_of: str, after: str) -> Read[tuple[str, ...]]:
    """Read the next scopes that hold refs, dead or alive, whose name starts with a text."""
    start = encode_scope(prefix_of)
    low = f"({encode_scope(after)}" if after else f"[{start}"

    def parse(_: Marks, replies: list[Any], __: int) -> tuple[str, ...]:
        with reading("scopes"):
            return tuple(scope_of(text(name)) for name in replies[0])

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
        with reading(f"children:{encode_scope(scope)}"):
            return tuple(scope_of(text(name)) for name in replies[0])

    return Read(
        lambda p, _: [("ZRANGE", f"{p}children:{encode_scope(scope)}", skip, skip + BATCH - 1)],
        parse,
    )


def stats() -> Command[Stats]:
    """Read the namespace in numbers."""

    def parse(reply: Any) -> Stats:
        a = from_json(reply)
        counters = pairs(a["counters"] or [])
        with reading("stats"):
            numbers = {
            name: counted(counters.get(name))
            for name in ("refs", "blobs", "size_bytes", "stored_refs", "stored_bytes", "released_refs", "released_bytes",
                         "expired_refs", "expired_bytes", "deleted_refs", "deleted_bytes", "deleted_blobs",
                         "gone_blobs", "spared_blobs", "kept_blobs", "freed_bytes", "lost_blobs", "lost_bytes",
                         "waiting", "waiting_bytes", "reserved", "reserved_bytes")
        }  # fmt: skip
        with reading("roots"):
            roots = {
                plain_id(root, "roots"): text(place)
                for root, place in pairs(a["roots"] or []).items()
            }
            "".join(roots.values()).encode()
        with reading("stats"):
            for name in ("hidden", "hidden_bytes"):
                numbers[name] = sum(counted(counters.get(f"{name}:{root}")) for root in roots)
        gauges = {name: int(a[name]) for name in ("scopes", "trash", "stuck", "closed")}
        return Stats(
            roots=roots,
            frozen=tuple(sorted(text(reason) for reason in a["frozen"] or [])),
            oldest_trash_s=max(0, int(a["oldest"])) / 1000,
            **numbers,
            **gauges,
        )

    return Command("stats", (), parse)
