"""The two kinds of step that reach Redis, what a connection has learnt, and the text of the scripts.

Nothing here talks to Redis. A `Command` names a script with its arguments and says how to read the answer;
a `Read` builds plain commands that one write sends together. The clients send both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

R = TypeVar("R")

#: What this version writes; another format is refused, never guessed.
FORMAT: Final = "1"
#: A changing command is refused this long after it was made (W of the protocol).
REPLAY_WINDOW_MS: Final = 60_000
#: The most refs or blobs a script looks at or claims, so that its pause stays below a millisecond.
BATCH: Final = 64
#: The most refs a script ends or describes: that costs three times as much (benchmarks/script_pause.py).
END_BATCH: Final = 20

_ENDS_REFS = {"release", "drain", "expire"}
#: Scripts that free memory must run when there is none left; so must the greeting before them.
_FREES = {"open", "release", "drain", "expire", "claim", "acknowledge", "refuse"}
_READS = {"list", "stats"}


@dataclass(frozen=True, slots=True)
class Command(Generic[R]):
    """One run of one script. `yield from` it inside a flow to get its answer."""

    script: str
    args: tuple[str | int, ...]
    parse: Callable[[Any], R]
    op: str = ""

    @property
    def changes(self) -> bool:
        """Whether the script writes, so that it must carry a time after which it is refused."""
        return self.script not in _READS

    def __iter__(self) -> Generator[Self, Any, R]:
        """Hand the step to the driver and return the parsed answer."""
        answer: R = yield self
        return answer


@dataclass(frozen=True, slots=True)
class Read(Generic[R]):
    """Plain commands sent in one write; `build` gets the key prefix and what this connection has seen.

    A `timed` read asks the server's time first, in the same write, and `parse` gets it in milliseconds.
    """

    build: Callable[[str, Marks], list[tuple[str | int, ...]]]
    parse: Callable[[Marks, list[Any], int], R]
    timed: bool = False

    def __iter__(self) -> Generator[Self, Any, R]:
        """Hand the step to the driver and return the parsed answer."""
        answer: R = yield self
        return answer


@dataclass(slots=True, weakref_slot=True, eq=False)
class Marks:
    """The releases one connection has seen: for each scope the newest, which is a fact for ever.

    "Every ref under this scope with a smaller seq is dead" never becomes false, so only marks newer than
    the cursor are asked for. A new connection starts empty: after a failover the cursor could be ahead.
    """

    facts: dict[str, int] = field(default_factory=dict)
    cursor: int = 0
    connected: int = 0

    #: Beyond this many facts it is cheaper to start again than to keep what drains have finished.
    MOST: ClassVar[int] = 10_000

    def forget(self, *_: object) -> None:
        """Start empty, as a new connection must."""
        self.facts, self.cursor, self.connected = {}, 0, self.connected + 1

    def learn(self, marks: Iterable[tuple[str, int]]) -> None:
        """Merge new marks; the facts first, the cursor last."""
        if len(self.facts) > self.MOST:
            self.facts, self.cursor = {}, 0
            return
        newest = self.cursor
        for scope, seq in marks:
            self.facts[scope] = max(seq, self.facts.get(scope, 0))
            newest = max(newest, seq)
        self.cursor = newest

    def ended(self, scope: str, seq: int) -> bool:
        """Whether a release of the scope or of an ancestor ended the ref with this seq."""
        while True:
            if self.facts.get(scope, 0) >= seq:
                return True
            scope, slash, _ = scope.rpartition("/")
            if not slash:
                return False


@cache
def source(script: str, *, shebang: bool = True) -> str:
    """Return the whole text of a script: its flags, the shared part, its own.

    Args:
        script: The name of a file in `lua/`, without its ending.
        shebang: fakeredis knows no `#!lua` line and needs it left out.
    """
    parts = ["_prelude", *(["_plan", "_bury"] if script in _ENDS_REFS else []), script]
    body = "\n".join(
        (files("mediastore") / "lua" / f"{part}.lua").read_text("utf-8") for part in parts
    )
    flags = (
        " flags=allow-oom" if script in _FREES else " flags=no-writes" if script in _READS else ""
    )
    return f"#!lua{flags}\n{body}" if shebang else body


@cache
def digest(script: str, *, shebang: bool = True) -> str:
    """Return the name by which the server knows the script."""
    return hashlib.sha1(source(script, shebang=shebang).encode(), usedforsecurity=False).hexdigest()


def prefix(namespace: str) -> str:
    """Return what every key of a namespace starts with: one hash tag, one slot."""
    return f"mediastore:{{{namespace}}}:"


def text(value: Any) -> str:
    """Return a reply as text, whatever the client decodes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def from_json(reply: Any) -> dict[str, Any]:
    """Return the JSON answer of a script."""
    answer: dict[str, Any] = json.loads(text(reply))
    return answer


def pairs(flat: Sequence[Any] | Mapping[Any, Any]) -> dict[str, str]:
    """Return a flat reply, or the map of RESP3, as a dict of text."""
    if isinstance(flat, Mapping):
        return {text(name): text(value) for name, value in flat.items()}
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def scored(reply: Any) -> list[tuple[str, float]]:
    """Return a WITHSCORES reply: flat in RESP2, pairs in RESP3."""
    if reply and isinstance(reply[0], list | tuple):
        return [(text(member), float(score)) for member, score in reply]
    return [(text(m), float(text(s))) for m, s in zip(reply[::2], reply[1::2], strict=True)]
