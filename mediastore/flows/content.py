"""Content that is handed over: reserved in the index first, written second, published third, committed last.

Whoever is killed in between leaves a reservation that lapses, and its names go with the next sweep.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mediastore import blobs, media_types, naming
from mediastore.blobs.sources import source_of
from mediastore.errors import (
    BlobsUnavailable,
    InvalidRequest,
    MediaStoreError,
    StoreFull,
    TooLarge,
)
from mediastore.index import changes, content as index
from mediastore.lifetimes import Taken
from mediastore.model import Duration, MediaMeta, Ref, check_scope
from mediastore.sidecars import Sidecar

from .deleting import delete_batch
from .storing import lifetime_ms, was_forgotten

if TYPE_CHECKING:
    from mediastore.blobs.owned import Draft
    from mediastore.content import MediaContent
    from mediastore.journal import Written
    from mediastore.settings import Settings

    from .context import Context, Flow

logger = logging.getLogger("mediastore")

#: How much is taken from a source and written at once.
PIECE: Final = 1 << 20
#: How often a blob whose file is gone is met before we give up.
_MOST_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of content: the ref's scope, metadata and lifetime, and what its file is called.

    Attributes:
        limit: The most bytes; None for any number.
        detected: What the bytes look like, where that is not what was said.
    """

    scope: str
    meta: MediaMeta
    ttl_ms: int | None
    extension: str
    limit: int | None
    detected: str = ""


def order(
    settings: Settings,
    content: MediaContent,
    head: bytes,
    scope: str | None,
    meta: MediaMeta,
    ttl: Duration | None,
) -> Order:
    """Decide what is made of content that begins with `head`.

    Raises:
        InvalidRequest: what was said contradicts itself, or the id is missing from which the scope would come.
    """
    meta = _completed(content, meta)
    sniffed = media_types.sniff(head)
    said = meta.content_type or sniffed or media_types.by_extension(meta.filename)
    meta = replace(meta, content_type=said or "application/octet-stream")
    detected = "" if media_types.agree(meta.content_type, sniffed) else sniffed
    extension = media_types.extension(meta.content_type, meta.filename)
    home = scope_meant(settings, scope, meta)
    ttl_ms = lifetime_ms(settings, meta, ttl)
    return Order(home, meta, ttl_ms, extension, settings.size_limit, detected)


def _completed(content: MediaContent, meta: MediaMeta) -> MediaMeta:
    """Return the metadata with what the content says of itself."""
    for ours, theirs, name in (
        (meta.content_type, content.mime_type, "content type"),
        (meta.policy, content.policy, "policy"),
    ):
        if ours and theirs and ours.lower() != theirs.lower():
            raise InvalidRequest(
                f"the content says {name} {theirs!r:.80}, its metadata {ours!r:.80}"
            )
    name = meta.filename or (Path(content.file_path).name if content.file_path else "")
    return replace(
        meta,
        content_type=meta.content_type or content.mime_type,
        policy=meta.policy or content.policy,
        filename=name,
    )


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


@dataclass(slots=True)
class Job:
    """One blob on its way: what is wanted, where it goes, and by what lease it is kept until then."""

    order: Order
    wish: index.Wish
    place: index.Place
    hold: index.Hold
    draft: Draft
    reserved_ms: int
    reserved_s: float
    guard: Any = None
    #: Whether the last word was said, and its answer never came: the ref is made, or the blob lapses.
    unknown: bool = False

    def sidecar(self, written: Written, now_s: float) -> Sidecar:
        """Return what is written beside the file."""
        now_ms = self.reserved_ms + round((now_s - self.reserved_s) * 1000)
        ttl = self.order.ttl_ms
        return Sidecar(
            ref=Ref(f"media://{self.wish.ref}"),
            blob=self.wish.blob,
            scope=self.order.scope,
            size=written.size,
            stored_ms=now_ms,
            expires_ms=None if ttl is None else now_ms + ttl,
            meta=self.order.meta,
            sha=written.sha,
            detected=self.order.detected,
        )

    def let_go(self) -> None:
        """Renew its lease no more. It does no I/O: a flow that is closed may call it."""
        if self.guard is not None:
            self.guard.over = True


