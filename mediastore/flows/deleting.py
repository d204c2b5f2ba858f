"""Deleting the bytes that nobody holds any more: claim, delete, acknowledge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import BlobsUnavailable
from mediastore.index import changes
from mediastore.index.steps import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .context import Context, Flow


def delete_named(
    ctx: Context, roots: Iterable[str], doomed: Iterable[tuple[str, str]]
) -> Flow[list[changes.Acknowledged]]:
    """Delete these blobs, given as (root, blob id), where they lie in roots of this process."""
    by_root: dict[str, list[str]] = {}
    for root, blob in doomed:
        by_root.setdefault(root, []).append(blob)
    batches = []
    for root in roots:
        named = by_root.get(root, [])
        for start in range(0, len(named), BATCH):
            done = yield from delete_batch(ctx, root, tuple(named[start : start + BATCH]))
            batches += [done] if done is not None else []
    return batches


def delete_batch(
    ctx: Context, root: str, named: tuple[str, ...] = ()
) -> Flow[changes.Acknowledged | None]:
    """Claim a batch, delete its files, acknowledge it; None when there was nothing to claim, or no root any more."""
    token = ctx.new_id()
    if not (yield from blobs.Prepare(root, token)):
        return None
    claim = yield from changes.claim(root, token, ctx.new_id(), ctx.claim_ms, named)
    if not claim.blobs:
        yield from blobs.Dismiss(root, token)
        # Behind those that were passed by there may be others.
        return changes.Acknowledged(0, 0, 0, 0, 0) if claim.put_off else None
    try:
        outcomes = yield from blobs.Destroy(root, token, claim)
    except BlobsUnavailable:
        return None  # the root went away: the claim lapses, and whoever has the root then goes on
    done = yield from changes.acknowledge(root, token, ctx.new_id(), outcomes)
    if not done.left:
        yield from blobs.Dismiss(root, token)
    return done
