"""The breaker: what it tripped on, what is due, and how many refs end by themselves in an hour."""

from __future__ import annotations

from typing import Any

from mediastore.breaker import Breaker, Tripped
from mediastore.model import from_ms

from .records import counted, moment, reading, whole
from .steps import Command, Marks, Read, raw, raw_pairs


def tripped_by(words: str) -> Tripped:
    """Return what the hash `frozen` says of the breaker.

    Raises:
        Corrupt: it says nothing that a script says.
    """
    with reading("frozen"):
        since, due, live, mean = words.split(" ")
        return Tripped(moment(since), whole(due), whole(live), whole(mean))


def breaker(now_ms: int) -> Read[Breaker]:
    """Read how it is with the breaker, and how much is due at a time of the server's."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [
            ("HGET", f"{p}frozen", "breaker"),
            ("HGETALL", f"{p}breaker"),
            *(("ZCOUNT", f"{p}{name}", "-inf", now_ms) for name in ("expiry", "deadlines")),
            ("HGET", f"{p}stats", "refs"),
        ]

    def parse(_: Marks, replies: list[Any], __: int) -> Breaker:
        tripped, said = replies[0], raw_pairs(replies[1] or [])
        with reading("breaker"):
            counts = [whole(count) for hour, count in said.items() if hour.isdecimal()]
            until = {name: whole(said.get(name, 0)) for name in ("allowed", "nearer")}
            ends = {name: from_ms(ms) if ms > now_ms else None for name, ms in until.items()}
        with reading("stats"):
            live = counted(replies[4])
        return Breaker(
            tripped_by(raw(tripped)) if tripped is not None else None,
            int(replies[2]),
            int(replies[3]),
            live,
            sum(counts) / len(counts) if counts else 0.0,
            len(counts),
            ends["allowed"],
            ends["nearer"],
        )

    return Read(build, parse)


def allow(length_ms: int, op: str) -> Command[None]:
    """Let all that is due end for a while."""
    return Command("allow_breaker", (length_ms,), lambda _: None, op)
