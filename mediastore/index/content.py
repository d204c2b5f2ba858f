"""The commands by which content is written: a reservation, its end in a ref, or its end in nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mediastore.model import encode_scope
from mediastore.plain import plain_id, plain_path

from .steps import Command, Lifetime, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mediastore.model import MediaMeta


@dataclass(frozen=True, slots=True)
class Wish:
    """The ref that content is to get.

    `detected` says what the bytes look like, where that is not what was said of them.
    `alone` names a blob with the same content that must not be joined, because its file is gone.
    """

    ref: str
    blob: str
    scope: str
    life: Lifetime
    meta: MediaMeta
    detected: str = ""
    alone: str = ""

    @property
    def lifetime(self) -> int | str:
        """Its lifetime as the scripts read it."""
        return "" if self.life is None else self.life

    @property
    def facts(self) -> list[str]:
        """Its metadata as the scripts read it."""
        said = self.meta.to_dict() | ({"detected": self.detected} if self.detected else {})
        return [str(part) for item in said.items() for part in item]


@dataclass(frozen=True, slots=True)
class Place:
    """Where content is to lie, how much there is as far as is known, and its SHA-256 where blobs are shared.

    `sidecar`: whether what is known of its refs is written beside the file as well.
    """

    root: str
    path: str
    size: int
    sha: str = ""
    sidecar: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """The lease by which a writer keeps its reservation."""

    token: str
    ttl_ms: int
    longest_ms: int
    who: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """What a reservation came to.

    The verdict is "reserved", "joined" (a blob that has the content), "forgotten" (the root), "lost" (to a sweeper),
    "policy" (nobody knows it) or "quota:..." (what it would exceed).
    `life_ms` is how long the ref would live as things stand, None for no end; `limited` says whether a quota is to be kept to.
    `stamp` is what was recorded of the times of the file that was joined; empty if nothing was.
    """

    verdict: str
    blob: str
    path: str
    until_ms: int
    life_ms: int | None = None
    limited: bool = False
    stamp: str = ""


def reserve(
    wish: Wish, place: Place, hold: Hold, op: str, *, again: bool = False
) -> Command[Reserved]:
    """Enter a blob that is about to be written; `again`: say its path, size and hash anew, if it is reserved still."""
    said = (wish.alone, int(again), hold.token, hold.ttl_ms, hold.longest_ms, hold.who)
    args = (
        *(wish.ref, wish.blob, encode_scope(wish.scope), place.root, place.path, place.size),
        *(place.sha, *said, int(place.sidecar), wish.lifetime, *wish.facts),
    )

    def parse(reply: Any) -> Reserved:
        a = from_json(reply)
        life_ms = int(a["life"]) if a["life"] else None
        until_ms, limited = int(a["until"]), bool(a["limited"])
        return Reserved(a["verdict"], a["blob"], _path(a), until_ms, life_ms, limited, a["stamp"])

    return Command("reserve", args, parse, op)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit came to.

    The verdict is "new", "joined", "lost" (the reservation had ended), "forgotten" (the root), "policy" (nobody knows it)
    or "quota:..." (what it exceeds). `stamp` as in `Reserved`.
    """

    verdict: str
    blob: str
    path: str
    stamp: str = ""


def commit(
    wish: Wish, token: str, size: int, sha: str, stored_ms: int, stamp: str
) -> Command[Committed]:
    """Make the ref of content that has its name now, as of a moment since its reservation.

    `stamp` is what tells later whether somebody has written to its file; empty if nothing does.
    """
    head = (
        wish.ref,
        wish.blob,
        encode_scope(wish.scope),
        token,
        size,
        sha,
        wish.alone,
        stored_ms,
        stamp,
    )
    args = (*head, wish.lifetime, *wish.facts)

    def parse(reply: Any) -> Committed:
        a = from_json(reply)
        return Committed(a["verdict"], plain_id(a["blob"]), _path(a), a["stamp"])

    return Command("commit", args, parse)


def _path(answer: Mapping[str, Any]) -> str:
    """Return the path in an answer; empty where it has none."""
    return plain_path(answer["path"], f"blob:{answer['blob']}") if answer["path"] else ""


def abandon(blob: str) -> Command[None]:
    """Give a blob up, if it is reserved still."""
    return Command("abandon", (blob,), lambda _: None)
