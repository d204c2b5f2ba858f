"""Make the application, or end with one line that says which setting is wrong."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mediastore.celery import make_app
from mediastore.errors import MediaStoreError
from mediastore.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

ENV_FILE = Path(".env")


def load() -> Celery:
    """Return the application for the environment's settings; exits with 2 when one is wrong."""
    try:
        settings = Settings.from_env(env_file=ENV_FILE if ENV_FILE.is_file() else None)
        return make_app(settings)
    except (MediaStoreError, OSError) as error:
        sys.stderr.write(f"mediastore: {error}\n")
        raise SystemExit(2) from None


# At INFO, Celery says "received" and "succeeded" of each tick, two lines every five seconds, and
# the one line that tells of deleted files is lost among them. Sweeps report themselves.
for chatty in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

app = load()
