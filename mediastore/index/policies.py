"""Commands and reads about named retention policies, and the refs that live by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediastore.model import from_ms, is_named
from mediastore.policies import Policy

from .records import reading, whole
from .steps import END_BATCH, Command, Marks, Read, from_json, pairs, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def set_policy(name: str, length: int | str, op: str) -> Command[bool]:
    """Give a policy its length in ms, or "never"; returns whether refs have to be moved to it."""
    return Command("set_policy", (name, length), lambda reply: bool(from_json(reply)["moving"]), op)


@dataclass(frozen=True, slots=True)
class Removed:
    """The verdict on a policy that was to be removed: "done", "unknown", "used"; and how many refs are under it."""

    verdict: str
    refs: int


def remove_policy(name: str, op: str, *, force: bool) -> Command[Removed]:
    """Forget a policy; one that refs live by only with `force`."""
    args = (name, int(force))
    return Command("remove_policy", args, lambda reply: Removed(**from_json(reply)), op)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a change did: refs that got the new length, refs that left; `done` unless there are more."""

    moved: int
    left: int
    done: bool


def move_policy(name: str, op: str) -> Command[Step]:
    """Move the next refs that live by a policy which was changed or removed."""

    def parse(reply: Any) -> Step:
        a = from_json(reply)
        return Step(a["moved"], a["left"], bool(a["done"]))

    return Command("move_policy", (name, END_BATCH), parse, op)


@dataclass(frozen=True, slots=True)
class Applied:
    """The verdict on a ref that was to live by a policy: "done", "dead", or "policy" where nobody knows that one."""

    verdict: str
    expires_at: datetime | None = None


def apply_policy(ref: str, life: str, op: str) -> Command[Applied]:
    """Let a live ref live by a policy, as the word of a lifetime says it; "" takes it out of the one it has."""

    def parse(reply: Any) -> Applied:
        a = from_json(reply)
        due = a["expires_at"]
        return Applied(a["verdict"], from_ms(int(due)) if due else None)

    return Command("apply_policy", (ref, life), parse, op)


def _seconds(said: str) -> float | None:
    return None if said == "never" else whole(said) / 1000


def _named(name: str) -> str:
    if not is_named(name):
        raise ValueError(f"not the name of a policy: {name!r:.80}")
    return name


def listing() -> Read[list[Policy]]:
    """Read the policies of the index, also the removed ones that refs are still leaving; by name. None is counted yet."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("HGETALL", f"{p}policies"), ("HKEYS", f"{p}changing")]

    def parse(_: Marks, replies: list[Any], __: int) -> list[Policy]:
        with reading("policies"):
            known = pairs(replies[0])
            lengths = {_named(name): _seconds(said) for name, said in known.items()}
        with reading("changing"):
            changing = {_named(text(name)) for name in replies[1]}
        found = [Policy(n, length, "index", 0, n in changing) for n, length in lengths.items()]
        gone = [
            Policy(n, None, "index", changing=True, removed=True) for n in changing - known.keys()
        ]
        return sorted([*found, *gone], key=lambda each: each.name)

    return Read(build, parse)


def counts(names: Sequence[str]) -> Read[list[int]]:
    """Read how many refs are under each of these policies."""
    return Read(
        lambda p, _: [("ZCARD", f"{p}under:{name}") for name in names],
        lambda _, replies, __: [int(count) for count in replies],
    )
