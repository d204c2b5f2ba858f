"""The kinds of step that reach Redis, what a connection has learnt, and the text of the scripts.

Nothing here talks to Redis. A `Command` names a script with its arguments and says how to read the answer; a `Batch` is
several of them in one write; a `Read` builds plain commands that one write sends together. The clients send them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from mediastore.errors import Corrupt

if TYPE_CHECKING:
    from mediastore.errors import MediaStoreError

R = TypeVar("R")

#: How long a ref is to live, as scripts read it: ms, None for no end, or a word that `_policy.lua` explains.
Lifetime = int | str | None

#: What this version writes; another format is refused, never guessed.
FORMAT: Final = "1"
#: A changing command is refused this long after it was made (W of the protocol).
REPLAY_WINDOW_MS: Final = 60_000
#: No script gives a larger one.
LARGEST_SEQ: Final = 9_000_000_000_000_000
#: The most refs or blobs a script looks at or claims, so that its pause stays below a millisecond.
BATCH: Final = 32
#: Beyond this many facts it is cheaper to learn the marks again than to keep those that drains have finished.
MOST_FACTS: Final = 10_000
#: The most refs a script ends or describes, and leases it renews: each costs three times as much (benchmarks/script_pause.py).
END_BATCH: Final = 10

_ENDS_REFS = (
    "_facts",
    "_noted",
    "_policy",
    "_quota",
    "_marks",
    "_cuts",
    "_batch",
    "_deadline",
    "_plan",
    "_path",
    "_prune",
    "_doom",
    "_graves",
    "_bury",
)
_ENTERS = ("_facts", "_noted", "_policy", "_quota", "_marks", "_live", "_deadline", "_enter")
_MAKES_REFS = (
    "_facts",
    "_noted",
    "_policy",
    "_quota",
    "_deadline",
    "_enter",
    "_rescue",
    "_copy",
    "_leases",
)
_OWNS = ("_twin", *_MAKES_REFS, "_reserved", "_own")
_LEASES = ("_facts", "_marks", "_live", "_deadline", "_rescue", "_leases")
_ALWAYS = ("_prelude", "_plain", "_due", "_lineage", "_count")
#: What stands between those and a script.
_SHARED = {
    "store": (
        "_twin",
        "_noted",
        "_path",
        "_seen",
        "_rescue",
        "_policy",
        "_quota",
        "_deadline",
        "_enter",
    ),
    "refuse": ("_twin",),
    "withdraw": _ENDS_REFS,
    "release": _ENDS_REFS,
    "drain": (*_ENDS_REFS, "_breaker"),
    "expire": (*_ENDS_REFS, "_paused", "_frozen", "_breaker", "_tripped"),
    "delete": (*_ENDS_REFS, "_live"),
    "extend": _ENTERS,
    "transfer": (*_ENTERS, "_prune"),
    "share": (*_ENTERS, "_copy"),
    "restore": (*_ENTERS, "_path", "_rescue", "_copy"),
    "lease": _LEASES,
    "renew": ("_rescue", "_leases"),
    "end_lease": ("_rescue", "_leases"),
    "accept": ("_facts", "_rescue", "_leases"),
    "limit": (*_ENTERS, "_prune"),
    "idle": ("_deadline",),
    "lapse": (
        *("_marks", "_cuts", "_deadline", "_prune", "_paused", "_frozen"),
        *("_breaker", "_tripped"),
    ),
    "epoch": (
        "_paused",
        "_frozen",
    ),
    "accept_epoch": (
        "_paused",
        "_frozen",
    ),
    "note": ("_deadline",),
    "reserve": _OWNS,
    "commit": _OWNS,
    "abandon": ("_rescue", "_quota", "_reserved"),
    "claim": (
        *("_path", "_turns", "_rescue", "_quota", "_reserved"),
        *("_views", "_choice", "_seize", "_paused", "_frozen"),
    ),
    "acknowledge": ("_batch", "_outcomes"),
    "forget": ("_batch", "_path", "_rescue", "_quota", "_reserved"),
    "list": ("_marks",),
    "set_quota": ("_quota",),
    "set_policy": ("_policy",),
    "remove_policy": ("_policy",),
    "move_policy": ("_facts", "_noted", "_policy", "_marks", "_live", "_batch"),
    "apply_policy": _ENTERS,
    "revive": (*_MAKES_REFS, "_reserved", "_told", "_revival"),
}
#: Scripts that free memory must run when there is none left; so must the greeting before them, and those that keep
#: what is held: a fleet short of memory must not lose its leases for it.
_FREES = {
    *("open", "release", "drain", "expire", "claim", "acknowledge", "refuse", "withdraw"),
    *("forget", "adopt", "rebind", "delete", "renew", "end_lease", "lapse", "abandon"),
    # A shorter policy is a way out; and a sweep must get past the change of one to what it frees.
    "move_policy",
    "inscribed",
    *("epoch", "accept_epoch", "clock", "allow_breaker"),
}
_READS = {"list", "roots", "stats"}


@dataclass(frozen=True, slots=True)
class Command(Generic[R]):
    """One run of one script. `yield from` it inside a flow to get its answer.

    `unrooted`: it may be said before the roots of this process were verified, as those who mend them must.
    """

    script: str
    args: tuple[str | int | bytes, ...]
    parse: Callable[[Any], R]
    op: str = ""
    unrooted: bool = False

    @property
    def changes(self) -> bool:
        """Whether the script writes, so that it must carry a time after which it is refused."""
        return self.script not in _READS

    def __iter__(self) -> Generator[Self, Any, R]:
        """Hand the step to the driver and return the parsed answer."""
        answer: R = yield self
        return answer


@dataclass(frozen=True, slots=True)
class Batch(Generic[R]):
    """Several commands in one write, each of them a script of its own; not a transaction.

    Its answer is a list in their order: what a command answers, or the `MediaStoreError` that it met.
    """

    commands: tuple[Command[R], ...]
    script = "batch"

    @property
    def unrooted(self) -> bool:
        """Whether all of them may be said before the roots of this process were verified."""
        return all(command.unrooted for command in self.commands)

    @property
    def changes(self) -> bool:
        """Whether one of them writes."""
        return any(command.changes for command in self.commands)

    def __iter__(self) -> Generator[Self, Any, list[R | MediaStoreError]]:
        """Hand the step to the driver and return the answers."""
        answers: list[R | MediaStoreError] = yield self
        return answers


@dataclass(frozen=True, slots=True)
class Read(Generic[R]):
    """Plain commands sent in one write; `build` gets the key prefix and what this connection has seen.

    A `timed` read asks the server's time first, in the same write, and `parse` gets it in milliseconds.
    `unrooted` as for a `Command`.
    """

    build: Callable[[str, Marks], list[tuple[str | int, ...]]]
    parse: Callable[[Marks, list[Any], int], R]
    timed: bool = False
    unrooted: bool = False

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
    most: int = MOST_FACTS
    wrong: set[str] = field(default_factory=set)

    def since(self) -> int:
        """Return the seq after which marks are to be asked for; 0 to learn them all (again)."""
        if len(self.facts) > self.most:
            # Before the question: whoever forgot after it would take a released ref for a live one.
            self.facts, self.cursor = {}, 0
        return self.cursor

    def forget(self, *_: object) -> None:
        """Start empty, as a new connection must."""
        self.facts, self.cursor, self.connected = {}, 0, self.connected + 1

    def learn(self, marks: Iterable[tuple[str, float]]) -> None:
        """Merge new marks; the facts first, the cursor last.

        One beyond every seq is none that a script has set. It must not move the cursor, for the marks to come are smaller;
        it is sent again with every answer.
        """
        newest, all_of_them = self.cursor, self.cursor == 0
        self.wrong = set()
        for scope, seq in marks:
            if seq > LARGEST_SEQ:
                self.wrong.add(scope)
                continue
            self.facts[scope] = max(int(seq), self.facts.get(scope, 0))
            newest = max(newest, int(seq))
        if all_of_them:
            # With more marks than that standing, every question would be one for all of them.
            self.most = max(MOST_FACTS, 2 * len(self.facts))
        self.cursor = newest

    def cut(self, scope: str, seq: int) -> tuple[str, int] | None:
        """Return the first release, of the scope or of an ancestor, that ended the ref with this seq: its scope, its own seq.

        Raises:
            Corrupt: one of them has a seq that no script gives, so that nobody can tell whether the ref lives.
        """
        first: tuple[str, int] | None = None
        while True:
            if scope in self.wrong:
                raise Corrupt(f"closed holds a seq that is none, of {scope!r:.100}")
            mark = self.facts.get(scope, 0)
            if mark >= seq and (first is None or mark < first[1]):
                first = scope, mark
            scope, slash, _ = scope.rpartition("/")
            if not slash:
                return first


@cache
def source(script: str, *, shebang: bool = True) -> str:
    """Return the whole text of a script: its flags, the shared parts, its own.

    Args:
        script: The name of a file in `lua/`, without its ending.
        shebang: fakeredis knows no `#!lua` line and needs it left out.
    """
    parts = (*_ALWAYS, *_SHARED.get(script, ()), script)
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


def raw(value: Any) -> str:
    """As `text`, also where it is no UTF-8: whoever uses it looks at it first."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def from_json(reply: Any) -> dict[str, Any]:
    """Return the JSON answer of a script; what is no UTF-8 in it is for the reader of that value to find."""
    answer: dict[str, Any] = json.loads(raw(reply))
    return answer


def raw_pairs(flat: Sequence[Any] | Mapping[Any, Any]) -> dict[str, str]:
    """As `pairs`, also of what is no UTF-8: for whoever looks at each value before it is used."""
    items = flat.items() if isinstance(flat, Mapping) else zip(flat[::2], flat[1::2], strict=True)
    return {raw(name): raw(value) for name, value in items}


def pairs(flat: Sequence[Any] | Mapping[Any, Any]) -> dict[str, str]:
    """Return a flat reply, or the map of RESP3, as a dict of text."""
    if isinstance(flat, Mapping):
        return {text(name): text(value) for name, value in flat.items()}
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def scored(reply: Any) -> list[tuple[str, float]]:
    """Return a WITHSCORES reply: flat in RESP2, pairs in RESP3. A member may be no UTF-8, as with `raw_pairs`."""
    if reply and isinstance(reply[0], list | tuple):
        return [(raw(member), float(score)) for member, score in reply]
    return [(raw(m), float(text(s))) for m, s in zip(reply[::2], reply[1::2], strict=True)]
