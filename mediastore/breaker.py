"""What the store says of its breaker, which stops what would end by itself when it is too much; results, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Tripped:
    """When the breaker tripped, and on what.

    Attributes:
        since: When it tripped.
        due: How many refs had passed their deadline then, about; those in scopes that had passed theirs included.
        live: How many refs the index held then, the due ones included.
        mean: How many refs ended by themselves in an hour, of the last 24 hours in which any did.
    """

    since: datetime
    due: int
    live: int
    mean: int


@dataclass(frozen=True, slots=True)
class Breaker:
    """How it is with the breaker of a namespace.

    Attributes:
        tripped: On what it tripped; None where refs and scopes end as ever.
        due: Refs whose deadline has passed and that no sweep has ended.
        scopes: Scopes whose deadline has passed and that no sweep has closed.
        live: Refs that the index holds, the due ones included.
        mean: How many refs ended by themselves in an hour, of the last 24 hours in which any did; 0 for none.
        hours: How many such hours are known. With fewer than 24 only a changed policy trips the breaker.
        allowed_until: Until then all may end; None where nobody has allowed it, or the time is over.
        changed_until: Until then a policy counts as changed lately: a day after the last deadline that it brought nearer.
    """

    tripped: Tripped | None
    due: int
    scopes: int
    live: int
    mean: float
    hours: int
    allowed_until: datetime | None
    changed_until: datetime | None
