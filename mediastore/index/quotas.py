"""Commands and reads about quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediastore.errors import QuotaExceeded
from mediastore.model import encode_scope
from mediastore.quotas import Quota

from .records import counted, reading, score_ms, whole
from .steps import Command, Marks, Read

if TYPE_CHECKING:
    from collections.abc import Sequence

Limit = int | str


def set_quota(scope: str, limits: Sequence[Limit], op: str) -> Command[None]:
    """Set the limits of the namespace ("") or a scope: bytes, refs, and of each scope bytes, refs; "" as it is, "never" none."""
    return Command("set_quota", (encode_scope(scope), *limits), lambda _: None, op)


def mark_of(scope: str) -> Read[int]:
    """Read the newest release that a scope is under: refs up to that seq are dead, and hold no room; 0 without one."""
    parts = encode_scope(scope).split("/")
    line = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("ZMSCORE", f"{p}closed", *line)]

    def parse(_: Marks, replies: list[Any], __: int) -> int:
        with reading("closed"):
            return max(score_ms(max(float(score or 0), 0)) for score in replies[0])

    return Read(build, parse)


def quota(scope: str, mark: int = 0) -> Read[Quota]:
    """Read the limits of the namespace (""), or of a scope under a mark, and what counts against them."""
    name = encode_scope(scope)
    own = (f"bytes {name}", f"refs {name}") if scope else ("bytes", "refs")

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        counts = ("size_bytes", "reserved_bytes", "refs", "reserved")
        return [
            ("HMGET", f"{p}quotas", *own, "scope_bytes", "scope_refs"),
            ("HMGET", f"{p}stats", *counts),
            ("HGET", f"{p}usage", name),
            ("HGET", f"{p}writing", name),
            ("ZCOUNT", f"{p}scope:{name}", f"({mark}", "+inf"),
            ("ZSCORE", f"{p}scope:{name}", "deadline"),
        ]

    def parse(_: Marks, replies: list[Any], __: int) -> Quota:
        with reading("quotas"):
            limits = [None if said is None else whole(said) for said in replies[0]]
        if not scope:
            with reading("stats"):
                size, reserved_bytes, refs, reserved = map(counted, replies[1])
            used = size + reserved_bytes, refs + reserved
            return Quota(limits[0], limits[1], *used, limits[2], limits[3])
        with reading(f"usage or writing of {name}"):
            used_bytes, writing = counted(replies[2]), counted(replies[3])
        refs = int(replies[4]) - (float(replies[5] or 0) > mark) + writing
        most = [limits[0] if limits[0] is not None else limits[2]]
        most += [limits[1] if limits[1] is not None else limits[3]]
        return Quota(most[0], most[1], used_bytes, refs)

    return Read(build, parse)


def exceeded(scope: str, verdict: str) -> QuotaExceeded:
    """Return the error for a script's verdict: "quota:what:limit:used:more"."""
    _, what, limit, used, more = verdict.split(":")
    return QuotaExceeded(
        what.removeprefix("scope_"),
        scope if what.startswith("scope_") else "",
        int(limit),
        int(used),
        int(more),
    )
