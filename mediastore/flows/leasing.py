"""Leases: bytes that stay for whoever uses them, whatever becomes of the ref."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import (
    InvalidRequest,
    LeaseLost,
    MediaStoreError,
    RefGone,
    WrongHost,
)
from mediastore.index import lives, reads, roots as hosts
from mediastore.index.steps import END_BATCH, Batch
from mediastore.lifetimes import Handoff, LeaseInfo, Taken
from mediastore.model import Duration, MediaMeta, Ref, parse_duration

from .deleting import delete_named
from .storing import lookup, missing_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

    from .context import Context, Flow


def lease_ms(ctx: Context, ttl: Duration) -> int:
    """Return the ttl of a lease in ms.

    Raises:
        InvalidRequest: it is no duration, or longer than the setting `lease_max`.
    """
    seconds = parse_duration(ttl)
    longest = ctx.settings.seconds("lease_max")
    if seconds is None or seconds > longest:
        raise InvalidRequest(
            f"a lease lasts {longest:g} s at most (the setting lease_max): {ttl!r:.60}"
        )
    return max(1, round(seconds * 1000))


def take(ctx: Context, ref: str, ttl: Duration) -> Flow[Taken]:
    """Take a lease through a live ref; where its file cannot be had here, nothing stays taken."""
    wanted, ttl_ms = Ref.parse(ref), lease_ms(ctx, ttl)
    media = yield from lookup(wanted)
    yield from _must_be_here(wanted, media.root)
    token = ctx.new_id()
    leased = yield from _lease(ctx, wanted, token, ttl_ms, ctx.who())
    return (yield from _taken(ctx, wanted, leased, token, ttl_ms, media.meta))


def _must_be_here(ref: Ref, root: str) -> Flow[None]:
    roots = yield from blobs.Roots()
    if root not in roots:
        seen = yield from hosts.place_of(root)
        raise WrongHost(ref, root, seen.place)


def _lease(ctx: Context, ref: Ref, token: str, ttl_ms: int, who: str) -> Flow[lives.Leased]:
    longest = ctx.settings.ms("lease_max")
    leased = yield from lives.lease(ref.id, token, ttl_ms, longest, who, ctx.new_id())
    if leased.verdict == "dead":
        yield from lookup(ref)
        raise RefGone(ref, "expired")  # by a clock that has stepped back since
    return leased


def _taken(
    ctx: Context, ref: Ref, leased: lives.Leased, token: str, ttl_ms: int, meta: MediaMeta
) -> Flow[Taken]:
    """Find the name under which the bytes stay; where there is none, the lease is ended again."""
    try:
        found = yield from blobs.Lasting(leased.root, leased.blob, leased.path, leased.identity)
    except KeyError:
        found = None
    if found is None:
        yield from lives.end_lease(leased.blob, token, ctx.new_id())
        yield from _must_be_here(ref, leased.root)
        raise (yield from missing_at(ref, leased.root, leased.path, leased.identity))
    return Taken(
        ref, leased.blob, leased.root, token, found, meta, leased.identity, ttl_ms, leased.until_ms
    )


def opened(taken: Taken) -> Flow[FileIO]:
    """Open the file of a lease, and make sure that it is the registered one."""
    file = yield from blobs.Open(taken.root, str(taken.path), taken.identity)
    if file is None:
        roots = yield from blobs.Roots()
        path = str(taken.path.relative_to(roots[taken.root]))
        raise (yield from missing_at(taken.ref, taken.root, path, taken.identity))
    return file


Renewed = int | MediaStoreError | None


def renew(ctx: Context, leases: Sequence[Taken]) -> Flow[list[Renewed]]:
    """Renew any number of leases in one write; of each its new deadline in ms; None: it is lost; or an error of its own."""
    batches = [leases[i : i + END_BATCH] for i in range(0, len(leases), END_BATCH)]
    answers = yield from Batch(tuple(lives.renew(each, ctx.new_id()) for each in batches))
    deadlines: list[Renewed] = []
    for batch, answer in zip(batches, answers, strict=True):
        if isinstance(answer, list):
            deadlines += answer
        elif len(batch) == 1:
            deadlines.append(answer)
        else:
            # One key that is not as it should be must not cost the others their leases.
            single = tuple(lives.renew([each], ctx.new_id()) for each in batch)
            for said in (yield from Batch(single)):
                deadlines += said if isinstance(said, list) else [said]
    return deadlines


def end(ctx: Context, taken: Taken) -> Flow[bool]:
    """End a lease, and delete its bytes where it was the last to hold them; False when it was lost before."""
    let = yield from lives.end_lease(taken.blob, taken.token, ctx.new_id())
    if let.due:
        yield from delete_named(ctx, (yield from blobs.Roots()), [(taken.root, taken.blob)])
    return let.held


def handoff(ctx: Context, ref: str, ttl: Duration) -> Flow[str]:
    """Take a lease for somebody else, as a text that travels."""
    wanted, ttl_ms, token = Ref.parse(ref), lease_ms(ctx, ttl), ctx.new_id()
    yield from lookup(wanted)
    leased = yield from _lease(ctx, wanted, token, ttl_ms, f"handoff:{ctx.who()}")
    return str(Handoff(wanted, leased.blob, token))


def accept(ctx: Context, text: str, ttl: Duration) -> Flow[Taken]:
    """Swap a hand-over for a lease of one's own; it works once. Where its file cannot be had here, it stays as it is."""
    handed, ttl_ms, token = Handoff.parse(text), lease_ms(ctx, ttl), ctx.new_id()
    root = yield from reads.root_of(handed.blob)
    if root:
        yield from _must_be_here(handed.ref, root)
    longest = ctx.settings.ms("lease_max")
    leased = yield from lives.accept(handed, token, ttl_ms, longest, ctx.who(), ctx.new_id())
    if leased.verdict == "lost":
        raise LeaseLost(handed.ref, "its hand-over was accepted before, or came too late")
    return (yield from _taken(ctx, handed.ref, leased, token, ttl_ms, leased.meta or MediaMeta()))


def leases(ref: str) -> Flow[list[LeaseInfo]]:
    """Read who holds a lease of a live ref's bytes."""
    media = yield from lookup(ref)
    return (yield from lives.leases(media.blob))
