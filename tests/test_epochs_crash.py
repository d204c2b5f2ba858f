"""A process that is stopped before or after any call of a look at the epochs, or of `accept_epoch`."""

from __future__ import annotations

import pytest

from .test_crash import Scenario, crashes, make_lab, one_ref, verdict  # noqa: F401 - a fixture

pytestmark = pytest.mark.parametrize("lane", ["real"], indirect=True)


def minutes(lab, count=3):
    for _ in range(count):
        lab.pass_time(60)
        lab.process().sweep()


def shows(lab):
    return (lab.root / ".mediastore/epoch").read_text()


def in_use(lab):
    """Leave a root that shows an entry, and another that is due to be written."""
    one_ref(lab)
    minutes(lab, 4)
    lab.pass_time(70)


def frozen(lab):
    """Leave a namespace that is frozen, with a second name that the index has forgotten."""
    one_ref(lab)
    minutes(lab)
    (lab.root / ".mediastore/held/0000000000000000000000.jpg").hardlink_to(lab.file("b.jpg", "b"))
    (lab.root / ".mediastore/epoch").write_text(f"9.{lab.now_ms()}.another\n")
    lab.process().sweep()
    assert lab.process().stats().frozen == ("epoch",)


def test_a_look_that_is_stopped_anywhere_freezes_nothing(make_lab):
    scenario = Scenario("look", in_use, lambda _, process: process.sweep())
    points = 0
    for lab, crash in crashes(scenario, make_lab):
        before = shows(lab)
        minutes(lab, 4)
        assert lab.process().stats().frozen == (), crash
        assert shows(lab) != before, crash
        assert not list(lab.root.glob(".mediastore/epoch.*")), crash
        verdict(lab, scenario, crash)
        points += 1

    assert points > 10


def test_an_accept_that_is_stopped_anywhere_is_called_again(make_lab):
    scenario = Scenario("accept", frozen, lambda _, process: process.accept_epoch(let_go=True))
    points = 0
    for lab, crash in crashes(scenario, make_lab):
        assert lab.files() == {"a.jpg": "a", "b.jpg": "b"}, crash
        store = lab.process()
        store.accept_epoch(let_go=True)
        lab.settle()
        assert (store.epoch().frozen, store.epoch().unknown) == (None, 0), crash
        assert store.release_all("s").deleted == 1, crash
        assert lab.files() == {"b.jpg": "b"}, crash
        lab.settle()
        assert lab.leftovers() == [], crash
        points += 1

    assert points > 4
