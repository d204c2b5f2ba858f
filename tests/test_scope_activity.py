"""What moves the idle deadline of a scope, and how seldom that is written."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mediastore.errors import RefGone, StoreFull
from mediastore.flows import leasing
from mediastore.index.steps import END_BATCH, Command, prefix

from .lifetimes import due, give, one_lane, put, slowly

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


@one_lane
def test_telling_a_large_scope_that_it_idles_ends_with_the_budget(lab):
    store, budget_s = lab.process(), lab.settings.seconds("release_budget")
    for number in range(8 * END_BATCH):
        put(lab, store, "s", f"{number}", ttl="1d")
    slowly(lab, store, budget_s / 3)
    before = lab.now_ms()

    give(store, "s", idle=1000)

    assert lab.now_ms() - before <= 2000 * budget_s
    assert due(lab, "s") is not None


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
    assert due(lab, "s") >= 200 + 100 - 10


@one_lane
def test_readers_of_a_ref_that_has_left_an_idling_scope_tell_nobody(lab):
    store = lab.process()
    give(store, "s", idle=100)
    ref = put(lab, store, "s", ttl="1d")
    store.transfer(ref, "t")
    store.fuse.calls.clear()

    store.resolve(ref)

    assert store.fuse.calls == ["read"]


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
