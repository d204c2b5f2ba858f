"""The commands about roots: ls, forget, adopt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mediastore.errors import InvalidRequest
from mediastore.escaping import printable

from .app import Json, UsageError, new_group, opened
from .output import is_terminal, note, print_json, put, show_table
from .upkeep import confirmed, somebody_there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediastore.hosts import Adopted, RootInfo

#: The most paths that are named one by one; --json names them all.
_NAMED = 20

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def group() -> typer.Typer:
    """Return the group `mediastore roots` with its commands."""
    made = new_group(
        "List the roots of all hosts; give one up, or take a directory as one.",
        "mediastore roots ls",
    )
    for command in (ls, forget, adopt):
        made.command(epilog=_EXAMPLES[command.__name__])(command)
    return made


_EXAMPLES = {
    "ls": "Example: mediastore roots ls --json",
    "forget": "Example: mediastore roots forget x6Z0DFuPM5KMdYuxPCwUxg",
    "adopt": "Example: mediastore roots adopt /srv/media",
}


def ls(ctx: typer.Context, as_json: Json = False) -> None:
    """List every root the index knows: where it was last seen, what it holds, what waits there.

    STATE is "here" when a root of this process can be used, "refused" when it is here and cannot,
    "elsewhere", or "forgotten".
    """
    with opened(ctx, as_json=as_json) as media:
        found = media.roots()
    if as_json:
        print_json({"roots": found})
        return
    header = (
        "root", "state", "place", "blobs", "size_bytes", "waiting", "oldest_waiting_s", "stuck", "lost",
    )  # fmt: skip
    show_table(header, [_row(info) for info in found])
    if not found and is_terminal():
        note("no root has been used in this namespace yet")


def _row(info: RootInfo) -> tuple[str | int | float, ...]:
    return (
        info.root,
        _state(info),
        info.place,
        info.blobs,
        info.size_bytes,
        info.waiting,
        info.oldest_waiting_s,
        info.stuck,
        info.lost,
    )


def _state(info: RootInfo) -> str:
    if info.forgotten_at is not None:
        return "forgotten"
    return "here" if info.verified else "refused" if info.here else "elsewhere"


def forget(
    ctx: typer.Context,
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Its id, as `roots ls` tells it.")],
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Do not ask; also when the root is in use on this host."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Give up a root whose host is gone for ever.

    What waits to be deleted there is counted as lost; its live refs resolve as missing until they end.
    Should it come back, it is refused until `mediastore roots adopt` takes it back.
    """
    _ask_somebody(ctx, yes=yes)
    with opened(ctx, as_json=as_json) as media:
        if not yes:
            note(_plan(root, media.roots()))
            _confirm("Forget it?")
        done = media.forget_root(root, even_here=yes)
    if as_json:
        print_json(done)
        return
    put(
        f"root {printable(done.root)} of {printable(done.place)} is forgotten; "
        f"{_count(done.lost_blobs, 'waiting file')} given up ({_bytes(done.lost_bytes)})"
    )


def _plan(root: str, known: Sequence[RootInfo]) -> str:
    for info in known:
        if info.root != root:
            continue
        if info.verified:
            raise InvalidRequest(
                f"root {root} is in use on this host: forgotten, its files would be deleted by nobody; "
                "if that is meant, say --yes"
            )
        waiting = f"{_count(info.waiting, 'file')} waiting to be deleted there"
        held = f"{_count(info.blobs, 'file')} of live refs ({_bytes(info.size_bytes)})"
        return f"root {root}, last seen at {printable(info.place)}: {waiting}, {held}"
    raise InvalidRequest(f"the index knows no root {root!r:.100}; `mediastore roots ls` names them")


def adopt(
    ctx: typer.Context,
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="A directory with the marker of a root.")
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take a directory as the root that its marker names.

    For a restored backup, a tree that was copied or moved to another disk, and a forgotten root that is back.
    Files that are still the registered ones are known again; no other directory is that root any more.
    """
    _ask_somebody(ctx, yes=yes)
    with opened(ctx, as_json=as_json) as media:
        if not yes:
            from mediastore.blobs.root import inspect

            found = inspect(directory, media.settings.namespace)
            place = next((info.place for info in media.roots() if info.root == found.root), "")
            note(
                f"{printable(found.path)} carries the marker of root {found.root}, last seen at "
                f"{printable(place or 'an unknown place')}; whatever is there must not be used any more"
            )
            _confirm("Adopt it?")
        done = media.adopt_root(directory)
    if as_json:
        print_json(done)
    else:
        _tell(done)


def _tell(done: Adopted) -> None:
    put(
        f"{printable(str(done.path))} is root {done.root}: {_count(done.rebound, 'file')} known again, "
        f"{len(done.missing)} missing, {len(done.differ)} other than registered"
        + (f", {len(done.hidden)} under held links only" if done.hidden else "")
    )
    faults = {"missing": done.missing, "other": done.differ, "held link only": done.hidden}
    for what, paths in faults.items():
        for path in paths[:_NAMED]:
            note(f"{what}: {printable(path)}")
        if len(paths) > _NAMED:
            note(f"{what}: {len(paths) - _NAMED} more; --json names them all")
    if done.parked:
        files = _count(done.parked, "file")
        note(f"warning: {files} that no blob has any more moved to .mediastore/parked")


def _ask_somebody(ctx: typer.Context, *, yes: bool) -> None:
    if not (yes or somebody_there()):
        raise UsageError("there is no terminal to ask on: add --yes to do it without asking", ctx)


def _confirm(question: str) -> None:
    if not confirmed(question):
        note("nothing was changed")
        raise typer.Exit(1)


def _count(count: int, noun: str) -> str:
    from mediastore.doctor.finding import counted

    return counted(count, noun)


def _bytes(size: int) -> str:
    from mediastore.doctor import human_bytes

    return human_bytes(size)
