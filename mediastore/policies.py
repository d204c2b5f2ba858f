"""Retention policies that have a name, as results of calls; nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Who says a policy: the index, for the whole fleet, or the settings of this process.
Origin = Literal["index", "settings"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A named retention policy.

    Attributes:
        lifetime_s: How long a ref lives by it, in seconds from when it was stored; None: without end.
        origin: "index" or "settings". The index wins where both say the name.
        refs: How many refs live by it, those that have expired and no sweep has ended yet included. None are counted
            under one of the settings: those keep the deadline that they got.
        changing: Refs are still being moved to a new length, or a removed policy's leave it; sweeps go on with that.
            A removed one has neither `lifetime_s` nor an effect on new refs, and `removed` is set.
    """

    name: str
    lifetime_s: float | None
    origin: Origin
    refs: int = 0
    changing: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What one call of `set_policy` or `remove_policy` did.

    Attributes:
        moved: Refs that got the new length from this call. Those that are due now end with the next sweep.
        left: Refs that left the policy by this call; they keep their deadlines.
        pending: The time was up before the end; sweeps do the rest.
    """

    name: str
    moved: int = 0
    left: int = 0
    pending: bool = False
