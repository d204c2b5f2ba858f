"""What the store says of lifetimes: leases, tombstones, and bytes that wait; frozen values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self

from .errors import InvalidRequest
from .model import Ref, parse_duration, parse_retention

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from .errors import Reason
    from .model import Duration, MediaMeta

_HANDOFF: Final = re.compile(
    r"media-lease://([A-Za-z0-9_-]{16,64})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{22})"
)

Kept = Literal["", "grace", "lease", "refs"]


def parse_lifetime(value: Duration) -> float | None:
    """Return a lifetime in seconds, as a duration or a spelt retention policy says it; None for `NEVER`.

    Raises:
        InvalidPolicy: it begins like a retention policy and is none.
        InvalidRequest: it is no duration.
    """
    if isinstance(value, str) and value.startswith(("delete-after-", "retain-")):
        return parse_retention(value)
    return parse_duration(value)


@dataclass(frozen=True, slots=True)
class Taken:
    """A lease as the index gave it.

    Attributes:
        path: Where the bytes are for as long as it holds: the held link, or the path itself where there is none.
        meta: What was known of the media when it was taken.
        identity: How the file is known again.
        ttl_ms: How long it holds from each renewal on.
        until_ms: Its deadline on the server's clock.
    """

    ref: Ref
    blob: str
    root: str
    token: str = field(repr=False)
    path: Path
    meta: MediaMeta
    identity: str = field(repr=False)
    ttl_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Handoff:
    """What a hand-over says: the ref, its blob, and the lease that is swapped for the receiver's own."""

    ref: Ref
    blob: str
    token: str = field(repr=False)

    def __str__(self) -> str:
        """Spell it as it travels: text for JSON, a Celery message, an HTTP call."""
        return f"media-lease://{self.ref.id}.{self.blob}.{self.token}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `handoff` spelt.

        Raises:
            InvalidRequest: it is no such text.
        """
        match = _HANDOFF.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidRequest("not the token of a hand-over; pass on what handoff() returned")
        return cls(Ref(f"media://{match[1]}"), match[2], match[3])


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease as others see it.

    Attributes:
        holder: "host:pid", or "handoff:host:pid" while it travels in a message.
        until: Its deadline, unless it is renewed.
    """

    holder: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """The file of refs that have ended, whose bytes stay for a while: in grace, or under a lease.

    Attributes:
        path: Absolute where this process has the root, otherwise relative to the root.
        until: When it may go, unless a lease is renewed.
        holders: Whose leases of it hold, each as `LeaseInfo.holder`.
    """

    blob: str
    root: str
    path: Path
    size_bytes: int
    kept_for: Kept
    until: datetime
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is remembered of a ref that ended.

    Attributes:
        when: When it ended; of a deadline, when that was.
        by: Which call of whom ended it, in words.
        meta: What was known of the media; empty where nothing of its bytes stayed.
        kept_for: Why its bytes are still there; empty where they are gone or going.
        bytes_until: How long they stay at least, so that `restore` can bring them back; None: no longer, or
            for as long as other refs hold them.
    """

    ref: Ref
    reason: Reason
    when: datetime
    by: str
    scope: str
    meta: MediaMeta
    kept_for: Kept = ""
    bytes_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ScopeDeadline:
    """When a scope ends by itself, with all that is below it; a sweep then releases it.

    Attributes:
        due: What comes first of the two below, as things stand now.
        ends_at: Its fixed deadline; None: it has none.
        idle_s: It ends after so many seconds in which nothing happens in it or below; None: it has no such deadline.
        active_at: When something last happened there, to a tenth of `idle_s`.
    """

    scope: str
    due: datetime
    ends_at: datetime | None
    idle_s: float | None
    active_at: datetime
