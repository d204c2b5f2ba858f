"""Content that is handed over, and given back: from a source, from a file that is taken, from a writer."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mediastore import media_types
from mediastore.blobs import drafting
from mediastore.blobs.sources import source_of
from mediastore.content import Announced, MediaContent, is_mime
from mediastore.errors import (
    ContentMismatch,
    InvalidRequest,
    MediaStoreError,
    TooLarge,
)
from mediastore.index import reads
from mediastore.model import Ref

from .orders import NOTHING_SAID, Asked, completed, must_fit, order
from .storing import opened, resolved
from .writing import conclude, give_up, keep, make_room, reserve

if TYPE_CHECKING:
    from io import FileIO

    from mediastore.model import Duration, Media, MediaMeta

    from .context import Context, Flow
    from .orders import Order
    from .writing import Job

logger = logging.getLogger("mediastore")

#: How much is taken from a source and written at once.
PIECE: Final = 1 << 20


def store(
    ctx: Context,
    content: MediaContent,
    scope: str | None,
    meta: MediaMeta,
    ttl: Duration | None,
    *,
    move: bool = False,
) -> Flow[Ref]:
    """Look at the first bytes, decide what is to be made of them, write them all."""
    meta = completed(content, meta)
    if move:
        if content.file_path is None:
            raise InvalidRequest("only a file can be moved: MediaContent(file_path=...)")
        said = content.announced
        return (yield from take_over(ctx, str(content.file_path), scope, meta, ttl, said))
    source = source_of(content)
    try:
        announced = _announced(content, source)
        head = yield from drafting.Peek(source)
        if not head and announced.size_bytes is None and source.empty:
            raise _nothing(source.empty)
        wanted = order(ctx.settings, head, Asked(scope, meta, ttl, announced))
        known = ctx.settings.dedup and content.kind == "bytes"
        sha = (yield from drafting.Digest(content.data)) if known else ""
        if known:
            announced.check(source.size or 0, sha)
        return (yield from store_media(ctx, source, wanted, sha))
    finally:
        source.close()


def _announced(content: MediaContent, source: Any) -> Announced:
    """Return what is said of the bytes, by the caller or by the source itself.

    Raises:
        ContentMismatch: the two contradict each other.
    """
    said, promised = content.announced, source.announced
    if promised is None:
        return said
    if said.size_bytes not in {None, promised}:
        raise ContentMismatch("size_bytes", said.size_bytes or 0, promised)
    return replace(said, size_bytes=promised)


def _nothing(why: str) -> InvalidRequest:
    return InvalidRequest(f"{why}. If an empty file is meant, say size_bytes=0")


def store_media(ctx: Context, source: Any, wanted: Order, sha: str = "") -> Flow[Ref]:
    """Write content and make its ref; `sha` where it is known before it is written."""
    expected, announced = source.size, wanted.announced.size_bytes
    need = expected if announced is None else announced
    must_fit(wanted, need or 0, told=True)
    job = yield from reserve(ctx, wanted, need or 0, sha)
    if isinstance(job, Ref):
        return job
    if expected is None or expected > PIECE:
        yield from keep(job)
    return (yield from _or_nothing(ctx, job, _copied(ctx, job, source)))


def _or_nothing(ctx: Context, job: Job, content: Flow[object], *, anew: bool = False) -> Flow[Ref]:
    """Have the content come, and make its ref; whatever goes wrong, nothing of it stays."""
    try:
        yield from content
        return (yield from conclude(ctx, job, anew=anew))
    except Exception:  # the caller's own source may raise anything
        yield from give_up(ctx, job)
        raise
    finally:
        job.let_go()


def take_over(
    ctx: Context,
    path: str,
    scope: str | None,
    meta: MediaMeta,
    ttl: Duration | None,
    announced: Announced = NOTHING_SAID,
) -> Flow[Ref]:
    """Make a file content of the store's own; its former name goes when its ref is there."""
    meta = completed(MediaContent(file_path=path), meta)
    yield from _must_be_free(path)
    seen = yield from drafting.Identify(path)
    source = source_of(MediaContent(file_path=path))
    try:
        head = yield from drafting.Peek(source)
        wanted = order(ctx.settings, head, Asked(scope, meta, ttl, announced))
        must_fit(wanted, source.size or 0, told=True)
        ref, marked = yield from _taken(ctx, source, path, wanted)
    finally:
        source.close()
    try:
        if not (yield from drafting.Leave(path, seen, marked)):
            logger.warning(
                "%s was replaced or written to while it was moved; what is there now stays", path
            )
    except MediaStoreError as error:
        logger.warning("%s was stored, and could not be removed: %s", path, error)
    return ref


def _must_be_free(path: str) -> Flow[None]:
    """Refuse a file that a blob has: its live refs, a lease or a restore within its grace would lose it."""
    root, relative = yield from drafting.Locate(path)
    if not root:
        return
    [holder] = yield from reads.holders_of([(root, relative)])
    state = (yield from reads.blob_state(root, holder)) if holder else None
    if state is None:
        return
    if state.state == "live":
        raise InvalidRequest(
            f"{path} has refs that would lose it; release them first, or hand over a copy"
        )
    raise InvalidRequest(
        f"{path} had refs, and the store has not done with it: it is in its grace, under a lease or being deleted; "
        "hand over a copy"
    )


