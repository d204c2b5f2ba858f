"""How results are shown: one JSON object, or text that is plain wherever nobody looks at a terminal."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mediastore.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

#: The marks of our own lines: line ends, and tabs between columns.
_LINES = "\n\t"


def note(text: str) -> None:
    """Talk, on stderr."""
    typer.echo(printable(text, keep=_LINES), err=True)


def put(text: str = "") -> None:
    """Print data, on stdout. A name in it that could break the line is made `printable` by the caller."""
    typer.echo(printable(text, keep=_LINES))


def put_exactly(text: str) -> None:
    """Print a line for a program, as it is: without `color`, what looks like a colour would be taken out of it."""
    typer.echo(text, color=True)


def jsonable(value: Any) -> Any:
    """Return a value as JSON has it: results by their field names, times as ISO 8601 in UTC."""
    if is_dataclass(value):
        return {f.name: jsonable(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(name): jsonable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    return value


def print_json(value: Any, *, err: bool = False) -> None:
    """Print one JSON object on one line, in ASCII: no encoding and no terminal can spoil it."""
    typer.echo(json.dumps(jsonable(value)), err=err)


def is_terminal() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout.isatty()


def show_fields(named: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, named), default=0)
    for name, value in named.items():
        put(f"{name:<{width}}  {printable(in_words(name, value))}".rstrip())


def show_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows: a table on a terminal, elsewhere lines of raw values with tabs between them."""
    if not is_terminal():
        for row in rows:
            put("\t".join(printable(raw(cell)) for cell in row))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(header):
        title = name.removesuffix("_bytes").removesuffix("_at")
        # The first column is what people copy.
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        words = [_briefly(name, cell) for name, cell in zip(header, row, strict=True)]
        table.add_row(*map(printable, words))
    console().print(table)


def heading(text: str) -> None:
    """Print what follows apart from what came before, on a terminal."""
    from rich.text import Text

    console().print()
    console().print(Text(printable(text), style="bold"), soft_wrap=True)


def show_marked(mark: str, style: str, text: str) -> None:
    """Print a line that starts with a mark, in colour where that can be seen."""
    if is_terminal():
        from rich.text import Text

        console().print(Text.assemble((f"{mark:<8}", style), " ", printable(text)), soft_wrap=True)
    else:
        put(f"{mark:<8} {printable(text)}")


def console() -> Console:
    """Return the terminal; no colour where NO_COLOR asks for none."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    return Console(
        markup=False, highlight=False, emoji=False, color_system=None if plain else "auto"
    )


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def raw(value: Any) -> str:
    """Return a value as programs read it in text; None is "never"."""
    return "never" if value is None else str(jsonable(value))


def in_words(name: str, value: Any) -> str:
    """Return a value with what it means, where that is not obvious."""
    brief = _briefly(name, value)
    if isinstance(value, datetime):
        return f"{_iso(value)} ({brief})"
    if name.endswith("_bytes") and brief.split(" ")[0] != str(value):
        return f"{value} ({brief})"
    return brief


def _briefly(name: str, value: Any) -> str:
    """Return a value as people say it."""
    from mediastore.doctor import human_bytes, human_span

    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        away_s = (value - datetime.now(UTC)).total_seconds()
        return f"in {human_span(away_s)}" if away_s > 0 else f"{human_span(-away_s)} ago"
    if name.endswith("_bytes"):
        return human_bytes(value)
    if name.endswith("_s"):
        return human_span(value)
    return raw(value)
