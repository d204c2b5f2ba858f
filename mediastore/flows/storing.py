"""Registering a file, and finding it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import (
    BlobMissing,
    BlobsUnavailable,
    Corrupt,
    InvalidRequest,
    MediaStoreError,
    StoreFull,
    WrongHost,
)
from mediastore.index import changes, reads, roots as hosts
from mediastore.model import (
    Cleanup,
    Duration,
    Media,
    MediaMeta,
    Ref,
    check_scope,
    from_ms,
    parse_duration,
    parse_retention,
)

from .context import LOOK_AGAIN_AT_MOST_S, LOOK_AGAIN_S, Context, Flow
from .ending import delete_batch

if TYPE_CHECKING:
    from mediastore.journal import Held
    from mediastore.settings import Settings


def store(ctx: Context, path: str, scope: str, meta: MediaMeta, ttl: Duration | None) -> Flow[Ref]:
    """Take a second name for the file, register it in one script, give the name its lasting place."""
    check_scope(scope)
    ttl_ms = _lifetime_ms(ctx.settings, meta, ttl)
    while True:
        ref, blob = ctx.new_id(), ctx.new_id()
        held: Held = yield from blobs.Hold(path, blob, meta.cleanup is Cleanup.FORGET)
        try:
            stored = yield from changes.store(ref, blob, scope, held, ttl_ms, meta)
        except StoreFull:
            stored = yield from changes.refuse(ref, blob)
            if stored.verdict == "refused":
                yield from blobs.Drop(held, blob)
                raise
        except Corrupt:
            yield from blobs.Drop(held, blob)
            raise
        if stored.verdict == "forgotten":
            yield from blobs.Drop(held, blob)
            raise (yield from _forgotten(held.root))
        settle = blobs.Keep if stored.verdict == "new" else blobs.Drop
        still_there = yield from settle(held, blob)
        if stored.verdict == "busy":
            yield from _outlast(ctx, held.root, stored.blob, path)
        elif still_there:
            return Ref(f"media://{ref}")
        else:
            # Between the second name and the script, the path was deleted for its last registration.
            yield from changes.withdraw(ref, ctx.new_id())
            yield from delete_batch(ctx, held.root, (stored.blob,))


def _forgotten(root: str) -> Flow[MediaStoreError]:
    here = yield from blobs.Roots()
    seen = yield from hosts.place_of(root)
    return hosts.was_forgotten(here.get(root, root), root, f"{seen.forgotten_ms} {seen.place}")


def _lifetime_ms(settings: Settings, meta: MediaMeta, ttl: Duration | None) -> int | None:
    if ttl is not None and meta.policy:
        raise InvalidRequest("give a ttl or a retention policy, not both")
    if ttl is not None:
        seconds = parse_duration(ttl)
    else:
        seconds = (
            parse_retention(meta.policy) if meta.policy else settings.seconds("max_age") or None
        )
    return None if seconds is None else max(1, round(seconds * 1000))


def _outlast(ctx: Context, root: str, blob: str, path: str) -> Flow[None]:
    """Wait until a blob that is being deleted is gone, or help: its path can be registered again only then."""
    started = yield from blobs.Elapsed()
    wait = LOOK_AGAIN_S
    while True:
        state = yield from reads.blob_state(root, blob)
        if state is None:
            return
        if state.due:
            yield from delete_batch(ctx, root, (blob,))
        else:
            yield from blobs.Pause(wait)
            wait = min(wait * 2, LOOK_AGAIN_AT_MOST_S)
        waited = (yield from blobs.Elapsed()) - started
        if waited > ctx.settings.seconds("claim") + ctx.settings.seconds("timeout"):
            why = f", the last try failed with {state.errno}" if state.errno else ""
            raise BlobsUnavailable(
                f"{path} was registered before and its deletion has not finished{why}"
            )


def lookup(ref: str) -> Flow[Media]:
    """Read a live ref; the tombstone is fetched only when it is missing."""
    wanted = Ref.parse(ref)
    media = yield from reads.lookup(wanted)
    if media is None:
        yield from reads.farewell(wanted)
        raise AssertionError(wanted)  # pragma: no cover - farewell always raises
    return media


def resolve(ref: str) -> Flow[tuple[Path, MediaMeta]]:
    """Read a live ref and make sure that its file is still the registered one."""
    media = yield from lookup(ref)
    path = yield from _check(media)
    if path is None:
        # Released and deleted between the two looks is "gone", not "missing".
        media = yield from lookup(ref)
        raise BlobMissing(media.ref, str(media.path))
    return path, media.meta


def _check(media: Media) -> Flow[Path | None]:
    path = str(media.path)
    try:
        found = yield from blobs.Check(media.root, path, media.identity, media.seq)
        if found is not None:
            return found
        # The ref says how its blob knew the file when it was stored; an adopted root changed that.
        identity = yield from hosts.identity_of(media.root, path, media.blob)
        return (yield from blobs.Check(media.root, path, identity)) if identity else None
    except KeyError:
        seen = yield from hosts.place_of(media.root)
    if seen.forgotten_ms:
        when = f"{from_ms(seen.forgotten_ms):%Y-%m-%d %H:%M} UTC"
        detail = f"was in root {media.root} of {seen.place}, which was forgotten on {when}"
        raise BlobMissing(media.ref, path, detail)
    raise WrongHost(media.ref, media.root, seen.place)


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
    return (
        replace(media, path=Path(roots[media.root], media.path)) if media.root in roots else media
    )
