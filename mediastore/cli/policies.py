"""The commands about named retention policies: set, ls, rm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mediastore.lifetimes import parse_lifetime
from mediastore.reference import as_text

from .app import Json, UsageError, new_group, opened
from .output import is_terminal, note, print_json, put, show_table
from .upkeep import confirmed, somebody_there
from .waits import counted

if TYPE_CHECKING:
    from mediastore.policies import Policy, PolicyChange

Name = Annotated[
    str, typer.Argument(metavar="NAME", help='Such as "thumbnails": [a-z][a-z0-9._-]*.')
]


def group() -> typer.Typer:
    """Return the group `mediastore policy` with its commands."""
    made = new_group(
        "List, set and remove named retention policies.",
        "mediastore policy set thumbnails 2h",
    )
    made.command("set", epilog="Example: mediastore policy set voice delete-after-10min")(change)
    made.command("ls", epilog="Example: mediastore policy ls --json")(ls)
    made.command("rm", epilog="Example: mediastore policy rm voice --force")(remove)
    return made


def change(
    ctx: typer.Context,
    name: Name,
    lifetime: Annotated[
        str,
        typer.Argument(metavar="LIFETIME", help="30m, 12h, 7d, never, or such as retain-30days."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Give a policy its lifetime, for the whole fleet.

    Refs that live by it already get the new one, from when they were stored. Where that is shorter, some may
    be due at once: it asks first.
    """
    wanted = parse_lifetime(lifetime)
    with opened(ctx, as_json=as_json) as media:
        if not yes:
            _ask(ctx, media.policies(), name, wanted)
        done = media.set_policy(name, lifetime)
    if as_json:
        print_json(done)
    else:
        _tell(f"policy {done.name} is {as_text('lifetime', wanted)}", done)


def _ask(ctx: typer.Context, known: list[Policy], name: str, wanted: float | None) -> None:
    """Ask before refs end earlier than they were to."""
    for each in known:
        shorter = wanted is not None and (each.lifetime_s is None or wanted < each.lifetime_s)
        if each.name != name or each.removed or not each.refs or not shorter:
            continue
        before = as_text("lifetime", each.lifetime_s)
        note(
            f"{counted(each.refs, 'ref')} under {name}, which is {before}: some may be due at once"
        )
        if not somebody_there():
            raise UsageError(
                "there is no terminal to ask on: add --yes to do it without asking", ctx
            )
        if not confirmed("Shorten it?"):
            note("nothing was changed")
            raise typer.Exit(1)


def _tell(words: str, done: PolicyChange) -> None:
    for count, what in ((done.moved, "got its length"), (done.left, "left it")):
        if count:
            words += f"; {counted(count, 'ref')} {what}"
    put(words)
    if done.pending:
        note("not all refs yet: sweeps do the rest")


def ls(ctx: typer.Context, as_json: Json = False) -> None:
    """List the named policies: those of the index, which win, and those of this process's settings.

    STATE is "changing" while refs are moved to a new lifetime, "removed" while they leave.
    """
    with opened(ctx, as_json=as_json) as media:
        found = media.policies()
    if as_json:
        print_json({"policies": found})
        return
    rows = [(p.name, as_text("lifetime", p.lifetime_s), p.origin, p.refs, _state(p)) for p in found]
    show_table(("policy", "lifetime", "origin", "refs", "state"), rows)
    if not found and is_terminal():
        note("no policy has a name in this namespace yet; `mediastore policy set` gives one")


def _state(policy: Policy) -> str:
    return "removed" if policy.removed else "changing" if policy.changing else "set"


def remove(
    ctx: typer.Context,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Also when refs live by it: they keep their deadlines.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove a policy from the index.

    Whoever stores by it afterwards is refused, unless the settings know the name.
    """
    with opened(ctx, as_json=as_json) as media:
        done = media.remove_policy(name, force=force)
    if as_json:
        print_json(done)
    else:
        _tell(f"policy {done.name} is removed", done)
