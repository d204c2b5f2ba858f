"""Sidecars that follow the index: what its journal tells of is written, or removed, on the disk of whoever has the root."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.blobs import inscriptions
from mediastore.errors import Corrupt, MediaStoreError, Unavailable
from mediastore.index import sidecars as index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import Context, Flow

logger = logging.getLogger("mediastore")


def work_off(ctx: Context, root: str, deadline: float) -> Flow[None]:
    """Go through the journal of a root once, batch by batch; at least one batch, however little time is left.

    What cannot be written now stays in it, and keeps nothing else waiting.
    """
    after: float | None = 0.0
    try:
        while after is not None:
            page = yield from index.journal(root, after)
            after = page.after
            if page.entries:
                refs = [(each.ref, each.blob) for each in page.entries]
                yield from _inscribe(ctx, root, refs)
            if (yield from blobs.Elapsed()) > deadline:
                return
    except (Unavailable, Corrupt) as error:
        logger.debug("sidecars in root %s wait for the next sweep: %s", root, error)


def write_now(ctx: Context, root: str, ref: str, blob: str) -> Flow[None]:
    """Write the sidecar of a ref that was just made; where that fails, a sweep writes it."""
    try:
        yield from _inscribe(ctx, root, [(ref, blob)])
    except MediaStoreError as error:
        logger.debug("a sidecar in root %s waits for the next sweep: %s", root, error)


def _inscribe(ctx: Context, root: str, refs: Sequence[tuple[str, str]]) -> Flow[None]:
    """Announce, read, write, take off the journal; in this order nobody who comes late leaves anything behind."""
    token = ctx.new_id()
    yield from inscriptions.Announce(root, token, tuple(refs))
    told = yield from index.told(root, refs)
    wanted = tuple(inscription for inscription, _ in told)
    done = yield from inscriptions.Inscribe(root, token, wanted, ctx.settings.durable)
    entries = [entry for (_, entry), over in zip(told, done, strict=True) if entry and over]
    if entries:
        yield from index.inscribed(root, entries, ctx.new_id())
