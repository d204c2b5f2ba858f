"""The ready application, whose workers tick by themselves after a moment without a beat."""

from __future__ import annotations

from mediastore.celery import clocks
from worker.app import app

__all__ = ["app"]

vars(clocks)["LOOK_S"] = 0.1
vars(clocks)["MISSED_AT_LEAST_S"] = 0.3
