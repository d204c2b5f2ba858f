"""Whatever somebody writes into Redis: nothing outside of a root is read or deleted, every error is ours, nothing hangs."""

from __future__ import annotations

import itertools
import random
import secrets
from typing import Any

import pytest
import redis

from mediastore import Settings
from mediastore.doctor import examine
from mediastore.errors import Corrupt

from .foreign_keys import LOOKS_AT
from .foreign_steps import STEPS, Index, key_of
from .hostile_world import (
    HEALTHY,
    SCORES,
    SECRET,
    VALUES,
    World,
    changes_of,
    endings,
    moves_of,
    namespace_reads,
    reads_of,
    slots,
    spoil,
    sweeps,
    typed,
)

#: What all refs of a namespace live by: wrong, it may keep any of them.
COMMON = ("expiry", "closed", "stats", "clock", "seq", "roots", "scopes", "deadlines", "lost")


@pytest.fixture
def client(server_url):
    with redis.Redis.from_url(server_url) as made:
        yield made


@pytest.fixture
def worlds(tmp_path, client):
    """Give one world after the other."""
    number = itertools.count()

    def make():
        base = tmp_path / str(next(number))
        settings = Settings(
            namespace=f"w{secrets.token_hex(6)}", roots=(str(base / "media"),), max_age="never",
            timeout=0.05, release_budget=0.05, durable=False, dedup=True,
        )  # fmt: skip
        base.mkdir()
        return World(base, client, settings)

    return make


def outside(world):
    return {
        path: path.read_bytes()
        for name in ("outside", "other")
        for path in (world.base / name).rglob("*")
    }


def live_through(world, slot, how, value):
    """Do everything in a spoilt world; returns all that was said."""
    spoil(world, slot, how, value)
    store = world.store()
    said: list[Any] = []

    def do(*calls):
        for call in calls:
            store.steps = 0
            with typed(said):
                said.append(call(store))

    do(*namespace_reads())
    for name, ref in world.refs.items():
        if name != HEALTHY:  # a lease would keep its file
            do(*reads_of(ref))
    for name in ("adopted", "own", "leased", "graced"):
        do(*moves_of(world.refs[name]))
    world.now_ms += 100_000
    do(*sweeps())
    with typed(said):
        said += examine(world.settings, world.client)
    healthy = not (world.root / HEALTHY).exists()
    do(*endings(world.refs))
    store.close()
    return said, healthy


def trial(world, slot, how, value):
    before = outside(world)

    said, healthy = live_through(world, slot, how, value)

    assert outside(world) == before
    assert SECRET not in repr(said).encode()
    # What was written may be told; it must not become the path of a file.
    assert all(f"Path('{world.base / name}/" not in repr(said) for name in ("outside", "other"))
    assert healthy or touches_all(world, slot)


def touches_all(world, slot):
    """Whether the healthy ref has to do with this place."""
    name, where = slot[0], slot[2]
    mine = {world.refs[HEALTHY].id, world.blob, "h", HEALTHY}
    return name in COMMON or name.partition(":")[2] in mine or (where or b"").decode() in mine


#: One trial in so many: all of them take half an hour.
ONE_IN = 500


def test_nothing_that_somebody_writes_leads_out_of_a_root_or_stops_another_ref(worlds):
    places = slots(worlds())
    cases = [(at, *done) for at, place in enumerate(places) for done in changes_of(place[1])]

    for at, how, value in random.Random(11).sample(cases, len(cases) // ONE_IN):
        world = worlds()
        trial(world, slots(world)[at], how, value)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(20))
def test_nothing_at_all_that_somebody_writes_does(worlds, part):
    places = slots(worlds())
    cases = [(at, *done) for at, place in enumerate(places) for done in changes_of(place[1])]

    for at, how, value in cases[part::20]:
        world = worlds()
        trial(world, slots(world)[at], how, value)


# --- each script, and each read, for itself


def spoilt(kind, value):
    """Return what a key may hold instead, each with one value that cannot be true."""
    if kind == "string":
        return list(VALUES)
    if kind == "set":
        return [{*value, each} for each in VALUES]
    if kind == "list":
        return [[each, *value] for each in VALUES]
    if kind == "zset":
        (member, score), *rest = value
        members = [[(each, score), *rest] for each in VALUES]
        return [*members, *([(member, each), *rest] for each in SCORES)]
    fields = [{**value, field: each} for field in value for each in VALUES]
    first, *others = value
    renamed = [{each: value[first], **{name: value[name] for name in others}} for each in VALUES]
    gone = [{n: value[n] for n in value if n != field} for field in value if len(value) > 1]
    return [*fields, *renamed, *gone]


@pytest.mark.parametrize(
    "part", [7, *(pytest.param(n, marks=pytest.mark.torture) for n in range(7))]
)
@pytest.mark.parametrize("name", STEPS)
def test_a_value_that_cannot_be_true_is_met_before_anything_is_written(client, name, part):
    """A step does its work, or says Corrupt and has changed nothing. A quick run tries some, the torture all of them."""
    index = Index(client, f"t{secrets.token_hex(6)}")
    state = index.fill()
    keys = [key for word in LOOKS_AT[name].split() if (key := key_of(word, state)) in state]
    tries = [(key, value) for key in keys for value in spoilt(*state[key])]
    some = tries[part::7] if part < 7 else random.Random(name).sample(tries, min(6, len(tries)))

    for key, value in some:
        index.load({**state, key: (state[key][0], value)})
        before = index.dump()
        try:
            index.do(STEPS[name])
        except Corrupt:
            assert index.dump() == before, (key, value)
