"""A frozen namespace: what it is frozen for, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.epochs import Accepted, Epoch, RootEpoch
from mediastore.index import epochs, presence, reads
from mediastore.index.steps import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediastore.index.epochs import Chain

    from .context import Context, Flow


def epoch() -> Flow[Epoch]:
    """Read how it is with the epochs of the namespace, here and elsewhere."""
    roots = yield from blobs.Roots()
    shown = yield from blobs.Shown()
    chain = yield from epochs.chain(tuple(roots), (yield from presence.server_ms()))
    unknown = 0
    for path in roots.values():
        unknown += len((yield from _strangers(path)))
    return Epoch(
        chain.frozen,
        chain.kept_until,
        chain.entries[-1] if chain.entries else "",
        chain.overdue,
        chain.waiting,
        unknown,
        tuple(_each(chain, roots, shown)),
    )


def _each(chain: Chain, roots: dict[str, str], shown: dict[str, str]) -> Iterator[RootEpoch]:
    for root, place in sorted({**roots, **chain.places}.items(), key=lambda each: each[1]):
        here = root in shown
        entry = shown.get(root, "")
        state = chain.standing(root, entry) if here else "elsewhere"
        yield RootEpoch(root, place, here, entry, state)


def _strangers(path: str) -> Flow[frozenset[str]]:
    """Name the blobs with a second name in a root of which the index knows nothing; it never comes to know them."""
    held = yield from blobs.HeldBlobs(path, copied=False)
    known: set[str] = set()
    for start in range(0, len(held), BATCH):
        known |= yield from reads.known_ids(held[start : start + BATCH])
    return frozenset(held) - known


def accept(ctx: Context, *, let_go: bool) -> Flow[Accepted]:
    """Let the namespace go on as it is; then let second names go of which the index knows nothing."""
    shown = yield from blobs.Shown()
    accepted = yield from epochs.accept(shown, ctx.new_id())
    ctx.looked.clear()
    removed = parked = 0
    for path in (yield from blobs.Roots()).values() if let_go else ():
        gone = yield from blobs.Unhold(path, (yield from _strangers(path)), copied=False)
        removed += gone[0]
        parked += gone[1]
    return replace(accepted, removed=removed, parked=parked)
