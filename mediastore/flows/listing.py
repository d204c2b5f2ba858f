"""Reading what is stored: pages of refs, scopes, numbers, and what a release would do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import InvalidRequest
from mediastore.index import listing as index
from mediastore.index.steps import BATCH
from mediastore.model import Media, ReleasePlan, check_scope, is_text

from .storing import lookup, placed

if TYPE_CHECKING:
    from mediastore.stats import Stats

    from .context import Flow


def plan_release(scope: str) -> Flow[ReleasePlan]:
    """Count what releasing the scope would end and delete, by reading its tree."""
    check_scope(scope)
    refs = size = 0
    counted: Counter[str] = Counter()
    holders: dict[str, int] = {}
    kept: set[str] = set()
    tree = [scope]
    for node in tree:
        tree += yield from children_of(node)
        after: int | None = 0
        while after is not None:
            page = yield from index.page(node, after, BATCH)
            for media, count in zip(page.refs, page.holders, strict=True):
                refs += 1
                counted[media.blob] += 1
                if media.blob not in holders:
                    size += media.size_bytes
                holders[media.blob] = count
                if media.custody == "borrowed":
                    kept.add(media.blob)
            after = page.after
    kept |= {blob for blob, count in holders.items() if counted[blob] < count}
    return ReleasePlan(scope, refs, len(holders), size, len(kept), len(tree))


def children_of(scope: str) -> Flow[list[str]]:
    """List the scopes directly below a scope, of those that hold anything."""
    found: list[str] = []
    while True:
        some = yield from index.children(scope, len(found))
        found += [f"{scope}/{name.rsplit('/', 1)[-1]}" for name in some]
        if len(some) < BATCH:
            return found


def list_refs(scope: str, limit: int, after: str | Media | None) -> Flow[list[Media]]:
    """List live refs of one scope in store order."""
    check_scope(scope)
    if type(limit) is not int or limit < 1:
        raise InvalidRequest(f"limit is a whole number from 1, not {limit!r:.60}")
    seq = 0
    if isinstance(after, Media):
        seq = after.seq
    elif after is not None:
        seq = (yield from lookup(after)).seq
    roots = yield from blobs.Roots()
    found: list[Media] = []
    going_on: int | None = seq
    while going_on is not None and len(found) < limit:
        page = yield from index.page(scope, going_on, min(limit - len(found), BATCH))
        found += [placed(media, roots) for media in page.refs]
        going_on = page.after
    return found


def list_scopes(prefix: str) -> Flow[list[str]]:
    """List the scopes that hold live refs, by name."""
    if not is_text(prefix):
        raise InvalidRequest(f"what scopes begin with is text, not {prefix!r:.60}")
    found: list[str] = []
    after = ""
    while True:
        names = yield from index.scope_names(prefix, after)
        for name in names:
            live = yield from list_refs(name, 1, None)
            found += [name] if live else []
        if len(names) < BATCH:
            return found
        after = names[-1]


def stats() -> Flow[Stats]:
    """Read the namespace in numbers."""
    return (yield from index.stats())
