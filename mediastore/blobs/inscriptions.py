"""Steps on sidecars: those that follow the index, and those from which it is made again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import Step

if TYPE_CHECKING:
    from mediastore.sidecars import Inscription, Kin

    from . import surveying


@dataclass(frozen=True, slots=True)
class Announce(Step[None]):
    """Make an empty temporary name for the sidecar of each ref, given as (ref, blob), before the index is read for it.

    Where that fails, `Inscribe` does.
    """

    root: str
    token: str
    refs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Inscribe(Step[tuple[bool, ...]]):
    """Write or remove sidecars that were announced; returns which of them are now as they should be.

    The others were overtaken by somebody who has read the index later, or their directory cannot be written.
    """

    root: str
    token: str
    inscriptions: tuple[Inscription, ...]
    durable: bool


@dataclass(frozen=True, slots=True)
class RefsOf(Step[tuple[str, ...]]):
    """Return the ids of the refs that have sidecars of a blob, whose file is at `path`; at most `most` of them."""

    root: str
    path: str
    blob: str
    most: int


@dataclass(frozen=True, slots=True)
class Survey(Step["surveying.Survey"]):
    """Begin to look for the sidecars of a root; whoever has it closes it."""

    root: str


@dataclass(frozen=True, slots=True)
class Surveyed(Step[tuple["Kin", ...]]):
    """Go on until about so many refs are found; empty at the end."""

    survey: surveying.Survey
    refs: int
