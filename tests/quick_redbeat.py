"""The ready application, with a RedBeat standby that waits three seconds for its leader and not twenty-five."""

from __future__ import annotations

from worker.app import app

__all__ = ["app"]

app.conf.update(beat_max_loop_interval=1, redbeat_lock_timeout=3)
