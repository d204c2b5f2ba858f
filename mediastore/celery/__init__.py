"""Sweeping by Celery: two tasks, the beat entries that call them, and a worker that needs no beat.

Celery is only an alarm clock here. A message says "sweep" or "drain" and carries no truth: it may be
lost, doubled or late, and the index decides what there is to do. So nothing below tries to deliver
exactly once, and any number of workers and beats give the same result.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, signals

from mediastore.settings import Settings

from .clocks import Clock, Pulse
from .config import (
    DRAIN,
    HARD_LIMIT_S,
    PACKAGE,
    QUEUE,
    SOFT_LIMIT_S,
    SWEEP,
    beat_schedule,
    broker_url,
    configuration,
    intervals,
    with_our_route,
)
from .consumer import Hold, Listener
from .health import Heartbeats
from .shutdown import Limit
from .tasks import Passes, Receipt, Tick

__all__ = [
    "DRAIN",
    "HARD_LIMIT_S",
    "QUEUE",
    "SOFT_LIMIT_S",
    "SWEEP",
    "Clock",
    "Listener",
    "Pulse",
    "Receipt",
    "Tick",
    "beat_schedule",
    "broker_url",
    "install",
    "make_app",
]

logger = logging.getLogger("mediastore")


def make_app(settings: Settings | None = None) -> Celery:
    """Return the ready Celery application: configuration, tasks, beat entries, ticking worker.

    No I/O; several may live in one process, and none becomes Celery's current application.

    Args:
        settings: None: all defaults.

    Raises:
        InvalidSettings: `redis_url` cannot be turned into a broker's URL.
    """
    settings = settings or Settings()
    # Without fixups: DJANGO_SETTINGS_MODULE may be set for a neighbour, and is not meant for us.
    app = Celery("mediastore", set_as_current=False, fixups=[], amqp=f"{PACKAGE}.broker:Broker")
    app.conf.update(configuration(settings))
    _add(app, settings)
    app.steps["consumer"].add(Hold)
    app.steps["worker"].add(Limit)
    return app


def install(app: Any, settings: Settings, *, beat: bool = True) -> None:
    """Make an application of your own sweep: tasks, their route, beat entries, workers that tick.

    Its workers must consume the queue `mediastore` too (`-Q celery,mediastore`) and accept JSON. Its
    broker, queues, serializers, results and scheduler stay as they are; what it says itself of our
    route or entries wins. It may be configured before or after.

    Args:
        app: Any Celery application.
        settings: As the bots have them; `Settings.from_env()`.
        beat: Whether its beat is to tick; without it, `beat_schedule` gives the entries.
    """
    _add(app, settings)

    def configure(**_: object) -> None:
        conf: Any = app.conf
        conf.task_routes = with_our_route(conf.task_routes)
        if beat:
            conf.beat_schedule = {**beat_schedule(settings), **(conf.beat_schedule or {})}
        if "json" not in conf.accept_content:
            logger.error("add json to accept_content: mediastore's ticks are refused without it")

    if app.configured:
        configure()
    # Celery reads a configuration when it is first needed, and again when it is given another.
    app.on_after_configure.connect(configure, weak=False)


def _add(app: Celery, settings: Settings) -> None:
    """Add the tasks, and to workers the habit of ticking by themselves and of saying that they live."""
    passes = Passes(settings)
    every_s = intervals(settings)

    # Not shared: Celery would hand these tasks to every other application of the process.
    own: dict[str, Any] = {"base": Tick, "bind": True, "shared": False, "settings": settings}

    @app.task(name=SWEEP, every_s=every_s.get(SWEEP, 0.0), **own)
    def sweep(self: Tick) -> None:
        """Expire, drain and delete what is due in the roots of this process."""
        passes.run(self)

    @app.task(name=DRAIN, every_s=every_s[DRAIN], **own)
    def drain(self: Tick) -> None:
        """Delete what was released, in the roots of this process."""
        passes.run(self)

    signals.worker_process_shutdown.connect(passes.stores.close)
    app.steps["consumer"].add(Pulse)
    app.steps["worker"].add(Heartbeats)
