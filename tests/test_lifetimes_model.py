"""Any sequence of lifetime verbs, time, sweeps and replays agrees with the specification.

The specification is `lifetimes_oracle`, a store in memory; `lifetimes_rules` drives three processes and the oracle side
by side; `lifetimes_world` compares them: every ref in every process, every file, every list and count.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from mediastore.index import changes, listing, lives

from .lifetimes_rules import Lifetimes
from .lifetimes_world import World

#: Shrinking takes minutes; the notes of a failure list the calls.
MODEL = settings(
    stateful_step_count=50,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
WITHOUT_GRACE, WITH_GRACE = 0, 60
each_grace = pytest.mark.parametrize("grace_s", [WITHOUT_GRACE, WITH_GRACE])


@pytest.fixture
def make_life(lane, request, tmp_path, monkeypatch):
    """Give a maker of lives of a store; batches are two long, so that every one is cut short."""
    for module in (changes, lives, listing):
        monkeypatch.setattr(module, "END_BATCH", 2)
    numbers = count()

    def make(grace_s: int) -> Lifetimes:
        server = fakeredis.FakeServer()

        def client() -> Any:
            if lane == "fake":
                return fakeredis.FakeRedis(server=server)
            return redis.Redis.from_url(request.getfixturevalue("server_url"))

        return Lifetimes(World(client, tmp_path / str(next(numbers)), grace_s))

    return make


@pytest.fixture
def run_model(make_life):
    """Give a runner of the model; returns the number of steps."""

    def run(grace_s: int, limits: settings) -> int:
        before = Lifetimes.steps
        run_state_machine_as_test(lambda: make_life(grace_s), settings=limits)  # type: ignore[arg-type]
        return Lifetimes.steps - before

    return run


@each_grace
def test_any_life_agrees_with_the_specification(run_model, grace_s):
    steps = run_model(grace_s, settings(MODEL, max_examples=3, derandomize=True))

    assert steps > 100


def test_a_second_end_of_a_lease_leaves_what_has_become_due_to_the_sweep(make_life):
    life = make_life(WITH_GRACE)
    life.store_the_first(p=0, scope="a", ttl=None)
    life.take_lease(p=0, r=0, ttl=30)
    life.end_lease(n=1)
    life.delete(p=0, r=0)
    life.pass_time(62)

    life.end_lease(n=0)
    life.agrees()
    assert life.world.lab.files() == {"1.jpg": "1.jpg 1"}
    life.sweep(p=1)

    life.agrees()
    assert life.world.lab.files() == {}
    life.teardown()


@pytest.mark.torture
@pytest.mark.timeout(3600)
@each_grace
def test_twenty_thousand_steps_of_a_life_agree_with_the_specification(run_model, grace_s):
    steps = run_model(grace_s, settings(MODEL, max_examples=450))

    print(f"{steps} steps")
    assert steps >= 20_000
