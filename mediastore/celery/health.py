"""Signs of life: the heartbeat of a worker's main process, and what keeps it going while no broker answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from celery import bootsteps

from mediastore.heartbeat import EVERY_S, Heartbeat, health_directory

from .config import DRAIN, QUEUE
from .poison import dropped

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from mediastore.settings import Settings

    from .tasks import Tick


def settings_of(app: Celery) -> Settings:
    """Return what the application was made with, or given by `install`."""
    return cast("Tick", app.tasks[DRAIN]).settings


def serves(app: Celery) -> bool:
    """Whether a worker of this application takes our ticks; a foreign one may have workers that do not."""
    return QUEUE in app.amqp.queues.consume_from


class Heartbeats(bootsteps.StartStopStep):
    """Leaves a heartbeat from the worker's own loop, whatever its children do; takes it away at the end."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._timer: Any = None
        directory = health_directory(settings_of(worker.app))
        self.heartbeat = Heartbeat(directory, "worker", worker.hostname, lambda: dropped.count)
        worker.mediastore_heartbeat = self.heartbeat

    def start(self, worker: Any) -> None:
        """Leave the first one, before the broker is asked for."""
        if not serves(worker.app):
            return
        self.heartbeat.tidy()
        self.heartbeat.write()
        self._timer = worker.timer.call_repeatedly(EVERY_S, self.heartbeat.write)

    def stop(self, _worker: Any) -> None:
        """Take it away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.heartbeat.remove()

    def terminate(self, worker: Any) -> None:
        """As `stop`."""
        self.stop(worker)


def alive_while_waiting(connection: Any, sign: Callable[[], None]) -> Any:
    """Return the connection; as long as it waits for its broker, it gives a sign of life each second.

    A probe that has a worker killed because its server is away makes nothing better.
    """
    ensure = connection.ensure_connection

    def patiently(*args: Any, callback: Callable[[], None] | None = None, **options: Any) -> Any:
        def waiting() -> None:
            sign()
            if callback is not None:
                callback()

        return ensure(*args, callback=waiting, **options)

    connection.ensure_connection = patiently
    return connection
