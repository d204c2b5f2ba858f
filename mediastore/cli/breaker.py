"""The commands about the breaker: show, allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mediastore.model import parse_duration

from .app import Json, new_group, opened
from .output import print_json, put
from .waits import counted

if TYPE_CHECKING:
    from datetime import datetime

    from mediastore.breaker import Breaker, Tripped


def group() -> typer.Typer:
    """Return the group `mediastore breaker` with its commands."""
    made = new_group(
        "Say whether so much is due that nothing ends by itself; let it end.",
        "mediastore breaker show",
    )
    made.command("show", epilog="Example: mediastore breaker show --json")(show)
    made.command("allow", epilog="Example: mediastore breaker allow --until 1h")(allow)
    return made


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def why(tripped: Tripped) -> str:
    """Say on what the breaker tripped, and when."""
    usual = f"{tripped.mean} in an hour lately" if tripped.mean else "hardly any in an hour lately"
    due = f"{tripped.due} of {counted(tripped.live, 'ref')} were past the deadline"
    return f"tripped since {_at(tripped.since)}: {due}, and {usual}"


def show(ctx: typer.Context, as_json: Json = False) -> None:
    """Show whether the breaker is tripped, on what, and how much is due.

    It trips before a sweep ends its first ref, if more is due than `breaker_min`, than `breaker_share` of all
    refs, and than ten times what ended by itself in an hour lately. Releases are carried out as ever.
    """
    with opened(ctx, as_json=as_json) as media:
        found = media.breaker()
    if as_json:
        print_json(found)
        return
    _tell(found)


def _tell(found: Breaker) -> None:
    put(why(found.tripped) if found.tripped else "not tripped")
    scopes = f", {counted(found.scopes, 'scope')} past a deadline" if found.scopes else ""
    put(f"due now: {found.due} of {counted(found.live, 'ref')}{scopes}")
    put(
        f"usual: {found.mean:.0f} in an hour, over {counted(found.hours, 'hour')} in which any ended"
    )
    if found.changed_until:
        put(f"a policy that was shortened counts until {_at(found.changed_until)}")
    if found.allowed_until:
        put(f"all may end until {_at(found.allowed_until)}")


def allow(
    ctx: typer.Context,
    until: Annotated[
        str, typer.Option(metavar="TIME", help="For how long from now, such as 1h; 7d at most.")
    ],
    as_json: Json = False,
) -> None:
    """Let all that is due end, for a while, on every host; a breaker that is tripped is reset.

    What must stay comes first: refs whose deadline has passed come back by `mediastore restore REF`.
    """
    parse_duration(until)
    with opened(ctx, as_json=as_json) as media:
        found = media.allow_breaker(until)
    if as_json:
        print_json(found)
        return
    _tell(found)
