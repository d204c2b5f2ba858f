"""A namespace with a ref of every kind, every value in it that somebody could change, and every call on it."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mediastore import Cleanup, MediaContent, MediaMeta, MediaStore, Settings
from mediastore.blobs import Elapsed, Pause
from mediastore.errors import MediaStoreError
from mediastore.index import changes
from mediastore.index.steps import prefix
from mediastore.model import NEVER

from .foreign_steps import NOW_MS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = b"the secret of somebody else"
#: More steps than any call here needs: a loop that comes to nothing is met without a clock.
MOST_STEPS = 1_000
KINDS = ("adopted", "lent", "own", "twin", "leased", "closed", "ruled", "moved")
#: Its own healthy ref is what every other must not keep.
HEALTHY = "healthy"

VALUES = (
    *(b"", b"x", b"-1", b"1.5", b"0x10", b"nan", b"1e999", b"9" * 15, b"1" + b"0" * 30),
    *(b"\xff\xfe", b"a\x00b", b"a b c d e f {", b"[1", b"%zz/%FF", b"x" * 3000),
    *(b"..", b"../outside/secret", b"../other/secret", b".mediastore/root", b"/OUTSIDE/secret"),
    b'released 1 s . me b ["filename","\\ud800"]',
)
SCORES = (float("inf"), float("-inf"), -1.0, 0.0, 1e300, 1.5, 2.0**60)


class Hung(BaseException):
    """A call went on and on; no flow takes it for an error of a step."""


class Bounded(MediaStore):
    """A store whose calls are counted in steps, and that never waits."""

    steps = 0
    passed = 0.0

    def _perform(self, step: Any) -> Any:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Hung(step)
        if isinstance(step, Pause):
            self.passed += step.seconds
            return None
        answer = super()._perform(step)
        return answer + self.passed if isinstance(step, Elapsed) else answer


@dataclass
class World:
    """One namespace, its root between two places that are not its own, and the time."""

    base: Path
    client: Any
    settings: Settings
    now_ms: int = NOW_MS

    def store(self, **options: Any) -> Bounded:
        made = Bounded(self.client, replace(self.settings, **options))
        made._speech.now = lambda: self.now_ms
        made._ctx = replace(made._ctx, new_id=self.new_id)
        return made

    def __post_init__(self) -> None:
        numbers = itertools.count()
        self.new_id = lambda: f"{next(numbers):022}"
        self.root = self.base / "media"
        for name in ("media", "outside", "other"):
            (self.base / name).mkdir(parents=True)
        for name in ("outside", "other"):
            (self.base / name / "secret").write_bytes(SECRET)
        self.refs: dict[str, Any] = {}
        self.fill()

    def file(self, name: str) -> Path:
        (self.root / name).write_bytes(name.encode())
        return self.root / name

    def fill(self) -> None:
        store = self.store()
        refs, meta = self.refs, MediaMeta(session_id="42", filename="e.txt")
        refs["adopted"] = store.store(self.file("adopted"), scope="s/a")
        refs["lent"] = store.store(
            self.file("lent"), scope="s/b", meta=MediaMeta(cleanup=Cleanup.FORGET)
        )
        refs["own"] = store.store_media(MediaContent(data=b"e"), scope="s/c", meta=meta)
        refs["twin"] = store.store_media(MediaContent(data=b"e"), scope="s/d", meta=meta)
        refs["leased"] = store.store(self.file("leased"), scope="s/e")
        store.handoff(refs["leased"], "1m")
        store.set_policy("short", "2d")
        store.set_quota(max_bytes=10**9, scope_max_refs=1000)
        refs["ruled"] = store.store(self.file("ruled"), scope="s/f", meta=MediaMeta(policy="short"))
        refs["moved"] = store.store(self.file("moved"), scope="idle/x")
        store.scope("idle/x", ttl="3d", idle="1h").open()
        refs["graced"] = store.store(self.file("graced"), scope="s/g")
        self.store(grace="1d").delete_media(refs["graced"])
        refs["claimed"] = store.store(self.file("claimed"), scope="s/h")
        self.leave_claimed(store)
        refs["closed"] = store.store(self.file("closed"), scope="cut/x")
        refs[HEALTHY] = store.store(self.file(HEALTHY), scope="h", ttl=60)
        self.blob = store.get(refs[HEALTHY]).blob
        store.release_all("cut", wait=False)
        store.close()

    def leave_claimed(self, store: Bounded) -> None:
        """Leave a claim of a sweeper that has died."""
        terms = changes.Terms(60_000)
        blob = store.get(self.refs["claimed"]).blob
        ended = store._ask(changes.delete(self.refs["claimed"].id, "end", terms))
        [(root, blob)] = ended.doomed
        store._ask(changes.claim(root, self.new_id(), "claim", 1_000, [blob]))


def slots(world: World) -> list[tuple[str, str, Any]]:
    """List every place of the namespace that holds a value: its key, its kind, and where in it."""
    start = prefix(world.settings.namespace)
    found: list[tuple[str, str, Any]] = []
    for key in sorted(world.client.scan_iter(match=f"{start}*", count=1000)):
        name, kind = key.decode().removeprefix(start), world.client.type(key).decode()
        if name.startswith("op:") or name == "format":
            continue
        if kind == "hash":
            found += [(name, kind, field) for field in sorted(world.client.hkeys(key))]
        elif kind == "zset":
            found += [(name, kind, member) for member in world.client.zrange(key, 0, -1)[:1]]
        elif kind != "list" or name == "graves":
            found.append((name, kind, None))
    return found


def changes_of(kind: str) -> list[tuple[str, Any]]:
    """List what can be done to one of them."""
    values = [("value", value) for value in VALUES]
    if kind == "hash":
        return [*values, *(("name", value) for value in VALUES), ("gone", None)]
    if kind == "zset":
        return [*(("score", score) for score in SCORES), *(("name", value) for value in VALUES)]
    return values


def spoil(world: World, slot: tuple[str, str, Any], how: str, value: Any) -> None:
    """Write a hostile value into one place."""
    name, kind, where = slot
    key, client = prefix(world.settings.namespace) + name, world.client
    if isinstance(value, bytes):
        value = value.replace(b"/OUTSIDE", str(world.base / "outside").encode())
    if kind == "hash" and how == "value":
        client.hset(key, where, value)
    elif kind == "hash":
        old = client.hget(key, where)
        client.hdel(key, where)
        if how == "name":
            client.hset(key, value, old)
    elif kind == "zset" and how == "score":
        client.zadd(key, {where: value})
    elif kind == "zset":
        score = client.zscore(key, where)
        client.zrem(key, where)
        client.zadd(key, {value: score})
    elif kind == "string":
        client.set(key, value)
    elif kind == "set":
        client.sadd(key, value)
    else:
        client.lpush(key, value)


@contextmanager
def typed(said: list[Any]) -> Iterator[None]:
    try:
        yield
    except MediaStoreError as error:
        said.append(str(error))


def reads_of(ref: str) -> list[Any]:
    """List the calls that look at a ref, or hold it."""
    return [
        *(lambda s, name=name: getattr(s, name)(ref) for name in (
            "resolve", "resolve_with_meta", "get", "get_url", "get_data_url", "get_base64", "leases", "tombstone",
        )),
        lambda s: s.retrieve_media(ref).file_path.read_bytes(),
        lambda s: s.take_lease(ref).end(),
        lambda s: read(s, ref),
        lambda s: s.resolve_many([ref]),
        lambda s: s.handoff(ref),
    ]  # fmt: skip


def read(store: MediaStore, ref: str) -> bytes:
    with store.open(ref) as file:
        return bytes(file.read())


def namespace_reads() -> list[Any]:
    """List the calls that look at the namespace."""
    return [
        *(lambda s, name=name: getattr(s, name)() for name in ("scopes", "stats", "policies", "quota", "roots")),
        *(lambda s, scope=scope: s.refs(scope) for scope in ("s/a", "s/c", "idle/x")),
        *(lambda s, scope=scope: s.waiting(scope) for scope in ("s/g", "cut")),
        lambda s: s.plan_release("s"), lambda s: s.scope_deadlines("idle/x"), lambda s: s.quota("s/a"),
        lambda s: s.rebuild(dry_run=True),
    ]  # fmt: skip


def moves_of(ref: str) -> list[Any]:
    """List the calls that change a ref, and in the end it is gone."""
    return [
        lambda s: s.share(ref, "t"), lambda s: s.touch(ref), lambda s: s.pin(ref), lambda s: s.unpin(ref),
        lambda s: s.apply_policy(ref, "short"), lambda s: s.transfer(ref, "u"), lambda s: s.restore(ref),
    ]  # fmt: skip


def sweeps() -> list[Any]:
    return [lambda s: s.sweep(budget=NEVER), lambda s: s.clean_expired()]


def endings(refs: dict[str, Any]) -> list[Any]:
    return [
        lambda s: s.delete_media(refs["moved"]),
        lambda s: s.set_policy("short", "3d"),
        *(lambda s, scope=scope: s.release_all(scope) for scope in ("s", "t", "u", "idle", "cut", "h")),
        lambda s: s.release_many(["s", "t"]), lambda s: s.remove_policy("short", force=True),
        lambda s: s.drain(), lambda s: s.sweep(budget=NEVER), lambda s: s.enforce_policy(),
    ]  # fmt: skip
