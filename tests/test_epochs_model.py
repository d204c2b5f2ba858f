"""An index that went back in time is told from one that did not, in every order of steps; each rule is needed for it."""

from __future__ import annotations

import pytest

from tests.epochs_model import Model, Trap, explore
from tests.epochs_scripts import RULES
from tests.epochs_world import LARGER, WORLDS, running

#: Without which rule what happens, and in which world.
TRAPS = {
    "notes": ("deleted", "just restored"),
    "whole": ("deleted", "just restored"),
    "first note": ("frozen", "a flush"),
    "seen": ("frozen", "a new index"),
    "missing": ("deleted", "a removed file"),
    "pause": ("deleted", "just restored"),
    "bound due": ("deleted", "accept of what is due"),
    "bound trash": ("deleted", "accept of what is in grace"),
    "born": ("frozen", "a flush"),
    "shown": ("frozen", "killed writers"),
    "early": ("frozen", "a new root"),
    "mark": ("deleted", "after accept"),
    "clear": ("frozen", "a writer that is late"),
    "announce": ("frozen", "slow writers and a flush"),
    "compare": ("deleted", "an overtaken writer"),
    "clear first": ("frozen", "slow writers and a flush"),
    "twice": ("frozen", "slow writers and a flush"),
}


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_that_a_lost_change_saved_goes_and_nothing_freezes_without_cause(world):
    assert len(explore(Model(), WORLDS[world])) > 100


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", LARGER)
def test_the_same_holds_within_larger_bounds(world):
    assert len(explore(Model(), LARGER[world])) > 10_000


@pytest.mark.parametrize("rule", RULES)
def test_the_model_sees_each_trap(rule):
    what, world = TRAPS[rule]

    with pytest.raises(Trap, match=what):
        explore(Model(rule), WORLDS[world])


def test_a_reserved_blob_whose_commit_was_lost_needs_the_bound_as_well():
    with pytest.raises(Trap, match="deleted"):
        explore(Model("bound trash"), WORLDS["accept of what is reserved"])


def test_smaller_numbers_taken_for_old_let_two_servers_of_one_snapshot_go_on():
    with pytest.raises(Trap, match="both go on"):
        explore(Model("notes"), WORLDS["a fork that grows"])


def test_a_root_that_was_added_since_the_snapshot_is_not_new_to_the_index():
    with pytest.raises(Trap, match="deleted"):
        explore(Model("born"), WORLDS["a new root"])


def test_four_killed_writers_push_the_shown_entry_out_of_the_notes():
    with pytest.raises(Trap, match="frozen"):
        explore(Model("shown", notes=4), WORLDS["killed writers"])


def test_what_is_released_after_accept_goes_at_once_and_what_waited_goes_after_the_bound():
    model, world = Model(), WORLDS["accept of what is in grace"]

    indexes = [each.servers[0] for each in explore(model, world) if each.accepted]

    assert any(i.bound and i.released and model.claimable(i) for i in indexes)
    assert not any(i.bound and not i.released and model.claimable(i) for i in indexes)
    assert any(not i.bound and not i.released and model.claimable(i) for i in indexes)


def test_after_three_entries_a_root_has_one_that_is_younger_than_any_change():
    """The lag: what was changed before that is told from what was not; see `running` for where it begins."""
    model, world = Model(notes=4), running(1, pushes=3)
    changed = world.now

    while world.left.pushes:
        for push in (True, False):
            done = model.tick(world, 0, 0, world.read(0), push=push)
            assert done is not None
            world = model.write(done[0], 0, done[1])

    file = world.read(0)
    assert file is not None
    assert file.born > changed
