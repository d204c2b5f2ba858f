"""Scopes whose deadline has passed are ended by whoever sweeps, in bounded scripts, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediastore import NEVER, Swept
from mediastore.errors import RefGone
from mediastore.index import changes
from mediastore.index.epochs import Looks
from mediastore.index.steps import END_BATCH

from .conftest import keys_left
from .lifetimes import give, is_gone, one_lane, put, sweep, watched


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


@one_lane
def test_thousands_due_at_once_are_carried_out_a_few_in_each_script(lab):
    store = lab.process()
    path = lab.file("a", "a")
    for number in range(1000):
        give(store, f"{number % 7}/{number}", ttl=10)
    refs = [store.store(path, scope=f"{n % 7}/{n}", ttl=NEVER) for n in range(0, 1000, 10)]
    lab.pass_time(10)
    process = lab.process()
    seen = watched(process)

    swept = process.sweep()

    lapses = [answer for script, answer in seen if script == "lapse"]
    assert all(len(each.closed) <= END_BATCH for each in lapses)
    assert len(lapses) in {1000 / END_BATCH, 1000 / END_BATCH + 1}
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
    lapse = changes.lapse("o" * 22, Looks())
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
