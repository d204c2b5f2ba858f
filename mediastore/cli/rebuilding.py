"""The command that makes an index again: rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .app import Json, opened
from .output import note, print_json, put
from .waits import counted

if TYPE_CHECKING:
    from mediastore.hosts import Rebuilt


def rebuild(
    ctx: typer.Context,
    root: Annotated[
        str | None,
        typer.Option(metavar="ROOT", help="Only this root of this host, by its path or its id."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would come back, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring refs back after Redis was lost.

    Content has sidecars, `.meta` files that tell of its refs. What the index does not know any more is
    made again from them: id, scope, metadata, pin and deadline. What it knows is never changed, and no
    file is touched. Run it on each host that has a root.

    \b
    Example:
      mediastore rebuild --dry-run
      mediastore rebuild
      mediastore rebuild --root /srv/media
    """
    with opened(ctx, as_json=as_json) as media:
        done = media.rebuild(root, dry_run=dry_run)
    if as_json:
        print_json(done)
        return
    _tell(done, "would come back" if dry_run else "came back")


def _tell(done: Rebuilt, verb: str) -> None:
    put(f"{counted(done.refs, 'ref')} on {counted(done.blobs, 'file')} {verb}")
    if done.known or done.dead:
        note(
            f"the index knows {counted(done.known, 'live ref')} and {counted(done.dead, 'dead one')} already"
        )
    if done.missing:
        note(f"warning: {counted(done.missing, 'ref')} without their files, or with other ones")
    if done.broken:
        # Each was named by the log.
        note(f"warning: {counted(done.broken, 'sidecar')} cannot be read, and stay where they are")
