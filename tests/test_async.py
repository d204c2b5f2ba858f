"""The asyncio client: the loop is never blocked, loops may change, a cancelled call is a crashed call."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from mediastore import AsyncMediaStore, MediaStore, Settings
from mediastore.connection import AsyncLink
from mediastore.errors import RefGone

from .waiting import until


@pytest.fixture
def url_settings(settings, server_url):
    """Give settings that name the real server, so that the store makes its own client."""
    return Settings(namespace=settings.namespace, roots=settings.roots, redis_url=server_url)


def test_many_calls_at_once_share_few_connections(url_settings, make_file, monkeypatch):
    # A hundred at once may have a slow machine busy for longer than a server has to answer.
    monkeypatch.setattr("mediastore.connection._CONNECT_S", 60.0)
    patient = replace(url_settings, timeout=60)
    files = [make_file(f"{number}.jpg") for number in range(100)]

    async def main():
        async with AsyncMediaStore(None, patient) as store:
            refs = await asyncio.gather(*(store.store(path, scope="s") for path in files))
            paths = await asyncio.gather(*(store.resolve(ref) for ref in refs))
            assert paths == files
            return await store.release_all("s")

    assert asyncio.run(main()).deleted == 100


def test_the_loop_goes_on_while_files_are_slow(url_settings, cat, monkeypatch):
    from mediastore.blobs.local import LocalBlobs

    ticks: list[int] = []

    async def main():
        store = AsyncMediaStore(None, url_settings)
        ref = await store.store(cat, scope="s")
        perform = LocalBlobs.perform

        def slow(self, step):
            until(lambda: len(ticks) >= 5, "the loop goes on")
            return perform(self, step)

        monkeypatch.setattr(LocalBlobs, "perform", slow)
        resolving = asyncio.create_task(store.resolve(ref))
        while not resolving.done():
            ticks.append(1)
            await asyncio.sleep(0)
        await store.close()
        return await resolving

    assert asyncio.run(main()) == cat
    assert len(ticks) >= 5


def test_one_store_serves_one_loop_after_another(url_settings, cat):
    store = AsyncMediaStore(None, url_settings)

    async def use(call):
        result = await call()
        await store.close()
        return result

    ref = asyncio.run(use(lambda: store.store(cat, scope="s")))

    assert asyncio.run(use(lambda: store.resolve(ref))) == cat


def test_a_cancelled_release_is_finished_by_the_sweep(url_settings, make_file, media, expect_empty):
    """Wherever the cancellation strikes: the refs are all there or all dead, and a sweep leaves nothing."""

    async def main(cancel_after):
        store = AsyncMediaStore(None, url_settings)
        for number in range(70):
            await store.store(make_file(f"{cancel_after}-{number}.jpg"), scope="s")
        task = asyncio.create_task(store.release_all("s"))
        for _ in range(cancel_after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        live = len(await store.refs("s", limit=1000))
        assert live in {0, 70}
        await store.release_all("s")
        await store.close()

    for cancel_after in (0, 1, 3, 10, 30, 60):
        asyncio.run(main(cancel_after))
    # A claim that the cancelled call held lapses; then any process finishes it.
    with MediaStore(None, url_settings) as store:
        store._speech.now = lambda: int(time.time() * 1000) + 31_000
        store.sweep()
    assert list(media.glob("*.jpg")) == []


@pytest.mark.parametrize("failing", [False, True])
def test_a_cancellation_that_a_library_swallows_is_raised_all_the_same(
    url_settings, monkeypatch, failing
):
    """Until Python 3.12, asyncio.wait_for returns the answer instead when both come at once; redis-py sends with it."""
    perform, answered = AsyncLink.perform, asyncio.Event()

    async def swallowing(link, step):
        answer = await perform(link, step)
        answered.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        if failing:
            raise ValueError
        return answer

    async def main():
        async with AsyncMediaStore(None, url_settings) as store:
            await store.stats()
            monkeypatch.setattr(AsyncLink, "perform", swallowing)
            task = asyncio.create_task(store.stats())
            await answered.wait()
            task.cancel()
            await asyncio.wait([task])
            return task

    assert asyncio.run(main()).cancelled()


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_the_wrong_kind_of_client_is_refused(clients, settings):
    import redis.asyncio

    with pytest.raises(TypeError, match=r"takes a redis\.Redis"):
        MediaStore(redis.asyncio.Redis(), settings)
    with pytest.raises(TypeError, match=r"takes a redis\.asyncio\.Redis"):
        AsyncMediaStore(clients(), settings)
    with pytest.raises(TypeError):
        MediaStore("redis://localhost", settings)


def test_a_released_ref_is_gone_for_the_async_client_too(url_settings, cat):
    async def main():
        async with AsyncMediaStore(None, url_settings) as store:
            ref = await store.store(cat, scope="s")
            with MediaStore(None, url_settings) as elsewhere:
                await asyncio.to_thread(elsewhere.release_all, "s")
            with pytest.raises(RefGone):
                await store.resolve(ref)

    asyncio.run(main())