def store(
    ctx: Context,
    content: MediaContent,
    scope: str | None,
    meta: MediaMeta,
    ttl: Duration | None,
) -> Flow[Ref]:
    """Look at the first bytes, decide what is to be made of them, write them all."""
    source = source_of(content)
    try:
        head = yield from blobs.Peek(source)
        wanted = order(ctx.settings, content, head, scope, meta, ttl)
        known = ctx.settings.dedup and content.kind == "bytes"
        sha = (yield from blobs.Digest(content.data)) if known else ""
        return (yield from store_media(ctx, source, wanted, sha))
    finally:
        source.close()


def store_media(ctx: Context, source: Any, wanted: Order, sha: str = "") -> Flow[Ref]:
    """Write content and make its ref; `sha` where it is known before it is written."""
    expected = source.size
    _must_fit(wanted, expected or 0, told=True)
    job = yield from reserve(ctx, wanted, expected or 0, sha)
    if isinstance(job, Ref):
        return job
    try:
        if expected is None or expected > PIECE:
            yield from keep(job)
        while piece := (yield from blobs.Draw(source, PIECE)):
            _must_fit(wanted, job.draft.size + len(piece))
            yield from blobs.Write(job.draft, piece)
        return (yield from conclude(ctx, job))
    except Exception:  # the caller's own source may raise anything
        yield from give_up(ctx, job)
        raise
    finally:
        job.let_go()


def _must_fit(wanted: Order, size: int, *, told: bool = False) -> None:
    if wanted.limit is not None and size > wanted.limit:
        raise TooLarge(wanted.limit, size if told else None)


def reserve(ctx: Context, wanted: Order, need: int, sha: str = "") -> Flow[Job | Ref]:
    """Make a temporary file and reserve its blob; the ref at once where a blob has the content already."""
    alone, token = "", ctx.new_id()
    longest = ctx.settings.ms("lease_max")
    hold = index.Hold(token, min(ctx.claim_ms, longest), longest, f"writer:{ctx.who()}")
    for _ in range(_MOST_TRIES):
        ref, blob = ctx.new_id(), ctx.new_id()
        draft: Draft = yield from _begin(ctx, wanted, blob, need)
        wish = index.Wish(
            ref, blob, wanted.scope, wanted.ttl_ms, wanted.meta, wanted.detected, alone
        )
        place = index.Place(draft.root, _path(ctx, wanted, wish, sha), need, sha)
        at_s = yield from blobs.Elapsed()
        try:
            said = yield from _reserved(ctx, wish, place, hold)
        except MediaStoreError:
            yield from blobs.Discard(draft)
            raise
        if said.verdict == "reserved":
            now_ms = said.until_ms - hold.ttl_ms
            return Job(wanted, wish, place, hold, draft, now_ms, at_s)
        yield from blobs.Discard(draft)
        if said.verdict == "forgotten":
            raise (yield from was_forgotten(draft.root))
        if (yield from _joined(ctx, wish, draft.root, said.path, place.size)):
            return Ref(f"media://{ref}")
        alone = said.blob
    raise _vanishing()


def _begin(ctx: Context, wanted: Order, blob: str, need: int) -> Flow[Draft]:
    """Make the temporary file in the first root that has room and answers."""
    failed: MediaStoreError | None = None
    for root in (yield from blobs.Roots()):
        try:
            return (
                yield from blobs.Begin(
                    root,
                    blob,
                    wanted.extension,
                    ctx.settings.sidecars,
                    need,
                    int(ctx.settings.min_free),
                )
            )
        except (StoreFull, BlobsUnavailable) as error:
            failed = failed or error
    raise failed or BlobsUnavailable("this process has no root")


def _reserved(
    ctx: Context, wish: index.Wish, place: index.Place, hold: index.Hold
) -> Flow[index.Reserved]:
    try:
        return (yield from index.reserve(wish, place, hold, ctx.new_id()))
    except StoreFull:
        # A delayed twin of the command must not make the ref later.
        stored = yield from changes.refuse(wish.ref, wish.blob)
        if stored.verdict == "refused":
            raise
        return index.Reserved("joined", stored.blob, place.path, 0)


