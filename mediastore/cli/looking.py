"""The commands that look: show, ls, scopes. What waits in grace or under a lease is never left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mediastore.errors import MediaStoreError, RefGone
from mediastore.escaping import printable
from mediastore.model import Media, Ref

from .app import Json, OneRef, Scope, opened, tell
from .output import (
    heading,
    in_words,
    is_terminal,
    jsonable,
    note,
    print_json,
    put,
    show_fields,
    show_table,
)
from .waits import what_waits

if TYPE_CHECKING:
    from mediastore import LeaseInfo, MediaStore, ScopeDeadline, Tombstone, Waiting


def show(ctx: typer.Context, ref: OneRef, as_json: Json = False) -> None:
    """Print all that is known of a ref.

    Of a live one, also who holds a lease of its bytes, and when its scope or one above ends by
    itself. Of a dead one, what ended it, and whether `restore` can still bring its bytes back; the
    exit code then is 3. The file itself is not looked at; `resolve` does that.

    \b
    Example:
      mediastore show media://Jg-dwH-lv6qZQo18FeQAFw
    """
    with opened(ctx, as_json=as_json) as media:
        try:
            found = media.get(ref)
            leases, deadlines = media.leases(ref), media.scope_deadlines(found.scope)
        except RefGone as error:
            raise typer.Exit(_show_dead(media, error, as_json=as_json)) from None
    if as_json:
        print_json({**jsonable(found), "leases": leases, "deadlines": deadlines})
        return
    known = {name: getattr(found, name) for name in _SHOWN}
    # Only where it is not what was said.
    detected = {"detected_type": found.detected_type} if found.detected_type else {}
    more = {**_leases(leases), **_deadlines(deadlines)}
    show_fields({**known, **found.meta.to_dict(), **detected, **more})


_SHOWN = (
    "ref",
    "scope",
    "path",
    "size_bytes",
    "stored_at",
    "expires_at",
    "pinned",
    "state",
    "custody",
    "root",
    "blob",
)


def _leases(leases: Sequence[LeaseInfo]) -> dict[str, str]:
    return {
        f"lease of {each.holder}": f"until {in_words('', each.until)}, since {in_words('', each.since)}"
        for each in leases
    }


def _deadlines(deadlines: Sequence[ScopeDeadline]) -> dict[str, str]:
    return {f"end of {each.scope}": when(each) for each in deadlines}


def when(deadline: ScopeDeadline) -> str:
    """Say when a scope ends by itself, and what would move that."""
    words = in_words("", deadline.due)
    if deadline.idle_s is None:
        return words
    idle = f"{in_words('idle_s', deadline.idle_s)} after the last activity"
    if deadline.ends_at is None:
        return f"{words}, {idle}"
    return f"{words}, {idle}, at the latest {in_words('', deadline.ends_at)}"


def _show_dead(media: MediaStore, error: RefGone, *, as_json: bool) -> int:
    """Print what is remembered of a dead ref, then the error; return its exit code."""
    ref = Ref.parse(error.ref)
    try:
        said = media.tombstone(ref)
    except (
        MediaStoreError
    ):  # forgotten, or restored to life by a clock that steps, between two looks
        return tell(error, as_json=as_json)
    if as_json:
        print_json(said)
        return tell(error, as_json=True)
    known = {name: getattr(said, name) for name in ("ref", "reason", "when", "by", "scope")}
    show_fields({**known, "bytes": _bytes_of(said), **said.meta.to_dict()})
    code = tell(error, as_json=False, hint=False)  # whose own hint is to look here
    if said.kept_for:
        note(f"hint: `mediastore restore {ref}` makes a new ref of its bytes.")
    else:
        note("hint: Register the file again; if it ended too soon, with a longer ttl.")
    return code


def _bytes_of(said: Tombstone) -> str:
    until = in_words("", said.bytes_until)
    return {
        "": "gone, or about to be deleted",
        "grace": f"in grace until {until}",
        "lease": f"under a lease until {until}, longer if it is renewed",
        "refs": "there: other refs hold them",
    }[said.kept_for]


def ls(
    ctx: typer.Context,
    scope: Scope,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most refs to list.")] = 100,
    after: Annotated[
        str | None, typer.Option(metavar="REF", help="The last ref of the page before.")
    ] = None,
    waiting: Annotated[
        bool,
        typer.Option("--waiting", help="List the files of ended refs that stay for now instead."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the live refs of a scope.

    The oldest come first. Scopes below it are not listed; `scopes SCOPE/` names those. Files of
    refs that have ended, whose bytes stay in grace or under a lease, are told apart from them.

    \b
    Example:
      mediastore ls chat:42/msg:7
      mediastore ls chat:42/msg:7 --limit 1000 | cut -f 1
      mediastore ls chat:42 --waiting
    """
    with opened(ctx, as_json=as_json) as media:
        refs = [] if waiting and not as_json else media.refs(scope, limit=limit, after=after)
        stay = media.waiting(scope, limit=limit)
        if as_json:
            print_json({"refs": refs, "waiting": stay})
            return
        if waiting:
            _show_waiting(stay, scope, limit)
            return
        _show_refs(refs)
        _tell_rest(media, scope, refs, stay, limit)


def _show_refs(refs: Sequence[Media]) -> None:
    header = ("ref", "size_bytes", "expires_at", "filename", "path")
    rows = [
        (each.ref, each.size_bytes, each.expires_at, each.meta.filename, each.path) for each in refs
    ]
    show_table(header, rows)


def _show_waiting(stay: Sequence[Waiting], scope: str, limit: int) -> None:
    header = ("kept_for", "until", "size_bytes", "path", "blob", "holders")
    rows = [(w.kept_for, w.until, w.size_bytes, w.path, w.blob, ", ".join(w.holders)) for w in stay]
    show_table(header, rows)
    if not stay:
        note(f"no bytes of ended refs of {printable(scope)} stay in grace or under a lease")
    elif len(stay) == limit:
        note("there may be more: raise --limit")


def _tell_rest(
    media: MediaStore, scope: str, refs: Sequence[Media], stay: Sequence[Waiting], limit: int
) -> None:
    if len(refs) == limit:
        note(f"there may be more: --after {refs[-1].ref}")
    elif not refs:
        note(f"no live refs in {printable(scope)} itself")
    if stay and is_terminal():
        heading("waiting: the refs have ended, the bytes are still there")
        _show_waiting(stay, scope, limit)
    elif stay:
        note(f"{what_waits(stay)}: add --waiting to list them")
    if not refs:
        note(f"hint: `mediastore scopes {printable(scope)}/` names the scopes below it.")
        for above in _above(scope) if not stay else ():
            if media.waiting(above, limit=1):
                note(f"hint: `mediastore ls {printable(above)} --waiting` lists what its end left.")


def _above(scope: str) -> Iterator[str]:
    while "/" in scope:
        scope = scope.rpartition("/")[0]
        yield scope


def scopes(
    ctx: typer.Context,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="Only those that start with it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the scopes that hold live refs.

    \b
    Example:
      mediastore scopes
      mediastore scopes chat:42/
    """
    with opened(ctx, as_json=as_json) as media:
        names = media.scopes(prefix)
    if as_json:
        print_json({"scopes": names})
        return
    for name in names:
        put(printable(name))
    if not names:
        note(
            "no scope holds live refs" + (f" and starts with {printable(prefix)}" if prefix else "")
        )
