"""A blob of the store's own: reserved in the index first, written second, published third, committed last.

Whoever is killed in between leaves a reservation that lapses, and its names go with the next sweep.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mediastore import blobs
from mediastore.blobs import drafting
from mediastore.errors import BlobsUnavailable, MediaStoreError, StoreFull
from mediastore.index import changes, content as index
from mediastore.index.quotas import exceeded
from mediastore.lifetimes import Taken
from mediastore.model import Ref
from mediastore.sidecars import Sidecar

from . import sidecars
from .deleting import delete_batch
from .orders import path_of
from .retention import unknown
from .storing import was_forgotten

if TYPE_CHECKING:
    from mediastore.blobs.owned import Draft
    from mediastore.journal import Written

    from .context import Context, Flow
    from .orders import Order

logger = logging.getLogger("mediastore")

#: How often a blob whose file is gone is met before we give up.
_MOST_TRIES: Final = 5
#: What is reserved at least where a quota is kept to and nobody knows how much comes.
_LEAST_BYTES: Final = 1 << 20


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
    #: How long the ref will live unless its policy is changed meanwhile; None for no end.
    life_ms: int | None = None
    #: Whether a quota is to be kept to.
    limited: bool = False
    guard: Any = None
    #: Whether the last word was said, and its answer never came: the ref is made, or the blob lapses.
    unknown: bool = False

    def sidecar(self, written: Written, now_s: float) -> Sidecar:
        """Return what is written beside the file."""
        now_ms = self.reserved_ms + int((now_s - self.reserved_s) * 1000)
        life_ms = self.life_ms
        return Sidecar(
            ref=Ref(f"media://{self.wish.ref}"),
            blob=self.wish.blob,
            scope=self.order.scope,
            size=written.size,
            stored_ms=now_ms,
            expires_ms=None if life_ms is None else now_ms + life_ms,
            meta=self.order.meta,
            path=self.place.path,
            sha=written.sha,
            detected=self.order.detected,
        )

    def reorder(self, order: Order) -> None:
        """Take a new order for content that is known better now."""
        self.order = order
        self.wish = replace(
            self.wish,
            scope=order.scope,
            life=order.life,
            meta=order.meta,
            detected=order.detected,
        )

    def let_go(self) -> None:
        """Renew its lease no more. It does no I/O: a flow that is closed may call it."""
        if self.guard is not None:
            self.guard.over = True

    def __del__(self) -> None:
        self.let_go()


def reserve(ctx: Context, wanted: Order, need: int, sha: str = "") -> Flow[Job | Ref]:
    """Make a temporary file and reserve its blob; the ref at once where a blob has the content already."""
    alone, token = "", ctx.new_id()
    longest = ctx.settings.ms("lease_max")
    hold = index.Hold(token, min(ctx.claim_ms, longest), longest, f"writer:{ctx.who()}")
    for _ in range(_MOST_TRIES):
        ref, blob = ctx.new_id(), ctx.new_id()
        draft: Draft = yield from _begin(ctx, wanted, blob, need)
        wish = index.Wish(ref, blob, wanted.scope, wanted.life, wanted.meta, wanted.detected, alone)
        place = index.Place(
            draft.root, path_of(ctx.settings, wanted, wish, sha), need, sha, ctx.settings.sidecars
        )
        try:
            said = yield from _reserved(ctx, wish, place, hold)
        except MediaStoreError:
            yield from drafting.Discard(draft)
            raise
        if said.verdict == "reserved":
            # Asked after the answer came: our idea of the server's time is never ahead of it.
            at_s = yield from blobs.Elapsed()
            now_ms = said.until_ms - hold.ttl_ms
            limited = said.limited
            return Job(wanted, wish, place, hold, draft, now_ms, at_s, said.life_ms, limited)
        yield from drafting.Discard(draft)
        if said.verdict != "joined":
            raise (yield from _refusal(ctx, wish, draft.root, said.verdict))
        if (yield from _joined(ctx, wish, place, said)):
            return Ref(f"media://{ref}")
        alone = said.blob
    raise _vanishing()


def _begin(ctx: Context, wanted: Order, blob: str, need: int) -> Flow[Draft]:
    """Make the temporary file in the first root that has room and answers."""
    failed: MediaStoreError | None = None
    for root in (yield from blobs.Roots()):
        try:
            return (
                yield from drafting.Begin(
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
    ctx: Context, wish: index.Wish, place: index.Place, hold: index.Hold, *, again: bool = False
) -> Flow[index.Reserved]:
    try:
        return (yield from index.reserve(wish, place, hold, ctx.new_id(), again=again))
    except StoreFull as error:
        if error.refused:
            raise
        # A delayed twin of the command must not make the ref later.
        stored = yield from changes.refuse(wish.ref, wish.blob)
        if stored.verdict == "refused":
            raise
        return index.Reserved("joined", stored.blob, place.path, 0)


def _joined(
    ctx: Context, wish: index.Wish, place: index.Place, said: index.Reserved | index.Committed
) -> Flow[bool]:
    """Whether the file of the blob that was joined is there and has those bytes still; else the ref is taken back."""
    if (yield from drafting.Same(place.root, said.path, place.size, said.stamp, place.sha)):
        if ctx.settings.sidecars:
            yield from sidecars.write_now(ctx, place.root, wish.ref, said.blob)
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
    job.guard = yield from drafting.Guard(taken)


def conclude(ctx: Context, job: Job, *, anew: bool = False) -> Flow[Ref]:
    """Publish what was written, and make its ref; `anew`: first say again where it lies, and ask whether it is reserved still."""
    written = yield from drafting.Finish(job.draft, ctx.settings.durable)
    job.order.announced.check(written.size, written.sha)
    # A buffer may have changed since its hash was taken: whoever stores those bytes later must not get these.
    if anew or (ctx.settings.dedup and job.place.sha != written.sha):
        found = yield from _place_again(ctx, job, written)
        if found is not None:
            return found
    sidecar = job.sidecar(written, (yield from blobs.Elapsed()))
    text = sidecar.to_text().encode() if ctx.settings.sidecars else b""
    stamp = yield from drafting.Publish(job.draft, job.place.path, text, ctx.settings.durable)
    if stamp is None:
        raise _lapsed()
    done = yield from _committed(job, written, stamp, sidecar.stored_ms)
    if done.verdict == "joined":
        yield from delete_batch(ctx, job.place.root, (job.wish.blob,))
        if not (yield from _joined(ctx, job.wish, replace(job.place, size=written.size), done)):
            raise _vanishing()
    elif done.verdict != "new":
        raise (yield from _refusal(ctx, job.wish, job.place.root, done.verdict))
    return Ref(f"media://{job.wish.ref}")


def _committed(job: Job, written: Written, stamp: str, stored_ms: int) -> Flow[index.Committed]:
    try:
        return (
            yield from index.commit(
                job.wish, job.hold.token, written.size, job.place.sha, stored_ms, stamp
            )
        )
    except MediaStoreError as error:
        job.unknown = not error.refused  # unless the next answer comes
        if error.refused or not isinstance(error, StoreFull):
            raise
        # A delayed twin of the command must not make the ref of a file that is gone by then.
        stored = yield from changes.refuse(job.wish.ref, job.wish.blob)
        job.unknown = False
        if stored.verdict == "refused":
            raise
        return index.Committed("new", stored.blob, job.place.path)


def _place_again(ctx: Context, job: Job, written: Written) -> Flow[Ref | None]:
    """Say where content lies whose hash or type is known only now; its ref where a blob has it already."""
    # First: a sweeper finds the temporary name by the extension of the path.
    if not (yield from drafting.Rename(job.draft, job.order.extension)):
        raise _lapsed()
    for _ in range(_MOST_TRIES):
        sha = written.sha if ctx.settings.dedup else ""
        path = path_of(ctx.settings, job.order, job.wish, sha)
        job.place = replace(job.place, path=path, size=written.size, sha=sha)
        said = yield from _reserved(ctx, job.wish, job.place, job.hold, again=True)
        if said.verdict == "reserved":
            job.life_ms = said.life_ms
            return None
        if said.verdict != "joined":
            raise (yield from _refusal(ctx, job.wish, job.place.root, said.verdict))
        if (yield from _joined(ctx, job.wish, job.place, said)):
            yield from give_up(ctx, job)
            return Ref(f"media://{job.wish.ref}")
        job.wish = replace(job.wish, ref=ctx.new_id(), alone=said.blob)
    raise _vanishing()


def make_room(ctx: Context, job: Job, size: int) -> Flow[None]:
    """Reserve more where a quota asks for it, before so many bytes are written: twice as many, or those alone.

    Raises:
        QuotaExceeded: they are too many.
    """
    if not job.limited or size <= job.place.size:
        return
    ahead = max(size * 2, _LEAST_BYTES)
    if job.order.limit is not None:
        ahead = min(ahead, job.order.limit)
    for wanted in (ahead, size):
        place = replace(job.place, size=wanted)
        said = yield from index.reserve(job.wish, place, job.hold, ctx.new_id(), again=True)
        if said.verdict == "reserved":
            job.place = place
            return
    raise (yield from _refusal(ctx, job.wish, job.place.root, said.verdict))


def _refusal(ctx: Context, wish: index.Wish, root: str, verdict: str) -> Flow[MediaStoreError]:
    """Return the error for what the index said instead of making a ref."""
    if verdict == "forgotten":
        return (yield from was_forgotten(root))
    if verdict == "policy":
        return (yield from unknown(ctx.settings, wish.meta.policy))
    if verdict == "lost":
        return _lapsed()
    return exceeded(wish.scope, verdict)


def give_up(ctx: Context, job: Job) -> Flow[None]:
    """Take back what was begun. Whatever fails of it, the reservation lapses, and its names go with the next sweep."""
    job.let_go()
    if job.unknown:
        return
    try:
        yield from drafting.Discard(job.draft, job.place.path)
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
