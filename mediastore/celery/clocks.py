"""The clocks: beat's scheduler, and the habit of workers to tick by themselves."""

from __future__ import annotations

import logging
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from celery import bootsteps, signals
from celery.beat import Scheduler, SchedulingError
from kombu.exceptions import OperationalError

from mediastore.heartbeat import Heartbeat, health_directory

from .config import DRAIN, QUEUE, SWEEP, expires_s
from .health import alive_while_waiting, serves, settings_of

if TYPE_CHECKING:
    from celery import Celery
    from celery.beat import ScheduleEntry
    from celery.worker.request import Request
    from kombu import Producer

    from .tasks import Tick

#: One tick does all the work there is. More of them in the queue only fill the server's memory,
#: 1 kB each, when a beat runs for days without a worker.
WAITING_AT_MOST: Final = 8
MISSED_INTERVALS: Final = 3
MISSED_AT_LEAST_S: Final = 3.0
LOOK_S: Final = 1.0

logger = logging.getLogger("mediastore")


class Clock(Scheduler):
    """Beat's scheduler: in memory, no more ticks than a queue needs, one line for a lost one.

    There is no schedule file to lock, corrupt or leave behind. What a file would remember across
    restarts is when to tick next, and workers tick once when they start.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        settings = settings_of(self.app)
        self._heartbeat = Heartbeat(health_directory(settings), "beat", f"beat@{settings.called}")

    def tick(self, *args: Any, **options: Any) -> float:
        """Send what is due, and leave a heartbeat."""
        self._heartbeat.write()
        return float(super().tick(*args, **options))

    @cached_property
    def connection(self) -> Any:
        """Return the connection to the broker; it waits for it alive."""
        return alive_while_waiting(self.app.connection_for_write(), self._heartbeat.write)

    def close(self) -> None:
        """Take the heartbeat away, and close."""
        self._heartbeat.remove()
        super().close()

    def apply_entry(self, entry: ScheduleEntry, producer: Producer | None = None) -> None:
        """Send a tick unless enough of them wait. Celery's own logs two tracebacks for a lost one."""
        try:
            if producer is None or not _crowded(self.app, producer):
                self.apply_async(entry, producer=producer, advance=False)
        except _broker_errors(self.app) as error:
            logger.warning("beat could not send %s and will try again: %s", entry.task, error)


class Pulse(bootsteps.StartStopStep):
    """Ticks in a worker's main process when it starts, and when no beat's tick reached it.

    A tick missed three times in a row means that no beat runs, or that other workers took the
    ticks: then one more does no harm. Beat stands still when the wall clock is set back; this one
    is monotonic.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._app: Celery = consumer.app
        self._seen: dict[str, float] = {}
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Tick once, whatever waits in the queue: it may all have expired. Then watch."""
        if not serves(self._app):
            return
        signals.task_received.connect(self._received, sender=consumer)
        for task in self._tasks():
            self._publish(task, however_many=True)
        self._timer = consumer.timer.call_repeatedly(LOOK_S, self._look)

    def stop(self, consumer: Any) -> None:
        """Stop watching."""
        signals.task_received.disconnect(self._received, sender=consumer)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tasks(self) -> list[Tick]:
        ticks = [cast("Tick", self._app.tasks[name]) for name in (DRAIN, SWEEP)]
        return [tick for tick in ticks if tick.every_s]

    def _received(self, request: Request, **_: object) -> None:
        # Celery sends the signal for ticks that are not expired, and only those are carried out.
        if request.name == SWEEP:
            self._note(SWEEP)
        if request.name in (SWEEP, DRAIN):
            self._note(DRAIN)  # a sweep drains as well

    def _note(self, name: str) -> None:
        self._seen[name] = time.monotonic()

    def _look(self) -> None:
        for task in self._tasks():
            silence_s = time.monotonic() - self._seen[task.name]
            if silence_s > max(MISSED_INTERVALS * task.every_s, MISSED_AT_LEAST_S):
                self._publish(task)

    def _publish(self, task: Tick, *, however_many: bool = False) -> None:
        self._note(task.name)  # also when it fails: the next try comes three intervals later
        try:
            with self._app.producer_or_acquire() as producer:
                if however_many or not _crowded(self._app, producer):
                    expires = expires_s(task.every_s)
                    # The worker's loop waits meanwhile, so there is no second try.
                    task.apply_async(producer=producer, expires=expires, retry=False)
        except _broker_errors(self._app) as error:
            logger.warning("the worker could not tick and will try again: %s", error)


def _crowded(app: Celery, producer: Producer) -> bool:
    """Return whether so many ticks wait in the queue that another would change nothing."""
    channel: Any = producer.channel
    declared: Any = app.amqp.queues[QUEUE].bind(channel).queue_declare()
    return int(declared.message_count) >= WAITING_AT_MOST


def _broker_errors(app: Celery) -> tuple[type[BaseException], ...]:
    broker = app.connection_for_write()
    return (SchedulingError, OperationalError, *broker.connection_errors, *broker.channel_errors)
