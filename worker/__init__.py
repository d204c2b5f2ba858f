"""The ready Celery application: `celery -A worker worker` and `celery -A worker beat`.

Settings come from `MEDIASTORE_*` variables, and from `.env` in the working directory where there
is one. Importing reads them and does nothing else.
"""

from .app import app

__all__ = ["app"]
