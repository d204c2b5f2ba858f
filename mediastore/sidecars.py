"""Sidecars: what is known of a ref, as JSON beside its file, so that an index can be made again from a root alone.

The outer names are PromptKit's (runtime/storage/types.go, MediaMetadata); what it has no name for is under "mediastore".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from .errors import InvalidRequest
from .model import MediaMeta, Ref, check_scope, from_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDING = ".meta"
#: Larger than any that we write: metadata holds a dozen texts of 1024 bytes.
MAX_BYTES = 64 << 10
#: PromptKit's name of each field of ours that has another.
_SEED = {"content_type": "mime_type", "policy": "policy_name"}
_OURS = ("filename", "source", "cleanup")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says of one ref.

    Attributes:
        stored_ms: When it was stored, in server milliseconds.
        expires_ms: Its deadline; None for none.
        sha: The SHA-256 of the content in hex; empty where nobody has hashed it.
        seq: The place in store order at which this was true; 0 for the first.
    """

    ref: Ref
    blob: str
    scope: str
    size: int
    stored_ms: int
    expires_ms: int | None
    meta: MediaMeta
    sha: str = ""
    detected: str = ""
    pinned: bool = False
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
        }
        inner |= own | expires
        inner |= {"sha256": self.sha} if self.sha else {}
        inner |= {"detected_type": self.detected} if self.detected else {}
        inner |= {"pinned": True} if self.pinned else {}
        inner |= {"seq": self.seq} if self.seq else {}
        return json.dumps(outer | {"mediastore": inner}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read what `to_text` spelt.

        Raises:
            InvalidRequest: it is no sidecar of this store.
        """
        try:
            outer = json.loads(text)
            inner = outer.pop("mediastore")
            if inner["format"] != 1:
                raise InvalidRequest(
                    f"a sidecar of format {inner['format']!r:.20} is not known here"
                )
            return cls._of(outer, inner)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InvalidRequest):
                raise
            raise InvalidRequest(f"not a sidecar of this store ({type(error).__name__})") from None

    @classmethod
    def _of(cls, outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Self:
        ours = {seed: name for name, seed in _SEED.items()}
        known = MediaMeta.__dataclass_fields__
        said = {ours.get(name, name): value for name, value in outer.items()}
        said |= {name: inner[name] for name in _OURS if name in inner}
        expires = inner.get("expires_at")
        return cls(
            ref=Ref.parse(inner["ref"]),
            blob=Ref.parse(f"media://{inner['blob']}").id,
            scope=check_scope(inner["scope"]),
            size=int(outer["size_bytes"]),
            stored_ms=_ms(outer["timestamp"]),
            expires_ms=None if expires is None else _ms(expires),
            meta=MediaMeta.from_dict({name: v for name, v in said.items() if name in known}),
            sha=str(inner.get("sha256", "")),
            detected=str(inner.get("detected_type", "")),
            pinned=bool(inner.get("pinned", False)),
            seq=int(inner.get("seq", 0)),
        )

    def written(self, size: int, sha: str) -> Sidecar:
        """Return it with what is known only once the content has come."""
        return replace(self, size=size, sha=sha)


def _iso(ms: int) -> str:
    return from_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
