"""What is said of ended refs: why, when and by which call; whichever end came first."""

from __future__ import annotations

import os
import pickle
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mediastore import MediaMeta
from mediastore.errors import InvalidRequest, RefGone
from mediastore.index import reads
from mediastore.index.epochs import Looks
from mediastore.index.steps import END_BATCH, prefix

from .lab import Lab
from .lifetimes import fill, give, one_lane

META = MediaMeta(filename="cat.jpg", source='x y [z] "q"')
OWN = reads.OWN_DEADLINE


def why(store, ref):
    """Return what a ref says of its end, the same by every call that asks."""
    said = set()
    for call in (store.resolve, store.get, store.touch, lambda ref: store.share(ref, "elsewhere")):
        with pytest.raises(RefGone) as caught:
            call(ref)
        said.add((caught.value.reason, caught.value.when, caught.value.by))
    [error] = store.resolve_many([ref])
    said.add((error.reason, error.when, error.by))
    stone = store.tombstone(ref)
    said.add((stone.reason, stone.when, stone.by))
    [(reason, when, by)] = said
    assert when.tzinfo is UTC
    return reason, when, by


def at(lab, seconds):
    """Return the laboratory's time so many seconds after its beginning."""
    return datetime.fromtimestamp(lab.base_ms / 1000, UTC) + timedelta(seconds=seconds)


@pytest.fixture
def lab(clients, tmp_path):
    """Give a laboratory whose host has a name."""
    made = Lab(clients, tmp_path / "lab")
    made.settings = replace(made.settings, host="desk")
    return made


def me():
    return f"desk:{os.getpid()}"


# --- each way to end


def test_a_release_says_who_released_what_and_when(store, cat):
    before = datetime.now(UTC) - timedelta(seconds=2)
    ref = store.store(cat, scope="räume/1", meta=META)

    store.release_all("räume/1")

    reason, when, by = why(store, ref)
    assert reason == "released"
    assert before < when < datetime.now(UTC) + timedelta(seconds=2)
    assert re.fullmatch(rf"release_all\('räume/1'\) of \S+:{os.getpid()}", by)
    stone = store.tombstone(ref)
    assert (stone.ref, stone.scope, stone.kept_for, stone.bytes_until) == (ref, "räume/1", "", None)


