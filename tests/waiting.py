"""Waiting for what time or another process brings about."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT_S = 60.0


def until(
    true: Callable[[], Any], what: str = "it", limit_s: float = LIMIT_S, *, log: Path | None = None
) -> Any:
    """Wait for a condition; return what made it true. Fails with the log, where there is one."""
    deadline = time.monotonic() + limit_s
    while not (found := true()):
        late = f"not within {limit_s:.0f} s: {what}"
        assert time.monotonic() < deadline, late + (f"\n{log.read_text()}" if log else "")
        time.sleep(0.02)
    return found
