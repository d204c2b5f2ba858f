"""The same for many at once: one write of bounded scripts, answers in order, an error in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import MediaStoreError, as_value
from mediastore.index import changes, reads
from mediastore.index.steps import Batch
from mediastore.model import Cleanup, Duration, Media, MediaMeta, Ref, Released, check_scope

from .ending import Release
from .retention import lifetime
from .storing import check, look_up, missing, note_activity, refused, settled, store, why_dead

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mediastore.journal import Held

    from .context import Context, Flow

#: How many refs one write asks for, or scripts one write sends.
AT_ONCE = 128


def store_many(
    ctx: Context, items: Sequence[tuple[str, MediaMeta]], scope: str, ttl: Duration | None
) -> Flow[list[Ref | MediaStoreError]]:
    """Register files under one scope, a batch in each write."""
    check_scope(scope)
    found: list[Ref | MediaStoreError] = []
    for start in range(0, len(items), AT_ONCE):
        found += yield from _store_some(ctx, items[start : start + AT_ONCE], scope, ttl)
    return found


def _store_some(
    ctx: Context, items: Sequence[tuple[str, MediaMeta]], scope: str, ttl: Duration | None
) -> Flow[list[Ref | MediaStoreError]]:
    found: list[Ref | MediaStoreError | None] = [None] * len(items)
    begun: list[tuple[int, str, str, Held]] = []
    commands = []
    for number, (path, meta) in enumerate(items):
        ref, blob = ctx.new_id(), ctx.new_id()
        try:
            life, meta = lifetime(ctx.settings, meta, ttl)  # noqa: PLW2901
            held = yield from blobs.Hold(path, blob, meta.cleanup is Cleanup.FORGET)
        except MediaStoreError as error:
            found[number] = as_value(error)
            continue
        begun.append((number, ref, blob, held))
        commands.append(changes.store(ref, blob, scope, held, life, meta))
    try:
        answers = (yield from Batch(tuple(commands))) if commands else []
    except MediaStoreError as error:
        for _, _, blob, held in begun if error.refused else ():
            yield from blobs.Drop(held, blob)
        raise
    for (number, ref, blob, held), answer in zip(begun, answers, strict=True):
        path, meta = items[number]
        try:
            if isinstance(answer, MediaStoreError):
                answer = yield from refused(held, ref, blob, answer)  # noqa: PLW2901
            if (yield from settled(ctx, path, held, ref, blob, answer)):
                found[number] = Ref(f"media://{ref}")
            else:
                found[number] = yield from store(ctx, path, scope, meta, ttl)
        except MediaStoreError as error:
            found[number] = as_value(error)
    return [each for each in found if each is not None]


def resolve_many(ctx: Context, refs: Sequence[str]) -> Flow[list[Path | MediaStoreError]]:
    """Resolve refs, many in each write; why some are dead is asked one by one."""
    found: list[Path | MediaStoreError] = []
    for start in range(0, len(refs), AT_ONCE):
        found += yield from _resolve_some(ctx, refs[start : start + AT_ONCE])
    return found


def _resolve_some(ctx: Context, texts: Sequence[str]) -> Flow[list[Path | MediaStoreError]]:
    found: dict[int, Path | MediaStoreError] = {}
    wanted: dict[int, Ref] = {}
    idling: dict[str, float] = {}
    for number, text in enumerate(texts):
        try:
            wanted[number] = Ref.parse(text)
        except MediaStoreError as error:
            found[number] = as_value(error)
    looked = (yield from look_up(list(wanted.values()))) if wanted else []
    for (number, ref), media in zip(wanted.items(), looked, strict=True):
        try:
            found[number] = yield from _path_of(ref, media)
        except MediaStoreError as error:
            found[number] = as_value(error)
        else:
            if isinstance(media, Media) and media.idle_s is not None:
                idling[media.scope] = min(media.idle_s, idling.get(media.scope, media.idle_s))
    for scope, idle_s in idling.items():
        yield from note_activity(ctx, scope, idle_s)
    return [found[number] for number in range(len(texts))]


def _path_of(ref: Ref, media: reads.Found) -> Flow[Path]:
    if not isinstance(media, Media):
        raise (yield from why_dead(ref, media))
    found = yield from check(media)
    if found is None:
        # Released and deleted between the two looks is "gone", not "missing".
        [again] = yield from look_up([ref])
        if not isinstance(again, Media):
            raise (yield from why_dead(ref, again))
        raise (yield from missing(again))
    return found[0]


def release_many(
    ctx: Context, scopes: Sequence[str], *, wait: bool
) -> Flow[list[Released | MediaStoreError]]:
    """Cut every scope, many in each write; then drain and delete scope by scope what this process can."""
    found: list[Released | MediaStoreError] = []
    for start in range(0, len(scopes), AT_ONCE):
        found += yield from _release_some(ctx, scopes[start : start + AT_ONCE], wait=wait)
    return found


def _release_some(
    ctx: Context, scopes: Sequence[str], *, wait: bool
) -> Flow[list[Released | MediaStoreError]]:
    found: dict[int, Released | MediaStoreError] = {}
    commands = {}
    for number, scope in enumerate(scopes):
        try:
            commands[number] = changes.release(check_scope(scope), ctx.new_id(), ctx.terms)
        except MediaStoreError as error:
            found[number] = as_value(error)
    cuts = (yield from Batch(tuple(commands.values()))) if commands else []
    releases: dict[int, Release] = {}
    for number, cut in zip(commands, cuts, strict=True):
        if isinstance(cut, MediaStoreError):
            found[number] = cut
        else:
            releases[number] = Release(scopes[number], cut)
    # What one scope waits for may be another's to delete: versions of one path go one after the other.
    for step in (Release.work_off, Release.see_off) if wait else ():
        for number, release in releases.items():
            try:
                if number not in found:
                    yield from step(release, ctx)
            except MediaStoreError as error:
                found[number] = as_value(error)
    return [
        found[number] if number in found else releases[number].done for number in range(len(scopes))
    ]
