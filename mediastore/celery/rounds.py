"""How one tick is shared out among the namespaces that a worker serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Less time than this is not worth a round trip.
_LEAST_S: Final = 0.05


class Rounds:
    """Visits every name with an equal share of the time, then those that have more with what is left.

    Each tick begins one further, or with the first that the tick before had no time for.
    """

    def __init__(
        self,
        names: Sequence[str],
        visit: Callable[[str, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know whom to visit; `visit(name, seconds)` returns early when there is nothing more to do."""
        self._names, self._visit, self._clock = tuple(names), visit, clock
        self._first = 0

    def go(self, budget_s: float) -> None:
        """Do what one tick has time for."""
        deadline = self._clock() + budget_s
        turn = self._names[self._first :] + self._names[: self._first]
        self._first = (self._first + 1) % len(self._names)
        left_s = budget_s
        while turn and left_s > _LEAST_S:
            share_s, more = left_s / len(turn), []
            for number, name in enumerate(turn):
                left_s = deadline - self._clock() if number else left_s
                if left_s <= 0:
                    self._first = self._names.index(name)
                    return
                began = self._clock()
                given_s = min(share_s, left_s / (len(turn) - number))
                self._visit(name, given_s)
                if self._clock() - began >= given_s:
                    more.append(name)
            turn = tuple(more)
            left_s = deadline - self._clock()
