"""The ready application, with drains long enough to be interrupted."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from mediastore import MediaStore
from worker.app import app

if TYPE_CHECKING:
    from mediastore.model import Swept

__all__ = ["app"]

drain = MediaStore.drain


def slow_drain(self: MediaStore, budget: Any = None) -> Swept:
    logging.getLogger("mediastore").info("a slow drain")
    time.sleep(0.7)
    return drain(self, budget)


MediaStore.drain = slow_drain  # type: ignore[method-assign]
