"""The commands about epochs: show, accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .app import Json, UsageError, new_group, opened
from .output import note, print_json, put, show_table
from .upkeep import confirmed, somebody_there
from .waits import counted

if TYPE_CHECKING:
    from mediastore import MediaStore
    from mediastore.epochs import Accepted, Epoch, Frozen

_WHY = {
    "epoch": "root {root} ({place}) shows {shown}, which the index does not know: Redis came back older, or is another one",
    "clock": "the server's clock was {ahead} what host {place} expects",
}


def group() -> typer.Typer:
    """Return the group `mediastore epoch` with its commands."""
    made = new_group(
        "Say whether the index is the one that the roots know; let a frozen namespace go on.",
        "mediastore epoch show",
    )
    made.command("show", epilog="Example: mediastore epoch show --json")(show)
    made.command("accept", epilog="Example: mediastore epoch accept --let-go --yes")(accept)
    return made


def why(frozen: Frozen) -> str:
    """Say why a namespace is frozen, and since when."""
    from mediastore.doctor import human_span

    shown = {"": "no entry any more", "?": "something that is no entry"}.get(
        frozen.shown, frozen.shown
    )
    ahead = f"{human_span(abs(frozen.ahead_s))} {'ahead of' if frozen.ahead_s > 0 else 'behind'}"
    words = _WHY[frozen.reason].format(
        root=frozen.root, place=frozen.place or "place unknown", shown=shown, ahead=ahead
    )
    return f"frozen since {frozen.since:%Y-%m-%d %H:%M:%S} UTC: {words}"


def show(ctx: typer.Context, as_json: Json = False) -> None:
    """Show whether the namespace is frozen, why, and what each root shows.

    STATE is "known", "new" (the next sweep takes it), "unknown" (it freezes the namespace) or "elsewhere".
    """
    with opened(ctx, as_json=as_json) as media:
        found = media.epoch()
    if as_json:
        print_json(found)
        return
    _tell(found)


def _tell(found: Epoch) -> None:
    put(why(found.frozen) if found.frozen else "not frozen")
    if found.kept_until:
        put(f"until {found.kept_until:%Y-%m-%d %H:%M:%S} UTC nothing ends by itself that was there")
    rows = [(each.root, each.state, each.place, each.shown) for each in found.roots]
    show_table(("root", "state", "place", "shown"), rows)


def accept(
    ctx: typer.Context,
    let_go: Annotated[
        bool,
        typer.Option(
            "--let-go",
            help="Let second names of files go of which the index knows nothing, in the roots of this host.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Take the index as it is, so that the namespace goes on, on every host.

    It shows first what would happen. For 24 hours nothing that is there now ends by itself: no ref at its
    deadline, no file that waits to be deleted. Content that the index has forgotten is brought back by
    `mediastore rebuild`: run it first, on each host that has a root.
    """
    if not (yes or somebody_there()):
        raise UsageError("there is no terminal to ask on: add --yes to accept without asking", ctx)
    with opened(ctx, as_json=as_json) as media:
        if not yes:
            _ask(media, let_go=let_go)
        done = media.accept_epoch(let_go=let_go)
    if as_json:
        print_json(done)
        return
    _tell_accepted(done)


def _ask(media: MediaStore, *, let_go: bool) -> None:
    found = media.epoch()
    note(
        why(found.frozen)
        if found.frozen
        else "the namespace is not frozen: nothing need be accepted"
    )
    back = media.rebuild(dry_run=True)
    if back.refs:
        note(f"{counted(back.refs, 'ref')} would come back by `mediastore rebuild`: run that first")
    note(
        f"{counted(found.overdue, 'ref')} past the deadline, and {counted(found.waiting, 'file')} to be deleted, stay for a day"
    )
    names = counted(found.unknown, "second name")
    note(
        f"{names} of files that the index does not know {'go' if let_go else 'stay; --let-go removes them'}"
    )
    if not confirmed("Accept?"):
        note("nothing was changed")
        raise typer.Exit(1)


def _tell_accepted(done: Accepted) -> None:
    put(f"accepted; until {done.until:%Y-%m-%d %H:%M:%S} UTC nothing ends by itself that was there")
    if done.removed or done.parked:
        put(f"{counted(done.removed, 'second name')} let go, {done.parked} parked")
