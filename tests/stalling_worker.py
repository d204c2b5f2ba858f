"""The ready application, with sweeps that stand still for as long as a test wants.

While the file that MEDIASTORE_TEST_STALL names is there, a sweep leaves `<file>.in`, waits, and leaves
`<file>.out` when the file is gone. Its heart beats twice a second.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediastore import MediaStore
from mediastore.celery import health
from worker.app import app

if TYPE_CHECKING:
    from mediastore.model import Swept

__all__ = ["app"]

sweep = MediaStore.sweep


def stalling_sweep(self: MediaStore, budget: Any = None) -> Swept:
    stall = Path(os.environ["MEDIASTORE_TEST_STALL"])
    if stall.exists():
        with stall.with_suffix(".in").open("a") as file:
            file.write(f"{os.getpid()}\n")
        while stall.exists():
            time.sleep(0.02)
        stall.with_suffix(".out").write_text("")
    return sweep(self, budget)


vars(health)["EVERY_S"] = 0.5
MediaStore.sweep = stalling_sweep  # type: ignore[method-assign]
