"""A reader that keeps the marks it has seen never resolves what another process released."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection

from mediastore import AsyncMediaStore, MediaStore
from mediastore.errors import RefGone
from mediastore.index import reads
from mediastore.index.steps import MOST_FACTS, Marks, prefix
from mediastore.model import Ref
from mediastore.speech import Speech

from .conftest import Blocking


def test_a_mark_that_comes_late_makes_no_newer_one_older():
    marks = Marks()
    for seq in (5, 3):
        marks.learn([("s", seq)])

    assert (marks.cut("s", 4), marks.since()) == (("s", 5), 5)


def inner(store):
    """Return the store behind the blocking face."""
    return store._store if isinstance(store, Blocking) else store


def ask(store, answer):
    """Return the answer of a client's method, awaited where the client awaits."""
    return store._loop.run_until_complete(answer) if isinstance(store, Blocking) else answer


@pytest.fixture
def index(server_url):
    """Give a client of the real server, for looking into the index."""
    with redis.Redis.from_url(server_url) as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def reader(request, server_url, settings):
    """Give a store whose client tries again."""
    where = {"namespace": settings.namespace, "roots": settings.roots}
    if request.param == "sync":
        with MediaStore.from_url(server_url, **where) as store:
            yield store
        return
    with asyncio.Runner() as runner:
        face = Blocking(AsyncMediaStore.from_url(server_url, **where), runner.get_loop())
        yield face
        face.close()


@pytest.fixture
def closed(client, settings):
    """Give a maker of marks: so many scopes were released whose drains have not come yet."""
    key = f"{prefix(settings.namespace)}closed"

    def make(number, after):
        client.zadd(key, {f"closed:{after + n}": after + n for n in range(1, number + 1)})

    return make


@pytest.fixture
def newest(client, settings):
    """Give the seq that was given last."""
    return lambda: int(client.get(f"{prefix(settings.namespace)}seq"))


def test_a_look_asks_the_time_then_the_marks_then_the_ref_in_one_write():
    ref = Ref("media://" + "r" * 22)

    words = Speech("bots").words(reads.lookup([ref]), Marks({}, 7))

    assert words == [
        ("TIME",),
        ("ZRANGE", "mediastore:{bots}:closed", "(7", "+inf", "BYSCORE", "WITHSCORES"),
        ("HGETALL", f"mediastore:{{bots}}:ref:{ref.id}"),
    ]


def test_the_words_of_a_look_leave_in_one_piece(server_url, settings, cat, monkeypatch):
    sent, send = [], AbstractConnection.send_packed_command

    def spy(self, command, **named):
        sent.append(b"".join(command))
        return send(self, command, **named)

    with redis.Redis.from_url(server_url) as client, MediaStore(client, settings) as store:
        ref = store.store(cat, scope="s")
        monkeypatch.setattr(AbstractConnection, "send_packed_command", spy)

        store.resolve(ref)

    (look,) = sent
    assert [word for word in look.split(b"\r\n") if word in {b"TIME", b"ZRANGE", b"HGETALL"}] == [
        b"TIME", b"ZRANGE", b"HGETALL",
    ]  # fmt: skip


def test_a_reader_never_resolves_what_another_process_released(store, other, cat):
    dead, live = store.store(cat, scope="a/x"), store.store(cat, scope="b")
    assert store.resolve(dead) == cat

    other.release_all("a", wait=False)

    for _ in range(2):  # the second time the mark is not news
        with pytest.raises(RefGone, match="released"):
            store.resolve(dead)
        assert store.resolve(live) == cat


def test_a_reader_that_has_seen_too_many_marks_learns_them_again(store, other, cat, closed, newest):
    dead, live = store.store(cat, scope="a/x"), store.store(cat, scope="b")
    other.release_all("a", wait=False)
    seq = newest()
    assert store.resolve(live) == cat

    for time in range(3):
        closed(MOST_FACTS + 1, after=seq + time * 2 * MOST_FACTS)
        for _ in range(3):
            assert store.resolve(live) == cat
            with pytest.raises(RefGone, match="released"):
                store.resolve(dead)


def test_facts_are_forgotten_before_a_question_so_that_its_answer_is_whole():
    marks = Marks({f"s{n}": n for n in range(1, 12)}, cursor=11, most=10)

    assert marks.since() == 0

    assert marks.facts == {}


def test_where_more_marks_stand_than_may_be_kept_they_are_not_asked_for_each_time():
    marks = Marks()

    marks.learn([(f"s{n}", n) for n in range(1, MOST_FACTS + 2)])

    assert marks.since() == MOST_FACTS + 1


def lose_the_newest_mark(reader, index, settings, cat):
    """Let a reader see a mark, then do as a failover that lost it: the scope's release has an older one."""
    ref, key = reader.store(cat, scope="a/x"), f"{prefix(settings.namespace)}closed"
    index.zadd(key, {"lost": 2**52})
    assert reader.resolve(ref) == cat
    index.zrem(key, "lost")
    index.zadd(key, {"a": 2**51})
    return ref


