"""Who sweeps: a note for `doctor` on other hosts. It is no truth, and nothing is decided by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .steps import Marks, Read, scored

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Whoever was not seen for a day is forgotten by the next note.
KEPT_MS: Final = 86_400_000


def server_ms() -> Read[int]:
    """Read the server's clock."""
    return Read(lambda _, __: [], lambda _, __, now_ms: now_ms, timed=True)


def seen(members: Sequence[str], at_ms: int) -> Read[None]:
    """Note that these were alive at a time of the server's, and forget who was not seen for long.

    Twice, or late: the same, for a note never goes back.
    """

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        pairs = [part for member in members for part in (at_ms, member)]
        return [
            ("ZADD", f"{p}seen", "GT", *pairs),
            ("ZREMRANGEBYSCORE", f"{p}seen", "-inf", at_ms - KEPT_MS),
        ]

    return Read(build, lambda _, __, ___: None)


def last_seen() -> Read[dict[str, float]]:
    """Read who was seen within a day, as member -> seconds ago."""

    def parse(_: Marks, replies: list[Any], now_ms: int) -> dict[str, float]:
        return {member: max(0.0, (now_ms - ms) / 1000) for member, ms in scored(replies[0])}

    return Read(lambda p, _: [("ZRANGE", f"{p}seen", 0, -1, "WITHSCORES")], parse, timed=True)
