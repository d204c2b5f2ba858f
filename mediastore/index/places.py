"""Which refs are on a file, by its place: there is no such index, so their hashes are read, as plain reads of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mediastore.model import encode_scope
from mediastore.plain import is_plain_id

from .records import reading, whole
from .steps import Marks, Read, raw, scored

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many refs are looked at in one write.
AT_ONCE: Final = 256


def expected(root: str, blob: str) -> Read[int | None]:
    """Read how many refs are on a path whose current blob is this one; None if blobs that had it earlier may have some."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("HLEN", f"{p}older:{root}"), ("HGET", f"{p}blob:{blob}", "refs")]

    def parse(_: Marks, replies: list[Any], __: int) -> int | None:
        with reading(f"blob:{blob}"):
            return None if int(replies[0]) else whole(replies[1] or 0)

    return Read(build, parse)


def members(scopes: Sequence[tuple[str, int]]) -> Read[list[list[tuple[str, int]]]]:
    """Read the next refs of each scope after a seq, as (id, seq), in store order; of each as many as share a write."""
    most = max(1, AT_ONCE // max(1, len(scopes)))

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [
            ("ZRANGE", f"{p}scope:{encode_scope(scope)}", f"({after}", "+inf", "BYSCORE", "LIMIT", 0, most, "WITHSCORES")
            for scope, after in scopes
        ]  # fmt: skip

    def parse(_: Marks, replies: list[Any], __: int) -> list[list[tuple[str, int]]]:
        return [[(member, int(seq)) for member, seq in scored(reply)] for reply in replies]

    return Read(build, parse)


def on_path(refs: Sequence[str], root: str, path: str) -> Read[list[tuple[str, str]]]:
    """Read which of these refs are on the file at a path, as (id, blob); a member that is no id is a scope's deadline."""
    asked = [ref for ref in refs if is_plain_id(ref)]

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("HMGET", f"{p}ref:{ref}", "root", "path", "blob") for ref in asked]

    def parse(_: Marks, replies: list[Any], __: int) -> list[tuple[str, str]]:
        rows = zip(asked, replies, strict=True)
        told = ((ref, [raw(each or b"") for each in row]) for ref, row in rows)
        return [(ref, blob) for ref, (at, name, blob) in told if (at, name) == (root, path)]

    return Read(build, parse)
