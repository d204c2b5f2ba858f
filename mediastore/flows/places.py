"""What is on a file, by its path: the refs that hold it, and their end by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mediastore import blobs
from mediastore.errors import MediaStoreError
from mediastore.index import changes, listing, places, reads
from mediastore.index.steps import BATCH, Batch
from mediastore.model import Media, Ref

from .deleting import delete_named
from .ending import Tally
from .storing import placed

if TYPE_CHECKING:
    from mediastore.model import Released

    from .context import Context, Flow

#: No ref has a smaller seq.
_FIRST: Final = -1


def refs_at(path: str) -> Flow[list[Media]]:
    """Find the live refs on the file at a path of this host."""
    place = yield from blobs.Place(path)
    roots = yield from blobs.Roots()
    found: list[Media] = []
    for batch in (yield from _on(place)):
        looked = yield from reads.lookup([Ref(f"media://{ref}") for ref, _ in batch])
        found += [placed(each, roots) for each in looked if isinstance(each, Media)]
    return found


def _on(place: blobs.Placement) -> Flow[list[list[tuple[str, str]]]]:
    """Find the refs on a file, dead ones among them, with their blobs, in batches."""
    [blob] = yield from reads.holders_of([(place.root, place.path)])
    number = yield from places.expected(place.root, blob)
    found: list[tuple[str, str]] = []
    after = ""
    while number is None or len(found) < number:
        names = yield from listing.scope_names("", after)
        unread = [(name, _FIRST) for name in names]
        while unread:
            pages = yield from places.members(unread)
            ids = [ref for page in pages for ref, _ in page]
            if ids:
                found += yield from places.on_path(ids, place.root, place.path)
            rows = zip(unread, pages, strict=True)
            unread = [(name, page[-1][1]) for (name, _), page in rows if page]
        if len(names) < BATCH:
            break
        after = names[-1]
    return [found[start : start + BATCH] for start in range(0, len(found), BATCH)]


def delete(ctx: Context, path: str) -> Flow[Released]:
    """End every ref on the file at a path of this host, and delete its bytes where nobody else holds them."""
    place = yield from blobs.Place(path)
    tally, doomed, touched = Tally(), list[tuple[str, str]](), set[str]()
    fault: MediaStoreError | None = None
    for batch in (yield from _on(place)):
        commands = [changes.delete(ref, ctx.new_id(), ctx.terms) for ref, _ in batch]
        answers = yield from Batch(tuple(commands))
        for (_, blob), said in zip(batch, answers, strict=True):
            if isinstance(said, MediaStoreError):
                fault = fault or said
            elif said is not None:
                tally.ended(said)
                doomed += said.doomed
                touched.add(blob)
    roots = yield from blobs.Roots()
    tally.acknowledged(*(yield from delete_named(ctx, roots, doomed)))
    if fault is not None:
        raise fault
    # Each ref of several left the bytes to the next one: only what is still held was kept.
    left = len(touched - {blob for _, blob in doomed}) - tally.lost
    return replace(tally.told(tally.by_hand), kept=tally.lent + left)
