"""The commands that say how long refs live and where they belong; each refuses a dead ref."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mediastore.errors import InvalidRequest, NotThere
from mediastore.escaping import printable
from mediastore.model import Ref, check_scope, parse_duration

from .app import Json, Refs, Scope, Ttl, opened
from .looking import when
from .output import note, print_json, show_fields
from .several import Row, Survives, one_by_one, tell_each

ToScope = Annotated[
    str,
    typer.Option(
        "--scope", "-s", metavar="SCOPE", help='Such as "telegram:42" or "chat:42/msg:7".'
    ),
]


def touch(ctx: typer.Context, refs: Refs, ttl: Ttl = None, as_json: Json = False) -> None:
    """Give refs a new deadline, from now.

    Prints it. Without --ttl each lives as long again as it was given before. A pinned ref stays
    pinned, and keeps the new length for when it is unpinned.

    \b
    Example:
      mediastore touch media://Jg-dwH-lv6qZQo18FeQAFw
      mediastore touch media://Jg-dwH-lv6qZQo18FeQAFw --ttl 12h
    """
    _check_ttl(ttl)
    _each(
        ctx,
        refs,
        lambda media, ref: {"expires_at": media.touch(ref, ttl)},
        shown=("ref", "expires_at"),
        as_json=as_json,
    )


def pin(ctx: typer.Context, refs: Refs, as_json: Json = False) -> None:
    """Exempt refs from expiry until they are unpinned.

    The release of their scope, its deadline, and `delete` still end them.

    \b
    Example:
      mediastore pin media://Jg-dwH-lv6qZQo18FeQAFw
    """

    def act(media: Any, ref: str) -> Row:
        media.pin(ref)
        return {"pinned": True, "expires_at": None}

    _each(ctx, refs, act, shown=("ref", "expires_at"), as_json=as_json)


def unpin(ctx: typer.Context, refs: Refs, as_json: Json = False) -> None:
    """Let pinned refs expire again.

    Each lives from now on for as long as it was given before; its new deadline is printed.

    \b
    Example:
      mediastore unpin media://Jg-dwH-lv6qZQo18FeQAFw
    """
    _each(
        ctx,
        refs,
        lambda media, ref: {"pinned": False, "expires_at": media.unpin(ref)},
        shown=("ref", "expires_at"),
        as_json=as_json,
    )


def transfer(ctx: typer.Context, refs: Refs, scope: ToScope, as_json: Json = False) -> None:
    """Move refs to another scope.

    A ref keeps its id, its file and its deadline; a release of the old scope does not end it.

    \b
    Example:
      mediastore transfer media://Jg-dwH-lv6qZQo18FeQAFw --scope chat:42
    """
    check_scope(scope)

    def act(media: Any, ref: str) -> Row:
        media.transfer(ref, scope)
        return {"scope": scope}

    _each(ctx, refs, act, shown=("ref", "scope"), as_json=as_json)


def promote(ctx: typer.Context, refs: Refs, as_json: Json = False) -> None:
    """Move refs to the parent of their scope.

    Prints where they are now. So a result outlives the step that made it.

    \b
    Example:
      mediastore promote media://Jg-dwH-lv6qZQo18FeQAFw
    """
    _each(
        ctx,
        refs,
        lambda media, ref: {"scope": media.promote(ref)},
        shown=("ref", "scope"),
        as_json=as_json,
        survives=(NotThere, InvalidRequest),
    )


def share(
    ctx: typer.Context, refs: Refs, scope: ToScope, ttl: Ttl = None, as_json: Json = False
) -> None:
    """Make one more ref of each ref's file, in another scope.

    Prints the new refs. Old and new live and end by themselves; the file goes after the last.

    \b
    Example:
      mediastore share media://Jg-dwH-lv6qZQo18FeQAFw --scope run:9 --ttl 7d
    """
    check_scope(scope)
    _check_ttl(ttl)
    _each(
        ctx,
        refs,
        lambda media, ref: {"new_ref": media.share(ref, scope, ttl)},
        shown=("new_ref",),
        as_json=as_json,
    )


def restore(
    ctx: typer.Context,
    refs: Refs,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope", "-s", metavar="SCOPE", help="Where it belongs; otherwise where it was."
        ),
    ] = None,
    ttl: Ttl = None,
    as_json: Json = False,
) -> None:
    """Make new refs of the files of dead ones, while they are there.

    Prints the new refs; a dead ref stays dead. Its file is there for as long as the setting grace
    says, or a lease or another ref holds it; `show` tells.

    \b
    Example:
      mediastore restore media://Jg-dwH-lv6qZQo18FeQAFw --ttl 12h
    """
    if scope is not None:
        check_scope(scope)
    _check_ttl(ttl)
    _each(
        ctx,
        refs,
        lambda media, ref: {"new_ref": media.restore(ref, scope, ttl)},
        shown=("new_ref",),
        as_json=as_json,
        survives=(NotThere, InvalidRequest),
    )


def _check_ttl(ttl: str | None) -> None:
    if ttl is not None:
        parse_duration(ttl)


def _each(
    ctx: typer.Context,
    refs: Sequence[str],
    act: Callable[[Any, str], Row],
    *,
    shown: Sequence[str],
    as_json: bool,
    survives: Survives = NotThere,
) -> None:
    """Act on each ref; nothing is done where one of them cannot be a ref."""
    wanted = [Ref.parse(ref) for ref in refs]
    with opened(ctx, as_json=as_json) as media:
        done = one_by_one(wanted, lambda ref: {"ref": ref, **act(media, ref)}, survives=survives)
        tell_each("ref", done, shown=shown, as_json=as_json)


def deadline(
    ctx: typer.Context,
    scope: Scope,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="It ends this long after now: 90s, 30m, 12h or 7d."),
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="It ends this long after the last activity in it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a scope a deadline, or show those it has.

    A sweep then releases it with all that is below it. A deadline can only be lengthened: a shorter
    one changes nothing; `--ttl never` and `--idle never` remove it, each its own. A release of the
    scope forgets both. Those of the scopes above are shown as well; the first one counts.

    \b
    Example:
      mediastore deadline chat:42/msg:7 --ttl 1h
      mediastore deadline chat:42 --idle 30m
      mediastore deadline chat:42
    """
    check_scope(scope)
    _check_ttl(ttl)
    _check_ttl(idle)
    with opened(ctx, as_json=as_json) as media:
        if ttl is not None or idle is not None:
            media.scope(scope, ttl=ttl, idle=idle).open()
        found = media.scope_deadlines(scope)
    if as_json:
        due = found[0].due if found else None
        print_json({"scope": scope, "due": due, "deadlines": found})
        return
    show_fields({each.scope: when(each) for each in found})
    if not found:
        note(f"neither {printable(scope)} nor a scope above it has a deadline")
