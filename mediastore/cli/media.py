"""The commands about media: store, resolve, show, ls, scopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mediastore.errors import InvalidRequest, MediaStoreError, NotThere
from mediastore.model import Cleanup, MediaMeta, Ref, check_scope, parse_duration

from .app import Json, UsageError, describe, opened, tell
from .output import is_terminal, note, print_json, printable, put, show_fields, show_table

Scope = Annotated[
    str, typer.Argument(metavar="SCOPE", help='Such as "telegram:42" or "chat:42/msg:7".')
]


def store(
    ctx: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Regular files inside a root.")
    ],
    scope: Annotated[
        str,
        typer.Option(
            "--scope", "-s", metavar="SCOPE", help='Such as "telegram:42" or "chat:42/msg:7".'
        ),
    ],
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Lifetime: 90s, 30m, 12h, 7d or never.")
    ] = None,
    filename: Annotated[str, typer.Option(metavar="NAME", help="The name people know it by.")] = "",
    content_type: Annotated[str, typer.Option(metavar="TYPE", help='Such as "image/jpeg".')] = "",
    source: Annotated[
        str, typer.Option(metavar="NAME", help='Where it came from, such as "telegram".')
    ] = "",
    forget: Annotated[
        bool, typer.Option("--forget", help="Never delete the file, only forget it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Register files, print their refs.

    A file stays where it lies. One that cannot be registered does not stop the others.

    \b
    Example:
      mediastore store /srv/media/cat.jpg --scope chat:42/msg:7
      mediastore store /srv/media/*.ogg --scope run:9 --ttl 12h
    """
    if filename and len(paths) > 1:
        raise UsageError("--filename names one file; give one PATH", ctx)
    check_scope(scope)
    if ttl is not None:
        parse_duration(ttl)
    cleanup = Cleanup.FORGET if forget else Cleanup.DELETE
    meta = MediaMeta(filename, content_type, source, cleanup)
    with opened(ctx, as_json=as_json) as media:

        def register(path: str) -> dict[str, Any]:
            return {"ref": media.store(path, scope=scope, meta=meta, ttl=ttl), "path": path}

        _each("path", paths, register, shown="ref", survives=InvalidRequest, as_json=as_json)


def resolve(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="REF", help="media://...")],
    as_json: Json = False,
) -> None:
    """Print the path of each ref.

    One that is not there does not stop the others; the exit code then is 3.

    \b
    Example:
      mediastore resolve media://Jg-dwH-lv6qZQo18FeQAFw
    """
    wanted = [Ref.parse(ref) for ref in refs]
    with opened(ctx, as_json=as_json) as media:

        def look_up(ref: str) -> dict[str, Any]:
            path, meta = media.resolve_with_meta(ref)
            return {"ref": ref, "path": path, "meta": meta}

        _each("ref", wanted, look_up, shown="path", survives=NotThere, as_json=as_json)


def _each(
    key: str,
    items: Sequence[str],
    act: Callable[[str], dict[str, Any]],
    *,
    shown: str,
    survives: type[MediaStoreError],
    as_json: bool,
) -> None:
    """Act on one after the other; an error of the class `survives` is told, and the next one is tried.

    The first error decides the exit code, and with --json it is the one on stderr.
    """
    rows: list[dict[str, Any]] = []
    first: MediaStoreError | None = None
    for item in items:
        try:
            rows.append(act(item))
        except MediaStoreError as error:
            rows.append({key: item, "error": describe(error)})
            if not as_json:
                tell(error, as_json=False, hint=first is None)
            first = first or error
            if not isinstance(error, survives):
                break
        else:
            text = str(rows[-1][shown])
            if not as_json:
                # A terminal must not be steered by a name; a program gets the name as it is.
                put(printable(text) if is_terminal() else text)
    if as_json:
        print_json({"refs": rows})
    if first is not None:
        raise typer.Exit(tell(first, as_json=True) if as_json else first.exit_code)


def show(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="media://...")],
    as_json: Json = False,
) -> None:
    """Print all that is known of a live ref.

    The file itself is not looked at; `resolve` does that.

    \b
    Example:
      mediastore show media://Jg-dwH-lv6qZQo18FeQAFw
    """
    with opened(ctx, as_json=as_json) as media:
        found = media.get(ref)
    if as_json:
        print_json(found)
        return
    known = {name: getattr(found, name) for name in _SHOWN}
    show_fields({**known, **found.meta.to_dict()})


_SHOWN = (
    "ref",
    "scope",
    "path",
    "size_bytes",
    "stored_at",
    "expires_at",
    "state",
    "custody",
    "root",
    "blob",
)


def ls(
    ctx: typer.Context,
    scope: Scope,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most refs to list.")] = 100,
    after: Annotated[
        str | None, typer.Option(metavar="REF", help="The last ref of the page before.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the live refs of a scope.

    The oldest come first. Scopes below it are not listed; `scopes SCOPE/` names those.

    \b
    Example:
      mediastore ls chat:42/msg:7
      mediastore ls chat:42/msg:7 --limit 1000 | cut -f 1
    """
    with opened(ctx, as_json=as_json) as media:
        refs = media.refs(scope, limit=limit, after=after)
    if as_json:
        print_json({"refs": refs})
        return
    header = ("ref", "size_bytes", "expires_at", "filename", "path")
    rows = [
        (each.ref, each.size_bytes, each.expires_at, each.meta.filename, each.path) for each in refs
    ]
    show_table(header, rows)
    if not refs:
        note(f"no live refs in {printable(scope)} itself")
        note(f"hint: `mediastore scopes {printable(scope)}/` names the scopes below it.")
    elif len(refs) == limit:
        note(f"there may be more: --after {refs[-1].ref}")


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
