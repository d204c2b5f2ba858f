"""Leases of the asyncio client: renewed beside the event loop, by connections of their own; ended although it is cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import fakeredis
import pytest
import redis
import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool

from mediastore import AsyncMediaStore, MediaStore, Settings
from mediastore.client.twin import _pool_like, twin
from mediastore.connection import AsyncLink
from mediastore.errors import IndexUnavailable, LeaseLost

from .conftest import JPEG
from .waiting import until


@pytest.fixture
def url_settings(settings, server_url):
    """Give settings that name the real server, so that the store makes its own client."""
    return replace(settings, redis_url=server_url)


def connected(watcher):
    """Return the connections that a server has."""
    return {each["id"] for each in watcher.client_list()}


def outlives_a_blocked_loop(make_client, settings, cat, connections=set):
    """Hold a lease while the loop is blocked for longer than it lasts; the client's own connections stay."""

    async def main():
        strangers = connections()
        client = make_client()
        store = AsyncMediaStore(client, settings)
        ref = await store.store(cat, scope="s")
        async with store.lease(ref, ttl=0.9) as held:
            first, own = held.expires_at, connections() - strangers
            until(lambda: (held.expires_at - first).total_seconds() > 1.2)
            assert held.path.read_bytes() == JPEG
            await asyncio.sleep(0)  # what was to be closed on the loop is
            assert own <= connections()
        await store.close()
        if client is not None:
            await client.aclose()

    asyncio.run(main())


# --- beside the loop


def test_a_blocked_event_loop_loses_no_lease(url_settings, cat):
    outlives_a_blocked_loop(lambda: None, url_settings, cat)


class Pool(redis.asyncio.ConnectionPool):
    """A pool of somebody's own, which is made in another way."""

    def __init__(self, where):
        super().__init__(**redis.asyncio.connection.parse_url(where))


CLIENTS = {
    "url": redis.asyncio.Redis.from_url,
    "decoded": lambda url: redis.asyncio.Redis.from_url(url, decode_responses=True),
    "resp2": lambda url: redis.asyncio.Redis.from_url(url, protocol=2),
    "resp3": lambda url: redis.asyncio.Redis.from_url(url, protocol=3),
    "one connection": lambda url: redis.asyncio.Redis.from_url(url, single_connection_client=True),
    "blocking pool": lambda url: redis.asyncio.Redis.from_pool(
        redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=1, timeout=1)
    ),
    "own pool": lambda url: redis.asyncio.Redis.from_pool(Pool(url)),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_that_was_passed_in_has_a_twin_for_the_renewals(kind, server_url, settings, cat):
    """Its own connections belong to the loop, and are not touched."""
    with redis.Redis.from_url(server_url) as watcher:
        outlives_a_blocked_loop(
            lambda: CLIENTS[kind](server_url), settings, cat, lambda: connected(watcher)
        )


def test_a_client_in_memory_has_a_twin_on_the_same_server(settings, cat):
    server = fakeredis.FakeServer()

    outlives_a_blocked_loop(lambda: fakeredis.FakeAsyncRedis(server=server), settings, cat)


def test_the_twin_behind_sentinels_asks_sentinels_of_its_own():
    sentinel = redis.asyncio.Sentinel(
        [("10.0.0.1", 26379), ("10.0.0.2", 26379)],
        min_other_sentinels=1,
        sentinel_kwargs={"password": "sentinel"},
        socket_timeout=3,
    )
    pool = sentinel.master_for("main", username="bot", password="secret", db=2).connection_pool

    other = _pool_like(pool)

    assert type(other) is SentinelConnectionPool
    assert (other.service_name, other.is_master) == ("main", True)
    assert other.connection_class is pool.connection_class
    for name in ("username", "password", "db", "socket_timeout"):
        assert other.connection_kwargs[name] == pool.connection_kwargs[name]
    assert other.make_connection().connection_pool.service_name == "main"
    manager = other.sentinel_manager
    assert manager.min_other_sentinels == 1
    assert len(manager.sentinels) == 2
    for ours, theirs in zip(manager.sentinels, sentinel.sentinels, strict=True):
        assert ours.connection_pool is not theirs.connection_pool
        for name in ("host", "port", "password"):
            wanted = theirs.connection_pool.connection_kwargs[name]
            assert ours.connection_pool.connection_kwargs[name] == wanted


