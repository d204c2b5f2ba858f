"""Sweeping by Celery: two tasks, the beat entries that call them, and a worker that needs no beat.

Celery is only an alarm clock here. A message says "sweep" or "drain" and carries no truth: it may be
lost, doubled or late, and the index decides what there is to do. So nothing below tries to deliver
exactly once, and any number of workers and beats give the same result.
"""

from __future__ import annotations

from celery import Celery, signals

from mediastore.settings import Settings

from .clocks import Clock, Pulse
from .config import (
    DRAIN,
    HARD_LIMIT_S,
    QUEUE,
    SOFT_LIMIT_S,
    SWEEP,
    beat_schedule,
    broker_url,
    configuration,
    intervals,
)
from .consumer import Listener
from .tasks import BUDGET_AT_MOST_S, Receipt, Stores, Tick, run

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
    app = Celery("mediastore", set_as_current=False, fixups=[])
    app.conf.update(configuration(settings))
    install(app, settings)
    return app


def install(app: Celery, settings: Settings) -> None:
    """Add the tasks to an application, and to its workers the habit of ticking by themselves.

    For an application of your own, whose workers must then consume `mediastore` too
    (`-Q celery,mediastore`). `beat_schedule` gives the entries for its beat.
    """
    stores = Stores(settings)
    budget_s = min(settings.seconds("sweep_budget"), BUDGET_AT_MOST_S)
    every_s = intervals(settings)

    # Not shared: Celery would hand these tasks to every other application of the process.
    @app.task(base=Tick, shared=False, name=SWEEP, every_s=every_s.get(SWEEP, 0.0))
    def sweep() -> None:
        """Expire, drain and delete what is due in the roots of this process."""
        run("sweep", lambda: stores.mine().sweep(budget_s))

    @app.task(base=Tick, shared=False, name=DRAIN, every_s=every_s[DRAIN])
    def drain() -> None:
        """Delete what was released, in the roots of this process."""
        run("drain", lambda: stores.mine().drain(budget_s))

    signals.worker_process_shutdown.connect(stores.close)
    app.steps["consumer"].add(Pulse)
