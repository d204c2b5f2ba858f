"""The chain of epochs: what roots show of it, and whether the namespace may go on deleting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mediastore.epochs import ENTRY, Accepted, Frozen
from mediastore.model import from_ms
from mediastore.plain import plain_id

from .records import moment, reading, whole
from .steps import LARGEST_SEQ, Command, Marks, Read, from_json, raw, raw_pairs, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

#: For how long nothing ends by itself that was there before `epoch accept`.
KEEP_MS: Final = 86_400_000
#: Why a namespace is frozen, in the order in which it is told.
_FREEZES: Final = ("epoch", "clock")
#: Why a script may have done nothing.
_WHYS: Final = frozenset({"epoch", "clock", "unknown", "server", "breaker", "settling"})


@dataclass(frozen=True, slots=True)
class Looks:
    """What those show who would end what nobody named, or delete: the entry of the chain of epochs in each root.

    Attributes:
        pause_ms: For how long nothing is done after the server was started or replaced.
        shown: Root id -> its entry; "" where it has none, "?" where it cannot be read.
        breaker: "breaker_min millionths": what is too much to end by itself; "0 0": nothing is.
    """

    pause_ms: int = 0
    shown: Mapping[str, str] = field(default_factory=dict)
    breaker: str = "0 0"

    def words(self) -> tuple[str | int, ...]:
        """Spell them as the scripts read them."""
        return (
            self.breaker,
            self.pause_ms,
            *(word for each in self.shown.items() for word in each),
        )


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a script did nothing, and how much was due.

    Attributes:
        why: "" where it did something. "epoch", "clock": the namespace is frozen; "unknown": it will be, once somebody has
            looked again at what the root shows; "server": the server was started or replaced a moment ago; "breaker": more is
            due than anybody can have meant; "settling": so it seems, until releases and changes of policies are worked off.
    """

    why: str = ""
    due: int = 0


GOES_ON: Final = Stopped()


def stopped(answer: Mapping[str, Any]) -> Stopped:
    """Return why a script did nothing, as its answer says it."""
    why = answer.get("held", "")
    return Stopped(why, whole(answer["due"])) if why in _WHYS else GOES_ON


@dataclass(frozen=True, slots=True)
class Ticked:
    """What a look at a root came to.

    Attributes:
        why: Why the namespace may delete nothing now, as in `Stopped`; or "new": the root was not shown by this index.
        entry: What is to be written in the root; "" where it shows that already.
    """

    why: str
    entry: str


def tick(
    root: str, shown: str, pause_ms: int, token: str, op: str, *, sure: bool = False
) -> Command[Ticked]:
    """Look at what a root shows, and make the chain longer; `sure`: it was read again after an answer that asks for it."""

    def parse(reply: Any) -> Ticked:
        a = from_json(reply)
        entry = str(a["entry"])
        if entry and not ENTRY.fullmatch(entry):
            raise ValueError(f"not an entry: {entry!r:.60}")
        return Ticked(str(a["held"]), entry)

    return Command("epoch", (token, pause_ms, root, shown, int(sure)), parse, op)


_BOUND: Final = re.compile(r"([0-9]{1,16}) ([0-9]{1,16})")


def kept_below(reasons: Sequence[Any], bound: Any, now_ms: int) -> int:
    """Return the seq below which no deadline counts now: as `_due.lua`, from the replies of HMGET and GET."""
    if any(reason is not None for reason in reasons):
        return LARGEST_SEQ + 1
    said = _BOUND.fullmatch(text(bound)) if bound is not None else None
    return int(said[1]) if said and now_ms < int(said[2]) else 0


@dataclass(frozen=True, slots=True)
class Chain:
    """All that the index knows of its epochs.

    Attributes:
        places: Root id -> "host:path".
        notes: Root id -> what was noted of it.
        overdue: Refs whose deadline has passed and that no sweep has ended.
        waiting: Files that could be deleted now, in the roots that were asked for.
    """

    entries: tuple[str, ...]
    born_ms: int
    notes: Mapping[str, str]
    places: Mapping[str, str]
    frozen: Frozen | None
    kept_until: datetime | None
    overdue: int
    waiting: int

    def standing(self, root: str, shown: str) -> str:
        """Say how the index takes what a root shows, as `lua/_frozen.lua`: "known", "new" or "unknown"."""
        seen, *noted = self.notes.get(root, "0").split(" ")
        if not ENTRY.fullmatch(shown):
            return "unknown" if seen == "1" else "known" if noted else "new"
        if shown in noted or shown in self.entries:
            return "known" if noted else "new"
        before = int(seen[1:]) if seen.startswith("*") else self.born_ms
        return "new" if not noted and int(shown.split(".")[1]) < before else "unknown"


def frozen_by(reason: str, words: str, places: Mapping[str, str]) -> Frozen:
    """Return what the hash `frozen` says.

    Raises:
        Corrupt: it says nothing that a script says.
    """
    since, _, rest = words.partition(" ")
    root, _, shown = rest.partition(" ")
    with reading("frozen"):
        if reason == "clock":
            return Frozen(reason, moment(since), "", shown[:100], "", int(root) / 1000)
        at, known = moment(since), plain_id(root, "frozen")
        return Frozen(reason, at, known, places.get(known, ""), shown[:100])


def chain(roots: Sequence[str], now_ms: int) -> Read[Chain]:
    """Read all that there is to know of the epochs of a namespace, and of what is due now, in these roots where it is files."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        queues = ("expiry", *(f"trash:{root}" for root in roots))
        return [
            *(("HGETALL", f"{p}{name}") for name in ("frozen", "noted", "roots")),
            ("LRANGE", f"{p}epochs", 0, -1),
            *(("GET", f"{p}{name}") for name in ("bound", "born", "format")),
            *(("ZCOUNT", f"{p}{name}", "-inf", now_ms) for name in queues),
        ]

    def parse(_: Marks, replies: list[Any], __: int) -> Chain:
        frozen, notes, places = (raw_pairs(found or []) for found in replies[:3])
        bound, born, known = replies[4:7]
        said = _BOUND.fullmatch(text(bound)) if bound is not None else None
        until = int(said[2]) if said else 0
        never = 0 if known is not None else LARGEST_SEQ
        due = [int(count) for count in replies[7:]]
        with reading("born"):
            born_ms = whole(born) if born is not None else never
        return Chain(
            tuple(raw(entry) for entry in replies[3]),
            born_ms,
            notes,
            places,
            next((frozen_by(why, frozen[why], places) for why in _FREEZES if why in frozen), None),
            from_ms(until) if until > now_ms else None,
            due[0],
            sum(due[1:]),
        )

    return Read(build, parse)


def clock(ahead_s: float, host: str, op: str) -> Command[None]:
    """Say that the server's clock has jumped, by how much, and for which host; 0: that it is sound."""
    said = round(abs(ahead_s) * 1000), int(ahead_s < 0), host
    return Command("clock", said, lambda _: None, op)


def accept(shown: Mapping[str, str], op: str) -> Command[Accepted]:
    """Let the namespace go on as it is."""

    def parse(reply: Any) -> Accepted:
        a = from_json(reply)
        with reading("bound"):
            moment(a["until"])
            return Accepted(from_ms(int(a["until"])), whole(a["roots"]))

    said = (word for each in shown.items() for word in each)
    return Command("accept_epoch", (KEEP_MS, *said), parse, op)
