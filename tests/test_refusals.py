"""What Redis certainly refused is taken back at once; after any other error it stays until the outcome is known."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mediastore import AsyncMediaStore, MediaContent, MediaStore
from mediastore.embedded import EmbeddedServer, find_engine
from mediastore.errors import IndexUnavailable, Unavailable
from mediastore.index import content

from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(find_engine() is None, reason="no server to break")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with EmbeddedServer(tmp_path_factory.mktemp("broken") / "server") as running:
        yield running


@pytest.fixture
def store(server, settings):
    with MediaStore.from_settings(dataclasses.replace(settings, redis_url=server.url)) as opened:
        opened.stats()  # the index has been greeted
        yield opened


@pytest.fixture
def cat(store, tmp_path):
    path = root_of(store) / "cat.jpg"
    path.write_bytes(b"cat")
    return path


# --- how a server refuses


@contextmanager
def replica(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def busy(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    client.config_set("busy-reply-threshold", 1)

    def run() -> None:
        with suppress(redis.ResponseError), redis.Redis.from_url(server.url) as other:
            other.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: says_busy(client))
    try:
        yield
    finally:
        client.script_kill()
        thread.join()


def says_busy(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


@contextmanager
def configured(client: redis.Redis, name: str, value: int) -> Iterator[None]:
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, 0)


@contextmanager
def full(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    with configured(client, "maxmemory", 1):
        yield


@contextmanager
def alone(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    with configured(client, "min-replicas-to-write", 1):
        yield


@contextmanager
def unsaved(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    """A snapshot that failed stops the writing."""
    place = server.directory / str(client.config_get("dbfilename")["dbfilename"])
    place.unlink(missing_ok=True)
    (place / "in the way").mkdir(parents=True)
    client.config_set("save", "3600 1")
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    try:
        yield
    finally:
        (place / "in the way").rmdir()
        place.rmdir()
        client.config_set("save", "")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")


@contextmanager
def barred(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    client.execute_command("ACL", "SETUSER", "default", "-evalsha")
    try:
        yield
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+evalsha")


@contextmanager
def down(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


REFUSALS = [replica, busy, full, alone, unsaved, barred, down]


@pytest.fixture(params=REFUSALS, ids=lambda each: each.__name__)
def refusing(request, server):
    """Give a block in which the server refuses."""

    @contextmanager
    def block() -> Iterator[None]:
        with redis.Redis.from_url(server.url) as client, request.param(server, client):
            yield

    return block


def root_of(store: MediaStore) -> Path:
    [root] = store.settings.roots
    return Path(root)


def begun(store: MediaStore) -> list[str]:
    """Return the names of what calls have begun and not finished."""
    ours = root_of(store) / ".mediastore"
    return [path.name for place in ("new", "tmp", "held") for path in (ours / place).iterdir()]


# --- refused


def test_a_refused_store_leaves_nothing(store, cat, refusing):
    with refusing(), pytest.raises(Unavailable):
        store.store(cat, scope="chat:1")

    assert begun(store) == []
    assert store.refs("chat:1") == []
    assert store.resolve(store.store(cat, scope="chat:1")) == cat


def test_a_refused_batch_leaves_nothing(store, cat, refusing):
    other = cat.with_name("other.jpg")
    other.write_bytes(b"other")
    with refusing():
        try:
            answers = store.store_many([cat, other], scope="chat:1")
        except Unavailable as error:
            answers = [error]

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert begun(store) == []


def test_a_refused_store_of_the_asyncio_client_leaves_nothing(store, cat, refusing):
    async def attempt() -> None:
        async with AsyncMediaStore.from_settings(store.settings) as other:
            await other.stats()
            with refusing():
                await other.store(cat, scope="chat:1")

    with pytest.raises(Unavailable):
        asyncio.run(attempt())

    assert begun(store) == []


def test_content_whose_commit_is_refused_leaves_no_file(store, refusing, monkeypatch):
    def commit(*args: Any, **options: Any) -> Any:
        block.__enter__()
        return said(*args, **options)

    block, said = refusing(), content.commit
    monkeypatch.setattr(content, "commit", commit)
    try:
        with pytest.raises(Unavailable):
            store.store_media(MediaContent(data=b"cat", mime_type="text/plain"), scope="chat:1")
    finally:
        block.__exit__(None, None, None)

    assert [path.name for path in root_of(store).rglob("*") if path.is_file()] == ["root"]


# --- unknown


class Losing(redis.UnixDomainSocketConnection):
    """A connection that loses the next reply once `lose` is set, and does that meanwhile."""

    lose: Callable[[], object] | None = None

    def read_response(self, *args: Any, **options: Any) -> Any:
        answer = super().read_response(*args, **options)
        act, Losing.lose = Losing.lose, None
        if act is None:
            return answer
        act()
        raise redis.ConnectionError("lost")


@pytest.fixture
def losing(server, settings):
    """Give a store whose client sends again what it lost the reply of."""
    pool = redis.ConnectionPool.from_url(server.url, retry=Retry(NoBackoff(), 2))
    pool.connection_class = Losing
    with MediaStore(redis.Redis(connection_pool=pool), settings) as opened:
        opened.stats()
        yield opened


@pytest.mark.parametrize("refuse", [replica, down], ids=lambda each: each.__name__)
def test_a_store_whose_reply_was_lost_keeps_its_file_although_the_next_send_is_refused(
    losing, server, cat, refuse
):
    with redis.Redis.from_url(server.url) as client:
        block = refuse(server, client)
        Losing.lose = block.__enter__
        with pytest.raises(IndexUnavailable):
            losing.store(cat, scope="chat:1")
        block.__exit__(None, None, None)

    assert len(begun(losing)) == 1
    [media] = losing.refs("chat:1")
    cat.unlink()
    with losing.lease(media.ref) as held:
        assert held.path.read_bytes() == b"cat"


def test_a_store_that_is_full_the_second_time_is_answered_as_the_first(losing, server, cat):
    with redis.Redis.from_url(server.url) as client:
        Losing.lose = lambda: client.config_set("maxmemory", 1)
        ref = losing.store(cat, scope="chat:1")
        client.config_set("maxmemory", 0)

    assert losing.resolve(ref) == cat


def test_a_store_without_an_answer_keeps_its_file(store, server, cat):
    impatient = dataclasses.replace(store.settings, timeout=0.2, retries=0)
    with redis.Redis.from_url(server.url) as client, MediaStore.from_settings(impatient) as other:
        other.stats()
        client.client_pause(60_000, all=False)
        with pytest.raises(IndexUnavailable):
            other.store(cat, scope="chat:1")
        client.client_unpause()

    assert len(begun(store)) == 1
