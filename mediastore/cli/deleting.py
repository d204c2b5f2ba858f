"""The command that ends refs by hand, one by one or all that are on a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

from mediastore.errors import MediaStoreError, NotThere
from mediastore.escaping import printable
from mediastore.model import Media, Ref, Released

from .app import Json, UsageError, opened
from .output import in_words, note, put
from .several import Outcome, Row, tell_each
from .upkeep import confirmed, somebody_there, went
from .waits import counted

_REF = "media://"
_PLANNED = ("ref", "scope", "size_bytes", "path")
#: What became of the bytes; how many refs of a path ended is said as well.
_COUNTS = ("refs", "deleted", "freed_bytes", "kept", "gone", "spared", "pending", "failed")


def delete(
    ctx: typer.Context,
    items: Annotated[
        list[str],
        typer.Argument(metavar="REF|PATH", help="media://..., or a registered file; one or more."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would end, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """End single refs by hand, or all that are on a file.

    Files that nobody else holds are deleted. On a terminal it shows what would end, and asks.
    A registered file that was removed by hand is not erased by that: give its path here.

    \b
    Example:
      mediastore delete media://Jg-dwH-lv6qZQo18FeQAFw
      mediastore delete media://Jg-dwH-lv6qZQo18FeQAFw --dry-run
      mediastore delete /srv/media/cat.jpg
    """
    wanted = [item if _is_path(item) else Ref.parse(item) for item in dict.fromkeys(items)]
    if not (dry_run or yes or somebody_there()):
        raise UsageError("there is no terminal to ask on: add --yes to delete without asking", ctx)
    with opened(ctx, as_json=as_json) as media:
        if dry_run:
            tell_each("ref", _plans(media, wanted), shown=_PLANNED, as_json=as_json)
            return
        if not yes and not _agreed(media, wanted):
            note("nothing was deleted")
            raise typer.Exit(1)
        done = _ends(media, wanted)
        tell_each("ref", done, shown=(), as_json=as_json, at_end=_summary(as_json=as_json))


def _is_path(item: str) -> bool:
    """Whether a path is meant: a bare word is one only where there is such a file, so that a mistyped ref is refused."""
    return not item.startswith(_REF) and ("/" in item or os.path.lexists(item))


def _each(items: Sequence[str], act: Callable[[str], Sequence[Row]]) -> Iterator[Outcome]:
    """Act on one item after the other; an error other than that a ref is not there is the last outcome."""
    for item in items:
        try:
            for row in act(item):
                yield item, row
        except MediaStoreError as error:
            yield item, error
            if not isinstance(error, NotThere):
                return


def _plans(media: Any, items: Sequence[str]) -> Iterator[Outcome]:
    def plan(item: str) -> list[Row]:
        found: list[Media] = [media.get(item)] if isinstance(item, Ref) else media.refs_at(item)
        return [{name: getattr(each, name) for name in _PLANNED} for each in found]

    return _each(items, plan)


def _agreed(media: Any, items: Sequence[str]) -> bool:
    """Show what would end, and ask; refs that are dead already are told afterwards."""
    for _, plan in _plans(media, items):
        if not isinstance(plan, MediaStoreError):
            note(f"{plan['ref']} in {printable(plan['scope'])}: {printable(str(plan['path']))}")
    return confirmed("Delete?")


def _ends(media: Any, items: Sequence[str]) -> Iterator[Outcome]:
    def end(item: str) -> list[Row]:
        return [_end(media, item) if isinstance(item, Ref) else _end_path(media, item)]

    return _each(items, end)


def _end(media: Any, ref: str) -> Row:
    done = media.delete_media(ref)
    said = None
    with contextlib.suppress(MediaStoreError):  # it is forgotten where no tombstones are kept
        said = media.tombstone(ref) if done.pending else None
    return {
        "ref": ref,
        **_counts(done),
        "kept_for": said.kept_for if said else "",
        "bytes_until": said.bytes_until if said else None,
    }


def _end_path(media: Any, path: str) -> Row:
    return {"path": path, **_counts(media.delete_path(path)), "kept_for": "", "bytes_until": None}


def _counts(done: Released) -> Row:
    return {name: getattr(done, name) for name in _COUNTS}


def _summary(*, as_json: bool) -> Callable[[Sequence[Row]], int]:
    def say(rows: Sequence[Row]) -> int:
        done = Released(**{name: sum(row[name] for row in rows) for name in _COUNTS})
        if done.refs and not as_json:
            put(f"{counted(done.refs, 'ref')} deleted, {went(done)}")
        bare = [row["path"] for row in rows if not row["refs"]]
        for row in rows if not as_json else ():
            if row["kept_for"]:
                why = "in grace" if row["kept_for"] == "grace" else "under a lease"
                until = in_words("", row["bytes_until"])
                note(f"the file of {row['ref']} stays {why} until {until}; `restore` can have it")
        for path in bare if not as_json else ():
            note(f"no ref is on {printable(path)}")
        if done.failed:
            return 1
        return NotThere.exit_code if bare else 0

    return say
