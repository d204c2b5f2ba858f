"""Scopes that end by themselves: fixed and idle deadlines, what moves them, what forgets them, who carries them out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from mediastore import NEVER, Swept
from mediastore.errors import InvalidRequest, InvalidScope, RefGone, StoreFull
from mediastore.flows import leasing
from mediastore.flows.scoping import open_scope
from mediastore.index import changes
from mediastore.index.steps import END_BATCH, Command, prefix

from .conftest import keys_left
from .test_marks import ask, inner
from .test_moving import is_gone, one_lane, seconds_left


def give(store, scope, ttl=None, idle=None):
    """Give a scope deadlines; returns when it is due."""
    return ask(store, inner(store)._run(open_scope(inner(store)._ctx, scope, ttl, idle)))


def due(lab, scope):
    """Return in how many seconds from the beginning a scope is due; None where it has no deadline."""
    ms = lab.client.zscore(f"{prefix(lab.namespace)}deadlines", scope)
    return None if ms is None else (ms - lab.base_ms) / 1000


def sweep(lab):
    return lab.process().sweep()


def put(lab, store, scope, name=None, **named):
    return store.store(lab.file(name or scope.replace("/", "-"), "x"), scope=scope, **named)


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
@pytest.mark.parametrize(("outer", "inner_", "ended_by"), [(10, 50, "a"), (50, 10, "a/x")])
def test_of_nested_deadlines_the_earliest_counts(lab, outer, inner_, ended_by):
    store = lab.process()
    give(store, "a", ttl=outer)
    give(store, "a/x", ttl=inner_)
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


def fill(lab, store, scope):
    return [put(lab, store, scope, f"{scope}-{n}", ttl=NEVER) for n in range(END_BATCH + 1)]


@one_lane
@pytest.mark.parametrize("above", [False, True], ids=["itself", "its ancestor"])
@pytest.mark.parametrize("drained", [False, True], ids=["not drained", "drained"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_release_forgets_the_deadline_and_later_refs_live(lab, above, drained, large):
    store = lab.process()
    give(store, "a/s", ttl=100, idle=50)
    fill(lab, store, "a/s") if large else put(lab, store, "a/s")

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
    fill(lab, store, "s")
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


# --- what moves an idle deadline


def lease(store, ref):
    store._run(leasing.take(store._ctx, ref, 1000))


ACTS = {
    "store": lambda lab, store, ref: put(lab, store, "a/s/below", "new"),
    "store_many": lambda lab, store, ref: store.store_many([lab.file("n", "n")], scope="a/s"),
    "share from": lambda lab, store, ref: store.share(ref, "b"),
    "share to": lambda lab, store, ref: store.share(put(lab, store, "b"), "a/s"),
    "transfer from": lambda lab, store, ref: store.transfer(ref, "b"),
    "transfer to": lambda lab, store, ref: store.transfer(put(lab, store, "b"), "a/s/z"),
    "promote": lambda lab, store, ref: store.promote(ref),
    "touch": lambda lab, store, ref: store.touch(ref),
    "pin": lambda lab, store, ref: store.pin(ref),
    "unpin": lambda lab, store, ref: store.unpin(ref),
    "lease": lambda lab, store, ref: lease(store, ref),
    "handoff": lambda lab, store, ref: store._run(leasing.handoff(store._ctx, ref, 100)),
    "resolve": lambda lab, store, ref: store.resolve(ref),
    "resolve_with_meta": lambda lab, store, ref: store.resolve_with_meta(ref),
    "resolve_many": lambda lab, store, ref: store.resolve_many([ref]),
    "opening it": lambda lab, store, ref: give(store, "a/s", idle=10),
    "opening one below": lambda lab, store, ref: give(store, "a/s/z", ttl=10_000),
}


@one_lane
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_activity_below_moves_an_idle_deadline(lab, act):
    store = lab.process()
    give(store, "a/s", idle=100)
    ref = put(lab, store, "a/s/x", ttl="1h")
    lab.pass_time(60)

    act(lab, lab.process(), ref)

    assert due(lab, "a/s") == 160


@one_lane
@pytest.mark.parametrize(
    "look",
    [
        lambda store, ref: store.get(ref),
        lambda store, ref: store.refs("a/s/x"),
        lambda store, ref: store.stats(),
        lambda store, ref: store.scopes(),
        lambda store, ref: store.sweep(),
        lambda store, ref: store.plan_release("a"),
        lambda store, ref: store.release_all("b"),
    ],
)
def test_looking_around_is_no_activity(lab, look):
    store = lab.process()
    give(store, "a/s", idle=100)
    ref = put(lab, store, "a/s/x")
    put(lab, store, "b")
    lab.pass_time(60)

    look(lab.process(), ref)

    assert due(lab, "a/s") == 100


@one_lane
def test_activity_moves_the_idle_deadline_of_every_scope_above(lab):
    store = lab.process()
    give(store, "a", idle=100)
    give(store, "a/s", idle=300)
    give(store, "b", idle=100)
    lab.pass_time(60)

    ref = put(lab, store, "a/s/x", ttl="1h")

    assert [due(lab, scope) for scope in ("a", "a/s", "b")] == [160, 360, 100]
    lab.pass_time(30)
    store.resolve(ref)
    assert [due(lab, scope) for scope in ("a", "a/s", "b")] == [190, 390, 100]


@one_lane
def test_activity_on_a_dead_ref_is_none(lab):
    store = lab.process()
    give(store, "s", idle=100)
    ref = put(lab, store, "s", ttl=10)
    lab.pass_time(60)

    for call in (store.resolve, store.touch, store.pin):
        with pytest.raises(RefGone):
            call(ref)

    assert due(lab, "s") == 100


@one_lane
@pytest.mark.parametrize("shorter", [False, True], ids=["the first", "a shorter one"])
def test_an_idle_deadline_given_later_is_moved_by_reading_what_was_there_before(lab, shorter):
    store = lab.process()
    give(store, "a", idle=10_000) if shorter else None
    refs = [put(lab, store, f"a/s/{n}/z", ttl="1d") for n in range(2 * END_BATCH)]
    refs += [put(lab, store, "a/s", f"n{n}", ttl="1d") for n in range(2 * END_BATCH)]
    reader = lab.process()
    reader.resolve(refs[0])
    give(store, "a/s", idle=100)

    for number, ref in enumerate(refs, 1):
        lab.pass_time(60)
        reader.resolve(ref)
        assert due(lab, "a/s") == 60 * number + 100


# --- written at most every tenth


def writes(lab, act, times, step):
    """Count how often the deadlines of scopes are written while something is done again and again."""
    key, found = f"{prefix(lab.namespace)}lifetimes", []
    for _ in range(times):
        lab.pass_time(step)
        act()
        found.append(lab.client.hgetall(key))
    return sum(one != two for one, two in pairwise(found))


@one_lane
@pytest.mark.parametrize("act", ["resolve", "touch", "resolve_many", "store"])
def test_a_busy_scope_is_written_at_most_every_tenth_of_its_idle_time(lab, act):
    store = lab.process()
    give(store, "s", idle=100)
    ref = put(lab, store, "s", ttl="1d")
    acts = {
        "resolve": lambda: store.resolve(ref),
        "resolve_many": lambda: store.resolve_many([ref, ref]),
        "touch": lambda: store.touch(ref),
        "store": lambda: put(lab, store, "s"),
    }

    seen = writes(lab, acts[act], times=200, step=1)

    # Two hundred seconds, a tenth is ten.
    assert 15 <= seen <= 20
    assert due(lab, "s") >= 200 + 100 - 2 * 10


@one_lane
@pytest.mark.parametrize("many", [False, True])
def test_readers_of_an_idling_scope_ask_nothing_more_for_a_tenth(lab, many):
    store = lab.process()
    give(store, "s", idle=100)
    ref = put(lab, store, "s", ttl="1d")
    scripts, perform = [], store._ask

    def watched(step):
        if isinstance(step, Command):
            scripts.append(step.script)
        return perform(step)

    store._ask = watched

    for _ in range(100):
        lab.pass_time(1)
        store.resolve_many([ref] * 5) if many else store.resolve(ref)

    assert set(scripts) == {"note"}
    assert 9 <= len(scripts) <= 11


@one_lane
def test_a_reader_whose_note_fails_still_reads(lab):
    store = lab.process()
    give(store, "s", idle=100)
    ref = put(lab, store, "s", ttl="1d")
    perform = store._ask

    def deaf(step):
        if getattr(step, "script", "") == "note":
            raise StoreFull("Redis has no memory left")
        return perform(step)

    store._ask = deaf

    assert store.resolve(ref).read_text() == "x"
    assert store.resolve_many([ref]) == [store.resolve(ref)]


# --- carrying them out


@one_lane
def test_nothing_is_left_of_an_empty_scope_at_its_deadline(lab):
    store = lab.process()
    give(store, "a/b/c", ttl=10, idle=5)
    give(store, "d", idle=5)
    assert keys_left(lab.client, lab.namespace) != set()
    lab.pass_time(10)

    swept = sweep(lab)

    assert (swept.refs, lab.leftovers()) == (0, [])


@one_lane
def test_a_scope_that_emptied_itself_leaves_nothing_at_its_deadline(lab):
    store = lab.process()
    give(store, "a/s", ttl=10)
    moved = put(lab, store, "a/s", "moved")
    store.delete_media(put(lab, store, "a/s", "deleted"))
    store.transfer(moved, "b")
    lab.pass_time(10)

    sweep(lab)

    assert store.resolve(moved)
    store.release_all("b")
    assert lab.leftovers() == []


def scripts_of(lab, process):
    """Return a list that fills with the names of a process's scripts and their answers."""
    seen, perform = [], process._ask

    def watched(step):
        answer = perform(step)
        seen.append((getattr(step, "script", "read"), answer))
        return answer

    process._ask = watched
    return seen