@one_lane
def test_a_release_inline(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s")
    lab.pass_time(5)

    store.release_all("s")
    lab.pass_time(5)

    assert why(store, ref) == ("released", at(lab, 5), f"release_all('s') of {me()}")


@one_lane
def test_a_release_of_an_ancestor_by_mark_says_the_same_before_and_after_the_drain(lab):
    store = lab.process()
    refs = [*fill(store, lab, "a/x"), *fill(store, lab, "a/y/z", 1)]
    lab.pass_time(5)
    store.release_all("a", wait=False)
    expected = ("released", at(lab, 5), f"release_all('a') of {me()}")
    lab.pass_time(5)

    before = [why(lab.process(), ref) for ref in refs]
    lab.settings = replace(lab.settings, host="another")
    lab.process().sweep()

    assert before == [why(lab.process(), ref) for ref in refs] == [expected] * len(refs)


@one_lane
def test_expiry_says_when_the_deadline_was_swept_or_not(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    lab.pass_time(25)
    expected = ("expired", at(lab, 10), OWN)
    assert why(store, ref) == expected

    lab.process().sweep()

    assert why(store, ref) == expected
    assert lab.process().stats().expired_refs == 1


@one_lane
@pytest.mark.parametrize("deadline", [{"ttl": 10}, {"idle": 10}], ids=["fixed", "idle"])
@pytest.mark.parametrize("number", [1, END_BATCH + 1])
def test_the_deadline_of_a_scope_above_is_named(lab, deadline, number):
    store = lab.process()
    give(store, "chat", **deadline)
    refs = fill(store, lab, "chat/1", number)
    lab.pass_time(12)

    lab.process().sweep()

    assert {why(store, ref) for ref in refs} == {
        ("expired", at(lab, 12), "the deadline of scope 'chat'")
    }
    stats = store.stats()
    assert (stats.expired_refs, stats.released_refs) == (number, 0)


@one_lane
def test_a_deletion_by_hand(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s")
    lab.pass_time(3)

    store.delete_media(ref)

    assert why(store, ref) == ("deleted", at(lab, 3), f"delete_media() of {me()}")


@one_lane
def test_what_a_ref_was_is_remembered_also_where_its_bytes_go_at_once(lab):
    store = lab.process()
    gone = store.store(lab.file("a", "a"), scope="s", meta=META, ttl="10m")
    shared = store.store(lab.file("b", "b"), scope="s", meta=META)
    store.pin(shared)
    store.share(shared, "t")

    store.release_all("s")

    stones = [store.tombstone(ref) for ref in (gone, shared)]
    assert [stone.meta for stone in stones] == [META, META]
    assert [(stone.kept_for, stone.bytes_until) for stone in stones] == [("", None), ("refs", None)]


@one_lane
def test_a_restored_ref_is_what_it_was_also_without_grace(lab):
    store = lab.process()
    dead = store.store(lab.file("a", "a"), scope="s", meta=META, ttl="10m")
    store.release_all("s", wait=False)

    found = store.get(store.restore(dead))

    assert (found.meta, found.scope, found.pinned) == (META, "s", False)
    assert round(found.expires_at.timestamp() * 1000) == lab.now_ms() + 3_600_000


# --- whichever came first


@one_lane
def test_a_deadline_that_passes_after_a_release_was_not_the_end(lab):
    store = lab.process()
    fill(store, lab, "s")
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    lab.pass_time(5)
    store.release_all("s", wait=False)
    expected = ("released", at(lab, 5), f"release_all('s') of {me()}")
    lab.pass_time(20)
    assert why(lab.process(), ref) == expected

    lab.process().sweep()

    assert why(lab.process(), ref) == expected
    assert (store.stats().expired_refs, store.stats().released_refs) == (0, END_BATCH + 2)


@one_lane
@pytest.mark.parametrize("inline", [True, False])
def test_a_release_after_the_deadline_was_not_the_end(lab, inline):
    store = lab.process()
    [] if inline else fill(store, lab, "s")
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    lab.pass_time(15)
    done = store.release_all("s", wait=inline)

    before = why(lab.process(), ref)
    lab.pass_time(5)
    lab.process().sweep()

    assert before == why(lab.process(), ref) == ("expired", at(lab, 10), OWN)
    assert done.refs == 0
    assert store.stats().expired_refs == 1


@one_lane
def test_a_second_release_before_the_drain_does_not_take_the_first_ones_refs(lab):
    store = lab.process()
    first = fill(store, lab, "s")
    lab.pass_time(5)
    store.release_all("s", wait=False)
    lab.pass_time(5)
    second = fill(store, lab, "s", 2)
    due = store.store(lab.file("due", "x"), scope="s", ttl=2)
    lab.pass_time(5)
    lab.settings = replace(lab.settings, host="later")
    lab.process().release_all("s", wait=False)
    expected = [("released", at(lab, 5), f"release_all('s') of {me()}")] * len(first)
    expected += [("released", at(lab, 15), f"release_all('s') of later:{os.getpid()}")] * 2
    expected += [("expired", at(lab, 12), OWN)]
    refs = [*first, *second, due]
    assert [why(lab.process(), ref) for ref in refs] == expected

    lab.pass_time(100)
    lab.process().sweep()

    assert [why(lab.process(), ref) for ref in refs] == expected


@one_lane
@pytest.mark.parametrize("order", [("a", "a/x"), ("a/x", "a")])
def test_of_two_nested_releases_the_earlier_one_ended_it(lab, order):
    store = lab.process()
    refs = fill(store, lab, "a/x")
    for scope in order:
        lab.pass_time(5)
        store.release_all(scope, wait=False)
    expected = {("released", at(lab, 5), f"release_all({order[0]!r}) of {me()}")}
    assert {why(lab.process(), ref) for ref in refs} == expected

    lab.process().sweep()

    assert {why(lab.process(), ref) for ref in refs} == expected


@one_lane
def test_a_scope_deadline_after_a_release_that_is_not_drained_takes_only_later_refs(lab):
    store = lab.process()
    old = fill(store, lab, "s")
    lab.pass_time(5)
    store.release_all("s", wait=False)
    give(store, "s", ttl=10)
    new = fill(store, lab, "s", 2)
    lab.pass_time(11)
    [lapsed] = [lab.process()._run(lapse())]
    assert lapsed.closed == ("s",)
    expected = [("released", at(lab, 5), f"release_all('s') of {me()}")] * len(old)
    expected += [("expired", at(lab, 16), "the deadline of scope 's'")] * 2
    assert [why(lab.process(), ref) for ref in (*old, *new)] == expected

    lab.process().sweep()

    assert [why(lab.process(), ref) for ref in (*old, *new)] == expected
    stats = store.stats()
    assert (stats.released_refs, stats.expired_refs) == (len(old), 2)


def lapse():
    from mediastore.index import changes

    return changes.lapse("o" * 22, Looks()).__iter__()


@one_lane
def test_any_number_of_releases_before_the_drain_is_kept_short(lab):
    store = lab.process()
    fill(store, lab, "s")
    refs = {}
    for number in range(30):
        refs[number] = store.store(lab.file(f"n{number}", "x"), scope="s", ttl="1d")
        lab.pass_time(1)
        store.release_all("s", wait=False)

    assert len(lab.client.hget(f"{prefix(lab.namespace)}cuts", "s")) < 500
    before = {number: why(lab.process(), ref) for number, ref in refs.items()}
    lab.process().sweep()

    assert before == {number: why(lab.process(), ref) for number, ref in refs.items()}
    assert before[0][1] == at(lab, 1)
    assert before[29][1] == at(lab, 30)
    assert lab.leftovers() == []


@one_lane
def test_a_ref_that_moved_is_ended_by_the_scope_it_is_in_now(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="a")
    store.transfer(ref, "b")
    store.release_all("a")

    store.release_all("b")

    assert store.tombstone(ref).scope == "b"
    assert why(store, ref)[2] == f"release_all('b') of {me()}"


def test_a_second_end_changes_nothing_of_the_first(store, cat):
    ref = store.store(cat, scope="s")
    store.delete_media(ref)
    first = why(store, ref)

    store.release_all("s")

    assert why(store, ref) == first


# --- how it reads and travels


def test_the_message_is_for_people(store, cat):
    ref = store.store(cat, scope="chat:42")
    store.release_all("chat:42")

    with pytest.raises(RefGone) as caught:
        store.resolve(ref)

    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert re.fullmatch(
        rf"{ref} is gone: released at {when} by release_all\('chat:42'\) of \S+:\d+",
        str(caught.value),
    )


def test_the_error_travels_by_pickle_with_all_it_says(store, cat):
    ref = store.store(cat, scope="s")
    store.delete_media(ref)
    with pytest.raises(RefGone) as caught:
        store.resolve(ref)

    again = pickle.loads(pickle.dumps(caught.value))

    assert "mediastore show" in again.hint
    for error in (caught.value, again):
        assert (error.ref, error.reason, error.code) == (ref, "deleted", "ref_gone")
    assert (again.when, again.by, str(again)) == (
        caught.value.when,
        caught.value.by,
        str(caught.value),
    )
    assert pickle.loads(pickle.dumps(store.tombstone(ref))) == store.tombstone(ref)


def test_a_live_ref_has_no_tombstone(store, cat):
    with pytest.raises(InvalidRequest, match=r"alive; get\(\) tells"):
        store.tombstone(store.store(cat, scope="s"))
