"""What every flow is given."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from mediastore.settings import Settings

T = TypeVar("T")
Flow = Generator[Any, Any, T]
NewId = Callable[[], str]

#: How often a call looks whether another process has finished with a blob.
LOOK_AGAIN_S: Final = 0.02
LOOK_AGAIN_AT_MOST_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Context:
    """What every flow needs to know: the settings, and where ids come from."""

    settings: Settings
    new_id: NewId

    @property
    def tombstone_ms(self) -> int:
        """How long an ended ref is remembered."""
        return self.settings.ms("tombstone_ttl")

    @property
    def claim_ms(self) -> int:
        """How long a claim lasts."""
        return self.settings.ms("claim")
