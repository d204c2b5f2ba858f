"""When to sweep inside a bot's own process: intervals, jitter, stop. It knows neither Redis nor Celery.

N processes sweep without a leader: a sweep is safe to run twice, and one with nothing to do costs one round trip.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .errors import MediaStoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .model import Swept

logger = logging.getLogger("mediastore")

#: Sweepers started together drift apart by at most this share of the interval.
_JITTER: Final = 0.1
_CANCEL_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds between expiry sweeps and between the quick passes that only delete what was released."""

    sweep_s: float
    drain_s: float
    max_age_s: float | None

    def usable(self, *, enabled: bool) -> bool:
        """Whether there is anything to start; says why not. A bad setting switches the sweeper off, it never crashes."""
        if not enabled:
            return False
        if self.sweep_s <= 0:
            logger.warning("sweeping is off: sweep_interval is %s", self.sweep_s)
            return False
        return True

    def announce(self) -> None:
        """Say once that a sweeper runs."""
        age = "never" if self.max_age_s is None else f"{self.max_age_s:g}s"
        logger.info("sweeping every %gs, max age %s", self.sweep_s, age)


class _Beat:
    """Counts the quick passes and says which of them is a full sweep; the first is."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._left_s = 0.0

    def full(self) -> bool:
        return self._left_s <= 0

    def pause_s(self, *, full: bool) -> float:
        if full:
            self._left_s = self._rhythm.sweep_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not a secret
        pause = min(self._rhythm.drain_s, max(self._left_s, 0.01))
        self._left_s -= pause
        return pause


def report(swept: Swept, where: str = "", fields: Mapping[str, object] | None = None) -> None:
    """Log what a pass removed; one that found nothing says nothing."""
    if swept.refs or swept.deleted or swept.gone or swept.spared or swept.failed:
        numbers = {
            "expired": swept.expired, "drained": swept.drained, "deleted": swept.deleted,
            "gone": swept.gone, "spared": swept.spared, "failed": swept.failed,
        }  # fmt: skip
        logger.info(
            "swept%s: %d expired, %d drained, %d files deleted, %d gone, %d spared, %d failed",
            where, *numbers.values(), extra={**numbers, **(fields or {})},
        )  # fmt: skip


class Sweeper:
    """A daemon thread that sweeps until it is stopped. `start` and `stop` may be called in any order, any number of times."""

    def __init__(self, rhythm: Rhythm, sweep: Callable[[bool], Swept]) -> None:
        """Remember what to call: `sweep(True)` for a full pass, `sweep(False)` for a quick one."""
        self._rhythm = rhythm
        self._sweep = sweep
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def start(self, *, enabled: bool = True) -> None:
        """Start the thread unless it runs already; after a fork the child may start its own."""
        if (self.running and not self._stop.is_set()) or not self._rhythm.usable(enabled=enabled):
            return
        self._stop, self._pid = threading.Event(), os.getpid()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop,), name="mediastore-sweeper", daemon=True
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a sweeper thread of this very process is alive."""
        return self._thread is not None and self._thread.is_alive() and self._pid == os.getpid()

    def stop(self, timeout_s: float = 60.0) -> None:
        """Ask the thread to stop and wait until the pass it is in has ended."""
        self._stop.set()
        if (
            self._thread is not None
            and self.running
            and self._thread is not threading.current_thread()
        ):
            self._thread.join(timeout_s)

    def _run(self, stop: threading.Event) -> None:
        self._rhythm.announce()
        beat = _Beat(self._rhythm)
        while not stop.is_set():
            full = beat.full()
            try:
                report(self._sweep(full))
            except MediaStoreError as error:
                logger.warning("a sweep failed and will be tried again: %s", error)
            except Exception:
                logger.exception("a sweep failed and will be tried again")
            stop.wait(beat.pause_s(full=full))


class AsyncSweeper:
    """A task that sweeps until it is stopped. As `Sweeper`, on the running event loop."""

    def __init__(self, rhythm: Rhythm, sweep: Callable[[bool], Awaitable[Swept]]) -> None:
        """Remember what to await."""
        self._rhythm = rhythm
        self._sweep = sweep
        self._task: asyncio.Task[None] | None = None

    def start(self, *, enabled: bool = True) -> None:
        """Start the task unless it runs already on this loop."""
        if self.running or not self._rhythm.usable(enabled=enabled):
            return
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mediastore-sweeper")

    @property
    def running(self) -> bool:
        """Whether the task is alive."""
        return (
            self._task is not None
            and not self._task.done()
            and not self._task.get_loop().is_closed()
        )

    async def stop(self) -> None:
        """Cancel the task and wait for it; a cancelled sweep is one more crashed call, which the next sweep finishes."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            # More than once: until Python 3.12, asyncio.wait_for can swallow a cancellation.
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)

    async def _run(self) -> None:
        self._rhythm.announce()
        beat = _Beat(self._rhythm)
        while True:
            full = beat.full()
            try:
                report(await self._sweep(full))
            except MediaStoreError as error:
                logger.warning("a sweep failed and will be tried again: %s", error)
            except Exception:
                logger.exception("a sweep failed and will be tried again")
            await asyncio.sleep(beat.pause_s(full=full))
