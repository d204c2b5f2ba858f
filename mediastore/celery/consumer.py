"""Celery's consumer as our workers need it."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer


class Listener(Consumer):
    """Celery's consumer, without what our workers have no use for.

    Workers here tell each other nothing: mingle costs a second at every start, and gossip logs an
    error of two hundred lines whenever the broker goes away (Celery 5.7).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        given = options.pop("worker_options", None) or {}
        options["worker_options"] = {**given, "without_mingle": True, "without_gossip": True}
        super().__init__(*args, **options)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say that the broker is gone, but not that a setting could be what we set it to be."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            # kombu 5.7 gives unacknowledged ticks back over the connection it has just dropped;
            # the AttributeError of that would end the worker. The index remembers their work.
            with contextlib.suppress(AttributeError):
                super().on_connection_error_after_connected(exc)
