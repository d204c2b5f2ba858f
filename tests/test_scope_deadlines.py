"""Scopes that end by themselves: fixed and idle deadlines, and what forgets them."""

from __future__ import annotations

import pytest

from mediastore import NEVER
from mediastore.errors import InvalidRequest, InvalidScope, RefGone
from mediastore.index.steps import END_BATCH

from .lifetimes import due, fill, give, is_gone, one_lane, put, seconds_left, sweep

# --- fixed, idle, both


def test_a_scope_ends_at_its_deadline_with_all_below(store, other, cat, make_file, expect_empty):
    at = give(store, "räume/1", ttl=0.2)
    refs = [
        store.store(cat, scope="räume/1", ttl=NEVER),
        store.store(make_file("b.jpg"), scope="räume/1/x"),
    ]
    beside = store.store(make_file("c.jpg"), scope="räume/11")
    assert seconds_left(at) <= 0.2
    while not (swept := other.sweep()).refs:
        assert seconds_left(at) > -5

    assert (swept.refs, swept.expired, swept.drained, swept.deleted) == (2, 2, 0, 2)
    for ref in refs:
        with pytest.raises(RefGone, match=r"expired .* by the deadline of scope 'räume/1'"):
            store.resolve(ref)
    assert store.resolve(beside).exists()
    store.release_all("räume/11")
    expect_empty()


@one_lane
def test_a_fixed_deadline_is_not_moved_by_activity(lab):
    store = lab.process()
    at = give(store, "s", ttl=100)
    ref = put(lab, store, "s", ttl=NEVER)
    for _ in range(9):
        lab.pass_time(10)
        store.resolve(ref)
        store.touch(ref, NEVER)
    assert round(at.timestamp() * 1000) == lab.base_ms + 100_000
    assert sweep(lab).refs == 0

    lab.pass_time(10)

    assert sweep(lab).expired == 1
    assert lab.leftovers() == []


@one_lane
def test_an_idle_deadline_ends_a_scope_that_nobody_uses(lab):
    store = lab.process()
    give(store, "s", idle=100)
    lab.pass_time(50)
    put(lab, store, "s/x", ttl=NEVER)
    lab.pass_time(99)
    assert sweep(lab).refs == 0

    lab.pass_time(1)

    assert sweep(lab).expired == 1
    assert (lab.leftovers(), lab.files()) == ([], {})


