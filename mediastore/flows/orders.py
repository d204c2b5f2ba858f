"""What is made of content that is handed over: its scope, its metadata, its type, its name on the disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mediastore import media_types, naming
from mediastore.content import Announced, MediaContent
from mediastore.errors import InvalidRequest, TooLarge
from mediastore.model import Cleanup, Duration, MediaMeta, check_scope

from .retention import lifetime

if TYPE_CHECKING:
    from mediastore.index.content import Wish
    from mediastore.settings import Settings

_NAME_MAX_BYTES: Final = 1024
NOTHING_SAID: Final = Announced()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of content: the ref's scope, metadata and lifetime, and what its file is called.

    Attributes:
        limit: The most bytes; None for any number.
        detected: What the bytes look like, where that contradicts what was said.
        announced: How many bytes there are to be, and their SHA-256, as far as that was said.
    """

    scope: str
    meta: MediaMeta
    life: str
    extension: str
    limit: int | None
    detected: str = ""
    announced: Announced = NOTHING_SAID


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asks for: a scope, metadata and a lifetime for the ref, and what is said of the bytes.

    `suffix` is the extension of a writer's temporary file; empty for that of its type.
    """

    scope: str | None
    meta: MediaMeta
    ttl: Duration | None
    announced: Announced = NOTHING_SAID
    suffix: str = ""


def order(settings: Settings, head: bytes, asked: Asked) -> Order:
    """Decide what is made of content that begins with `head`.

    Raises:
        InvalidRequest: the id is missing from which the scope would come, or it is said to be not ours to delete.
    """
    meta = asked.meta
    if meta.cleanup is not Cleanup.DELETE:
        raise InvalidRequest(
            "a file that the store writes is its own to delete: Cleanup.FORGET is for files that are "
            "registered where they lie"
        )
    name = meta.filename or (asked.suffix and f"file{asked.suffix}")
    said, detected = media_types.settled(meta.content_type, media_types.sniff(head), name)
    meta = replace(meta, content_type=said)
    extension = media_types.extension(detected or said, name)
    home = scope_meant(settings, asked.scope, meta)
    life, meta = lifetime(settings, meta, asked.ttl)
    return Order(home, meta, life, extension, settings.size_limit, detected, asked.announced)


def completed(content: MediaContent, meta: MediaMeta) -> MediaMeta:
    """Return the metadata with what the content says of itself.

    Raises:
        InvalidRequest: the two contradict each other.
    """
    for ours, theirs, name in (
        (meta.content_type, content.mime_type, "content type"),
        (meta.policy, content.policy, "policy"),
    ):
        if ours and theirs and ours.lower() != theirs.lower():
            raise InvalidRequest(
                f"the content says {name} {theirs!r:.80}, its metadata {ours!r:.80}"
            )
    return replace(
        meta,
        content_type=meta.content_type or content.mime_type,
        policy=meta.policy or content.policy,
        filename=meta.filename or _name_of(content),
    )


def _name_of(content: MediaContent) -> str:
    """Return the name of the file it comes from, if it can be kept as text."""
    name = Path(content.file_path).name if content.file_path else ""
    # No surrogate is printable, so what is can be encoded.
    return name if name.isprintable() and len(name.encode()) <= _NAME_MAX_BYTES else ""


def scope_meant(settings: Settings, scope: str | None, meta: MediaMeta) -> str:
    """Return the scope that was named, else that of the session, conversation or run.

    Raises:
        InvalidScope: it is malformed.
        InvalidRequest: none was named, and the metadata has no id for the setting `organization`.
    """
    if scope is not None:
        return check_scope(scope)
    text = _organizing_id(settings, meta)
    if not text:
        name = f"{settings.organization}_id"
        raise InvalidRequest(
            f'name a scope (scope="chat:42"), or the {name} in the metadata: MediaMeta({name}=...)'
        )
    return check_scope(naming.default_scope(settings.organization, text))


def _organizing_id(settings: Settings, meta: MediaMeta) -> str:
    found: str = getattr(meta, f"{settings.organization}_id")
    return found


def must_fit(wanted: Order, size: int, *, told: bool = False) -> None:
    """Refuse more bytes than the order allows; `told`: the size is what the source says, not what has come so far.

    Raises:
        TooLarge: there are more than the setting allows.
        ContentMismatch: there are more than were announced.
    """
    if not told:
        wanted.announced.allow(size)
    if wanted.limit is not None and size > wanted.limit:
        raise TooLarge(wanted.limit, size if told else None)


def path_of(settings: Settings, wanted: Order, wish: Wish, sha: str) -> str:
    """Return where the content is to lie, relative to its root; without its hash, a name that it never gets."""
    if settings.dedup:
        return naming.content(sha or wish.blob, wish.blob, wanted.extension)
    meta, mode = wanted.meta, settings.organization
    text = _organizing_id(settings, meta)
    if not text:
        mode, text = "scope", wanted.scope
    return naming.organized(mode, text, meta.message_idx, meta.part_idx, wish.ref, wanted.extension)