def test_a_new_connection_starts_from_nothing(reader, index, settings, cat):
    dead = lose_the_newest_mark(reader, index, settings, cat)

    index.client_kill_filter(_id=ask(reader, inner(reader)._client.client_id()))

    with pytest.raises(RefGone, match="released"):
        reader.resolve(dead)


@pytest.mark.parametrize("reply", [0, 1, 2])
def test_a_look_whose_reply_is_lost_starts_again_from_nothing(
    reader, index, settings, cat, monkeypatch, reply
):
    dead = lose_the_newest_mark(reader, index, settings, cat)
    lose(monkeypatch, reply, redis.ConnectionError("lost"))

    with pytest.raises(RefGone, match="released"):
        reader.resolve(dead)


def test_a_connection_that_is_renewed_while_it_sends_starts_again_from_nothing(
    reader, index, settings, cat, monkeypatch
):
    """A health check of redis-py may reconnect after the question was made for the old connection."""
    dead = lose_the_newest_mark(reader, index, settings, cat)
    renew_once(monkeypatch)

    with pytest.raises(RefGone, match="released"):
        reader.resolve(dead)


def renew_once(patch):
    """Reconnect in the next send of a question."""
    due = [1]

    def send(self, command, **named):
        if due:
            due.clear()
            self.disconnect()
        return keep(self, command, **named)

    async def send_async(self, command, **named):
        if due:
            due.clear()
            await self.disconnect()
        return await keep_async(self, command, **named)

    keep, keep_async = AbstractConnection.send_packed_command, AsyncConnection.send_packed_command
    patch.setattr(AbstractConnection, "send_packed_command", send)
    patch.setattr(AsyncConnection, "send_packed_command", send_async)


def test_what_a_connection_said_is_learnt_before_another_call_can_have_it(
    store, other, cat, monkeypatch
):
    """A call that gets the connection first may find it broken: what it forgets must stay forgotten."""
    dead, live = store.store(cat, scope="a/x"), store.store(cat, scope="b")
    store.store(cat, scope="c/x")
    other.release_all("a", wait=False)
    assert store.resolve(live) == cat
    other.release_all("c", wait=False)
    pool = inner(store)._client.connection_pool
    monkeypatch.setattr(pool, "release", reconnecting(store, pool.release))

    assert store.resolve(live) == cat

    with pytest.raises(RefGone, match="released"):
        store.resolve(dead)


def reconnecting(store, release):
    """Return a release after which the connection is a new one."""
    if not isinstance(store, Blocking):

        def and_again(connection):
            connection.disconnect()
            connection.connect()
            release(connection)

        return and_again

    async def and_again_async(connection):
        await connection.disconnect()
        await connection.connect()
        await release(connection)

    return and_again_async


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("reply", [0, 1, 2])
def test_a_call_that_is_interrupted_leaves_no_replies_to_the_next(
    server_url, settings, make_file, monkeypatch, decoded, reply
):
    remote = redis.Redis.from_url(server_url, decode_responses=decoded)
    with remote, MediaStore(remote, settings) as store:
        first, second = (store.store(make_file(name), scope="s") for name in ("1", "2"))
        with monkeypatch.context() as patch:
            lose(patch, reply, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                store.resolve(first)

        found = store.resolve(second)

    assert found.name == "2"


@pytest.mark.parametrize("reply", [0, 1, 2])
def test_a_call_that_is_cancelled_leaves_no_replies_to_the_next(
    server_url, settings, make_file, monkeypatch, reply
):
    async def not_yet(_):
        return False  # so the pool, which looks for replies that nobody has read, finds none

    async def main():
        remote = redis.asyncio.Redis.from_url(server_url)
        async with remote, AsyncMediaStore(remote, settings) as store:
            first, second = [await store.store(make_file(name), scope="s") for name in "12"]
            with monkeypatch.context() as patch:
                lose(patch, reply, asyncio.CancelledError())
                with pytest.raises(asyncio.CancelledError):
                    await store.resolve(first)
                patch.setattr(AsyncConnection, "can_read_destructive", not_yet)
                return await store.resolve(second)

    assert asyncio.run(main()).name == "2"


def lose(patch, number, error):
    """Raise an error instead of the n-th reply from now on, once."""
    seen = []

    def is_lost():
        seen.append(1)
        return len(seen) - 1 == number

    def read_response(self, *args, **named):
        if is_lost():
            raise error
        return read(self, *args, **named)

    async def read_response_async(self, *args, **named):
        if is_lost():
            raise error
        return await read_async(self, *args, **named)

    read, read_async = AbstractConnection.read_response, AsyncConnection.read_response
    patch.setattr(AbstractConnection, "read_response", read_response)
    patch.setattr(AsyncConnection, "read_response", read_response_async)
