"""What the tests of leases share: asking a forked child, a server's clock, a store that is cut off."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mediastore.errors import IndexUnavailable

from .life import inner

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
    deadline = time.monotonic() + 10
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)


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
