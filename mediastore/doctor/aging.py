"""Directories that something else cleans: by age, or when the host starts. A root below one loses files, and then itself."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Cleaned nearly everywhere, by whatever the system has for it.
CLEANED: Final = ("/tmp", "/var/tmp")  # noqa: S108 - named, not used
#: Where systemd-tmpfiles is told what to clean; of files with the same name the first counts.
PLACES: Final = (
    "/etc/tmpfiles.d",
    "/run/tmpfiles.d",
    "/usr/local/lib/tmpfiles.d",
    "/usr/lib/tmpfiles.d",
)
#: tmpfiles.d(5): lines of these types clean what is in a directory once it is older than their last field.
_CLEANING: Final = frozenset("dDevqQC")
#: And of this leave it alone. `X` keeps the directory only, not what is in it.
_KEEPING: Final = "x"
_AGE: Final = 5


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of a configuration: whether it cleans or keeps, which path, from which age on, and where that is said."""

    cleans: bool
    path: str
    age: str
    said_in: str


def findings(name: str, real: str) -> Iterator[Finding]:
    """Warn of a root below a directory that is cleaned.

    Args:
        name: What the finding is called.
        real: The root without symlinks.
    """
    why = _why(real)
    if why:
        detail = f"it lies below {why}: its files go before their refs end, and in the end the root itself"
        advice = (
            f"Use a directory elsewhere, such as /srv/media; or have it left alone: a line `x {real}` in "
            "/etc/tmpfiles.d/mediastore.conf, where systemd-tmpfiles cleans."
        )
        yield Finding(name, "warning", detail, advice)


def _why(real: str) -> str:
    """Say which directory is cleaned, and who says so; empty where none is, or the root is excepted."""
    rules = list(_rules())
    above = [real, *map(str, Path(real).parents)]
    if any(
        fnmatch.fnmatch(place, rule.path) for rule in rules if not rule.cleans for place in above
    ):
        return ""
    for place in above:
        for rule in rules:
            if rule.cleans and fnmatch.fnmatch(place, rule.path):
                return (
                    f"{place}, which is cleaned of what is older than {rule.age} ({rule.said_in})"
                )
    usual = next((place for place in above if place in CLEANED), "")
    return f"{usual}, which most systems clean by age or when they start" if usual else ""


def _rules() -> Iterator[_Rule]:
    files: dict[str, Path] = {}
    for place in PLACES:
        for file in _configurations(place):
            files.setdefault(file.name, file)
    for file in files.values():
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            yield from _rule(line.split(), str(file))


def _configurations(place: str) -> Sequence[Path]:
    try:
        return sorted(Path(place).glob("*.conf"))
    except OSError:
        return ()


def _rule(words: Sequence[str], said_in: str) -> Iterator[_Rule]:
    if len(words) > 1 and words[0][0] == _KEEPING:
        yield _Rule(cleans=False, path=_plain(words[1]), age="", said_in=said_in)
    elif len(words) > _AGE and words[0][0] in _CLEANING and words[_AGE] != "-":
        yield _Rule(cleans=True, path=_plain(words[1]), age=words[_AGE], said_in=said_in)


def _plain(path: str) -> str:
    return os.path.normpath(path.strip('"'))
