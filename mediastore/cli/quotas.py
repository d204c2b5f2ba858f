"""The commands about quotas: show, set."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import Json, new_group, opened
from .output import print_json, show_table

Scope = Annotated[str | None, typer.Option(help="A scope with limits of its own.")]
_BYTES = 'Such as 1048576 or "10GiB"; "never" for any number.'
_REFS = 'A number; "never" for any.'


def group() -> typer.Typer:
    """Return the group `mediastore quota` with its commands."""
    made = new_group(
        "Show and set how much the namespace and its scopes may hold.",
        "mediastore quota set --bytes 100GiB --scope-bytes 1GiB",
    )
    made.command("show", epilog="Example: mediastore quota show --scope chat:42")(show)
    made.command("set", epilog="Example: mediastore quota set --scope chat:42 --bytes 5GiB")(change)
    return made


def show(ctx: typer.Context, scope: Scope = None, as_json: Json = False) -> None:
    """Show the limits, and what counts against them; what is being written counts too."""
    with opened(ctx, as_json=as_json) as media:
        quota = media.quota(scope)
    if as_json:
        print_json(quota)
        return
    rows: list[tuple[str, str | int, str]] = [
        ("bytes", quota.used_bytes, _of(quota.max_bytes)),
        ("refs", quota.used_refs, _of(quota.max_refs)),
    ]
    if scope is None:
        rows += [
            ("bytes of each scope", "", _of(quota.scope_max_bytes)),
            ("refs of each scope", "", _of(quota.scope_max_refs)),
        ]
    show_table(("what", "used", "at most"), rows)


def change(
    ctx: typer.Context,
    scope: Scope = None,
    max_bytes: Annotated[
        str | None, typer.Option("--bytes", help=f"The most bytes. {_BYTES}")
    ] = None,
    max_refs: Annotated[str | None, typer.Option("--refs", help=f"The most refs. {_REFS}")] = None,
    scope_max_bytes: Annotated[
        str | None, typer.Option("--scope-bytes", help=f"The most bytes of each scope. {_BYTES}")
    ] = None,
    scope_max_refs: Annotated[
        str | None, typer.Option("--scope-refs", help=f"The most refs of each scope. {_REFS}")
    ] = None,
    as_json: Json = False,
) -> None:
    """Limit what the namespace, each scope, or one scope may hold, for the whole fleet at once.

    What is there already stays; what would be too much is refused.
    """
    with opened(ctx, as_json=as_json) as media:
        media.set_quota(
            scope,
            max_bytes=max_bytes,
            max_refs=max_refs,
            scope_max_bytes=scope_max_bytes,
            scope_max_refs=scope_max_refs,
        )
    show(ctx, scope, as_json)


def _of(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)