@one_lane
@pytest.mark.parametrize(
    ("ttl", "idle", "busy", "at"), [(100, 30, True, 100), (100, 30, False, 30)]
)
def test_of_a_fixed_and_an_idle_deadline_the_first_counts(lab, ttl, idle, busy, at):
    store = lab.process()
    give(store, "s", ttl=ttl, idle=idle)
    ref = put(lab, store, "s", ttl=NEVER)
    for _ in range((at - 10) // 10):
        lab.pass_time(10)
        store.resolve(ref) if busy else None
    assert sweep(lab).refs == 0

    lab.pass_time(10)

    assert sweep(lab).expired == 1


@one_lane
@pytest.mark.parametrize(("outer", "below_", "ended_by"), [(10, 50, "a"), (50, 10, "a/x")])
def test_of_nested_deadlines_the_earliest_counts(lab, outer, below_, ended_by):
    store = lab.process()
    give(store, "a", ttl=outer)
    give(store, "a/x", ttl=below_)
    below, beside = put(lab, store, "a/x/y"), put(lab, store, "a/z")
    lab.pass_time(10)

    sweep(lab)

    with pytest.raises(RefGone, match=f"deadline of scope '{ended_by}'"):
        store.resolve(below)
    if ended_by == "a":
        is_gone(store, beside)
        assert due(lab, "a/x") is None
    else:
        assert store.resolve(beside)
        assert due(lab, "a") == 50
    lab.pass_time(40)
    sweep(lab)
    assert lab.leftovers() == []


# --- opening again


@one_lane
@pytest.mark.parametrize(
    ("first", "again", "at"),
    [
        ({"ttl": 100}, {"ttl": 50}, 100),
        ({"ttl": 100}, {"ttl": 200}, 210),
        ({"ttl": 100}, {}, 100),
        ({"idle": 100}, {"idle": 50}, 110),
        ({"idle": 100}, {"idle": 200}, 210),
        ({"idle": 100}, {}, 110),
        ({"ttl": 100}, {"idle": 20}, 30),
        ({"ttl": 100, "idle": 50}, {"ttl": NEVER}, 60),
        ({"ttl": 100, "idle": 50}, {"idle": NEVER}, 100),
        ({"ttl": 100, "idle": 50}, {"idle": NEVER, "ttl": NEVER}, None),
        ({"ttl": 100}, {"ttl": NEVER}, None),
        ({}, {"ttl": NEVER}, None),
        ({}, {}, None),
    ],
    ids=str,
)
def test_opening_again_moves_a_deadline_away_and_never_nearer(lab, first, again, at):
    store = lab.process()
    give(store, "a/s", **first)
    lab.pass_time(10)

    told = give(store, "a/s", **again)

    assert due(lab, "a/s") == at
    assert (told and (round(told.timestamp() * 1000) - lab.base_ms) / 1000) == at
    if at is None:
        assert lab.leftovers() == []


@one_lane
def test_a_scope_whose_deadline_was_taken_away_goes_on(lab):
    store = lab.process()
    give(store, "s", ttl=10)
    ref = put(lab, store, "s")
    give(store, "s", ttl="never")
    lab.pass_time(1000)

    assert sweep(lab).refs == 0

    assert store.resolve(ref)
    store.release_all("s")
    assert lab.leftovers() == []


@pytest.mark.parametrize("words", [{"ttl": 0}, {"idle": -1}, {"ttl": "soon"}, {"idle": True}])
def test_a_deadline_that_is_none_is_refused(store, words, expect_empty):
    with pytest.raises(InvalidRequest):
        give(store, "s", **words)
    with pytest.raises(InvalidScope):
        give(store, "a//b", ttl=1)

    expect_empty()


# --- a release forgets it


@one_lane
@pytest.mark.parametrize("above", [False, True], ids=["itself", "its ancestor"])
@pytest.mark.parametrize("drained", [False, True], ids=["not drained", "drained"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_release_forgets_the_deadline_and_later_refs_live(lab, above, drained, large):
    store = lab.process()
    give(store, "a/s", ttl=100, idle=50)
    fill(store, lab, "a/s") if large else put(lab, store, "a/s")

    store.release_all("a" if above else "a/s", wait=False)
    sweep(lab) if drained else None
    later = put(lab, store, "a/s", "later", ttl=NEVER)
    lab.pass_time(200)
    sweep(lab)

    assert store.resolve(later)
    assert due(lab, "a/s") is None
    store.release_all("a")
    assert lab.leftovers() == []


@one_lane
@pytest.mark.parametrize("drained", [False, True])
def test_a_released_scope_that_is_opened_again_has_its_new_deadline_only(lab, drained):
    store = lab.process()
    give(store, "s", ttl=1000, idle=500)
    fill(store, lab, "s")
    store.release_all("s", wait=False)
    sweep(lab) if drained else None

    give(store, "s", ttl=10)

    assert due(lab, "s") == 10
    later = put(lab, store, "s", "later")
    sweep(lab)
    assert store.resolve(later)
    assert due(lab, "s") == 10
    lab.pass_time(10)
    assert sweep(lab).expired == 1
    assert lab.leftovers() == []


@one_lane
def test_the_release_of_a_scope_below_leaves_the_deadline_above(lab):
    store = lab.process()
    give(store, "a", ttl=10)
    put(lab, store, "a/x")
    stays = put(lab, store, "a")
    store.release_all("a/x")
    lab.pass_time(10)

    sweep(lab)

    is_gone(store, stays)
    assert lab.leftovers() == []


@one_lane
def test_a_scope_with_nothing_but_a_deadline_is_no_scope_with_refs(lab):
    store = lab.process()
    give(store, "a/s", ttl=10)

    assert (store.scopes(), store.refs("a/s"), store.plan_release("a").refs) == ([], [], 0)
    assert store.stats().refs == 0
    assert store.release_all("a").refs == 0
    assert lab.leftovers() == []


@one_lane
def test_refs_and_pages_do_not_stumble_over_the_deadline(lab):
    store = lab.process()
    refs = [put(lab, store, "s", "first")]
    give(store, "s", ttl=1000)
    refs += [put(lab, store, "s", str(n)) for n in range(2 * END_BATCH)]

    assert [media.ref for media in store.refs("s", limit=1000)] == refs
    assert [media.ref for media in store.refs("s", limit=2)] == refs[:2]
    assert store.scopes() == ["s"]
    assert store.plan_release("s").refs == len(refs)
    assert store.release_all("s").refs == len(refs)
    assert lab.leftovers() == []


# --- looking at them


def test_the_deadlines_of_a_scope_and_those_above_are_told_the_soonest_first(store):
    above = give(store, "räume", idle=1800)
    own = give(store, "räume/1", ttl=3600, idle=7200)
    give(store, "räume/2", ttl=60)

    first, second = store.scope_deadlines("räume/1")

    assert (first.scope, first.due, first.ends_at, first.idle_s) == ("räume", above, None, 1800)
    assert (second.scope, second.due, second.ends_at, second.idle_s) == ("räume/1", own, own, 7200)
    assert (above - first.active_at).total_seconds() == 1800
    assert store.scope_deadlines("räume/1/x") == [first, second]
    assert store.scope_deadlines("andere") == []


def test_a_deadline_that_a_release_has_ended_is_not_told(store, other, cat):
    give(store, "a/b", ttl=3600)
    store.store(cat, scope="a/b")
    assert store.scope_deadlines("a/b")

    other.release_all("a", wait=False)

    assert store.stats().closed == 1
    assert store.scope_deadlines("a/b") == []
    give(store, "a/b", ttl=60)
    assert [each.scope for each in store.scope_deadlines("a/b")] == ["a/b"]


def test_what_waits_names_who_holds_it(store, cat):
    held = store.take_lease(store.store(cat, scope="a"), "1h")
    (lease,) = store.leases(held.ref)

    store.release_all("a")

    assert [each.holders for each in store.waiting("a")] == [(lease.holder,)]
    held.end()
    assert store.waiting("a") == []
