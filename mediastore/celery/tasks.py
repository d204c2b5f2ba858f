"""The work: what a tick is, and what one pass does in the process that carries it out."""

from __future__ import annotations

import dataclasses
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task
from celery.worker.request import Request

from mediastore.client import MediaStore
from mediastore.errors import MediaStoreError
from mediastore.index import presence
from mediastore.sweeper import report

from .config import BEAT_HEADER, DRAIN, HARD_LIMIT_S, PACKAGE, QUEUE, SOFT_LIMIT_S, SWEEP
from .rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    settings: Settings  # what this application was given
    every_s: float = 0.0  # 0: nobody ticks by itself
    Request = f"{PACKAGE}:Receipt"
    queue = QUEUE
    serializer = "json"
    ignore_result = True  # the index counts; nobody waits for an answer
    acks_late = True  # a tick acknowledged early is lost with its process
    reject_on_worker_lost = True  # without it, the tick of a killed child is acknowledged
    soft_time_limit = SOFT_LIMIT_S
    time_limit = HARD_LIMIT_S


class Store(MediaStore):
    """A worker's store: as any other, and it can say who it works for."""

    def note(self, members: Sequence[str]) -> None:
        """Note in the index that these are alive.

        Raises:
            IndexUnavailable: Redis failed, or does not allow it.
        """
        self._ask(presence.seen(members, self._ask(presence.server_ms())))


class Stores:
    """One store for each namespace in each process: a connection made before a fork must not be used after it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = dataclasses.replace(
            settings, retries=max(settings.retries, PATIENT_RETRIES)
        )
        self._by_pid: dict[int, dict[str, Store]] = {}

    def mine(self, namespace: str) -> Store:
        """Return this process's store; made at the first call."""
        # Two threads may both come here; `setdefault` gives them one store.
        stores = self._by_pid.setdefault(os.getpid(), {})
        if namespace in stores:
            return stores[namespace]
        settings = self._settings.for_namespace(namespace)
        return stores.setdefault(namespace, Store.from_settings(settings))

    def close(self, **_: object) -> None:
        """Close this process's stores if there are any; a later call makes others."""
        for store in self._by_pid.pop(os.getpid(), {}).values():
            store.close()


class Passes:
    """What a tick does: one pass over each namespace. What cannot be done now is left to the next tick."""

    def __init__(self, settings: Settings) -> None:
        self.stores = Stores(settings)
        self._budget_s = min(settings.seconds("sweep_budget"), BUDGET_AT_MOST_S)
        self._served = settings.served
        self._several = len(self._served) > 1
        self._rounds = {
            name: Rounds(self._served, partial(self._visit, name)) for name in (SWEEP, DRAIN)
        }
        self._seen: tuple[str, ...] = ()
        self._unnoted: set[str] = set()

    def run(self, tick: Tick) -> None:
        """Do one pass, at most as long as the budget."""
        self._seen = seen_by(tick)
        try:
            self._rounds[tick.name].go(self._budget_s)
        except SoftTimeLimitExceeded:
            words = "a %s took over %d s; the next one goes on with it"
            logger.warning(words, _short(tick.name), SOFT_LIMIT_S)

    def _visit(self, tick: str, namespace: str, budget_s: float) -> None:
        """Do one pass in one namespace; whatever is wrong with it costs a line and keeps no other waiting."""
        fields = {"namespace": namespace}
        where = f" of namespace {namespace}" if self._several else ""
        try:
            store = self.stores.mine(namespace)
            swept = store.sweep(budget_s) if tick == SWEEP else store.drain(budget_s)
        except MediaStoreError as error:
            words = "a %s%s failed and will be tried again: %s"
            logger.warning(words, _short(tick), where, error, extra=fields)
        except SoftTimeLimitExceeded:
            raise
        except Exception:
            if not self._several:
                raise
            logger.exception("a %s%s failed and will be tried again", _short(tick), where)
        else:
            report(swept, where, fields)
            self._note(store, namespace)

    def _note(self, store: Store, namespace: str) -> None:
        if not self._seen:
            return
        try:
            store.note(self._seen)
        except MediaStoreError as error:
            if namespace not in self._unnoted:
                self._unnoted.add(namespace)
                words = "`doctor` will not see this worker in namespace %s: %s"
                logger.warning(words, namespace, error)


def seen_by(tick: Tick) -> tuple[str, ...]:
    """Return who is alive by the evidence of a tick: the worker that has it, and the beat that sent it."""
    request: Any = tick.request
    if not request.hostname:
        return ()  # called by hand
    beat = (request.headers or {}).get(BEAT_HEADER)
    return (f"worker:{request.hostname}", *([f"beat:{beat}"] if beat else []))


def _short(name: str) -> str:
    return name.rpartition(".")[2]