def test_a_twin_closes_its_sentinels_too(monkeypatch):
    closed, aclose = [], redis.asyncio.Redis.aclose

    async def watched(client, *args):
        closed.append(client)
        await aclose(client, *args)

    async def main():
        sentinel = redis.asyncio.Sentinel([("10.0.0.1", 26379), ("10.0.0.2", 26379)])
        async with twin(sentinel.master_for("main")) as other:
            return other.connection_pool.sentinel_manager.sentinels

    monkeypatch.setattr(redis.asyncio.Redis, "aclose", watched)
    sentinels = asyncio.run(main())

    assert len(sentinels) == 2
    assert all(each in closed for each in sentinels)


def test_a_twin_keeps_what_a_connection_is_made_of():
    url = "rediss://bot:secret@10.0.0.1:7/3?socket_timeout=2&ssl_cert_reqs=none"
    pool = redis.asyncio.Redis.from_url(url).connection_pool

    other = _pool_like(pool)

    assert other.connection_class is redis.asyncio.SSLConnection
    for name in ("host", "port", "db", "username", "password", "socket_timeout", "ssl_cert_reqs"):
        assert other.connection_kwargs[name] == pool.connection_kwargs[name]
    made = other.make_connection()
    assert (made.host, made.port, made.db) == ("10.0.0.1", 7, 3)


def test_a_twin_leaves_no_connection_open(server_url):
    async def main():
        client = redis.asyncio.Redis.from_url(server_url)
        async with twin(client) as other:
            await other.ping()
            seen = connected(watcher)
        await client.aclose()
        return seen

    with redis.Redis.from_url(server_url) as watcher:
        before = connected(watcher)
        assert len(asyncio.run(main()) - before) == 1
        until(lambda: connected(watcher) <= before, limit_s=5)


def test_a_pool_that_cannot_have_a_twin_is_refused_before_anything_is_taken(settings, cat):
    class Foreign:
        def __init__(self, pool):
            self.get_connection, self.release = pool.get_connection, pool.release

    async def main():
        client = fakeredis.FakeAsyncRedis()
        pool = client.connection_pool
        setattr(client, "connection_pool", Foreign(pool))  # noqa: B010 - no type says that it may be one
        store = AsyncMediaStore(client, settings)
        ref = await store.store(cat, scope="s")
        for manager in (store.lease(ref), store.open(ref)):
            with pytest.raises(TypeError, match="Foreign"):
                async with manager:
                    pytest.fail("the body ran")
        assert await store.leases(ref) == []
        await store.close()
        client.connection_pool = pool
        await client.aclose()

    asyncio.run(main())


def test_a_server_that_says_nothing_does_not_hold_the_thread(settings, cat):
    """The client may have no time limit of its own."""
    server = fakeredis.FakeServer()

    async def main():
        store = AsyncMediaStore(fakeredis.FakeAsyncRedis(server=server), settings)
        ref = await store.store(cat, scope="s")
        held = await store.take_lease(ref)
        store.settings = replace(settings, timeout=0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AsyncLink, "perform", lambda *_: asyncio.sleep(60))
            with pytest.raises(IndexUnavailable, match="in time"):
                await asyncio.to_thread(store._renew_due, [held._term])
        store.settings = settings
        await held.end()
        await store.close()

    asyncio.run(main())


def test_leases_of_one_loop_after_another(url_settings, cat):
    store = AsyncMediaStore(None, url_settings)

    async def hold(ref):
        async with store.lease(ref, ttl=0.6) as held:
            first = held.expires_at
            await asyncio.to_thread(until, lambda: held.expires_at > first)
            assert held.path.read_bytes() == JPEG
        assert await store.leases(ref) == []
        await store.close()

    async def begin():
        async with store:
            return await store.store(cat, scope="s")

    ref = asyncio.run(begin())
    for _ in range(3):
        asyncio.run(hold(ref))


