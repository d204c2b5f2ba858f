"""The work: what a tick is, and what one pass does in the process that carries it out."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Final

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task
from celery.worker.request import Request

from mediastore.client import MediaStore
from mediastore.errors import MediaStoreError
from mediastore.sweeper import report

from .config import HARD_LIMIT_S, PACKAGE, QUEUE, SOFT_LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediastore.model import Swept
    from mediastore.settings import Settings

#: A pass ends by itself before the soft limit, with ten seconds for the batch it is in.
BUDGET_AT_MOST_S: Final = 40.0
#: Twelve tries wait four seconds in all: a server that restarts is not worth a lost tick.
PATIENT_RETRIES: Final = 12

logger = logging.getLogger("mediastore")


class Receipt(Request):
    """A tick as the worker knows it while it is carried out."""

    def acknowledge(self) -> None:
        """Acknowledge the tick, unless the connection it came by is gone.

        With Celery 5.7 and kombu 5.7, acknowledging it there ends the worker.
        """
        if getattr(self.message.channel, "closed", False):
            self.acknowledged = True
        super().acknowledge()


class Tick(Task[[], None]):
    """A task without arguments: nothing in a message can say what is deleted."""

    every_s: float = 0.0  # 0: nobody ticks by itself
    Request = f"{PACKAGE}:Receipt"
    queue = QUEUE
    serializer = "json"
    ignore_result = True  # the index counts; nobody waits for an answer
    acks_late = True  # a tick acknowledged early is lost with its process
    reject_on_worker_lost = True  # without it, the tick of a killed child is acknowledged
    soft_time_limit = SOFT_LIMIT_S
    time_limit = HARD_LIMIT_S


class Stores:
    """One store in each process: a connection made before a fork must not be used after it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = dataclasses.replace(
            settings, retries=max(settings.retries, PATIENT_RETRIES)
        )
        self._by_pid: dict[int, MediaStore] = {}

    def mine(self) -> MediaStore:
        """Return this process's store; made at the first call."""
        pid = os.getpid()
        if pid in self._by_pid:
            return self._by_pid[pid]
        # Two threads may both come here; `setdefault` gives them one store.
        return self._by_pid.setdefault(pid, MediaStore.from_settings(self._settings))

    def close(self, **_: object) -> None:
        """Close this process's store if there is one; a later call makes another."""
        store = self._by_pid.pop(os.getpid(), None)
        if store is not None:
            store.close()


def run(name: str, work: Callable[[], Swept]) -> None:
    """Do one pass. What cannot be done now is left to the next tick, with one line in the log."""
    try:
        swept = work()
    except MediaStoreError as error:
        logger.warning("a %s failed and will be tried again: %s", name, error)
    except SoftTimeLimitExceeded:
        logger.warning("a %s took over %d s; the next one goes on with it", name, SOFT_LIMIT_S)
    else:
        report(swept)
