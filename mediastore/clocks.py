"""Whether the server's clock can be believed: compared with this host's own, which never step both at once."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: More than this only `clock` raises the kept time by, see `lua/_prelude.lua`.
_MOST_STEP_MS: Final = 600_000


if hasattr(time, "CLOCK_BOOTTIME"):

    def elapsed_s() -> float:
        """Seconds on a clock that never steps and goes on while the host is suspended, as the server's does."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover - not Linux
    elapsed_s = time.monotonic


def host_clocks() -> tuple[float, float]:
    """Return the seconds of a clock that never steps, and those of this host's wall clock."""
    return elapsed_s(), time.time()


_JUMPED: Final = re.compile(r"[0-9]+ (-?[0-9]{1,15}) .*")


def _ahead_in(jumped: str) -> float:
    """Return by how many seconds the index says that the server's clock is ahead; 0 where it says nothing."""
    said = _JUMPED.fullmatch(jumped)
    return int(said[1]) / 1000 if said else 0.0


class ClockWatch:
    """What one process knows of the server's clock.

    The server's time is compared with what it was when it was last found sound and what has passed here since. A process
    that has just started compares it with this host's wall clock: nothing else tells a lie that began before. Only who
    sweeps says that it is sound again.
    """

    def __init__(
        self, jump_s: float, clocks: Callable[[], tuple[float, float]] = host_clocks
    ) -> None:
        """Take differences of more than `jump_s` seconds for a jump."""
        self.clocks = clocks
        self.sweeps = False
        self.ahead_s = 0.0
        self._jump_s = jump_s
        self._sound: tuple[float, float] | None = None
        self._checked = False
        self._asked = False
        self._said = False

    @property
    def must_ask(self) -> bool:
        """Whether the server's time is to be heard before anything else: somebody begins to sweep."""
        return self.sweeps and not self._asked

    def heard(self, time_ms: int, kept_ms: int, jumped: str) -> float | None:
        """Take the server's time, the latest that the index has kept, and why it is frozen for its clock, or "".

        Returns what the index is to be told: by how many seconds the server's clock is ahead, 0 that it is sound, or None.
        """
        server_s = time_ms / 1000
        passed_s, wall_s = self.clocks()
        self._asked = self.sweeps
        if self._said and not jumped:
            # Somebody has accepted the server's time, or has found it sound.
            self._sound, self._said, self._checked = (server_s, passed_s), False, True
        self.ahead_s = self._ahead(server_s, passed_s, wall_s)
        if self.ahead_s:
            self._said = True
            # It may have jumped once more since somebody said so.
            return self.ahead_s if abs(_ahead_in(jumped) - self.ahead_s) > self._jump_s else None
        self._sound, self._said = (server_s, passed_s), False
        self._checked = True
        if not self.sweeps:
            return None
        late = 0 < kept_ms < time_ms - _MOST_STEP_MS
        return 0.0 if jumped or late else None

    def _ahead(self, server_s: float, passed_s: float, wall_s: float) -> float:
        """Return by how much the server's clock is ahead of what is expected; 0 if that is no jump."""
        expected = [self._sound[0] + passed_s - self._sound[1]] if self._sound else []
        if not self._checked:
            expected.append(wall_s)
        worst = max((server_s - each for each in expected), key=abs, default=0.0)
        return worst if abs(worst) > self._jump_s > 0 else 0.0
