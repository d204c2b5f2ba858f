"""Commands that take several refs or paths: one that fails is told and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import typer

from mediastore.errors import MediaStoreError
from mediastore.escaping import printable

from .app import describe, tell
from .output import in_words, is_terminal, print_json, put, put_exactly, raw

Row = dict[str, Any]
#: What was asked for, and what became of it.
Outcome = tuple[str, Row | MediaStoreError]
T = TypeVar("T")

#: The errors after which the next one is tried.
Survives = type[MediaStoreError] | tuple[type[MediaStoreError], ...]

#: How many go in one write; what was done is told after each.
_AT_ONCE = 100


def one_by_one(
    items: Iterable[str], act: Callable[[str], Row], *, survives: Survives
) -> Iterator[Outcome]:
    """Act on one after the other; an error of another class than `survives` is the last outcome."""
    for item in items:
        try:
            yield item, act(item)
        except MediaStoreError as error:
            yield item, error
            if not isinstance(error, survives):
                return


def in_batches(
    items: Sequence[str],
    act: Callable[[Sequence[str]], Sequence[T | MediaStoreError]],
    row: Callable[[str, T], Row],
    *,
    survives: Survives,
) -> Iterator[Outcome]:
    """Act on many in one write, then on the next; a batch with an error of another class than `survives` is the last."""
    for start in range(0, len(items), _AT_ONCE):
        batch = items[start : start + _AT_ONCE]
        try:
            found = act(batch)
        except MediaStoreError as error:  # of all of them nothing is known
            yield batch[0], error
            return
        for item, outcome in zip(batch, found, strict=True):
            yield item, outcome if isinstance(outcome, MediaStoreError) else row(item, outcome)
        if any(isinstance(o, MediaStoreError) and not isinstance(o, survives) for o in found):
            return


def tell_each(
    key: str,
    outcomes: Iterable[Outcome],
    *,
    shown: Sequence[str],
    as_json: bool,
    at_end: Callable[[Sequence[Row]], int] = lambda _: 0,
) -> None:
    """Print each outcome as it comes, or one JSON object at the end; exit with the code of the first error.

    Args:
        key: What the items are: "ref", "path".
        outcomes: What became of them.
        shown: What a line of text shows of a row; nothing: no line.
        as_json: The rows as {"refs": [...]}, the errors among them.
        at_end: Gets the rows that are no errors, says the rest, and returns the exit code where there was no error.
    """
    rows: list[Row] = []
    first: MediaStoreError | None = None
    for item, outcome in outcomes:
        if isinstance(outcome, MediaStoreError):
            rows.append({key: item, "error": describe(outcome)})
            if not as_json:
                tell(outcome, as_json=False, hint=first is None)
            first = first or outcome
            continue
        rows.append(outcome)
        if shown and not as_json:
            _put({name: outcome[name] for name in shown})
    if as_json:
        print_json({"refs": rows})
    code = at_end([row for row in rows if "error" not in row])
    if first is not None:
        code = tell(first, as_json=True) if as_json else first.exit_code
    if code:
        raise typer.Exit(code)


def _put(values: Row) -> None:
    if is_terminal():  # a terminal must not be steered by a name
        put("  ".join(printable(in_words(name, value)) for name, value in values.items()))
    elif len(values) == 1:  # a program gets the name as it is
        put_exactly(*map(raw, values.values()))
    else:  # a name must not look like the next column, or the next line
        put("\t".join(printable(raw(value)) for value in values.values()))
