"""Registering a file, and finding it again."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mediastore import blobs
from mediastore.errors import (
    BlobMissing,
    BlobsUnavailable,
    Corrupt,
    InvalidRequest,
    MediaStoreError,
    NotThere,
    RefUnknown,
    StoreFull,
    Unavailable,
    WrongHost,
)
from mediastore.index import changes, lives, reads, roots as hosts
from mediastore.index.quotas import exceeded
from mediastore.model import (
    Cleanup,
    Duration,
    Media,
    MediaMeta,
    Ref,
    check_scope,
    from_ms,
)

from .context import LOOK_AGAIN_AT_MOST_S, LOOK_AGAIN_S, Context, Flow
from .deleting import delete_batch
from .retention import lifetime, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

    from mediastore.journal import Held

logger = logging.getLogger("mediastore")

#: How many idling scopes a process remembers to have told of.
_MOST_NOTED: Final = 10_000


def store(ctx: Context, path: str, scope: str, meta: MediaMeta, ttl: Duration | None) -> Flow[Ref]:
    """Take a second name for the file, register it in one script, give the name its lasting place."""
    check_scope(scope)
    life, meta = lifetime(ctx.settings, meta, ttl)
    while True:
        ref, blob = ctx.new_id(), ctx.new_id()
        held: Held = yield from blobs.Hold(path, blob, meta.cleanup is Cleanup.FORGET)
        try:
            stored = yield from changes.store(ref, blob, scope, held, life, meta)
        except MediaStoreError as error:
            stored = yield from refused(held, ref, blob, error)
        if (yield from settled(ctx, path, held, ref, blob, stored)):
            return Ref(f"media://{ref}")


def refused(held: Held, ref: str, blob: str, error: MediaStoreError) -> Flow[changes.Stored]:
    """Take back what was begun if the index refused; returns the verdict if an earlier twin made the ref after all.

    After any other error the ref may be there, or come: the second name stays, and goes with tidying if there is no ref.

    Raises:
        MediaStoreError: the error, unless there was such a twin.
    """
    certain = error.refused
    if isinstance(error, StoreFull) and not certain:
        # Sent more than once: a delayed twin must not make the ref later.
        stored = yield from changes.refuse(ref, blob)
        if stored.verdict != "refused":
            return stored
        certain = True
    if certain:
        yield from blobs.Drop(held, blob)
    raise error


def settled(
    ctx: Context, path: str, held: Held, ref: str, blob: str, stored: changes.Stored
) -> Flow[bool]:
    """Give the second name its place, or drop it; False when the file must be registered once more.

    Raises:
        InvalidRoot: the root was forgotten.
        InvalidPolicy: nobody knows the policy that it is to live by.
        InvalidRequest: it is a file of the store's own that somebody wrote to.
        QuotaExceeded: the namespace or the scope holds too much.
        BlobsUnavailable: the path's last registration is being deleted and that does not end.
    """
    if stored.verdict == "policy":
        yield from blobs.Drop(held, blob)
        raise (yield from unknown(ctx.settings, stored.policy))
    if stored.verdict.startswith("quota:"):
        yield from blobs.Drop(held, blob)
        raise exceeded(stored.scope, stored.verdict)
    if stored.verdict == "changed":
        yield from blobs.Drop(held, blob)
        raise InvalidRequest(
            f"{path} is content of the store that was written to since, and no ref of it is good any more; "
            "hand it over as new content: store_media(MediaContent(file_path=...))"
        )
    if stored.verdict == "forgotten":
        yield from blobs.Drop(held, blob)
        raise (yield from was_forgotten(held.root))
    settle = blobs.Keep if stored.verdict == "new" else blobs.Drop
    still_there = yield from settle(held, blob)
    if stored.verdict == "busy":
        yield from _outlast(ctx, held.root, stored.blob, path)
        return False
    if not still_there:
        # Between the second name and the script, the path was deleted for its last registration.
        # What it joined may have been in grace, which a store that came to nothing must not cut short.
        terms = ctx.terms if stored.verdict == "joined" else replace(ctx.terms, grace_ms=0)
        yield from changes.withdraw(ref, ctx.new_id(), terms)
        yield from delete_batch(ctx, held.root, (stored.blob,))
    return still_there


def was_forgotten(root: str) -> Flow[MediaStoreError]:
    """Return the error that says where and when a root was forgotten."""
    here = yield from blobs.Roots()
    seen = yield from hosts.place_of(root)
    return hosts.was_forgotten(here.get(root, root), root, f"{seen.forgotten_ms} {seen.place}")


def _outlast(ctx: Context, root: str, blob: str, path: str) -> Flow[None]:
    """Wait until a blob that is being deleted is gone, or help: its path can be registered again only then."""
    started = yield from blobs.Elapsed()
    wait = LOOK_AGAIN_S
    while True:
        state = yield from reads.blob_state(root, blob)
        if state is None or state.state == "live":
            return
        done = (yield from delete_batch(ctx, root, (blob,))) if state.due else None
        if done is None or done.failed or done.barred:
            yield from blobs.Pause(wait)
            wait = min(wait * 2, LOOK_AGAIN_AT_MOST_S)
        waited = (yield from blobs.Elapsed()) - started
        if waited > ctx.settings.seconds("claim") + ctx.settings.seconds("timeout"):
            why = f", the last try failed with {state.errno}" if state.errno else ""
            raise BlobsUnavailable(
                f"{path} was registered before and its deletion has not finished{why}"
            )


def look_up(refs: Sequence[Ref]) -> Flow[list[reads.Found]]:
    """Read refs; of those whose deadline has passed, whether it counts."""
    found = yield from reads.lookup(refs)
    late = {
        number: refs[number]
        for number, each in enumerate(found)
        if isinstance(each, reads.Dead) and each.expired and not each.cut
    }
    again = (yield from reads.lookup(list(late.values()), overdue=True)) if late else []
    for number, each in zip(late, again, strict=True):
        found[number] = each
    return found


def lookup(ref: str) -> Flow[Media]:
    """Read a live ref; why it is dead is asked only where it is."""
    wanted = Ref.parse(ref)
    [found] = yield from look_up([wanted])
    if isinstance(found, Media):
        return found
    raise (yield from why_dead(wanted, found))


def why_dead(ref: Ref, dead: reads.Dead | Corrupt | None) -> Flow[NotThere | Corrupt]:
    """Return the error that says why a ref is not there."""
    if isinstance(dead, Corrupt):
        return dead
    said = yield from reads.farewell(ref, dead)
    return said.error(ref) if said else RefUnknown(ref)


def resolve(ctx: Context, ref: str) -> Flow[tuple[Path, MediaMeta]]:
    """Find the file of a live ref; returns its path and metadata."""
    path, media = yield from resolved(ctx, ref)
    return path, media.meta


def resolved(ctx: Context, ref: str) -> Flow[tuple[Path, Media]]:
    """Read a live ref and find its bytes."""
    media = yield from lookup(ref)
    found = yield from check(media)
    if found is None:
        # Released and deleted between the two looks is "gone", not "missing".
        raise (yield from missing((yield from lookup(ref))))
    if media.idle_s is not None:
        yield from note_activity(ctx, media.scope, media.idle_s)
    return found


def note_activity(ctx: Context, scope: str, idle_s: float) -> Flow[None]:
    """Say that an idling scope is in use, at most every tenth of its idle time."""
    now = yield from blobs.Elapsed()
    said_at, enough_s = ctx.noted.get(scope, (float("-inf"), 0.0))
    if now - said_at < min(enough_s, idle_s / 10):
        return
    if len(ctx.noted) >= _MOST_NOTED:
        ctx.noted.clear()
    try:
        again_s = yield from lives.note(scope, ctx.new_id())
    except Unavailable as error:
        logger.debug("could not say that %s is in use: %s", scope, error)
        again_s = None
    # As the index counts it: a tenth of our own on top of its tenth would make the scope end too soon.
    ctx.noted[scope] = now, idle_s / 10 if again_s is None else again_s


def check(media: Media) -> Flow[tuple[Path, Media] | None]:
    """Return the path under which a ref's bytes can be read, and its media with the identity that they have now.

    None if they are neither at the path of the ref nor under a held link.

    Raises:
        BlobMissing: the root was forgotten.
        WrongHost: the root is none of this process's.
    """
    path, root, blob = str(media.path), media.root, media.blob
    try:
        found = yield from blobs.Check(root, blob, path, media.identity, media.seq)
        if found is not None:
            return found, media
        # The ref says how its blob knew the file when it was stored; an adopted root changed that.
        known = yield from hosts.identity_of(root, path, blob)
        if known.current:
            found = yield from blobs.Check(root, blob, path, known.identity)
        elif known.identity.startswith("link:"):
            # The path is another blob's. Only the name of the held link is this one's.
            found = yield from blobs.Lasting(root, blob, path, known.identity)
        return (found, replace(media, identity=known.identity)) if found else None
    except KeyError:
        seen = yield from hosts.place_of(root)
    if seen.forgotten_ms:
        when = f"{from_ms(seen.forgotten_ms):%Y-%m-%d %H:%M} UTC"
        detail = f"was on {seen.place}, which was forgotten on {when}"
        raise BlobMissing(media.ref, path, detail, root)
    raise WrongHost(media.ref, root, seen.place)


def opened(media: Media, path: Path) -> Flow[FileIO]:
    """Open the bytes of a ref where they were found just now; if they were moved or replaced since, their held link."""
    file = yield from blobs.Open(media.root, str(path), media.identity)
    if file is None:
        path_of_file = str(media.path)
        held = yield from blobs.Lasting(media.root, media.blob, path_of_file, media.identity)
        file = (yield from blobs.Open(media.root, str(held), media.identity)) if held else None
    if file is None:
        raise (yield from missing(media))
    return file


def missing(media: Media) -> Flow[BlobMissing]:
    """Return the error for bytes that are at neither place, with what is at the path now."""
    return (yield from missing_at(media.ref, media.root, str(media.path), media.identity))


def missing_at(ref: Ref, root: str, path: str, identity: str) -> Flow[BlobMissing]:
    """As `missing`; `path` relative to a root of this process."""
    there = yield from blobs.Occupant(root, path, identity)
    said = "is empty" if there == "nothing" else f"holds {there}"
    pinned = identity.startswith("link:")
    detail = f"{said}, and the held link of the registered file is gone" if pinned else said
    roots = yield from blobs.Roots()
    return BlobMissing(ref, str(path_in(roots, root, Path(path))), detail, root)


def get(ref: str) -> Flow[Media]:
    """Read a live ref and the state of its blob; the path absolute where this process has the root."""
    media = yield from lookup(ref)
    state = yield from reads.blob_state(media.root, media.blob)
    roots = yield from blobs.Roots()
    return placed(
        replace(media, custody=state.custody, state=state.state) if state else media, roots
    )


def placed(media: Media, roots: dict[str, str]) -> Media:
    """Return the media with an absolute path where the root is one of these."""
    return replace(media, path=path_in(roots, media.root, media.path))


def path_in(roots: dict[str, str], root: str, path: Path) -> Path:
    """Return a path of a root, absolute where the root is one of these."""
    return Path(roots[root], path) if root in roots else path