@one_lane
def test_thousands_due_at_once_are_carried_out_a_few_in_each_script(lab):
    store = lab.process()
    path = lab.file("a", "a")
    for number in range(1000):
        give(store, f"{number % 7}/{number}", ttl=10)
    refs = [store.store(path, scope=f"{n % 7}/{n}", ttl=NEVER) for n in range(0, 1000, 10)]
    lab.pass_time(10)
    process = lab.process()
    seen = scripts_of(lab, process)

    swept = process.sweep()

    lapses = [answer for script, answer in seen if script == "lapse"]
    assert all(len(each.closed) <= END_BATCH for each in lapses)
    assert len(lapses) <= 1000 / END_BATCH + 1
    assert sum(len(each.closed) for each in lapses) == len(refs)
    assert (swept.expired, swept.deleted, lab.leftovers()) == (100, 1, [])


@one_lane
def test_a_large_scope_ends_in_batches(lab):
    store = lab.process()
    give(store, "s", ttl=10)
    path = lab.file("a", "a")
    store.store_many([path] * 200, scope="s/x", ttl=NEVER)
    lab.pass_time(10)

    swept = sweep(lab)

    assert (swept.expired, swept.deleted, lab.leftovers()) == (200, 1, [])


@one_lane
def test_it_is_carried_out_by_a_process_that_has_not_the_root(lab, tmp_path):
    store = lab.process()
    give(store, "s", ttl=10)
    ref = put(lab, store, "s")
    lab.pass_time(10)
    (tmp_path / "elsewhere").mkdir()
    here = lab.settings
    lab.settings = replace(here, roots=(str(tmp_path / "elsewhere"),))

    swept = sweep(lab)

    assert (swept.expired, swept.deleted, swept.pending) == (1, 0, 1)
    is_gone(store, ref)
    lab.settings = here
    assert sweep(lab).deleted == 1
    assert lab.leftovers() == []


