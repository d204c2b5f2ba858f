"""The commands of the first step: store and resolve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediastore.errors import InvalidRequest, NotThere
from mediastore.model import Cleanup, MediaMeta, Ref, check_scope, parse_duration

from .app import Json, Refs, Ttl, UsageError, opened
from .several import Outcome, in_batches, one_by_one, tell_each

if TYPE_CHECKING:
    from mediastore import MediaStore


def store(
    ctx: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Regular files inside a root; with --move, anywhere."),
    ],
    scope: Annotated[
        str,
        typer.Option(
            "--scope", "-s", metavar="SCOPE", help='Such as "telegram:42" or "chat:42/msg:7".'
        ),
    ],
    ttl: Ttl = None,
    filename: Annotated[str, typer.Option(metavar="NAME", help="The name people know it by.")] = "",
    content_type: Annotated[str, typer.Option(metavar="TYPE", help='Such as "image/jpeg".')] = "",
    source: Annotated[
        str, typer.Option(metavar="NAME", help='Where it came from, such as "telegram".')
    ] = "",
    policy: Annotated[
        str,
        typer.Option(metavar="POLICY", help="A retention policy, spelt or named; no --ttl then."),
    ] = "",
    forget: Annotated[
        bool, typer.Option("--forget", help="Never delete the file, only forget it.")
    ] = False,
    move: Annotated[
        bool,
        typer.Option("--move", help="Take the file: it becomes the store's own, under a new name."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Register files, print their refs.

    A file stays where it lies, unless --move takes it. One that cannot be registered does not stop
    the others.

    \b
    Example:
      mediastore store /srv/media/cat.jpg --scope chat:42/msg:7
      mediastore store /srv/media/*.ogg --scope run:9 --ttl 12h
      mediastore store /tmp/voice.ogg --scope chat:42 --move
    """
    if filename and len(paths) > 1:
        raise UsageError("--filename names one file; give one PATH", ctx)
    if forget and move:
        raise UsageError("--move makes a file the store's own to delete; --forget never does", ctx)
    check_scope(scope)
    if ttl is not None:
        parse_duration(ttl)
    cleanup = Cleanup.FORGET if forget else Cleanup.DELETE
    meta = MediaMeta(filename, content_type, source, cleanup, policy=policy)

    def row(path: str, ref: Ref) -> dict[str, Any]:
        return {"ref": ref, "path": path}

    with opened(ctx, as_json=as_json) as media:
        if move:
            stored = one_by_one(
                paths,
                lambda path: row(
                    path, media.store(path, scope=scope, meta=meta, ttl=ttl, move=True)
                ),
                survives=InvalidRequest,
            )
        else:
            stored = in_batches(
                paths,
                lambda some: media.store_many(some, scope=scope, meta=meta, ttl=ttl),
                row,
                survives=InvalidRequest,
            )
        tell_each("path", stored, shown=("ref",), as_json=as_json)


def resolve(ctx: typer.Context, refs: Refs, as_json: Json = False) -> None:
    """Print the path of each ref.

    One that is not there does not stop the others; the exit code then is 3.

    \b
    Example:
      mediastore resolve media://Jg-dwH-lv6qZQo18FeQAFw
    """
    wanted = [Ref.parse(ref) for ref in refs]
    with opened(ctx, as_json=as_json) as media:
        found = _with_meta(media, wanted) if as_json else _paths(media, wanted)
        tell_each("ref", found, shown=("path",), as_json=as_json)


def _paths(media: MediaStore, refs: Sequence[str]) -> Iterator[Outcome]:
    def row(ref: str, path: Path) -> dict[str, Any]:
        return {"ref": ref, "path": path}

    return in_batches(refs, media.resolve_many, row, survives=NotThere)


def _with_meta(media: MediaStore, refs: Sequence[str]) -> Iterator[Outcome]:
    def look_up(ref: str) -> dict[str, Any]:
        path, meta = media.resolve_with_meta(ref)
        return {"ref": ref, "path": path, "meta": meta}

    return one_by_one(refs, look_up, survives=NotThere)
