"""Whatever Redis does, a call does its work in the end or raises one of our errors, soon and without secrets."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection

from mediastore import AsyncMediaStore, MediaMeta, MediaStore, Settings
from mediastore.embedded import EmbeddedServer, find_engine
from mediastore.errors import IndexUnavailable, RefGone, StoreFull
from mediastore.index import policies
from mediastore.index.steps import prefix

from .conftest import Blocking, names_left
from .life import CALLS, inner, told
from .test_index import dump

SECRET = "s3cret"
each_call = pytest.mark.parametrize("call", CALLS)


@pytest.fixture
def make_server(tmp_path, server_url):
    """Give a maker of real servers that a test may ill-treat."""
    if find_engine() is None:
        pytest.skip("a server that is not ours cannot be killed")
    made: list[EmbeddedServer] = []

    def make(**config):
        server = EmbeddedServer(tmp_path / f"server{len(made)}", config=config)
        server.start()
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(params=["sync", "async"])
def make_store(request, settings):
    """Give a maker of stores of one kind, each a process of its own; they share namespace and root."""
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def make(url, **options):
            where = {"namespace": settings.namespace, "roots": settings.roots, **options}
            if request.param == "sync":
                made.append(MediaStore.from_url(url, **where))
            else:
                made.append(Blocking(AsyncMediaStore.from_url(url, **where), runner.get_loop()))
            return made[-1]

        yield make
        for store in made:
            store.close()


@pytest.fixture
def attempts(monkeypatch):
    """Count the connections that are tried."""
    seen = []

    def watch(kind):
        connect = kind.connect_check_health

        def watched(self, *args, **named):
            if not self.is_connected:
                seen.append(self)
            return connect(self, *args, **named)

        monkeypatch.setattr(kind, "connect_check_health", watched)

    watch(AbstractConnection)
    watch(AsyncConnection)
    return seen


def test_every_method_that_talks_to_the_index_is_called_here():
    public = {name for name in dir(MediaStore) if not name.startswith(("_", "from_"))}

    assert set(CALLS) == public - {"start", "stop", "close", "scope", "current_scope"}


# --- a server that forgets


def test_a_flush_of_the_scripts_before_every_call_changes_no_answer(
    store, client, clients, settings, media, tmp_path, monkeypatch
):
    calm = tmp_path / "calm"
    calm.mkdir()
    elsewhere = Settings(namespace=f"{settings.namespace}calm", roots=(str(calm),))
    with MediaStore(clients(), elsewhere) as other:
        expected = told(other, calm)
    speech = inner(store)._speech
    words = speech.words

    def flush(*args):
        client.script_flush()
        return words(*args)

    monkeypatch.setattr(speech, "words", flush)

    assert told(store, media) == expected


# --- a server that is full


@pytest.fixture
def full(make_server, make_store, make_file):
    """Give a store on a server without memory, and 300 refs that were stored before."""
    server = make_server(maxmemory="8mb")
    store, client = make_store(server.url), redis.Redis.from_url(server.url)
    store.store(make_file("first.jpg"), scope="s/0")
    store.release_all("s")  # the server keeps every script that it has seen in memory
    # What goes with them must be more than the buffers of any connection; a tombstone remembers no path.
    long = "x" * 200
    for number in range(300):
        store.store(make_file(f"{long}/{number}{long}.jpg"), scope=f"s/{number % 3}")
    # A connection of its own: its buffers, grown by what it wrote, are no part of what is full.
    with redis.Redis.from_url(server.url) as filler:
        for size in (100_000, 1_000, 10):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                fill(filler, size)
    leave_no_room(client)
    yield SimpleNamespace(store=store, client=client, url=server.url)
    client.close()


def fill(client, size):
    for number in range(10_000):
        client.set(f"filler:{size}:{number}", "x" * size)


def leave_no_room(client):
    memory = client.info("memory")
    # The buffers of connections shrink when they are idle; that must not be room enough for a ref.
    client.config_set("maxmemory", memory["used_memory"] - memory["mem_clients_normal"] - 20_000)


def without_records(state):
    return {key: value for key, value in state.items() if not key.startswith(("op:", "gone:"))}


def test_a_full_server_refuses_to_store_and_nothing_changes(full, cat, media, settings):
    before = without_records(dump(full.client, settings.namespace))
    names = names_left(media)

    with pytest.raises(StoreFull):
        full.store.store(cat, scope="s")

    assert without_records(dump(full.client, settings.namespace)) == before
    assert names_left(media) == names
    assert cat.exists()


def test_a_full_server_still_releases_and_has_room_again(full, cat, media):
    used = full.client.info("memory")["used_memory"]

    done = full.store.release_all("s/0")
    done_later = full.store.release_all("s", wait=False)
    swept = full.store.sweep()

    assert (done.refs, done.deleted, done_later.closed) == (100, 100, True)
    assert (swept.drained, swept.deleted) == (200, 200)
    assert full.client.info("memory")["used_memory"] < used - 100_000
    assert full.store.resolve(full.store.store(cat, scope="s")) == cat
    assert list(media.glob("*.jpg")) == [cat]


def test_a_new_process_can_release_on_a_full_server(full, make_store, media):
    newcomer = make_store(full.url)

    done = newcomer.release_all("s")

    assert (done.refs, done.deleted) == (300, 300)
    assert list(media.glob("*.jpg")) == []


def test_a_full_server_still_goes_on_with_a_policy_that_was_shortened(full, cat):
    full.client.config_set("maxmemory", 0)
    full.store.set_policy("p", "1h")
    ref = full.store.store(cat, scope="t", meta=MediaMeta(policy="p"))
    full.store._ask(policies.set_policy("p", 1, "the change"))
    leave_no_room(full.client)

    assert full.store.sweep().expired == 1

    with pytest.raises(RefGone):
        full.store.resolve(ref)


# --- a server that dies

#: Else the server may answer up to two seconds before it writes, while the disk is busy with the last fsync.
SAFE = {"appendfsync": "always"}


def test_refs_and_files_survive_a_kill_of_the_server(make_server, make_store, make_file):
    server = make_server(**SAFE)
    store, other = make_store(server.url), make_store(server.url)
    kept, dead = store.store(make_file("1"), scope="s"), store.store(make_file("2"), scope="a/x")
    other.release_all("a", wait=False)

    server.kill()
    server.start()

    assert store.resolve(kept).name == "1"
    with pytest.raises(RefGone, match="released"):
        store.resolve(dead)
    assert store.drain().deleted == 1
    assert store.release_all("s").deleted == 1


def test_a_reader_learns_the_marks_again_after_a_kill_of_the_server(
    make_server, make_store, make_file
):
    server = make_server(**SAFE)
    store = make_store(server.url)
    ref = store.store(make_file("1"), scope="a/x")
    store.release_all("b", wait=False)
    with redis.Redis.from_url(server.url) as client:
        client.zadd(f"{inner(store)._speech.prefix}closed", {"late": 2**52})
        store.resolve(ref)
        client.zadd(f"{inner(store)._speech.prefix}closed", {"a": 2**51})

    server.kill()
    server.start()

    with pytest.raises(RefGone, match="released"):
        store.resolve(ref)


class Restarting:
    """A store whose server is restarted before each call."""

    def __init__(self, store, server):
        self._store, self._server, self._face = inner(store), server, store

    def __getattr__(self, name):
        if name in CALLS:
            self._server.kill()
            self._server.start()
        return getattr(self._face, name)


def test_a_restart_of_the_server_between_any_two_calls_changes_no_answer(
    make_server, make_store, tmp_path
):
    server = make_server(**SAFE)
    calm, restless = tmp_path / "calm", tmp_path / "restless"
    for root in (calm, restless):
        root.mkdir()
    expected = told(make_store(server.url, namespace="calm", roots=[str(calm)]), calm)
    own = {"namespace": "restless", "roots": [str(restless)]}
    store = make_store(server.url, restart_pause=0, **own)

    assert told(Restarting(store, server), restless) == expected


# --- a server that is not there


def no_server(tmp_path):
    """Return URLs at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "port": f"redis://bot:{SECRET}@127.0.0.1:{port}/0",
        "socket": f"unix://bot:{SECRET}@{tmp_path}/none.sock?db=0",
        "query": f"redis://127.0.0.1:{port}/0?password={SECRET}",
    }


