"""Every setting as people read it: its variable, its default as text, what it means.

The meaning is the setting's line in the docstring of `Settings` and stands nowhere else: `docs/settings.md`, `.env.example`
and `mediastore config` are made from it.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, fields
from inspect import cleandoc
from typing import Any, Final

from .escaping import mask
from .settings import PREFIX, Settings, default_root
from .values import SHARES

#: Largest first: a duration is said in the largest unit that divides it.
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_ATTRIBUTE: Final = re.compile(r"^    (\w+): ((?:.+\n?)(?:^        .+\n?)*)", re.MULTILINE)
#: A day says more hours than people count in; `tombstone_ttl` is 24h, not 1d.
_HOURS_BELOW_S: Final = 2 * 86400


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as people read it."""

    name: str
    default: str
    meaning: str

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"{PREFIX}{self.name.upper()}"


def described() -> list[Described]:
    """Return every setting, in the order of `Settings`.

    Raises:
        LookupError: one of them has no line in the docstring.
    """
    meanings = {
        name: " ".join(words.split())
        for name, words in _ATTRIBUTE.findall(cleandoc(Settings.__doc__ or ""))
    }
    found = []
    for field in fields(Settings):
        if field.name not in meanings:
            raise LookupError(f"the docstring of Settings says nothing of {field.name}")
        made = field.default_factory
        default = field.default if made is MISSING else made()
        found.append(Described(field.name, as_text(field.name, default), meanings[field.name]))
    return found


def as_text(name: str, value: Any) -> str:
    """Return a value as its variable would hold it; "" where nothing is said, never a password."""
    if name.endswith("_url"):
        return mask(value)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "never"
    if isinstance(value, float):
        return f"{value:g}" if name in SHARES else _span(value)
    if name == "policies" and not isinstance(value, str):
        return ",".join(f"{n}={'never' if s is None else _span(s)}" for n, s in value)
    if isinstance(value, tuple):
        return (":" if name == "roots" else ",").join(value)
    return str(value)


def effective(name: str, value: Any) -> str:
    """Return a value as `as_text` does, and where it says nothing what is used instead."""
    if name == "roots" and not value:
        return str(default_root())
    return as_text(name, value)


def _span(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds and not seconds % size and (unit != "d" or seconds >= _HOURS_BELOW_S):
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}"
