"""Make the application, or end with one line that says which setting is wrong."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import billiard.pool
from celery import signals

from mediastore.celery import make_app
from mediastore.errors import MediaStoreError
from mediastore.escaping import printable
from mediastore.logs import JsonLines
from mediastore.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

ENV_FILE = Path(".env")


def load() -> Celery:
    """Return the application for the environment's settings; exits with 2 when one is wrong."""
    try:
        settings = Settings.from_env(env_file=ENV_FILE if ENV_FILE.is_file() else None)
        if settings.log_format == "json":
            signals.after_setup_logger.connect(log_in_json)
            signals.after_setup_task_logger.connect(log_in_json)
        return make_app(settings)
    except (MediaStoreError, OSError) as error:
        sys.stderr.write(f"mediastore: {printable(str(error))}\n")
        raise SystemExit(2) from None


def log_in_json(logger: logging.Logger, **_: object) -> None:
    """Format what Celery has set up; its level and its file stay."""
    for handler in logger.handlers:
        handler.setFormatter(JsonLines())


# A pool process whose task ends while the worker stops waits 30 s for its result to be read, and nobody
# reads it any more (billiard 4.3). Our results are nothing: 2 s.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

# At INFO, Celery says "received" and "succeeded" of each tick, two lines every five seconds, and
# the one line that tells of deleted files is lost among them. Sweeps report themselves.
for chatty in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

app = load()