def says_nothing_secret(error):
    """Whether neither the error nor what it came from shows the password."""
    seen = [error, error.__cause__, error.__context__]
    return not any(SECRET in f"{each} {each!r} {getattr(each, 'args', '')}" for each in seen)


@each_call
@pytest.mark.parametrize("kind", ["port", "socket", "query"])
def test_without_a_server_every_call_gives_up_soon_and_shows_no_password(
    make_store, cat, tmp_path, attempts, call, kind
):
    store = make_store(no_server(tmp_path)[kind], retries=1)

    with pytest.raises(IndexUnavailable) as caught:
        CALLS[call](store, cat)

    assert says_nothing_secret(caught.value)
    assert SECRET not in repr(inner(store))
    assert len(attempts) == 1 + store.settings.retries


@pytest.mark.parametrize("call", ["store", "resolve", "release_all", "sweep", "stats"])
def test_a_server_that_went_away_makes_every_call_unavailable(
    make_server, make_store, cat, attempts, call
):
    server = make_server()
    store = make_store(server.url, retries=1)
    store.stats()
    server.stop()
    attempts.clear()

    with pytest.raises(IndexUnavailable):
        CALLS[call](store, cat)

    assert len(attempts) == 1 + store.settings.retries


def test_a_server_that_goes_away_in_the_middle_of_a_call_is_left_as_soon(
    make_server, make_store, attempts, monkeypatch
):
    server = make_server()
    store = make_store(server.url, retries=3)
    store.stats()
    words = inner(store)._speech.words
    monkeypatch.setattr(
        inner(store)._speech, "words", lambda *args: (server.kill(), words(*args))[1]
    )
    attempts.clear()

    with pytest.raises(IndexUnavailable):
        store.stats()

    assert len(attempts) == 1 + store.settings.retries


