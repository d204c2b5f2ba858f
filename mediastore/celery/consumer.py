"""Celery's consumer as our workers need it."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from typing import Any, Final

from celery import bootsteps, signals
from celery.exceptions import CPendingDeprecationWarning
from celery.worker import state
from celery.worker.consumer import Consumer

from .health import alive_while_waiting
from .poison import PoisonError, check_task, dropped

#: Three times within the visibility timeout.
RENEW_S: Final = 2.0
#: How long a broker that refused is left alone.
REFUSED_S: Final = 1.0

logger = logging.getLogger("mediastore")


class Listener(Consumer):
    """Celery's consumer, without what our workers have no use for.

    Workers here tell each other nothing: mingle costs a second at every start, and gossip logs an
    error of two hundred lines whenever the broker goes away (Celery 5.7).
    """

    controller: Any  # the worker
    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]

    def __init__(self, *args: Any, **options: Any) -> None:
        given = options.pop("worker_options", None) or {}
        options["worker_options"] = {**given, "without_mingle": True, "without_gossip": True}
        super().__init__(*args, **options)

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, alive."""
        heartbeat = getattr(self.controller, "mediastore_heartbeat", None)
        waiting = conn if heartbeat is None else alive_while_waiting(conn, heartbeat.write)
        return super().ensure_connected(waiting)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say that the broker is gone, but not that a setting could be what we set it to be."""
        self._leave_alone(exc)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            # kombu 5.7 gives unacknowledged ticks back over the connection it has just dropped;
            # the AttributeError of that would end the worker. The index remembers their work.
            with contextlib.suppress(AttributeError):
                super().on_connection_error_after_connected(exc)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Say that the broker cannot be used."""
        self._leave_alone(exc)
        super().on_connection_error_before_connected(exc)

    def _leave_alone(self, exc: Exception) -> None:
        """Pause if the broker refused: it answers at once, and would be asked at once."""
        if isinstance(exc, self.channel_errors):
            heartbeat = getattr(self.controller, "mediastore_heartbeat", None)
            if heartbeat is not None:
                heartbeat.write()
            time.sleep(REFUSED_S)

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        """Return what Celery does with a message, for those that are one of our application's tasks."""
        handle = super().create_task_handler(*args, **options)

        def handle_tasks(message: Any) -> Any:
            try:
                check_task(message, self.app)
                return handle(message)
            except PoisonError as why:
                return self._drop(message, why)
            except Exception as error:
                if self._of_broker(error):
                    raise
                return self._drop(
                    message, f"Celery cannot take it ({type(error).__name__}: {error})"
                )

        return handle_tasks

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop what cannot be read, in the queue or in remote control."""
        self._drop(message, f"it cannot be read ({type(exc).__name__}: {exc})")

    def on_invalid_task(self, _body: Any, message: Any, exc: Exception) -> None:
        """Drop a call that says what no call can."""
        self._drop(message, f"it is no call ({exc})")
        signals.task_rejected.send(sender=self, message=message, exc=exc)

    def _of_broker(self, error: Exception) -> bool:
        """Whether it says something of the broker, not of a message; kombu counts KeyError among such errors."""
        known = (*self.connection_errors, *self.channel_errors)
        return isinstance(error, known) and not isinstance(error, LookupError)

    def _drop(self, message: Any, why: object) -> None:
        body = message.body
        dropped.note(why, body if isinstance(body, bytes | str) else bytes(body or b""))
        if not message.acknowledged:
            message.reject_log_error(logger, self.connection_errors)


class Hold(bootsteps.StartStopStep):
    """Keeps the ticks that this worker carries out from coming back while it lives.

    A broker on Redis gives a tick to another worker when the first did not acknowledge it for a while.
    Renewed from here, that while can be short, and a dead worker is replaced within seconds; kombu
    itself counts from the delivery, and would have to wait longer than the longest sweep.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Renew until stopped; on RabbitMQ there is nothing to renew, it knows when a worker is gone."""
        channel = consumer.task_consumer.channel
        if hasattr(channel, "unacked_index_key"):
            self._timer = consumer.timer.call_repeatedly(RENEW_S, renew, args=(channel,))

    def stop(self, _consumer: Any) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def renew(channel: Any) -> None:
    """Say that what this process has taken and not acknowledged is being carried out."""
    # What came by an earlier connection is no more in the list, or anybody's: XX adds nothing.
    held = {request.message.delivery_tag: time.time() for request in list(state.reserved_requests)}
    if not held:
        return
    try:
        with channel.conn_or_acquire() as client:
            client.zadd(channel.unacked_index_key, held, xx=True)
    except (*channel.connection_errors, channel.ResponseError) as error:
        logger.debug("ticks could not be renewed: %s", error)  # the loop notices by itself
