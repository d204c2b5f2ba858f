"""A policy that changes while refs are made, touched or moved by somebody else: none is missed, and the last change wins."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from mediastore import NEVER

from .lab import Crash, Fuse
from .policy_fixtures import MANY, by, lengths, life, policed


def at_each_exchange(labs, act, between):
    """Run `act` in a new laboratory again and again; before each of its exchanges in turn, somebody else comes in between.

    Yields the laboratory and what `between` and `act` returned, after each run.
    """
    for number in count():
        lab = next(labs)
        lab.number, lab.before = number, policed(lab, lab.process())
        process, calls = lab.process(), count()
        came: list[Any] = []
        perform = process._ask

        def ask(step, *, lab=lab, came=came, calls=calls, perform=perform, number=number):
            if next(calls) == number:
                came.append(between(lab))
            return perform(step)

        process._ask = ask
        done = act(lab, process)
        if not came:
            assert number > 0
            return
        yield lab, came[0], done


# --- at the same moment


@pytest.mark.parametrize("made", ["store", "store_many", "share", "apply_policy"])
def test_a_ref_that_is_made_while_the_policy_changes_is_never_missed(labs, made):
    def act(lab, process):
        if made == "store":
            return process.store(lab.root / "a.jpg", scope="t", meta=by("p"))
        if made == "store_many":
            return process.store_many([lab.root / "a.jpg"], scope="t", meta=by("p"))[0]
        if made == "share":
            return process.share(lab.before[0], "t")
        process.apply_policy(lab.before[0], "p")
        return lab.before[0]

    runs = 0
    for lab, _, ref in at_each_exchange(labs, act, lambda lab: lab.process().set_policy("p", 6000)):
        assert life(lab.process(), ref) == ("p", 6000)
        runs += 1
    assert runs >= 1


def test_a_restored_ref_is_never_missed_either(labs):
    def act(lab, process):
        store = lab.process()
        for ref in lab.before[:1]:
            store.delete_media(ref)
        return process.restore(lab.before[0], "t")

    for lab, _, ref in at_each_exchange(labs, act, lambda lab: lab.process().set_policy("p", 6000)):
        assert life(lab.process(), ref) == ("p", 6000)


def test_a_ref_that_is_stored_between_two_steps_of_a_change_has_the_new_length(labs):
    def between(lab):
        return lab.process().store(lab.root / "a.jpg", scope="t", meta=by("p"))

    for lab, ref, done in at_each_exchange(
        labs, lambda _, process: process.set_policy("p", 6000), between
    ):
        assert lengths(lab.process(), [*lab.before, ref]) == {6000}
        assert not done.pending


def test_a_ref_that_is_touched_between_two_steps_keeps_what_it_was_told(labs):
    def between(lab):
        lab.pass_time(10)
        return [lab.process().touch(ref) for ref in lab.before]

    runs = 0
    for lab, told, _ in at_each_exchange(
        labs, lambda _, process: process.set_policy("p", 6000), between
    ):
        found = [lab.process().get(ref) for ref in lab.before]
        if lab.number == 0:  # before the change was written down
            assert lengths(lab.process(), lab.before) == {6000}
        else:  # moved yet or not
            assert [m.expires_at for m in found] == told
            assert {round(due.timestamp() * 1000) - lab.now_ms() for due in told} == {6_000_000}
        runs += 1
    assert runs >= 4


@pytest.mark.parametrize("second", [60, None, 6000])
def test_the_second_of_two_changes_wins_wherever_the_first_is(labs, second):
    length_ = NEVER if second is None else second

    for lab, _, _ in at_each_exchange(
        labs,
        lambda _, process: process.set_policy("p", 1200),
        lambda lab: lab.process().set_policy("p", length_) and lab.process().policies(),
    ):
        # The first is written down by its first exchange: what came before that was no second change.
        wins = second if lab.number else 1200
        [policy] = lab.process().policies()
        assert (policy.lifetime_s, policy.changing) == (wins, False)
        assert lengths(lab.process(), lab.before) == {wins}


@pytest.mark.parametrize("after", [False, True])
def test_a_second_change_wins_over_a_first_that_was_killed(labs, after):
    for number in count():
        lab = next(labs)
        refs = policed(lab, lab.process())
        with lab.fused(Fuse(at=number, after=after)) as doomed:
            try:
                doomed.set_policy("p", 1200)
            except Crash:
                pass
            else:
                return

        done = lab.process().set_policy("p", 60)

        assert not done.pending
        assert lengths(lab.process(), refs) == {60}
        lab.process().sweep()
        assert lengths(lab.process(), refs) == {60}


def test_two_movers_at_once_move_each_ref_once(labs):
    for lab, moved, done in at_each_exchange(
        labs,
        lambda _, process: process.set_policy("p", 1200),
        lambda lab: lab.process().set_policy("p", 1200).moved,
    ):
        assert moved + done.moved == MANY
        assert lengths(lab.process(), lab.before) == {1200}
