"""The end of a worker is bounded: whatever hangs, it does not hang for ever."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any, Final

import billiard
from celery import bootsteps, signals

from .config import HARD_LIMIT_S
from .health import settings_of

#: What a shutdown may take beyond the passes it waits for.
SLACK_S: Final = 10.0

logger = logging.getLogger("mediastore")


class Limit(bootsteps.Step):
    """Ends a worker hard that is still there some time after it was told to stop.

    A broker that vanishes in that moment can keep Celery 5.7 waiting for ever. The index makes a hard
    end safe: what was claimed comes free, and what was not done is journalled.
    """

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._soft_s = settings_of(worker.app).seconds("soft_shutdown")
        self._wait = worker.wait_for_soft_shutdown

    def create(self, worker: Any) -> None:
        """Listen for both ways to stop."""
        signals.worker_shutting_down.connect(self._warm, sender=worker.hostname)
        # Celery sends the signal for this one only when it has waited.
        worker.wait_for_soft_shutdown = self._cold

    def _warm(self, how: str = "Warm", **_: object) -> None:
        if how == "Warm":
            end_after(HARD_LIMIT_S + SLACK_S)

    def _cold(self) -> None:
        end_after(self._soft_s + SLACK_S)
        self._wait()


def end_after(seconds: float) -> None:
    """End this process and its children hard when it is still there then."""
    threading.Thread(target=_end, args=(seconds,), name="mediastore-end", daemon=True).start()


def _end(seconds: float) -> None:
    time.sleep(seconds)
    logger.error("the worker did not stop within %.0f s and is ended; nothing is lost", seconds)
    for pid in [child.pid for child in billiard.active_children() if child.pid]:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(1)
