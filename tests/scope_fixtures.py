"""Fixtures of the tests of scopes under asyncio: a store in a loop, a gate that releases wait at."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mediastore import AsyncMediaStore, Settings
from mediastore.errors import RefGone


@pytest.fixture
def where(settings, server_url):
    """Give settings that name the real server, so that the store makes its own client."""
    return Settings(namespace=settings.namespace, roots=settings.roots, redis_url=server_url)


@pytest.fixture
def run(where):
    """Give a runner of a program with a store of its own; more settings may be said."""

    def run(main, **more):
        async def program():
            async with AsyncMediaStore(None, replace(where, **more)) as store:
                return await main(store)

        return asyncio.run(program())

    return run


@pytest.fixture
def gate(monkeypatch):
    """Give a gate that every release waits at before it does anything."""
    return Gate(monkeypatch)


class Gate:
    """Holds releases up: `reached` is set when one arrives, and it goes on when `open` is set."""

    def __init__(self, monkeypatch) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self.waits: list[bool] = []
        release = AsyncMediaStore.release_all

        async def held_up(store, scope, *, wait=True):
            self.waits.append(wait)
            self.reached.set()
            await self.open.wait()
            return await release(store, scope, wait=wait)

        monkeypatch.setattr(AsyncMediaStore, "release_all", held_up)


async def gone(store, *refs):
    """Whether every ref was released."""
    for ref in refs:
        with pytest.raises(RefGone) as caught:
            await store.resolve(ref)
        assert caught.value.reason == "released"
    return True


async def steps(count):
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)
