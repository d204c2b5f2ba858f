"""A policy that is changed moves the refs under it: to the end, whoever is killed; none is missed, and the last change wins."""

from __future__ import annotations

from itertools import count

import pytest

from mediastore import NEVER
from mediastore.errors import InvalidPolicy, RefGone
from mediastore.index import policies
from mediastore.index.steps import END_BATCH

from .conftest import keys_left
from .lab import Crash, Fuse
from .lifetimes import is_gone, one_lane, seconds_left, watched
from .policy_fixtures import MANY, begin, by, known, length, lengths, life, policed

# --- what a change does


def test_a_change_moves_every_ref_from_when_it_was_stored(store, make_file):
    store.set_policy("p", 600)
    cat = make_file()
    refs = [store.store(cat, scope=scope, meta=by("p")) for scope in ("a", "a/x", "b")]

    done = store.set_policy("p", "retain-2hours")

    assert (done.name, done.moved, done.left, done.pending) == ("p", 3, 0, False)
    assert [life(store, ref) for ref in refs] == [("p", 7200)] * 3
    assert known(store) == {"p": (7200, 3)}


@one_lane
@pytest.mark.parametrize("seconds", [900, 300, None])
def test_a_change_moves_more_refs_than_one_step_may(lab, seconds):
    store = lab.process()
    refs = policed(lab, store)
    seen = watched(store)

    done = store.set_policy("p", NEVER if seconds is None else seconds)

    steps = [answer.moved for script, answer in seen if script == "move_policy"]
    assert steps == [END_BATCH, END_BATCH, 1]
    assert done.moved == MANY
    assert lengths(store, refs) == {seconds}


def test_what_is_due_by_a_shorter_policy_ends_with_the_next_sweep_and_not_in_the_past(lab):
    store = lab.process()
    old = policed(lab, store, 2)
    lab.pass_time(100)
    young = store.store(lab.root / "a.jpg", scope="s", meta=by("p"))

    store.set_policy("p", 60)

    when = lab.now_ms()
    for ref in old:
        with pytest.raises(RefGone) as caught:
            store.resolve(ref)
        assert round(caught.value.when.timestamp() * 1000) == when
    assert length(store, young) == 60
    assert lab.process().sweep().expired == 2
    assert store.resolve(young)


def test_the_same_length_again_moves_nothing(store, cat):
    store.set_policy("p", 600)
    ref = store.store(cat, scope="s", meta=by("p"))
    touched = store.touch(ref)

    assert store.set_policy("p", "10m").moved == 0
    assert store.get(ref).expires_at == touched


def test_a_change_counts_from_the_store_also_where_a_ref_was_touched(lab):
    store = lab.process()
    [ref] = policed(lab, store, 1)
    lab.pass_time(300)
    store.touch(ref)

    store.set_policy("p", 900)

    assert length(store, ref) == 900
    lab.pass_time(100)
    assert round(store.touch(ref).timestamp() * 1000) == lab.now_ms() + 900_000


def test_a_pinned_ref_stays_pinned_and_gets_the_new_length_for_later(store, cat):
    store.set_policy("p", 600)
    ref = store.store(cat, scope="s", meta=by("p"))
    store.pin(ref)

    store.set_policy("p", 6000)

    assert (store.get(ref).pinned, store.get(ref).expires_at) == (True, None)
    assert 5990 < seconds_left(store.unpin(ref)) <= 6000


def test_a_pinned_ref_under_a_policy_without_an_end_has_none_when_it_is_unpinned(store, cat):
    store.set_policy("p", 600)
    ref = store.store(cat, scope="s", meta=by("p"))
    store.pin(ref)

    store.set_policy("p", NEVER)

    assert store.unpin(ref) is None


@pytest.mark.parametrize("end", ["expired", "released"])
def test_a_ref_that_is_dead_before_a_sweep_stays_dead_and_keeps_its_reason(lab, end):
    store = lab.process()
    [ref] = policed(lab, store, 1)
    if end == "released":
        store.store(lab.root / "a.jpg", scope="s/x")
        store.release_all("s", wait=False)
    lab.pass_time(601)
    with pytest.raises(RefGone) as before:
        store.resolve(ref)

    # A longer one would revive what has expired, a shorter one would end what was released before its release.
    done = store.set_policy("p", 6000 if end == "expired" else 1)

    with pytest.raises(RefGone) as after:
        store.resolve(ref)
    assert done.moved == 0
    assert (after.value.reason, after.value.when) == (end, before.value.when)
    lab.settle()
    with pytest.raises(RefGone) as buried:
        lab.process().resolve(ref)
    assert (buried.value.reason, buried.value.when) == (end, before.value.when)
    assert lab.leftovers() == []


