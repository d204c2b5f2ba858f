"""What every flow is given."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mediastore.index.changes import Terms

if TYPE_CHECKING:
    from mediastore.clocks import ClockWatch
    from mediastore.settings import Settings

T = TypeVar("T")
Flow = Generator[Any, Any, T]
NewId = Callable[[], str]

#: How often a call looks whether another process has finished with a blob.
LOOK_AGAIN_S: Final = 0.02
LOOK_AGAIN_AT_MOST_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Context:
    """What every flow needs to know: the settings, where ids come from, and who is calling.

    Attributes:
        who: Returns "host:pid", without spaces; a forked child is somebody else.
        looked: When this process last looked at what each of its roots shows of the chain of epochs.
        frozen: Why this process has last said that the namespace is frozen; empty while it is not.
        tripped: The same of the breaker.
        clock: What this process knows of the server's clock.
        noted: When this process said that an idling scope is in use, by scope, and for how long that is enough, in seconds.
    """

    settings: Settings
    new_id: NewId
    who: Callable[[], str]
    clock: ClockWatch
    noted: dict[str, tuple[float, float]] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    tripped: set[str] = field(default_factory=set)

    @property
    def terms(self) -> Terms:
        """What the settings say of refs that end."""
        grace = round(self.settings.seconds("grace") * 1000)
        ttl = self.settings.ms("tombstone_ttl")
        return Terms(ttl, self.settings.tombstones, grace, self.who())

    @property
    def pause_ms(self) -> int:
        """For how long nothing is deleted after the server was started or replaced."""
        return round(self.settings.seconds("restart_pause") * 1000)

    @property
    def breaker(self) -> str:
        """How much is too much to end by itself, as the scripts read it."""
        return f"{self.settings.breaker_min} {round(self.settings.breaker_share * 1_000_000)}"

    @property
    def claim_ms(self) -> int:
        """How long a claim lasts."""
        return self.settings.ms("claim")