@pytest.mark.parametrize("user", [f":{SECRET}@", f"bot:{SECRET}@", ""])
def test_a_wrong_or_missing_password_is_unavailable_and_not_shown(make_server, make_store, user):
    server = make_server(requirepass="right")
    store = make_store(f"unix://{user}{server.socket_path}?db=0")

    with pytest.raises(IndexUnavailable, match="refuses the user name or password") as caught:
        store.stats()

    assert says_nothing_secret(caught.value)


@pytest.mark.parametrize("call", ["store", "resolve", "release_all", "stats"])
def test_a_server_that_never_answers_is_left_after_the_timeout(make_store, cat, attempts, call):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = make_store(f"redis://:{SECRET}@127.0.0.1:{port}/0", timeout=0.3)

        with pytest.raises(IndexUnavailable, match="Timeout") as caught:
            CALLS[call](store, cat)

    assert says_nothing_secret(caught.value)
    assert len(attempts) == 1


# --- a server that forbids


@pytest.mark.parametrize(
    ("call", "forbidden"),
    [("store", "evalsha"), ("release_all", "evalsha"), ("resolve", "zrange"), ("sweep", "time")],
)
def test_a_user_without_the_right_is_told_which_command_it_lacks(
    make_server, make_store, cat, call, forbidden
):
    server = make_server()
    with redis.Redis.from_url(server.url) as admin:
        admin.acl_setuser("bot", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
        store = make_store(server.url.replace("unix://", "unix://bot:any@"))
        store.stats()
        admin.acl_setuser("bot", commands=[f"-{forbidden}"])

        with pytest.raises(IndexUnavailable, match=f"'{forbidden}'"):
            CALLS[call](store, cat)


def test_a_user_without_the_right_to_our_keys_is_told_so_and_nothing_changes(
    make_server, make_store, cat, settings
):
    server = make_server()
    with redis.Redis.from_url(server.url) as admin:
        commands = ["+@all"]
        admin.acl_setuser("bot", enabled=True, nopass=True, keys=["other:*"], commands=commands)
        store = make_store(server.url.replace("unix://", "unix://bot:any@"))

        with pytest.raises(IndexUnavailable, match="refuses this user"):
            store.store(cat, scope="s")

        assert admin.keys(f"{prefix(settings.namespace)}*") == []
