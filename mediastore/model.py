"""What the store speaks of: refs, scopes, metadata, durations and results, frozen and validated.

Nothing here does I/O. A value that exists is valid: every constructor or `parse` refuses the rest with a typed error.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, unquote

from .errors import InvalidPolicy, InvalidRef, InvalidRequest, InvalidScope

if TYPE_CHECKING:
    from pathlib import Path

SCHEME: Final = "media://"
_REF = re.compile(r"media://[A-Za-z0-9_-]{16,64}")
_SCOPE_MAX_BYTES = 512
_SCOPE_MAX_SEGMENTS = 8
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: Readable in redis-cli as they are; everything else in a scope is percent-encoded in key names.
_SCOPE_SAFE = "/:@!$&'()+,;=~"
_HALF = re.compile(r"[\ud800-\udfff]")
_META_MAX_BYTES = 1024
#: A hundred years: longer lifetimes are spelt NEVER, and no deadline overflows.
_LONGEST_S = 100 * 365 * 86400.0
_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RETENTION = re.compile(r"(?:delete-after|retain)-([1-9]\d{0,8})(min|hours|days)")
_POLICY_NAME = re.compile(r"(?!delete-after-|retain-)[a-z][a-z0-9._-]{0,62}")
_RETENTION_S = {"min": 60, "hours": 3600, "days": 86400}


class Ref(str):
    """The handle `media://<id>`; a plain `str` everywhere, in JSON, Celery messages and databases."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return `text` as a ref.

        Raises:
            InvalidRef: it is not `media://` and 16 to 64 characters of `[A-Za-z0-9_-]`.
        """
        if isinstance(text, cls):
            return text
        if not isinstance(text, str) or not _REF.fullmatch(text):
            raise InvalidRef(f"not a ref: {text!r:.100}")
        return cls(text)

    @property
    def id(self) -> str:
        """The part after `media://`."""
        return self[len(SCHEME) :]


def is_text(value: object) -> bool:
    """Return whether a value is text that can be sent and kept: a str without half characters."""
    return isinstance(value, str) and (value.isascii() or not _HALF.search(value))


def is_id(text: str) -> bool:
    """Return whether a text can be the id of a ref or a blob, and so a name on disk and a part of a key."""
    return bool(_REF.fullmatch(SCHEME + text))


def check_scope(scope: str) -> str:
    """Return `scope` if it is a scope path; it is the same text, never normalised.

    Raises:
        InvalidScope: not 1 to 512 bytes of UTF-8, not 1 to 8 non-empty segments joined by `/`,
            a control character, or a segment `.` or `..`.
    """
    if not isinstance(scope, str):
        raise InvalidScope(
            f"a scope is a str (of a scope object, its name), not {type(scope).__name__}"
        )
    try:
        size = len(scope.encode())
    except UnicodeEncodeError:
        raise InvalidScope(f"scope {scope!r:.100} holds a lone surrogate") from None
    segments = scope.split("/")
    if not 1 <= size <= _SCOPE_MAX_BYTES:
        raise InvalidScope(f"a scope has 1 to {_SCOPE_MAX_BYTES} bytes, not {size}")
    if len(segments) > _SCOPE_MAX_SEGMENTS:
        raise InvalidScope(
            f"a scope has at most {_SCOPE_MAX_SEGMENTS} segments, not {len(segments)}"
        )
    if _CONTROL.search(scope):
        raise InvalidScope(f"scope {scope!r:.100} holds a control character")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidScope(f"scope {scope!r:.100} has an empty segment, `.` or `..`")
    return scope


def encode_scope(scope: str) -> str:
    """Return the scope as key names spell it: injective, and readable for the usual characters."""
    return quote(scope, safe=_SCOPE_SAFE)


def decode_scope(name: str) -> str:
    """Return the scope that `encode_scope` spelt as `name`."""
    return unquote(name)


class Never:
    """The type of `NEVER`: a lifetime without an end."""

    def __repr__(self) -> str:
        """Read as it is written."""
        return "NEVER"


NEVER: Final = Never()
Duration = float | int | str | timedelta | Never


def parse_duration(value: Duration) -> float | None:
    """Return a lifetime in seconds; None for `NEVER` or "never".

    Args:
        value: Seconds, a timedelta, or text such as "90s", "30m", "12h", "7d", "never".

    Raises:
        InvalidRequest: not a duration, not above zero, or above a hundred years.
    """
    if isinstance(value, Never) or value == "never":
        return None
    seconds = seconds_of(value)
    if seconds is None:
        raise InvalidRequest(
            f'not a duration: {value!r:.60}; use seconds, "90s", "30m", "12h" or "7d"'
        )
    if not 0 < seconds <= _LONGEST_S:
        raise InvalidRequest(f"a duration lies above zero and below a hundred years: {value!r:.60}")
    return seconds


def seconds_of(value: object) -> float | None:
    """Return a length of time in seconds, in whatever way it is said, also zero and less; None for what is none."""
    try:
        if isinstance(value, timedelta):
            seconds = value.total_seconds()
        elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip().lower())):
            seconds = float(match[1]) * _UNIT_S[match[2]]
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            seconds = float(value)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def parse_retention(policy: str) -> float:
    """Return the lifetime in seconds that a retention policy names.

    The grammar is PromptKit's (runtime/storage/policy/types.go): `delete-after-<N>min`,
    `retain-<N>hours`, `retain-<N>days`; zero, signs and overflow, which it accepts, are refused.

    Raises:
        InvalidPolicy: `policy` is not of that form.
    """
    match = _RETENTION.fullmatch(policy) if isinstance(policy, str) else None
    if not match or (policy.startswith("delete") != (match[2] == "min")):
        raise InvalidPolicy(f"unknown retention policy: {policy!r:.60}")
    seconds = float(match[1]) * _RETENTION_S[match[2]]
    if seconds > _LONGEST_S:
        raise InvalidPolicy(f"retention policy {policy!r:.60} is longer than a hundred years")
    return seconds


def is_named(policy: str) -> bool:
    """Return whether a retention policy is a name, whose lifetime somebody says elsewhere, rather than spelt out."""
    return isinstance(policy, str) and bool(_POLICY_NAME.fullmatch(policy))


class Cleanup(StrEnum):
    """Whether the file is ours to delete once no ref holds it.

    picoclaw's spellings (`CleanupPolicy` in pkg/media/store.go) are accepted; its silent
    default for a typo is not, because it deletes the user's file.
    """

    DELETE = "delete"
    FORGET = "forget"

    @classmethod
    def _missing_(cls, value: object) -> Cleanup:
        known = {"": cls.DELETE, "delete_on_cleanup": cls.DELETE, "forget_only": cls.FORGET}
        if isinstance(value, str) and value in known:
            return known[value]
        raise InvalidPolicy(f"unknown cleanup policy: {value!r:.60}")


@dataclass(frozen=True, slots=True)
class MediaMeta:
    """What is known about one media file besides its place; kept with the ref, never interpreted.

    `cleanup` and `policy` are the two exceptions: whether the file is ours to delete, and the
    retention policy that sets the ref's lifetime: spelt, or a name that is looked up when the ref is stored. Text fields hold at most 1024 bytes.
    """

    filename: str = ""
    content_type: str = ""
    source: str = ""
    cleanup: Cleanup = Cleanup.DELETE
    run_id: str = ""
    conversation_id: str = ""
    session_id: str = ""
    message_idx: int | None = None
    part_idx: int | None = None
    provider_id: str = ""
    policy: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be kept or read back."""
        object.__setattr__(self, "cleanup", Cleanup(self.cleanup))
        for name in _META_TEXT:
            _check_text(name, getattr(self, name))
        for name in _META_INTS:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 0 <= value < 2**53):
                raise InvalidRequest(f"{name} is a whole number from 0, not {value!r:.60}")
        if self.policy and not is_named(self.policy):
            parse_retention(self.policy)

    def to_dict(self) -> dict[str, str | int]:
        """Return the fields that differ from their defaults, ready for JSON."""
        said = ((f, getattr(self, f.name)) for f in fields(self))
        return {f.name: value for f, value in said if value != f.default}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the metadata that `to_dict` wrote; numbers may be text.

        Raises:
            InvalidRequest: a value cannot be metadata, or a name is none of ours.
        """
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise InvalidRequest("metadata is a mapping of names to values")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise InvalidRequest(f"unknown metadata: {', '.join(map(repr, sorted(unknown))):.300}")
        return cls(
            **{**values, **{name: _number(values[name]) for name in _META_INTS if name in values}}
        )


_META_INTS = ("message_idx", "part_idx")
_META_TEXT = tuple(f.name for f in fields(MediaMeta) if f.name not in {"cleanup", *_META_INTS})


def _number(value: object) -> object:
    """Return a whole number that was written as text; whatever else it is, the constructor judges."""
    digits = isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdecimal()  # noqa: PLR2004
    return int(value) if digits else value  # type: ignore[call-overload]


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is text, not {type(value).__name__}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"{name} holds a lone surrogate") from None
    if size > _META_MAX_BYTES or "\x00" in value:
        raise InvalidRequest(f"{name} holds at most {_META_MAX_BYTES} bytes and no NUL")


@dataclass(frozen=True, slots=True)
class Media:
    """One live ref and what it points at.

    Attributes:
        path: Absolute where this process has the root, otherwise relative to the root.
        root: The id of the root that holds the file.
        size_bytes: As registered.
        expires_at: None means never.
        seq: The place in store order; grows with every ref of the namespace.
        pinned: Exempt from expiry until it is unpinned.
        idle_s: Set where the scope, or one above it, ends after so many seconds without activity.
        detected_type: What the bytes looked like when they were handed over, where that is not `meta.content_type`.
    """

    ref: Ref
    scope: str
    root: str
    path: Path
    size_bytes: int
    custody: str
    state: str
    stored_at: datetime
    expires_at: datetime | None
    meta: MediaMeta
    seq: int
    blob: str
    identity: str = field(repr=False)
    pinned: bool = False
    idle_s: float | None = field(default=None, repr=False)
    detected_type: str = ""


def from_ms(ms: int) -> datetime:
    """Return server milliseconds as an aware UTC time."""
    return datetime.fromtimestamp(ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Released:
    """What one release did, and what it could not do now.

    Each blob that lost a ref is in exactly one of the counts, and they count this call alone, so that the calls of many
    processes sum to the truth.

    Attributes:
        refs: Refs that this call ended.
        deleted: Blobs whose bytes this call removed.
        freed_bytes: How much room that made; a file that has a name of its owner's elsewhere makes none.
        kept: Blobs that another ref holds, or that were borrowed.
        gone: Blobs whose bytes somebody else had removed before, or whose root was forgotten.
        spared: Blobs at whose path something stands that is not, or cannot be shown to be, the registered file.
            It is not touched, and `mediastore doctor` names it.
        pending: Blobs of another root, in grace, under a lease, or claimed by another sweeper.
        failed: Blobs that could not be deleted now; they are tried again.
        closed: Others may still be draining refs that this call did not count.
    """

    refs: int = 0
    deleted: int = 0
    freed_bytes: int = 0
    kept: int = 0
    gone: int = 0
    spared: int = 0
    pending: int = 0
    failed: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did: refs that ended (`expired` by time, `drained` after a release), and what became of their blobs.

    The counts of blobs are those of `Released`; `pending` is what waits in the trash of every root.
    `frozen` counts what was due and was not done, refs, scopes and files, because the namespace is frozen, the breaker is
    tripped, or the index server was started or replaced a moment ago.
    """

    refs: int = 0
    expired: int = 0
    drained: int = 0
    deleted: int = 0
    freed_bytes: int = 0
    kept: int = 0
    gone: int = 0
    spared: int = 0
    pending: int = 0
    failed: int = 0
    frozen: int = 0


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """What releasing `scope` would do now: a dry run as a value; `store.execute(plan)` does it."""

    scope: str
    refs: int
    blobs: int
    size_bytes: int
    kept: int
    scopes: int
