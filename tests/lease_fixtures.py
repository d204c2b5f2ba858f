"""What the tests of leases share: asking a forked child, a server's clock, a store that is cut off."""

from __future__ import annotations

import gc
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mediastore.errors import IndexUnavailable

from .life import inner
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(fact: Callable[[], Any]) -> bool:
    """Evaluate in a forked child; whether it was true there."""
    child = os.fork()
    if child == 0:
        verdict = 1
        try:
            verdict = 0 if fact() else 1
        finally:
            os._exit(verdict)
    status: list[int] = []

    def ended() -> bool:
        pid, said = os.waitpid(child, os.WNOHANG)
        if pid:
            status.append(said)
        return bool(pid)

    try:
        until(ended, "the child to end", 10)
    finally:
        if not status:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status[0]) == 0


@pytest.fixture
def settings(settings, request):
    """Give the settings of the other tests, with what a test asks for."""
    return replace(settings, **getattr(request, "param", {}))


@pytest.fixture
def without_collector():
    """Free nothing but what nobody refers to any more."""
    gc.disable()
    yield
    gc.enable()


def at_server(store, seconds):
    """Let a store see the server's clock so many seconds from now."""
    return inner(store)._speech.__setattr__("now", lambda: int((time.time() + seconds) * 1000))


def deaf(store):
    """Cut a store off from Redis."""

    class Nobody:
        def perform(self, step):
            raise IndexUnavailable("nobody there")

    inner(store)._link = Nobody()
