"""When to renew leases: one thread for all of a store's, at a third of their length. It knows neither client nor Redis.

It is a thread under asyncio too: an event loop that is busy or blocked must not cost anybody a lease.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .clocks import elapsed_s
from .errors import MediaStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .lifetimes import Taken

    Renew = Callable[[list["Term"]], Sequence[int | MediaStoreError | None]]

logger = logging.getLogger("mediastore")

#: Two more tries fit in before the deadline.
_DUE: Final = 1 / 3
#: What is renewed anyway takes along what has come this far: then one call serves all leases of the process.
_RIPE: Final = 1 / 6
_AGAIN: Final = 1 / 12
_AGAIN_AT_MOST_S: Final = 1.0
#: Waiting does not count the time a host was suspended; the clock does.
_LOOK_S: Final = 60.0
_STOP_S: Final = 60.0


class Term:
    """How long a lease is known to hold, by this host's clock.

    Counted from the moment a call was sent, so that the end is here before it is on the server. Once past, it is
    lost for ever, whatever the server says later: its holder may have been told so. Belongs to the process that
    took it: a forked child knows it only as it was.
    """

    def __init__(
        self,
        taken: Taken,
        sent_s: float,
        longest_s: float,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        """Begin with a lease that was asked for at `sent_s` and, renewed, lasts no longer than `longest_s`."""
        self.taken = taken
        #: Ended or given up by its holder: nothing is renewed any more. Set without a lock, by finalizers as well.
        self.over = False
        self._clock = clock
        self._pid = os.getpid()
        self._last_s = sent_s + longest_s
        self._sent_s = sent_s
        self._until_s = min(sent_s + self.ttl_s, self._last_s)
        self._again_s = sent_s
        self._lost = ""

    @property
    def ttl_s(self) -> float:
        """How long each renewal makes it last."""
        return self.taken.ttl_ms / 1000

    @property
    def mine(self) -> bool:
        """Whether this very process took it."""
        return self._pid == os.getpid()

    @property
    def lost(self) -> str:
        """Why it is lost; empty while it holds, and after it was ended in time."""
        if not (self._lost or self.over) and self._clock() >= self._until_s:
            self._lost = "it was not renewed before its deadline"
        return self._lost

    def renewed(self, sent_s: float, until_ms: int | None, ttl_ms: int | None = None) -> None:
        """Take the server's answer to a renewal: the new deadline, or None when it had lapsed there."""
        if self.over or self.lost:
            return
        if until_ms is None:
            self._lost = "it had lapsed on the server"
            return
        self.taken = replace(self.taken, until_ms=until_ms, ttl_ms=ttl_ms or self.taken.ttl_ms)
        # A renewal never shortens: two may be under way at once, and their answers cross.
        self._sent_s = max(self._sent_s, sent_s)
        self._until_s = max(self._until_s, min(sent_s + self.ttl_s, self._last_s))

    def failed(self) -> None:
        """Leave some time before the next try."""
        self._again_s = self._clock() + min(self.ttl_s * _AGAIN, _AGAIN_AT_MOST_S)

    def at_s(self, share: float) -> float:
        """Return when this share of its length has passed, but not before a failed try may be repeated."""
        if self._until_s >= self._last_s:
            return self._until_s  # nothing makes it longer
        return max(self._sent_s + self.ttl_s * share, self._again_s)


class _Watch:
    """The terms of one process, and the thread that renews them."""

    def __init__(self) -> None:
        self.wake = threading.Condition()
        self.terms: list[Term] = []
        self.thread: threading.Thread | None = None


class Renewer:
    """A daemon thread that renews leases as long as there are any."""

    def __init__(self, renew: Renew, clock: Callable[[], float] = elapsed_s) -> None:
        """Remember what to call: `renew(terms)` returns for each its new deadline in server milliseconds, None when it is lost, or its error."""
        self._renew = renew
        self._clock = clock
        self._watches: dict[int, _Watch] = {}
        self._failing = False

    def _watch(self) -> _Watch:
        """Return what this process watches. A forked child starts with nothing: its parent's thread is not in it, and a lock may be held for ever."""
        pid = os.getpid()
        found = self._watches.get(pid)
        if found is None:
            found = self._watches.setdefault(pid, _Watch())
            for other in [other for other in list(self._watches) if other != pid]:
                self._watches.pop(other, None)
        return found

    def add(self, term: Term) -> None:
        """Renew this lease from now on, until it is over or lost."""
        watch = self._watch()
        with watch.wake:
            watch.terms.append(term)
            if watch.thread is None or not watch.thread.is_alive():
                thread = threading.Thread(
                    target=self._run, args=(watch,), name="mediastore-renewer", daemon=True
                )
                thread.start()
                watch.thread = thread
            watch.wake.notify()

    def drop(self, term: Term) -> None:
        """Renew this lease no more; the thread ends with the last."""
        term.over = True
        watch = self._watch()
        with watch.wake:
            watch.wake.notify()

    @property
    def running(self) -> bool:
        """Whether a renewing thread of this very process is alive."""
        thread = self._watch().thread
        return thread is not None and thread.is_alive()

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Renew nothing any more, and wait for a call that is under way."""
        watch = self._watch()
        with watch.wake:
            thread, watch.thread, watch.terms = watch.thread, None, []
            watch.wake.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self, watch: _Watch) -> None:
        while (due := self._next(watch)) is not None:
            self._renew_all(due)

    def _next(self, watch: _Watch) -> list[Term] | None:
        """Wait until a lease is due; return it with all that are ripe, None when there is nothing more to do."""
        with watch.wake:
            while watch.thread is threading.current_thread():
                now = self._clock()
                watch.terms = [term for term in watch.terms if not (term.over or _is_lost(term))]
                if not watch.terms:
                    watch.thread = None
                    break
                due_s = min(term.at_s(_DUE) for term in watch.terms)
                if due_s <= now:
                    return [term for term in watch.terms if term.at_s(_RIPE) <= now]
                watch.wake.wait(min(due_s - now, _LOOK_S))
        return None

    def _renew_all(self, terms: list[Term]) -> None:
        sent_s, well = self._clock(), True
        try:
            # A wrong number of answers is an error before any of them counts.
            for term, answer in list(zip(terms, self._renew(terms), strict=True)):
                if isinstance(answer, MediaStoreError):
                    well = False
                    term.failed()
                    self._report(answer)
                else:
                    term.renewed(sent_s, answer)
        except BaseException as error:  # noqa: BLE001 - whatever it was, the other leases need this thread
            for term in terms:
                term.failed()
            self._report(error)
        else:
            self._failing = self._failing and not well

    def _report(self, error: BaseException) -> None:
        """Say once that it does not work; it is tried again every second."""
        expected = isinstance(error, MediaStoreError)
        level = logging.DEBUG if self._failing else logging.WARNING if expected else logging.ERROR
        self._failing = True
        logger.log(
            level,
            "leases could not be renewed, and are tried again until they end: %s",
            error,
            exc_info=None if expected else error,
        )


def _is_lost(term: Term) -> bool:
    if term.lost:
        logger.warning("a lease was lost: %s", term.lost)
    return bool(term.lost)