@one_lane
def test_it_is_carried_out_while_the_root_is_away(lab):
    store = lab.process()
    give(store, "s", ttl=10)
    ref = put(lab, store, "s")
    process = lab.process()
    lab.root.rename(lab.root.with_name("away"))
    lab.pass_time(10)

    swept = process.sweep()

    assert (swept.expired, swept.deleted, swept.pending) == (1, 0, 1)
    is_gone(store, ref)
    lab.root.with_name("away").rename(lab.root)
    lab.settle()
    assert (lab.leftovers(), lab.files()) == ([], {})


@one_lane
def test_a_drain_that_expires_nothing_lets_deadlines_be(lab):
    store = lab.process()
    give(store, "s", ttl=10)
    ref = put(lab, store, "s")
    lab.pass_time(10)

    assert lab.process().drain().refs == 0

    assert store.resolve(ref)


@one_lane
def test_a_lapse_that_is_sent_again_changes_nothing(lab):
    store = lab.process()
    give(store, "s", ttl=10)
    put(lab, store, "s")
    lab.pass_time(10)
    lapse = changes.lapse("o" * 22)
    first = store._run(iter(lapse))
    sweep(lab)
    give(store, "s", ttl=10)
    later = put(lab, store, "s", "later")
    lab.pass_time(10)

    again = store._run(iter(lapse))

    assert (first.closed, again) == (("s",), first)
    assert store.resolve(later)
    assert sweep(lab).expired == 1


@one_lane
def test_two_sweepers_at_once_end_each_ref_once(lab):
    store = lab.process()
    for number in range(40):
        give(store, f"s{number}", ttl=10)
        put(lab, store, f"s{number}/x")
    lab.pass_time(10)
    one, two = lab.process(), lab.process()
    done: list[Swept] = []
    perform = one._ask

    def interleaved(step):
        if getattr(step, "script", "") in {"lapse", "drain"} and len(done) < 5:
            done.append(two.sweep(budget=0.001))
        return perform(step)

    one._ask = interleaved

    swept = one.sweep()

    assert swept.expired + sum(each.expired for each in done) == 40
    assert store.stats().expired_refs == 40
    assert lab.leftovers() == []


@one_lane
def test_a_release_that_comes_between_the_deadline_and_the_sweep_is_the_end(lab):
    store = lab.process()
    give(store, "s", ttl=10)
    ref = put(lab, store, "s")
    lab.pass_time(15)

    done = store.release_all("s")

    assert done.refs == 1
    with pytest.raises(RefGone, match="released"):
        store.resolve(ref)
    assert lab.leftovers() == []
