"""What the tests of leases share: waiting for a fact, asking a forked child, a server's clock, a store that is cut off."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mediastore.errors import IndexUnavailable

from .conftest import Blocking

if TYPE_CHECKING:
    from collections.abc import Callable


def until(fact: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := fact()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
    return found


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


def inner(store):
    return store._store if isinstance(store, Blocking) else store


def at_server(store, seconds):
    """Let a store see the server's clock so many seconds from now."""
    return inner(store)._speech.__setattr__("now", lambda: int((time.time() + seconds) * 1000))


def deaf(store):
    """Cut a store off from Redis."""

    class Nobody:
        def perform(self, step):
            raise IndexUnavailable("nobody there")

    inner(store)._link = Nobody()
