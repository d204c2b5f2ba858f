"""The command that shows the settings, and who said each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from mediastore.errors import MediaStoreError
from mediastore.escaping import printable
from mediastore.reference import as_text, described, effective
from mediastore.settings import Said, Settings

from .app import Json, Session, describe, tell
from .output import note, print_json, show_table

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as it is shown: no password in it."""

    name: str
    value: str
    origin: str


class _Heard(logging.Handler):
    """Collects what is said while the settings are read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(printable(record.getMessage()))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Take what the library says, instead of whoever did so far."""
        logger = logging.getLogger("mediastore")
        before = logger.handlers, logger.level
        logger.handlers = [self]
        logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.handlers = before[0]
            logger.setLevel(before[1])


def config(
    ctx: typer.Context,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what is not the default.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print every setting, and who said it.

    Passwords are masked. Nothing is connected and no root is looked at; `doctor` does that. A
    variable that is no setting is a warning, a value that cannot be used an error.

    \b
    Example:
      mediastore config
      mediastore --env-file prod.env config --changed
      mediastore config --json | jq -r '.settings[] | select(.name == "roots") .value'
    """
    session: Session = ctx.obj
    heard = _Heard()
    settings: Settings | None = None
    error: MediaStoreError | None = None
    with heard.alone():
        said = session.said()
        try:
            settings = Settings.of(said)
        except MediaStoreError as wrong:
            error = wrong
    shown = [each for each in _shown(said, settings) if not changed or each.origin != DEFAULT]
    if as_json:
        found: dict[str, Any] = {"settings": shown, "warnings": heard.words}
        print_json({**found, "error": describe(error)} if error else found)
    else:
        show_table(("setting", "value", "origin"), [(s.name, s.value, s.origin) for s in shown])
        for words in heard.words:
            note(f"warning: {words}")
    if error is not None:
        raise typer.Exit(tell(error, as_json=as_json))


def _shown(said: dict[str, Said], settings: Settings | None) -> list[Shown]:
    """Return every setting; where they cannot be used, as they were said."""
    found = []
    for each in described():
        words = said.get(each.name)
        if words and settings is None:
            value = as_text(each.name, words.text)
        else:
            value = effective(each.name, getattr(settings or Settings(), each.name))
        found.append(Shown(each.name, value, words.origin if words else DEFAULT))
    return found