def _path(ctx: Context, wanted: Order, wish: index.Wish, sha: str) -> str:
    """Return where the content is to lie, relative to its root; without its hash, a name that it never gets."""
    if ctx.settings.dedup:
        return naming.content(sha or wish.blob, wish.blob, wanted.extension)
    meta, mode = wanted.meta, ctx.settings.organization
    text = _organizing_id(ctx.settings, meta)
    if not text:
        mode, text = "scope", wanted.scope
    return naming.organized(mode, text, meta.message_idx, meta.part_idx, wish.ref, wanted.extension)


def _joined(ctx: Context, wish: index.Wish, root: str, path: str, size: int) -> Flow[bool]:
    """Whether the file of the blob that was joined is there; where it is not, the ref is taken back."""
    if (yield from blobs.Check(root, path, f"owned:{size}")) is not None:
        return True
    # What it joined may have been in grace, which a store that came to nothing must not cut short.
    yield from changes.withdraw(wish.ref, ctx.new_id(), ctx.terms)
    return False


def keep(job: Job) -> Flow[None]:
    """Have the reservation renewed while its content comes."""
    taken = Taken(
        ref=Ref(f"media://{job.wish.ref}"),
        blob=job.wish.blob,
        root=job.place.root,
        token=job.hold.token,
        path=job.draft.path,
        meta=job.order.meta,
        identity="",
        ttl_ms=job.hold.ttl_ms,
        until_ms=job.reserved_ms + job.hold.ttl_ms,
    )
    job.guard = yield from blobs.Guard(taken)


def conclude(ctx: Context, job: Job) -> Flow[Ref]:
    """Publish what was written, and make its ref."""
    written = yield from blobs.Finish(job.draft, ctx.settings.durable)
    if ctx.settings.dedup and not job.place.sha:
        found = yield from _place_again(ctx, job, written)
        if found is not None:
            return found
    now_s = yield from blobs.Elapsed()
    sidecar = job.sidecar(written, now_s)
    text = sidecar.to_text().encode()
    path = job.place.path
    if not (yield from blobs.Publish(job.draft, path, text, ctx.settings.durable)):
        raise _lapsed()
    try:
        done = yield from index.commit(
            job.wish, job.hold.token, written.size, job.place.sha, sidecar.stored_ms
        )
    except StoreFull:
        raise
    except MediaStoreError:
        job.unknown = True
        raise
    if done.verdict == "lost":
        raise _lapsed()
    if done.verdict == "forgotten":
        raise (yield from was_forgotten(job.place.root))
    if done.verdict == "joined":
        yield from delete_batch(ctx, job.place.root, (job.wish.blob,))
        if not (yield from _joined(ctx, job.wish, job.place.root, done.path, written.size)):
            raise _vanishing()
    return Ref(f"media://{job.wish.ref}")


def _place_again(ctx: Context, job: Job, written: Written) -> Flow[Ref | None]:
    """Say where content lies whose hash is known only now; its ref where a blob has it already."""
    for _ in range(_MOST_TRIES):
        path = _path(ctx, job.order, job.wish, written.sha)
        job.place = index.Place(job.place.root, path, written.size, written.sha)
        said = yield from index.reserve(job.wish, job.place, job.hold, ctx.new_id(), again=True)
        if said.verdict == "reserved":
            return None
        if said.verdict == "lost":
            raise _lapsed()
        if said.verdict == "forgotten":
            raise (yield from was_forgotten(job.place.root))
        if (yield from _joined(ctx, job.wish, job.place.root, said.path, written.size)):
            yield from give_up(ctx, job)
            return Ref(f"media://{job.wish.ref}")
        job.wish = replace(job.wish, ref=ctx.new_id(), alone=said.blob)
    raise _vanishing()


def give_up(ctx: Context, job: Job) -> Flow[None]:
    """Take back what was begun. Whatever fails of it, the reservation lapses, and its names go with the next sweep."""
    job.let_go()
    if job.unknown:
        return
    try:
        yield from blobs.Discard(job.draft, job.place.path)
        yield from index.abandon(job.wish.blob)
        yield from delete_batch(ctx, job.place.root, (job.wish.blob,))
    except MediaStoreError as error:
        logger.debug("a reservation is left to lapse: %s", error)


def _lapsed() -> BlobsUnavailable:
    return BlobsUnavailable(
        "this content came so late that its reservation lapsed, and nothing of it was kept; store it again"
    )


def _vanishing() -> BlobsUnavailable:
    return BlobsUnavailable(
        "files of the same content vanish while this is stored; does somebody delete them by hand?"
    )
