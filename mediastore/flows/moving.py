"""Refs that move: their deadlines, their scopes, one more of them, one for a dead one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mediastore import blobs
from mediastore.errors import Corrupt, InvalidRequest, RefGone, RefUnknown
from mediastore.index import lives, reads
from mediastore.index.quotas import exceeded
from mediastore.model import Duration, Media, Ref, check_scope, parse_duration

from .retention import lifetime_of_copy, unknown
from .storing import look_up, lookup, path_in

if TYPE_CHECKING:
    from datetime import datetime

    from mediastore.lifetimes import Tombstone, Waiting

    from .context import Context, Flow

#: What somebody may have wanted who restores a ref that lives.
_TO_RESTORE = "share() makes one more ref of its bytes"


def duration_word(value: Duration | None) -> int | str:
    """Return a duration as the scripts read it: ms, "never", or "" where nothing was said."""
    if value is None:
        return ""
    seconds = parse_duration(value)
    return "never" if seconds is None else max(1, round(seconds * 1000))


def extend(ctx: Context, ref: str, verb: str, ttl: Duration | None = None) -> Flow[datetime | None]:
    """Touch, pin or unpin a live ref; returns its new deadline."""
    wanted, word = Ref.parse(ref), duration_word(ttl)
    moved = yield from lives.extend(wanted.id, verb, word, ctx.new_id())
    if moved.verdict == "dead":
        yield from _refuse(wanted)
    return moved.expires_at


def _refuse(ref: Ref) -> Flow[None]:
    """Raise why a ref is dead that a script has found dead."""
    yield from lookup(ref)
    raise RefGone(ref, "expired")  # by a clock that has stepped back since


def transfer(ctx: Context, ref: str, scope: str) -> Flow[str]:
    """Move a live ref to another scope, or with "" to the parent of its own; returns where it is."""
    wanted = Ref.parse(ref)
    if scope:
        check_scope(scope)
    moved = yield from lives.transfer(wanted.id, scope, ctx.new_id())
    if moved.verdict == "dead":
        yield from _refuse(wanted)
    _keep_quota(moved.scope, moved.verdict)
    if moved.verdict == "top":
        raise InvalidRequest(f"{wanted} is in {moved.scope!r}, which has no parent scope")
    return moved.scope


def share(ctx: Context, ref: str, scope: str, ttl: Duration | None) -> Flow[Ref]:
    """Make one more ref of a live ref's bytes, with a copy of its metadata."""
    check_scope(scope)
    wanted, new = Ref.parse(ref), ctx.new_id()
    media = yield from lookup(wanted)
    life = lifetime_of_copy(ctx.settings, media.meta, ttl)
    moved = yield from lives.share(wanted.id, new, scope, life, ctx.new_id())
    if moved.verdict == "dead":
        yield from _refuse(wanted)
    if moved.verdict == "policy":
        raise (yield from unknown(ctx.settings, ctx.settings.default_policy))
    _keep_quota(scope, moved.verdict)
    return Ref(f"media://{new}")


def restore(ctx: Context, ref: str, scope: str | None, ttl: Duration | None) -> Flow[Ref]:
    """Make a new ref of a dead one's bytes, while they are there and were never claimed."""
    if scope is not None:
        check_scope(scope)
    wanted, new = Ref.parse(ref), ctx.new_id()
    said = yield from _obituary(wanted, _TO_RESTORE)
    life = lifetime_of_copy(ctx.settings, said.meta, ttl)
    moved = yield from lives.restore(wanted.id, new, scope or "", life, ctx.new_id())
    if moved.verdict == "live":
        raise _alive(wanted, _TO_RESTORE)
    if moved.verdict == "policy":
        raise (yield from unknown(ctx.settings, ctx.settings.default_policy))
    _keep_quota(moved.scope, moved.verdict)
    if moved.verdict != "done":
        raise said.error(wanted)
    return Ref(f"media://{new}")


def _keep_quota(scope: str, verdict: str) -> None:
    if verdict.startswith("quota:"):
        raise exceeded(scope, verdict)


def _alive(ref: Ref, instead: str) -> InvalidRequest:
    return InvalidRequest(f"{ref} is alive; {instead}")


def _obituary(ref: Ref, instead: str) -> Flow[reads.Obituary]:
    """Read what is remembered of a dead ref, also of one that no sweep has come to yet."""
    [found] = yield from look_up([ref])
    if isinstance(found, Media):
        raise _alive(ref, instead)
    if isinstance(found, Corrupt):
        raise found
    said = yield from reads.farewell(ref, found)
    if said is None:
        raise RefUnknown(ref)
    return said


def tombstone(ref: str) -> Flow[Tombstone]:
    """Read what is remembered of a dead ref, and whether its bytes are still there."""
    wanted = Ref.parse(ref)
    said = yield from _obituary(wanted, "get() tells what is known of it")
    stays = yield from lives.remains(said)
    return lives.tombstone(wanted, said, stays)


def waiting(scope: str, limit: int) -> Flow[list[Waiting]]:
    """Read the files of ended refs of a scope whose bytes stay for a while."""
    check_scope(scope)
    if limit < 1:
        raise InvalidRequest(f"limit is a whole number from 1, not {limit}")
    roots = yield from blobs.Roots()
    found: dict[str, Waiting] = {}
    cursor = -1
    while cursor and len(found) < limit:
        page = yield from lives.left_page(scope, max(cursor, 0))
        cursor = page.cursor
        for each in (yield from lives.waiting(page.blobs)) if page.blobs else []:
            found[each.blob] = replace(each, path=path_in(roots, each.root, each.path))
    return sorted(found.values(), key=lambda each: (each.until, each.blob))[:limit]