# --- whoever is killed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("change", ["set", "remove"])
def test_a_mover_killed_anywhere_is_finished_by_the_next_sweep(labs, change, after):
    for number in count():
        lab = next(labs)
        refs = policed(lab, lab.process())
        with lab.fused(Fuse(at=number, after=after)) as doomed:
            try:
                if change == "set":
                    doomed.set_policy("p", 6000)
                else:
                    doomed.remove_policy("p", force=True)
            except Crash:
                pass
            else:
                assert number >= 4
                return
        begun = number > 0 or after

        lab.process().sweep()

        store = lab.process()
        if change == "set":
            assert {life(store, ref) for ref in refs} == {("p", 6000 if begun else 600)}
            assert known(store) == {"p": (6000 if begun else 600, MANY)}
        else:
            assert {life(store, ref) for ref in refs} == {("" if begun else "p", 600)}
            assert known(store) == ({} if begun else {"p": (600, MANY)})
        assert "changing" not in keys_left(lab.client, lab.namespace)


def test_a_sweep_that_is_killed_while_it_goes_on_leaves_the_rest_to_the_next(labs):
    for number in count():
        lab = next(labs)
        refs = policed(lab, lab.process())
        begin(lab.process(), 6000)
        with lab.fused(Fuse(at=number, after=True)) as doomed:
            try:
                doomed.sweep()
            except Crash:
                pass
            else:
                assert number >= 4
                return

        lab.process().sweep()

        assert lengths(lab.process(), refs) == {6000}


def test_what_a_stopped_change_makes_due_ends_in_the_same_sweep(lab):
    policed(lab, lab.process())
    lab.pass_time(100)
    begin(lab.process(), 10)

    done = lab.process().sweep()

    assert (done.expired, lab.files()) == (MANY, {})
    assert lab.leftovers() == []


def test_a_change_that_goes_on_is_told(lab):
    policed(lab, lab.process())
    begin(lab.process(), 6000)
    store = lab.process()

    [during] = store.policies()
    store.drain()  # the quick part of a sweep does not go on with it
    [still] = store.policies()
    store.sweep()
    [after] = store.policies()

    assert (during.changing, still.changing, after.changing) == (True, True, False)


def test_a_change_ends_with_its_budget_and_a_sweep_does_the_rest(lab):
    refs = policed(lab, lab.process())
    store = lab.process()
    perform = store._ask

    def slowly(step):
        lab.pass_time(40)
        return perform(step)

    store._ask = slowly
    done = store.set_policy("p", 6000)

    assert (done.moved, done.pending) == (2 * END_BATCH, True)
    lab.process().sweep()
    assert lengths(lab.process(), refs) == {6000}


# --- a removal that was stopped


def test_refs_that_were_to_leave_keep_their_deadlines_under_a_new_policy_of_the_name(lab):
    """Whoever removed it was told so; the new policy is another one."""
    store = lab.process()
    refs = policed(lab, store)
    store._ask(policies.remove_policy("p", "the removal", force=True))
    store._ask(policies.move_policy("p", "the first step"))
    [gone] = store.policies()
    with pytest.raises(InvalidPolicy, match=r"'pp'$"):  # the removed one is not what is meant
        store.store(lab.root / "a.jpg", scope="s", meta=by("pp"))

    begin(store, 60)
    new = store.store(lab.root / "a.jpg", scope="s", meta=by("p"))
    store.touch(refs[-1])
    store.sweep()

    assert (gone.name, gone.removed, gone.changing) == ("p", True, True)
    assert {life(store, ref) for ref in refs} == {("", 600)}
    assert life(store, new) == ("p", 60)
    assert known(store) == {"p": (60, 1)}


def test_a_ref_that_is_applied_the_new_policy_meanwhile_does_not_leave_it(lab):
    store = lab.process()
    refs = policed(lab, store, 2)
    store._ask(policies.remove_policy("p", "the removal", force=True))
    store.set_policy("p", 60)

    store.apply_policy(refs[0], "p")
    store.set_policy("p", 90)
    store.sweep()

    assert [life(store, ref) for ref in refs] == [("p", 90), ("", 600)]


def test_a_policy_whose_refs_ended_while_it_changed_is_removed_at_once(lab):
    store = lab.process()
    policed(lab, store)
    begin(store, 6000)
    store.release_all("s")

    assert store.remove_policy("p").left == 0

    assert store.policies() == []


def test_a_policy_and_all_its_refs_leave_nothing_behind(lab):
    store = lab.process()
    refs = policed(lab, store)
    begin(store, 6000)
    store.release_all("s")

    lab.settle()

    assert all(is_gone(store, ref) for ref in refs)
    assert lab.leftovers() == []
    assert store.remove_policy("p").left == 0
