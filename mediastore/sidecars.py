"""Sidecars: what is known of a ref, as JSON beside its file, so that an index can be made again from a root alone.

The outer names are PromptKit's (runtime/storage/types.go, MediaMetadata); what it has no name for is under "mediastore".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from .errors import InvalidRequest
from .model import MediaMeta, Ref, check_scope, from_ms
from .naming import HOMES
from .records import read_object, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDING = ".meta"
#: Larger than any that we write: metadata holds a dozen texts of 1024 bytes.
MAX_BYTES = 64 << 10
#: PromptKit's name of each field of ours that has another.
_SEED = {"content_type": "mime_type", "policy": "policy_name"}
_OURS = ("filename", "source", "cleanup")
_SHA = re.compile(r"[0-9a-f]{64}")
#: RFC 3339, as PromptKit writes times too; one without an offset would mean something else on each host.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
#: No time that we write is later: the year 9999 has the last that a date can have.
_LATEST_MS = 253_402_300_799_999
#: Two hundred years, twice the longest lifetime: a touch adds as much to the time of the server, and that must stay a date.
_LONGEST_MS = 200 * 365 * 86_400_000
_MOST = 9 * 10**15
_TYPE_MAX_BYTES = 255
_NAME_MAX_BYTES = 255
_PATH_MAX_BYTES = 4095


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says of one ref.

    Attributes:
        stored_ms: When it was stored, in server milliseconds.
        expires_ms: Its deadline; None for none.
        path: The file's place, relative to its root. A sidecar that lies elsewhere is a copy, and says nothing.
        sha: The SHA-256 of the content in hex; empty where nobody has hashed it.
        ttl_ms: How long it lives from a touch on, where that is not the time from its storing to its deadline.
        seq: The place in store order at which this was true; 0 for the first.
    """

    ref: Ref
    blob: str
    scope: str
    size: int
    stored_ms: int
    expires_ms: int | None
    meta: MediaMeta
    path: str = ""
    sha: str = ""
    detected: str = ""
    pinned: bool = False
    ttl_ms: int | None = None
    seq: int = 0

    def to_text(self) -> str:
        """Spell it as the file holds it."""
        said = self.meta.to_dict()
        own = {name: said.pop(name) for name in _OURS if name in said}
        outer = {_SEED.get(name, name): value for name, value in said.items()}
        outer |= {"size_bytes": self.size, "timestamp": _iso(self.stored_ms)}
        expires = {"expires_at": _iso(self.expires_ms)} if self.expires_ms is not None else {}
        inner: dict[str, Any] = {
            "format": 1,
            "ref": str(self.ref),
            "blob": self.blob,
            "scope": self.scope,
            "path": self.path,
        }
        inner |= own | expires
        inner |= {"sha256": self.sha} if self.sha else {}
        inner |= {"detected_type": self.detected} if self.detected else {}
        inner |= {"pinned": True} if self.pinned else {}
        inner |= {"ttl_ms": self.ttl_ms} if self.ttl_ms is not None else {}
        inner |= {"seq": self.seq} if self.seq else {}
        return json.dumps(outer | {"mediastore": inner}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read what `to_text` spelt.

        Raises:
            InvalidRequest: it is no sidecar of this store. Nothing else is raised, whatever the text is.
        """
        try:
            outer = read_object(text.encode() if isinstance(text, str) else text, MAX_BYTES)
            inner = outer.pop("mediastore")
            whole(inner["format"], 1, 1)
            return cls._of(outer, inner)
        except InvalidRequest:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidRequest(f"not a sidecar of this store ({type(error).__name__})") from None

    @classmethod
    def _of(cls, outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Self:
        ours = {seed: name for name, seed in _SEED.items()}
        known = MediaMeta.__dataclass_fields__
        said = {ours.get(name, name): value for name, value in outer.items()}
        said |= {name: inner[name] for name in _OURS if name in inner}
        expires = inner.get("expires_at")
        made = cls(
            ref=Ref.parse(inner["ref"]),
            blob=_blob(inner["blob"]),
            scope=check_scope(inner["scope"]),
            size=whole(outer["size_bytes"], 0, _MOST),
            stored_ms=_ms(outer["timestamp"]),
            expires_ms=None if expires is None else _ms(expires),
            meta=MediaMeta.from_dict({name: v for name, v in said.items() if name in known}),
            path=check_path(inner["path"]),
            sha=_sha(inner.get("sha256", "")),
            detected=_type(inner.get("detected_type", "")),
            pinned=_flag(inner.get("pinned", False)),
            ttl_ms=whole(inner["ttl_ms"], 1, _LONGEST_MS) if "ttl_ms" in inner else None,
            seq=whole(inner.get("seq", 0), 0, _MOST),
        )
        if made.expires_ms is not None and made.ttl_ms is None:
            _check_length(made.expires_ms - made.stored_ms)
        return made

    def written(self, size: int, sha: str) -> Sidecar:
        """Return it with what is known only once the content has come."""
        return replace(self, size=size, sha=sha)


@dataclass(frozen=True, slots=True)
class Inscription:
    """What is to become of a ref's sidecar.

    Attributes:
        path: That of the file, where the ref has the sidecar beside it; else empty.
        what: "write"; "remove", as the ref is dead; "clear", as its blob is; "leave", as somebody else has seen to it.
        sidecar: What is to be written.
    """

    ref: str
    blob: str
    path: str
    what: Literal["write", "remove", "clear", "leave"]
    sidecar: Sidecar | None = None


@dataclass(frozen=True, slots=True)
class Kin:
    """What the sidecars of one file say of its refs, and what is wrong with others of them.

    Attributes:
        told: Each with whether it is the one beside the file; the longest-lived first, the expired ones last.
        more: Further refs of the same blob follow.
        missing: How many tell of a file that is not there, or has another size.
        broken: Paths of what cannot be read as a sidecar of this root.
    """

    told: tuple[tuple[Sidecar, bool], ...] = ()
    more: bool = False
    missing: int = 0
    broken: tuple[str, ...] = ()


def check_path(path: object) -> str:
    """Return the path of a file that the store has written, relative to its root.

    Raises:
        InvalidRequest: no such file can lie there.
    """
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) < 2 or parts[0] not in HOMES or not all(map(_is_plain, parts)):  # noqa: PLR2004
        raise InvalidRequest("no file of the store's own lies at such a path")
    whole_path = "/".join(parts)
    if len(whole_path.encode()) > _PATH_MAX_BYTES:
        raise InvalidRequest(f"a path has at most {_PATH_MAX_BYTES} bytes")
    return whole_path


def _is_plain(name: str) -> bool:
    """Whether a name is one that we could have given: what is no text, or steers a terminal, is none."""
    if name in {"", ".", ".."} or not name.isprintable():
        return False
    return len(name.encode()) <= _NAME_MAX_BYTES


def _check_length(ms: int) -> None:
    if ms > _LONGEST_MS:
        raise InvalidRequest("it lives longer than any ref")


def _blob(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest("the id of a blob is text")
    return Ref.parse(f"media://{value}").id


def _sha(value: object) -> str:
    if not isinstance(value, str) or (value and not _SHA.fullmatch(value)):
        raise InvalidRequest("not a SHA-256 in hex")
    return value


def _type(value: object) -> str:
    if (
        not isinstance(value, str)
        or not value.isprintable()
        or len(value.encode()) > _TYPE_MAX_BYTES
    ):
        raise InvalidRequest(f"a media type is text of at most {_TYPE_MAX_BYTES} bytes")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest("neither true nor false")
    return value


def _iso(ms: int) -> str:
    return from_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(text: object) -> int:
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise InvalidRequest("not a time with an offset")
    ms = round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
    if not 0 <= ms <= _LATEST_MS:
        raise InvalidRequest(f"not a time: {text!r:.40}")
    return ms
