"""Roots of many hosts: listing them, giving one up, taking a directory as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import BlobsUnavailable, InvalidRequest, InvalidRoot
from mediastore.hosts import Adopted, Forgotten, RootInfo
from mediastore.index import reads, roots
from mediastore.index.steps import BATCH
from mediastore.model import is_text

if TYPE_CHECKING:
    from mediastore.journal import Bound, Found

    from .context import Context, Flow


def list_roots() -> Flow[list[RootInfo]]:
    """Read every root in numbers, and look which are here."""
    found = yield from roots.listing()
    here = yield from blobs.Standing()
    return [
        replace(
            info,
            here=info.root in here,
            verified=here.get(info.root, False) and info.forgotten_at is None,
        )
        for info in found
    ]


def forget(ctx: Context, root: str, *, even_here: bool) -> Flow[Forgotten]:
    """Give up what waits in a root's trash, batch by batch; the first batch forgets the root."""
    if not is_text(root):
        raise InvalidRequest(f"a root id is text, not {root!r:.60}")
    here = yield from blobs.Standing()
    if here.get(root) and not even_here:
        raise InvalidRequest(
            f"root {root} is in use on this host: forgotten, its files would be deleted by nobody; "
            "if that is meant, say --yes (even_here=True)"
        )
    lost = size = 0
    while True:
        batch = yield from roots.forget(root, ctx.new_id())
        if not batch.known:
            raise InvalidRequest(
                f"the index knows no root {root!r:.100}; `mediastore roots ls` names them"
            )
        lost += batch.blobs
        size += batch.size_bytes
        if not batch.left:
            return batch.told(root, lost, size)


def adopt(ctx: Context, path: str, host: str) -> Flow[Adopted]:
    """Take a directory as the root that its marker names.

    The marker is written last: until then nobody acts in the directory, and a call that stopped halfway is
    made again from the start. The files come before the index: whatever identity a blob gets has its second name.
    """
    found = yield from blobs.Inspect(path)
    seen = yield from roots.place_of(found.root, unrooted=True)
    before = seen.place.partition(":")[2]
    if before and (yield from blobs.Stands(found.root, before, found.path)):
        raise InvalidRoot(
            path, f"root {found.root} stands at {before} on this host, and a root is one directory"
        )
    place = f"{host}:{found.path}"
    # The script forgets them: their inode numbers mean nothing in a copy, and must lead to no file in it.
    earlier = (yield from _earlier(found.root)) if found.fault else set()
    seq = yield from roots.adopt(found.root, place, ctx.new_id(), copied=bool(found.fault))
    if not seq:
        raise InvalidRoot(path, f"the index does not know its root {found.root}")
    bound, seen_blobs = yield from _rebind(ctx, found, place)
    removed, parked, displaced = yield from _let_go(ctx, found, place, seen_blobs, earlier)
    if found.fault:
        yield from blobs.Remark(found.path, found.root, seq)
    faults = {
        fault: tuple(sorted(name for name, said in bound.items() if said == fault))
        for fault in ("missing", "differ")
    }
    hidden = {name for name, said in bound.items() if said == "hidden"} | displaced
    rebound = sum(not fault for fault in bound.values())
    return Adopted(
        found.root,
        Path(found.path),
        rebound,
        **faults,
        hidden=tuple(sorted(hidden)),
        removed=removed,
        parked=parked,
    )


def _rebind(ctx: Context, found: Found, place: str) -> Flow[tuple[dict[str, str], set[str]]]:
    """Go through the root's paths page by page; returns path -> what is wrong with its file, or nothing, and the blobs.

    Where the marker is right, only files are looked for that an earlier adoption missed: the others are known.
    """
    root, path = found.root, found.path
    faults: dict[str, str] = {}
    seen: set[str] = set()
    cursor = -1
    while cursor:
        page = yield from roots.paths(root, max(cursor, 0))
        cursor = page.cursor
        for start in range(0, len(page.blobs), BATCH):
            placed = yield from roots.placed(page.blobs[start : start + BATCH])
            seen.update(each.blob for each in placed)
            placed = tuple(each for each in placed if found.fault or each.unbound)
            if not placed:
                continue
            drafts = tuple(ctx.new_id() for _ in placed)
            bound: tuple[Bound, ...] = yield from blobs.Rebind(path, placed, drafts)
            yield from _tell(ctx, root, place, bound)
            faults |= {each.path: each.fault for each in bound}
    return faults, seen


def _tell(ctx: Context, root: str, place: str, bound: tuple[Bound, ...]) -> Flow[None]:
    done = yield from roots.rebind(root, place, ctx.new_id(), bound)
    if done.place != place:
        raise BlobsUnavailable(
            f"root {root} was taken by {done.place} meanwhile: is its host alive, or is it adopted there?"
        )


def _let_go(
    ctx: Context, found: Found, place: str, seen: set[str], earlier: set[str]
) -> Flow[tuple[int, int, set[str]]]:
    """Let second names go that belong to nobody: a name is made after its blob, so one without a blob has lost it.

    Those of blobs whose paths are others' by now were not `seen` there: they are bound, and their paths returned. Of what
    had its path `earlier`, and has no held link here, nothing is known any more.
    """
    removed = parked = 0
    hidden: set[str] = set()
    # What is in `new/` of a root in use is being registered just now.
    copied = bool(found.fault)
    held = yield from blobs.HeldBlobs(found.path, copied)
    for start in range(0, len(held), BATCH):
        batch = held[start : start + BATCH]
        known = yield from reads.known_ids(batch, unrooted=True)
        gone = yield from blobs.Unhold(found.path, frozenset(batch) - known, copied)
        removed += gone[0]
        parked += gone[1]
        others = known - seen if copied else frozenset()
        hidden |= yield from _bind_displaced(ctx, found, place, sorted(others))
        earlier = earlier - others
    hidden |= yield from _bind_displaced(ctx, found, place, sorted(earlier - seen))
    return removed, parked, hidden


def _bind_displaced(ctx: Context, found: Found, place: str, others: list[str]) -> Flow[set[str]]:
    """Bind blobs to their held links alone; returns the paths of those that have one."""
    hidden: set[str] = set()
    for start in range(0, len(others), BATCH):
        displaced = yield from roots.displaced(found.root, others[start : start + BATCH])
        if displaced:
            bound = yield from blobs.RebindDisplaced(found.path, displaced)
            yield from _tell(ctx, found.root, place, bound)
            hidden |= {each.path for each in bound if each.fault == "hidden"}
    return hidden


def _earlier(root: str) -> Flow[set[str]]:
    """Find the blobs of a root whose path is another blob's by now."""
    found: set[str] = set()
    cursor = -1
    while cursor:
        cursor, some = yield from roots.older(root, max(cursor, 0))
        found.update(some)
    return found
