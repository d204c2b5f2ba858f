"""The ready application, with a worker that never ends by itself, and little patience with that."""

from __future__ import annotations

import threading
from typing import Any

from celery import bootsteps

from mediastore.celery import shutdown
from worker.app import app

__all__ = ["app"]

vars(shutdown)["HARD_LIMIT_S"] = 1
vars(shutdown)["SLACK_S"] = 1.0


class Hang(bootsteps.StartStopStep):
    """Stands for a broker that vanished in the wrong moment."""

    requires = ("celery.worker.components:Pool",)

    def stop(self, _: Any) -> None:
        threading.Event().wait()

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


app.steps["worker"].add(Hang)
