"""The protocol of scopes, checked in every state that a few refs and releases can reach, with the real scripts.

Breadth first: each new state of the index is checked against a specification of ten lines, quiesced, and checked
for what must not be left; then it is put back as it was, for each next step. The limit of the scripts is one, so
every batch is cut short.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from mediastore.connection import Link
from mediastore.index import reads
from mediastore.index.changes import _ended, store
from mediastore.index.steps import Command, Marks
from mediastore.journal import Held
from mediastore.model import Media, MediaMeta, Ref
from mediastore.speech import Speech

from .test_index import dump

STORES = {"r0": "a/x", "r1": "a", "r2": "a/x/y"}
RELEASES = ("a", "a/x")
#: r0 lives for one tick only.
TERMS = "1 10 0 me"
TTL_MS = {"r0": 1000}
START_MS = 1_800_000_000_000


def ref_id(name: str) -> str:
    return name.ljust(22, "0")


@dataclass
class Spec:
    """What should be true: which refs live."""

    live: set[str] = field(default_factory=set)
    ticks: int = 0

    def apply(self, action: tuple[str, str]) -> None:
        verb, what = action
        if verb == "store":
            # Stored after the tick, it lives a second from then on.
            self.live.add(what)
        elif verb == "release":
            self.live -= {r for r in self.live if f"{STORES[r]}/".startswith(f"{what}/")}
        elif verb == "tick":
            self.live -= set(TTL_MS)
            self.ticks += 1


@dataclass(frozen=True)
class Saved:
    """A state of the world."""

    contents: dict[Any, Any]
    now: int
    facts: dict[str, int]
    cursor: int


class World:
    """The index under test: real scripts on a real server, a clock of ours, and one reader that keeps its cursor."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self.now = START_MS
        self.namespace = f"mc{secrets.token_hex(4)}"
        self.speech = Speech(self.namespace, lambda: self.now)
        self.link = Link(self.client, self.speech)
        self.marks = Marks()

    def save(self) -> Saved:
        """Take down all there is, the reader's and the clock's included."""
        keys = self.client.keys(f"{self.speech.prefix}*")
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.dump(key)
            contents = dict(zip(keys, pipe.execute(), strict=True))
        return Saved(contents, self.now, dict(self.marks.facts), self.marks.cursor)

    def load(self, saved: Saved) -> None:
        """Put everything back as it was then."""
        keys = self.client.keys(f"{self.speech.prefix}*")
        with self.client.pipeline(transaction=False) as pipe:
            pipe.unlink("none", *keys)
            for key, content in saved.contents.items():
                pipe.restore(key, 0, content)
            pipe.execute()
        self.now = saved.now
        self.marks = Marks(dict(saved.facts), saved.cursor)

    def run(self, script: str, *args: Any, op: str = "") -> Any:
        return self.link.perform(Command(script, args, _ended, op))

    def apply(self, action: tuple[str, str]) -> None:
        verb, what = action
        if verb == "store":
            held = Held("root", f"{what}.jpg", 1, f"link:{what[1]}", f"{what[1]}:1:1", "adopted")
            blob = f"b{what}".ljust(22, "0")
            ttl = TTL_MS.get(what)
            self.link.perform(store(ref_id(what), blob, STORES[what], held, ttl, MediaMeta()))
        elif verb in {"release", "drain"}:
            self.run(verb, what, 1, TERMS)
        elif verb == "expire":
            self.run("expire", 1, TERMS, "0 0", 0)
        elif verb == "tick":
            self.now += 1000
        elif verb == "read":
            self.alive(what, self.marks)

    def alive(self, name: str, marks: Marks) -> bool:
        step = reads.lookup([Ref(f"media://{ref_id(name)}")])
        pipe = self.client.pipeline(transaction=False)
        for words in step.build(self.speech.prefix, marks):
            pipe.execute_command(*words)
        closed, fields = pipe.execute()
        flat = [part for pair in closed for part in pair]
        [found] = step.parse(marks, [flat, fields], self.now)
        return isinstance(found, Media)

    def dump(self) -> str:
        """Return the whole state, the reader's included."""
        state: dict[str, Any] = {"now": self.now, "cursor": self.marks.cursor}
        state["facts"] = sorted(self.marks.facts.items())
        for key, (kind, value) in dump(self.client, self.namespace).items():
            if key == "graves":
                continue  # in which order refs ended does not matter any more
            unordered = {"hash": lambda found: found.items(), "set": list}.get(kind)
            state[key] = repr(sorted(unordered(value)) if unordered else value)
        return json.dumps(state, sort_keys=True)

    def quiesce(self) -> None:
        for _ in range(40):
            closed = self.client.zrange(f"{self.speech.prefix}closed", 0, -1)
            for scope in closed:
                self.run("drain", scope.decode(), 1, TERMS)
            self.run("expire", 1, TERMS, "0 0", 0)
            if not closed:
                return
        pytest.fail("the drains never ended")

    def keys(self, kind: str) -> set[str]:
        start = f"{self.speech.prefix}{kind}"
        return {key.decode().removeprefix(start) for key in self.client.keys(f"{start}*")}


def possible(path: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """List what may happen next, within the bounds."""
    releases = sum(verb == "release" for verb, _ in path)
    stored = {what for verb, what in path if verb == "store"}
    actions = [("store", r) for r in STORES if r not in stored]
    actions += [("release", s) for s in RELEASES if releases < 3]
    actions += [("drain", s) for s in RELEASES if releases]
    actions += [("read", r) for r in sorted(stored) if releases]
    ticked = any(verb == "tick" for verb, _ in path)
    actions += [("expire", "")] if ticked else [("tick", "")] if "r0" in stored else []
    return actions


def check(world: World, path: tuple[tuple[str, str], ...], spec: Spec) -> None:
    for name in {what for verb, what in path if verb == "store"}:
        expected = name in spec.live
        assert world.alive(name, Marks()) == expected, (path, name, "fresh reader")
        kept = Marks(dict(world.marks.facts), world.marks.cursor)
        assert world.alive(name, kept) == expected, (path, name, "reader with a kept cursor")


def check_quiesced(world: World, path: tuple[tuple[str, str], ...], spec: Spec) -> None:
    world.quiesce()
    check(world, path, spec)
    assert world.keys("ref:") == {ref_id(name) for name in spec.live}, path
    scopes = {STORES[name] for name in spec.live}
    assert world.keys("scope:") == scopes, path
    assert world.keys("closed") == set(), path
    above = {s.rsplit("/", n)[0] for s in scopes for n in range(1, s.count("/") + 1)}
    assert world.keys("children:") == above, path


@pytest.mark.parametrize(
    "bound",
    [
        pytest.param(5, id="five steps"),
        pytest.param(8, id="eight steps", marks=[pytest.mark.torture, pytest.mark.timeout(3600)]),
    ],
)
def test_every_reachable_state_of_scopes_agrees_with_the_specification(server_url, bound):
    world = World(server_url)
    seen: set[str] = set()
    frontier: list[tuple[tuple[tuple[str, str], ...], Saved]] = [((), world.save())]
    depth = 0
    while frontier and depth < bound:
        following = []
        for path, saved in frontier:
            for action in possible(path):
                longer = (*path, action)
                world.load(saved)
                world.apply(action)
                spec = Spec()
                for step in longer:
                    spec.apply(step)
                state = world.dump()
                if state in seen:
                    continue
                seen.add(state)
                following.append((longer, world.save()))
                check(world, longer, spec)
                check_quiesced(world, longer, spec)
        frontier, depth = following, depth + 1
    world.client.close()
    assert len(seen) > 500
