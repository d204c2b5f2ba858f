"""Deleting the bytes that nobody holds any more: claim, delete, acknowledge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import BlobsUnavailable
from mediastore.index import changes
from mediastore.index.changes import Acknowledged, Barrier
from mediastore.index.steps import BATCH

from . import epochs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediastore.journal import Claim

    from .context import Context, Flow


def delete_named(
    ctx: Context, roots: Iterable[str], doomed: Iterable[tuple[str, str]]
) -> Flow[list[tuple[str, Acknowledged]]]:
    """Delete these blobs, given as (root, blob id), where they lie in roots of this process; returns (root, what was done)."""
    by_root: dict[str, list[str]] = {}
    for root, blob in doomed:
        by_root.setdefault(root, []).append(blob)
    batches = []
    for root in roots:
        named = by_root.get(root, [])
        for start in range(0, len(named), BATCH):
            done = yield from delete_batch(ctx, root, tuple(named[start : start + BATCH]))
            batches += [(root, done)] if done is not None else []
    return batches


def delete_batch(
    ctx: Context, root: str, named: tuple[str, ...] = (), *, deadline: float = float("inf")
) -> Flow[Acknowledged | None]:
    """Claim a batch, delete its files, acknowledge it; None when there was nothing to claim, or no root any more.

    If no directory can be made for a claim, all that needs none goes, until the deadline, and the rest counts as barred.
    """
    token = ctx.new_id()
    ready = yield from blobs.Prepare(root, token)
    if ready.away:
        return None
    barrier = Barrier(ctx.who().rpartition(":")[0], ready.errno, ready.shut)
    if ready.errno:
        return (yield from _delete_barred(ctx, root, barrier, ready.shown, named, deadline))
    claim = yield from changes.claim(
        *(root, token, ctx.new_id(), ctx.claim_ms, named),
        barrier=barrier,
        pause_ms=ctx.pause_ms,
        shown=ready.shown,
    )
    if not claim.blobs:
        yield from blobs.Dismiss(root, token)
        if claim.held:
            yield from epochs.heed(ctx, claim.held)
            return Acknowledged(frozen=claim.due)
        # Behind those that were passed by there may be others.
        return Acknowledged() if claim.put_off else None
    done = yield from _destroy(ctx, root, token, claim)
    if done is not None and not done.left:
        yield from blobs.Dismiss(root, token)
    return done


def _destroy(ctx: Context, root: str, token: str, claim: Claim) -> Flow[Acknowledged | None]:
    try:
        done = yield from blobs.Destroy(root, token, claim)
    except BlobsUnavailable as error:
        # The claim lapses, and whoever can work in the root then goes on.
        return Acknowledged(failed=len(claim.blobs), left=1) if error.errno else None
    return (
        yield from changes.acknowledge(
            root, token, ctx.new_id(), done.outcomes, taken_over=done.taken_over
        )
    )


def _delete_barred(
    ctx: Context,
    root: str,
    barrier: Barrier,
    shown: str,
    named: tuple[str, ...],
    deadline: float,
) -> Flow[Acknowledged]:
    """Go through all that is due, page by page: what stays must not hide what can go."""
    total, barred = Acknowledged(), 0
    while True:
        token = ctx.new_id()
        claim = yield from changes.claim(
            *(root, token, ctx.new_id(), ctx.claim_ms, named),
            barrier=barrier,
            skip=barred,
            pause_ms=ctx.pause_ms,
            shown=shown,
        )
        if claim.held:
            yield from epochs.heed(ctx, claim.held)
            return replace(total, barred=barred, frozen=claim.due)
        barred += claim.barred
        done = (yield from _destroy(ctx, root, token, claim)) if claim.blobs else None
        if done is not None:
            total += replace(done, left=0)
        late = (yield from blobs.Elapsed()) > deadline
        if named or late or not (claim.blobs or claim.barred or claim.put_off):
            return replace(total, barred=barred)
