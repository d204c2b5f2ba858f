"""A server's clock that jumps ends nothing, and time does not stand still once it is mended."""

from __future__ import annotations

import pytest

from mediastore import NEVER, Swept
from mediastore.clocks import host_clocks
from mediastore.errors import RefGone

from .epochs_clock import MINUTE_MS, clock, real  # noqa: F401 - a fixture
from .life import inner

pytestmark = real

HOUR_S = 3600.0


class Host:
    """The clocks of a host, as much behind the server's as a test says."""

    behind_s = 0.0
    wall_behind_s: float | None = None

    def __call__(self):
        steady_s, wall_s = host_clocks()
        wall_behind_s = self.behind_s if self.wall_behind_s is None else self.wall_behind_s
        return steady_s - self.behind_s, wall_s - wall_behind_s


@pytest.fixture
def host(store):
    """Give the clocks of the host on which the store is."""
    made = Host()
    inner(store)._speech.clock.clocks = made
    return made


def greet(store):
    """Have the server's time heard with the next change, as it is once a minute."""
    inner(store)._speech.distrust_time()


@pytest.fixture
def jump(store, host, clock):
    """Give a way to let the server's clock jump ahead, by seconds; back with less than 0."""

    def by(seconds):
        host.behind_s += seconds
        clock.pass_by(round(seconds * 1000))
        greet(store)

    return by


@pytest.mark.parametrize("seconds", [2 * HOUR_S, 72 * HOUR_S])
def test_nothing_ends_while_the_clock_lies_and_time_goes_on_once_it_is_mended(
    store, jump, clock, make_file, seconds
):
    due, leased = make_file("due.jpg"), make_file("leased.jpg")
    ref = store.store(due, scope="s", ttl="1h")
    held = store.take_lease(store.store(leased, scope="leased", ttl=NEVER))
    store.sweep()

    jump(seconds)

    assert store.sweep() == Swept()
    assert (store.release_all("leased").pending, leased.exists()) == (1, True)
    assert (store.resolve(ref), store.stats().frozen) == (due, ("clock",))
    assert round(store.epoch().frozen.ahead_s) == seconds
    jump(-seconds)
    assert store.sweep() == Swept()
    assert store.stats().frozen == ()
    held.end()
    short = store.store(make_file("short.jpg"), scope="s", ttl="1m")
    clock.pass_by(2 * MINUTE_MS)
    with pytest.raises(RefGone):
        store.resolve(short)
    assert store.sweep().expired == 1


def test_a_release_finds_out_by_itself(store, jump, make_file):
    leased = make_file("leased.jpg")
    held = store.take_lease(store.store(leased, scope="s"))

    jump(2 * HOUR_S)
    store.release_all("s")

    assert leased.exists()
    assert store.stats().frozen == ("clock",)
    jump(-2 * HOUR_S)
    store.sweep()
    held.end()


def test_a_sweeper_that_just_started_looks_at_its_wall_clock(store, host, clock, make_file):
    host.wall_behind_s = 2 * HOUR_S
    store.store(make_file("a.jpg"), scope="s")

    store.sweep()

    assert store.stats().frozen == ("clock",)
    host.wall_behind_s = 0.0
    greet(store)
    store.sweep()
    assert store.stats().frozen == ()


def test_what_is_accepted_is_right_from_then_on(store, jump, make_file, clock):
    store.store(make_file("a.jpg"), scope="s", ttl="1m")
    store.sweep()
    jump(2 * HOUR_S)
    assert store.sweep().expired == 0
    assert store.stats().frozen == ("clock",)

    store.accept_epoch()

    for _ in range(3):
        greet(store)
        assert store.sweep().frozen == 0
    assert store.stats().frozen == ()


def test_ten_minutes_are_no_jump_and_an_idle_hour_is_none(store, jump, clock, make_file):
    jump(550)
    clock.pass_by(HOUR_S * 1000)
    store.store(make_file("a.jpg"), scope="s", ttl="1m")
    clock.pass_by(MINUTE_MS)

    assert store.sweep().expired == 1
    assert store.stats().frozen == ()


def test_a_second_jump_is_told_as_well(store, jump, make_file):
    leased = make_file("leased.jpg")
    held = store.take_lease(store.store(leased, scope="s", ttl=NEVER))
    store.sweep()
    jump(2 * HOUR_S)
    store.sweep()
    jump(70 * HOUR_S)

    store.release_all("s")

    assert round(store.epoch().frozen.ahead_s) == 72 * HOUR_S
    jump(-72 * HOUR_S)
    store.sweep()
    assert leased.exists()
    held.end()


def test_a_process_that_starts_during_the_lie_deletes_nothing(store, host, clock, make_file):
    """Whatever it is asked first: its own wall clock says otherwise."""
    host.wall_behind_s = 2 * HOUR_S
    clock.pass_by(2 * HOUR_S * 1000)

    assert store.clean_expired() == 0
    assert store.stats().frozen == ("clock",)
