"""How one worker serves many namespaces: equal shares first, what is left to those that have more."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from mediastore import MediaStore, celery as ours
from mediastore.celery.rounds import Rounds
from mediastore.errors import BlobsUnavailable
from mediastore.model import Swept

NOTHING = Swept(0, 0, 0, 0, 0, 0, 0, 0)


class Day:
    """A clock that visits turn on: each namespace needs so many seconds."""

    def __init__(self, **needs_s):
        self.needs_s, self.now, self.visits = needs_s, 0.0, []

    def visit(self, name, given_s):
        used_s = min(given_s, self.needs_s[name])
        self.needs_s[name] -= used_s
        self.now += used_s
        self.visits.append((name, round(used_s, 3)))

    def rounds(self):
        return Rounds(tuple(self.needs_s), self.visit, lambda: self.now)


def test_a_huge_backlog_leaves_the_others_their_share_and_gets_the_rest():
    day = Day(huge=1e9, small=2.0, none=0.0)

    day.rounds().go(30.0)

    assert day.visits == [("huge", 10.0), ("small", 2.0), ("none", 0.0), ("huge", 18.0)]


def test_two_backlogs_share_what_is_left():
    day = Day(one=1e9, two=1e9, none=0.0)

    day.rounds().go(30.0)

    given = {n: sum(s for name, s in day.visits if name == n) for n in ("one", "two")}
    assert given == pytest.approx({"one": 15.0, "two": 15.0}, abs=0.1)


def test_each_tick_begins_one_further():
    day = Day(a=0.0, b=0.0, c=0.0)
    rounds = day.rounds()

    for _ in range(4):
        rounds.go(1.0)

    assert [name for name, _ in day.visits[::3]] == ["a", "b", "c", "a"]


def test_who_found_no_time_left_is_first_at_the_next_tick():
    day = Day(a=0.0, b=0.0, c=0.0, d=0.0)
    rounds = day.rounds()
    visit = day.visit

    def overrun(name, given_s):
        visit(name, given_s)
        day.now += 100 if name == "b" else 0  # a batch on a slow disk

    rounds._visit = overrun
    rounds.go(1.0)
    rounds.go(1.0)

    assert [name for name, _ in day.visits] == ["a", "b", "c", "d", "a", "b"]


def test_what_one_overruns_is_taken_from_each_of_the_others_alike():
    day = Day(a=1e9, b=1e9, c=1e9)
    rounds, visit = day.rounds(), day.visit

    def overrun(name, given_s):
        visit(name, given_s)
        day.now += 6.0 if name == "a" else 0.0

    rounds._visit = overrun
    rounds.go(30.0)

    assert day.visits == [("a", 10.0), ("b", 7.0), ("c", 7.0)]


def test_one_namespace_has_the_whole_budget():
    day = Day(alone=1e9)

    day.rounds().go(30.0)

    assert day.visits == [("alone", 30.0)]


# --- passes


@pytest.fixture
def several(settings, media):
    return dataclasses.replace(
        settings, namespaces=("a", "b", "c"), roots=(str(media / "{namespace}"),)
    )


def test_a_namespace_that_fails_costs_a_line_and_keeps_no_other_waiting(
    several, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "mediastore")
    visited = []

    def sweep(store, _):
        visited.append(store.settings.namespace)
        if store.settings.namespace == "a":
            raise BlobsUnavailable("the root is gone")
        if store.settings.namespace == "b":
            raise RuntimeError("a bug")
        return dataclasses.replace(NOTHING, deleted=3)

    monkeypatch.setattr(MediaStore, "sweep", sweep)

    ours.make_app(several).tasks[ours.SWEEP]()

    assert visited == ["a", "b", "c"]
    failed, bug, done = caplog.records
    assert "of namespace a failed" in failed.getMessage()
    assert (failed.levelno, failed.exc_info) == (logging.WARNING, None)
    assert "of namespace b failed" in bug.getMessage()
    assert "swept of namespace c" in done.getMessage()
    assert (done.namespace, done.deleted) == ("c", 3)


def test_a_tick_whose_time_is_over_goes_on_to_no_other_namespace(several, monkeypatch, caplog):
    visited = []

    def sweep(store, _):
        visited.append(store.settings.namespace)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(MediaStore, "sweep", sweep)

    ours.make_app(several).tasks[ours.SWEEP]()

    assert visited == ["a"]
    assert [line.levelname for line in caplog.records] == ["WARNING"]


def test_each_namespace_is_swept_in_its_own_roots(several, monkeypatch, media):
    seen = []

    def drain(store, _):
        seen.append((store.settings.namespace, store.settings.roots))
        return NOTHING

    monkeypatch.setattr(MediaStore, "drain", drain)

    ours.make_app(several).tasks[ours.DRAIN]()

    assert seen == [(name, (str(media / name),)) for name in "abc"]


def test_workers_of_different_lists_never_hear_each_other(several):
    def prefix(**chosen):
        app = ours.make_app(dataclasses.replace(several, **chosen))
        return app.conf.broker_transport_options["global_keyprefix"]

    assert prefix() == "mediastore:celery:a,b,c:"
    assert prefix(namespaces=("c", "a", "b")) == prefix()
    assert prefix(namespaces=("a", "b")) != prefix()
    assert prefix(namespaces=("a",)) == prefix(namespaces=(), namespace="a")
    many = [f"n{number}" for number in range(200)]
    assert len(prefix(namespaces=many)) < 64
    assert prefix(namespaces=many) != prefix(namespaces=many[1:])
