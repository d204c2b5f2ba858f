"""Scopes as objects: however a block is left, what was stored in it is released; and everybody knows where he is."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest

from mediastore import NEVER, AsyncMediaStore, MediaStore, Scope
from mediastore.errors import IndexUnavailable, InvalidRequest, InvalidScope, RefGone

from .lease_fixtures import in_child
from .scope_fixtures import where  # noqa: F401 - a fixture

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture(params=["sync", "async"])
def lost(request, settings):
    """Give a store of each kind whose server is not there."""
    kind = MediaStore if request.param == "sync" else AsyncMediaStore
    made = kind.from_url(NOWHERE, namespace=settings.namespace, roots=settings.roots)
    if request.param == "sync":
        yield made
        return
    from .conftest import Blocking

    with asyncio.Runner() as runner:
        yield Blocking(made, runner.get_loop())


def gone(store, ref):
    with pytest.raises(RefGone) as caught:
        store.resolve(ref)
    return caught.value.reason == "released"


# --- leaving


def test_what_was_stored_in_the_block_is_released_at_its_end(store, cat, expect_empty):
    with store.scope("chat:42/msg:7") as scope:
        ref = scope.store(cat)
        assert store.get(ref).scope == "chat:42/msg:7"

    assert gone(store, ref)
    assert not cat.exists()
    expect_empty()


def test_an_exception_releases_as_well_and_goes_on(store, cat, expect_empty):
    error = ValueError("mine")

    with pytest.raises(ValueError) as caught, store.scope("s") as scope:  # noqa: PT012 - the block is meant
        ref = scope.store(cat)
        raise error

    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert gone(store, ref)
    assert not cat.exists()
    expect_empty()


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)
def test_whoever_is_in_a_hurry_makes_the_cut_and_leaves_the_files_to_a_sweep(store, cat, kind):
    with pytest.raises(kind), store.scope("s") as scope:  # noqa: PT012 - the block is meant
        ref = scope.store(cat)
        raise kind

    assert gone(store, ref)
    assert cat.exists()
    assert store.sweep().deleted == 1
    assert not cat.exists()


def test_an_interrupt_in_the_release_does_not_prevent_the_cut(other, cat, monkeypatch):
    """Ctrl-C while the block is left, before the release has done anything."""
    release, interrupts = MediaStore.release_all, [KeyboardInterrupt]

    def interrupted(self, scope, *, wait=True):
        if interrupts:
            raise interrupts.pop()
        return release(self, scope, wait=wait)

    monkeypatch.setattr(MediaStore, "release_all", interrupted)

    with pytest.raises(KeyboardInterrupt), other.scope("s") as scope:
        ref = scope.store(cat)

    assert gone(other, ref)
    assert cat.exists()


def test_a_second_interrupt_is_not_kept_waiting(other, monkeypatch):
    calls = []

    def interrupted(self, scope, *, wait=True):
        calls.append(wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(MediaStore, "release_all", interrupted)

    with pytest.raises(KeyboardInterrupt), other.scope("s"):
        raise KeyboardInterrupt

    assert calls == [False]


def test_a_release_that_fails_is_raised(lost):
    with pytest.raises(IndexUnavailable), lost.scope("s"):
        pass

    assert lost.current_scope() is None


def test_a_release_that_fails_does_not_hide_what_ended_the_block(lost, caplog):
    with pytest.raises(ValueError, match="mine") as caught, lost.scope("chat:42"):
        raise ValueError("mine")

    (note,) = caught.value.__notes__
    assert note.startswith("the release of scope 'chat:42' failed: ")
    (record,) = [each for each in caplog.records if each.name == "mediastore"]
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(note)


def test_a_release_that_fails_does_not_hide_an_error_that_takes_no_notes(lost):
    class Sealed(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    with pytest.raises(Sealed), lost.scope("s"):
        raise Sealed


def test_a_scope_may_be_released_in_its_block_and_goes_on(store, make_file):
    with store.scope("s") as scope:
        first = scope.store(make_file("1.jpg"))
        done = scope.release()
        second = scope.store(make_file("2.jpg"))
        assert (done.refs, done.deleted) == (1, 1)
        assert gone(store, first)
        assert store.resolve(second).exists()

    assert gone(store, second)


# --- entering


def test_a_scope_is_made_and_entered_without_a_word_to_the_server(lost):
    """Only its release speaks, or deadlines."""
    scope = lost.scope("chat:42")

    with pytest.raises(IndexUnavailable), scope:
        assert lost.current_scope() == scope


@pytest.mark.parametrize("lengths", [{"ttl": "1h"}, {"idle": 60}, {"ttl": NEVER, "idle": "1m"}])
def test_a_scope_whose_deadlines_cannot_be_set_is_not_entered(lost, lengths):
    scope = lost.scope("chat:42", **lengths)

    for _ in range(2):  # the second would be refused as entered
        with pytest.raises(IndexUnavailable), scope:
            pytest.fail("entered")

    with pytest.raises(IndexUnavailable):
        scope.open()
    assert lost.current_scope() is None


@pytest.mark.parametrize("name", ["", "a//b", "a/../b", "/".join("123456789"), "a\n", None, 42])
def test_a_malformed_name_is_refused_at_once(lost, name):
    with pytest.raises(InvalidScope):
        lost.scope(name)
    with pytest.raises(InvalidScope):
        lost.scope("chat:42").scope(name)


@pytest.mark.parametrize("length", [0, -1, "soon", True, "0s", float("nan")])
def test_a_malformed_deadline_is_refused_at_once(lost, length):
    for lengths in ({"ttl": length}, {"idle": length}):
        with pytest.raises(InvalidRequest):
            lost.scope("s", **lengths)
        with pytest.raises(InvalidRequest):
            lost.scope("s").scope("part", **lengths)


def test_an_object_may_be_entered_again_once_it_was_left(store, make_file):
    scope = store.scope("s")
    refs = []

    for number in range(2):
        with scope:
            refs.append(scope.store(make_file(f"{number}.jpg")))
        assert gone(store, refs[-1])


def test_an_object_that_is_entered_is_not_entered_again(store, cat):
    with store.scope("s") as scope:
        with pytest.raises(InvalidRequest, match="entered already, and leaving it once"), scope:
            pytest.fail("entered")
        ref = store.store(cat)
        assert store.current_scope() == scope

    assert gone(store, ref)
    assert store.current_scope() is None


def test_an_object_that_is_being_released_is_not_entered_again(other, monkeypatch):
    scope = other.scope("s")
    release = MediaStore.release_all

    def enter_meanwhile(self, name, *, wait=True):
        with pytest.raises(InvalidRequest, match="entered already"), scope:
            pytest.fail("entered")
        return release(self, name, wait=wait)

    monkeypatch.setattr(MediaStore, "release_all", enter_meanwhile)

    with scope:
        pass
    assert other.current_scope() is None


# --- where one is


def test_a_file_without_a_scope_goes_to_the_innermost_one(store, make_file):
    with store.scope("chat:42") as outer:
        first = store.store(make_file("1.jpg"))
        with outer.scope("msg:7") as inner, store.scope("elsewhere"):
            assert inner.name == "chat:42/msg:7"
            second = store.store(make_file("2.jpg"))
            third = store.store(make_file("3.jpg"), scope="named")
            assert [store.get(ref).scope for ref in (first, second, third)] == [
                "chat:42",
                "elsewhere",
                "named",
            ]
        assert gone(store, second)
        assert store.current_scope() == outer
        fourth = store.store(make_file("4.jpg"))
        assert store.get(fourth).scope == "chat:42"

    assert gone(store, first)
    assert gone(store, fourth)
    assert store.resolve(third).exists()


def test_many_files_without_a_scope_go_to_the_innermost_one(store, make_file):
    with store.scope("outer"), store.scope("inner"):
        refs = store.store_many([make_file("1.jpg"), make_file("2.jpg")])
        assert [store.get(ref).scope for ref in refs] == ["inner", "inner"]

    with pytest.raises(InvalidScope, match="no scope is entered here"):
        store.store_many([make_file("3.jpg")])


def test_leaving_a_scope_releases_those_below_it(store, make_file):
    with store.scope("chat:42") as chat:
        ref = chat.scope("msg:7/tool:1").store(make_file())
        assert store.get(ref).scope == "chat:42/msg:7/tool:1"

    assert gone(store, ref)


def test_without_any_scope_the_error_says_both_ways_out(store, cat):
    with store.scope("s"):
        pass

    with pytest.raises(InvalidScope, match=r"name one \(scope=.*or call this within .*with store"):
        store.store(cat)


def test_the_current_scope_is_that_of_this_store(store, other, cat):
    with store.scope("mine") as mine, other.scope("theirs") as theirs:
        assert store.current_scope() == mine
        assert other.current_scope() is theirs
        assert store.get(store.store(cat)).scope == "mine"

    assert store.current_scope() is None


def test_a_scope_object_is_no_name(store, cat):
    scope = store.scope("chat:42")

    with pytest.raises(InvalidScope, match="its name"):
        store.store(cat, scope=scope)

    assert str(scope) == scope.name == "chat:42"
    assert store.get(store.store(cat, scope=scope.name)).scope == "chat:42"


def test_a_thread_begins_outside_of_all_scopes(other, cat):
    seen = []

    def look():
        seen.append(other.current_scope())
        with other.scope("thread"):
            seen.append(other.current_scope().name)

    with other.scope("main") as scope:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(10)
        assert other.current_scope() is scope

    assert seen == [None, "thread"]


def test_a_generator_that_is_closed_in_another_context_leaves_its_scope_everywhere(other, cat):
    def refs():
        with other.scope("generator"):
            yield other.store(cat)

    made = refs()
    ref = next(made)
    assert other.current_scope().name == "generator"  # a generator runs in its caller's context

    contextvars.Context().run(made.close)

    assert gone(other, ref)
    assert other.current_scope() is None


def test_a_scope_that_was_left_elsewhere_does_not_come_back_when_it_is_entered_again(other):
    scope = other.scope("generator")

    def inside():
        with scope:
            yield

    made = inside()
    next(made)
    contextvars.Context().run(made.close)
    again = contextvars.Context()
    again.run(scope.__enter__)

    assert other.current_scope() is None
    again.run(scope.__exit__, None, None, None)


# --- forks


@pytest.mark.parametrize(
    "lane", ["real"], indirect=True
)  # a child of fakeredis has a server of its own
def test_a_forked_child_that_leaves_its_parents_block_releases_nothing(store, cat):
    with store.scope("s") as scope:
        ref = scope.store(cat)

        assert in_child(lambda: scope.__exit__(None, None, None) is None)
        assert in_child(lambda: scope.__exit__(SystemExit, SystemExit(), None) is None)

        assert store.resolve(ref)
    assert gone(store, ref)


def test_a_forked_child_leaves_blocks_of_its_own_as_everybody_does(where, cat):
    with MediaStore(None, where) as store, store.scope("s") as scope:
        ref = scope.store(cat)

        def child():
            with store.scope("s/child") as own:
                mine = own.store(cat)
            return gone(store, mine) and store.current_scope() is scope

        assert in_child(child)

        assert store.resolve(ref) == cat


@pytest.mark.parametrize("lane", ["real"], indirect=True)  # fakeredis itself keeps our frames
def test_a_context_does_not_keep_a_scope_that_was_left_elsewhere(other):
    def inside():
        with other.scope("generator") as scope:
            seen.append(weakref.ref(scope))
            yield

    seen: list[weakref.ref[Scope]] = []
    made = inside()
    next(made)
    contextvars.Context().run(made.close)
    del made
    gc.collect()

    assert seen[0]() is None
