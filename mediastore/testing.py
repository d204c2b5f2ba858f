"""For the tests of those who use the store: a real store on an in-memory index, and a clock that only you move.

    from mediastore.testing import lab_store

    def test_my_bot_forgets(tmp_path):
        with lab_store(tmp_path) as (store, clock):
            ref = store.store(tmp_path / "cat.jpg", scope="chat:42", ttl="1h")
            clock.pass_time("2h")
            assert store.clean_expired() == 1

The scripts, flows and file handling are the real ones; only Redis is replaced, by fakeredis, which must be installed.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .blobs.local import LocalBlobs
from .client import MediaStore
from .clocks import elapsed_s
from .model import Duration, parse_duration
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """The server's clock and this host's, moved by hand."""

    def __init__(self) -> None:
        """Begin now."""
        self._start = time.time()
        self._passed_s = 0.0

    def pass_time(self, duration: Duration) -> None:
        """Let time pass: seconds, a timedelta, "90s", "30m", "12h" or "7d"."""
        self._passed_s += parse_duration(duration) or 0.0

    def now_ms(self) -> int:
        """Return what the server's clock shows, in milliseconds."""
        return round((self._start + self._passed_s) * 1000)

    def wall(self) -> float:
        """Return what this host's clock shows, in seconds: it runs, and has been moved."""
        return time.time() + self._passed_s

    def govern(self, store: MediaStore) -> None:
        """Make a store read this clock. One that has been used keeps the roots it has verified."""
        settings = store.settings
        store._speech.now = self.now_ms  # noqa: SLF001 - a friend of the client
        store._clock = lambda: elapsed_s() + self._passed_s  # noqa: SLF001
        store._blobs = LocalBlobs(settings.roots, settings.namespace, wall=self.wall)  # noqa: SLF001


@contextmanager
def lab_store(root: str | os.PathLike[str], **settings: Any) -> Iterator[tuple[MediaStore, Clock]]:
    """Give a store on an in-memory index with one root, and the clock that governs it.

    Args:
        root: A directory for the media.
        settings: Any further `Settings` field.
    """
    import fakeredis

    server = fakeredis.FakeRedis()
    clock = Clock()
    store = MediaStore(server, Settings.build(roots=(os.fspath(root),), **settings))
    clock.govern(store)
    try:
        with store:
            yield store, clock
    finally:
        server.close()