def test_a_store_that_closes_leaves_no_thread_and_no_connection(url_settings, server_url, cat):
    async def main():
        store = AsyncMediaStore(None, url_settings)
        ref = await store.store(cat, scope="s")
        held = await store.take_lease(ref, ttl=0.3)
        held.keep_renewed()
        first = held.expires_at
        await asyncio.to_thread(until, lambda: held.expires_at > first)
        await store.close()

        return store

    threads = set(threading.enumerate())
    with redis.Redis.from_url(server_url) as watcher:
        before = connected(watcher)
        closed = asyncio.run(main())
        until(lambda: connected(watcher) <= before, limit_s=5)
    assert not closed._renewer.running
    new = set(threading.enumerate()) - threads
    assert all(each.name != "mediastore-renewer" for each in new)


# --- cancellation


def test_a_cancelled_body_ends_its_lease(url_settings, cat):
    async def main():
        async with AsyncMediaStore(None, url_settings) as store:
            ref = await store.store(cat, scope="s")
            inside = asyncio.Event()

            async def work():
                async with store.lease(ref):
                    inside.set()
                    await asyncio.sleep(60)

            task = asyncio.create_task(work())
            await inside.wait()
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled(), await store.leases(ref)

    assert asyncio.run(main()) == (True, [])


def slow_end(monkeypatch, seconds):
    """Make what is asked of Redis take so long."""
    perform = AsyncLink.perform

    async def slowly(self, step):
        if getattr(step, "script", "") == "end_lease":
            await asyncio.sleep(seconds)
        return await perform(self, step)

    monkeypatch.setattr(AsyncLink, "perform", slowly)


def test_a_cancellation_in_the_middle_of_the_end_waits_for_it(url_settings, cat, monkeypatch):
    async def main():
        async with AsyncMediaStore(None, url_settings) as store:
            ref = await store.store(cat, scope="s")
            inside = asyncio.Event()

            async def work():
                async with store.lease(ref):
                    inside.set()

            slow_end(monkeypatch, 0.2)
            task = asyncio.create_task(work())
            await inside.wait()
            for _ in range(3):
                await asyncio.sleep(0.02)
                task.cancel()
            await asyncio.wait([task])
            return task.cancelled(), await store.leases(ref)

    assert asyncio.run(main()) == (True, [])


def test_an_end_that_takes_too_long_is_given_up_and_the_lease_lapses(
    url_settings, cat, monkeypatch
):
    async def main():
        async with AsyncMediaStore(None, replace(url_settings, timeout=0.2)) as store:
            ref = await store.store(cat, scope="s")
            slow_end(monkeypatch, 3600)
            started = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(0.1), store.lease(ref, ttl=30):
                    await asyncio.sleep(3600)
            took = time.monotonic() - started
            monkeypatch.undo()
            return took, await store.leases(ref)

    took, [left] = asyncio.run(main())
    assert 0.3 <= took < 3600  # nobody waited for the end itself
    assert (left.until - left.since).total_seconds() <= 31  # nobody renews it, so it lapses


def test_an_end_that_takes_too_long_is_no_error(url_settings, cat, monkeypatch):
    async def main():
        async with AsyncMediaStore(None, replace(url_settings, timeout=0.2)) as store:
            ref = await store.store(cat, scope="s")
            slow_end(monkeypatch, 60)
            async with store.lease(ref) as held:
                pass
            return held.lost

    assert asyncio.run(main()) is False


def test_a_lost_lease_is_told_to_tasks_that_share_it(url_settings, cat):
    async def main():
        async with AsyncMediaStore(None, url_settings) as store:
            held = await store.take_lease(await store.store(cat, scope="s"), ttl=0.2)
            with MediaStore(None, url_settings) as other:
                await asyncio.to_thread(other.release_all, "s")

            async def use():
                while True:
                    _ = held.path
                    await asyncio.sleep(0.01)

            return await asyncio.gather(use(), use(), return_exceptions=True)

    assert [type(error) for error in asyncio.run(main())] == [LeaseLost, LeaseLost]


def test_settings_of_another_kind_are_not_needed_for_a_lease(tmp_path):
    """The twin is made from the client alone: the URL of the settings may lead nowhere."""
    (tmp_path / "cat.jpg").write_bytes(JPEG)
    settings = Settings(redis_url="redis://nowhere.invalid:1/0", roots=(str(tmp_path),))
    server = fakeredis.FakeServer()

    outlives_a_blocked_loop(
        lambda: fakeredis.FakeAsyncRedis(server=server), settings, tmp_path / "cat.jpg"
    )
