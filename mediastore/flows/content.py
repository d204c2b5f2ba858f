"""Content that is handed over whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mediastore import blobs
from mediastore.blobs.sources import source_of
from mediastore.model import Ref

from .orders import completed, must_fit, order
from .writing import conclude, give_up, keep, reserve

if TYPE_CHECKING:
    from mediastore.content import MediaContent
    from mediastore.model import Duration, MediaMeta

    from .context import Context, Flow
    from .orders import Order

#: How much is taken from a source and written at once.
PIECE: Final = 1 << 20


def store(
    ctx: Context,
    content: MediaContent,
    scope: str | None,
    meta: MediaMeta,
    ttl: Duration | None,
) -> Flow[Ref]:
    """Look at the first bytes, decide what is to be made of them, write them all."""
    meta = completed(content, meta)
    source = source_of(content)
    try:
        head = yield from blobs.Peek(source)
        wanted = order(ctx.settings, head, scope, meta, ttl)
        known = ctx.settings.dedup and content.kind == "bytes"
        sha = (yield from blobs.Digest(content.data)) if known else ""
        return (yield from store_media(ctx, source, wanted, sha))
    finally:
        source.close()


def store_media(ctx: Context, source: Any, wanted: Order, sha: str = "") -> Flow[Ref]:
    """Write content and make its ref; `sha` where it is known before it is written."""
    expected = source.size
    must_fit(wanted, expected or 0, told=True)
    job = yield from reserve(ctx, wanted, expected or 0, sha)
    if isinstance(job, Ref):
        return job
    try:
        if expected is None or expected > PIECE:
            yield from keep(job)
        while piece := (yield from blobs.Draw(source, PIECE)):
            must_fit(wanted, job.draft.size + len(piece))
            yield from blobs.Write(job.draft, piece)
        return (yield from conclude(ctx, job))
    except Exception:  # the caller's own source may raise anything
        yield from give_up(ctx, job)
        raise
    finally:
        job.let_go()