def _taken(ctx: Context, source: Any, path: str, wanted: Order) -> Flow[tuple[Ref, int | None]]:
    """Store a file without a copy where that is possible; returns the modification time too that it was given, if it was."""
    job = yield from _reserve_and_keep(ctx, wanted)
    ref = yield from _or_nothing(ctx, job, _had(ctx, job, source, path), anew=True)
    yield from drafting.Own(job.draft, job.place.path)
    return ref, None if job.draft.before is None else job.draft.marked


def _had(ctx: Context, job: Job, source: Any, path: str) -> Flow[None]:
    """Have the temporary name stand for a file, or for a copy of it."""
    if (yield from drafting.Take(job.draft, path)):
        yield from _absorbed(ctx, job)
    else:
        yield from _copied(ctx, job, source)


def _reserve_and_keep(ctx: Context, wanted: Order) -> Flow[Job]:
    """Reserve a blob whose content somebody else writes, and keep it reserved."""
    job = yield from reserve(ctx, wanted, 0)
    if isinstance(job, Ref):  # pragma: no cover - only content with a known hash is joined
        raise TypeError(job)
    yield from keep(job)
    return job


def _copied(ctx: Context, job: Job, source: Any) -> Flow[None]:
    while piece := (yield from drafting.Draw(source, PIECE)):
        size = job.draft.size + len(piece)
        must_fit(job.order, size)
        yield from make_room(ctx, job, size)
        yield from drafting.Write(job.draft, piece)


def _absorbed(ctx: Context, job: Job) -> Flow[bytes]:
    """Count and hash what somebody else has put under the temporary name; returns its first bytes."""
    hashed = ctx.settings.dedup or bool(job.order.announced.sha256)
    head = yield from drafting.Reopen(job.draft, hashed)
    must_fit(job.order, job.draft.size, told=True)
    while hashed and (yield from drafting.Absorb(job.draft, PIECE)):
        must_fit(job.order, job.draft.size)
    return head


def begin(ctx: Context, asked: Asked) -> Flow[Job]:
    """Reserve a blob for a writer; what it becomes is decided again when its content is there."""
    wanted = order(ctx.settings, b"", asked)
    if asked.suffix:
        wanted = replace(wanted, extension=asked.suffix)
    return (yield from _reserve_and_keep(ctx, wanted))


def end(ctx: Context, job: Job, asked: Asked) -> Flow[Ref]:
    """Make the ref of what a writer has left under the temporary name.

    Raises:
        InvalidRequest: nobody has written to it, and nobody said that it is to be empty.
    """

    def content() -> Flow[None]:
        head = yield from _absorbed(ctx, job)
        if not job.draft.size and asked.announced.size_bytes is None:
            raise _nothing("nothing was written to this writer's path or file")
        job.reorder(order(ctx.settings, head, asked))

    return (yield from _or_nothing(ctx, job, content(), anew=True))


def retrieve(ctx: Context, ref: str) -> Flow[MediaContent]:
    """Find a ref's file, and say what it is; its bytes are not loaded."""
    path, media = yield from resolved(ctx, ref)
    kind, said = _known_type(media)
    if not kind:
        with (yield from opened(media, path)) as file:
            kind, said = yield from _seen_type(media, file)
    return MediaContent(
        file_path=path,
        mime_type=kind,
        policy=media.meta.policy,
        size_bytes=media.size_bytes,
        said_type=said,
    )


def _known_type(media: Media) -> tuple[str, str]:
    """Return what content is, as it was seen when it was handed over, and what was said instead; empty where its bytes must be looked at."""
    said = media.meta.content_type
    if media.custody != "owned" or media_types.says_nothing(said) or not is_mime(said):
        return "", ""
    said = media_types.spelt(said)
    return media.detected_type or said, said if media.detected_type else ""


def _seen_type(media: Media, file: FileIO) -> Flow[tuple[str, str]]:
    """Return what the first bytes of a file look like, and what was said instead if they contradict it."""
    head, meta = (yield from drafting.Head(file)), media.meta
    claim = meta.content_type if is_mime(meta.content_type) else ""
    name = meta.filename or media.path.name
    said, detected = media_types.settled(claim, media_types.sniff(head), name)
    return detected or said, said if detected else ""


def encoded(ctx: Context, ref: str, limit: int) -> Flow[tuple[str, str]]:
    """Read a ref's file as base64 text; returns that and what it is."""
    path, media = yield from resolved(ctx, ref)
    if 0 <= limit < media.size_bytes:
        raise TooLarge(limit, media.size_bytes)
    file = yield from opened(media, path)
    kind = _known_type(media)[0] or (yield from _seen_type(media, file))[0]
    return (yield from drafting.Encode(file, limit)), kind
