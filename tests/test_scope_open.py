"""Scopes with deadlines, and what else a scope as an object can do."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import pytest

from mediastore import NEVER, AsyncScope, Scope
from mediastore.errors import RefGone
from mediastore.testing import Clock

from .conftest import Blocking


@pytest.fixture
def clock(store):
    """Give the clock that governs the store and its server."""
    made = Clock()
    made.govern(store._store if isinstance(store, Blocking) else store)
    return made


def dead(store, ref):
    with pytest.raises(RefGone) as caught:
        store.resolve(ref)
    return caught.value.reason


def at(clock):
    return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)


def test_a_scope_that_nobody_leaves_is_released_at_its_deadline(store, clock, cat, expect_empty):
    """As one whose process was killed in the block."""
    scope = store.scope("chat:42", ttl="1h")
    scope.__enter__()
    ref = scope.store(cat, ttl=NEVER)
    clock.pass_time("59m")
    store.sweep()
    assert store.resolve(ref) == cat

    clock.pass_time("2m")
    store.sweep()

    assert dead(store, ref) == "expired"
    assert not cat.exists()
    scope.release()
    expect_empty()


def test_a_scope_that_nobody_uses_is_released_when_its_idle_time_is_over(store, clock, make_file):
    scope = store.scope("chat:42", idle="10m")
    scope.open()
    ref = scope.store(make_file("1.jpg"), ttl=NEVER)
    for use in (store.resolve, store.touch, scope.share):
        clock.pass_time("9m")
        store.sweep()
        use(ref)

    clock.pass_time("11m")
    store.sweep()

    assert dead(store, ref) == "expired"


def test_opening_says_when_a_scope_is_due_and_only_lengthens(store, clock):
    began = at(clock)

    assert store.scope("s").open() is None
    first = store.scope("s", ttl="1h").open()
    shorter = store.scope("s", ttl="1m").open()
    longer = store.scope("s", ttl="2h").open()
    none = store.scope("s", ttl=NEVER).open()

    assert abs(first - began - timedelta(hours=1)) < timedelta(seconds=30)
    assert shorter == first
    assert abs(longer - began - timedelta(hours=2)) < timedelta(seconds=30)
    assert none is None


def test_leaving_a_scope_forgets_its_deadline(store, clock, make_file):
    with store.scope("s", ttl="1h"):
        store.store(make_file("1.jpg"))
    ref = store.store(make_file("2.jpg"), scope="s", ttl=NEVER)

    clock.pass_time("2h")
    store.sweep()

    assert store.resolve(ref).exists()


def test_a_ref_is_shared_and_moved_into_a_scope(store, make_file, cat):
    ref = store.store(cat, scope="chat:42")
    moved = store.store(make_file("moved.jpg"), scope="chat:42")

    with store.scope("run:7") as run:
        shared = run.share(ref, ttl="1h")
        run.transfer(moved)
        assert [media.ref for media in run.refs()] == [shared, moved]

    assert (dead(store, shared), dead(store, moved)) == ("released", "released")
    assert store.resolve(ref) == cat


def test_a_scope_lists_its_refs(store, make_file):
    scope = store.scope("s")
    refs = [scope.store(make_file(f"{number}.jpg")) for number in range(3)]

    page = scope.refs(limit=2)

    assert [media.ref for media in page] == refs[:2]
    assert [media.ref for media in scope.refs(after=page[-1])] == refs[2:]
    assert scope.release(wait=False).refs == 3
    assert scope.refs() == []


PUBLIC = [name for name in dir(Scope) if not name.startswith("_")]


def test_both_kinds_have_the_same_methods_with_equal_signatures():
    assert [name for name in dir(AsyncScope) if not name.startswith("_")] == PUBLIC
    for name in PUBLIC:
        blocking, awaited = getattr(Scope, name), getattr(AsyncScope, name)
        assert awaited.__doc__
        if blocking is not awaited:
            ours, theirs = inspect.signature(blocking), inspect.signature(awaited)
            assert ours.parameters == theirs.parameters
            assert ours.return_annotation == theirs.return_annotation.removeprefix("Async")
            assert inspect.iscoroutinefunction(awaited) or name == "writer"
