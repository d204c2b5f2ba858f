"""More than anybody can have meant to end by itself ends not, before the first file; all else goes on."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from mediastore import NEVER, MediaContent, MediaMeta
from mediastore.errors import InvalidRequest, RefGone
from mediastore.index import changes, lives
from mediastore.index.epochs import Looks
from mediastore.index.steps import Batch, prefix
from mediastore.journal import Held

from .epochs_clock import DAY_MS, MINUTE_MS, clock, minutes, real  # noqa: F401 - fixtures
from .life import inner

HOUR_MS = 60 * MINUTE_MS
LEAST = 4


def blocking(test):
    """Run a test on a real server through the blocking client alone: what it asks is what the scripts do."""
    return real(pytest.mark.parametrize("store", ["sync"], indirect=True)(test))


@pytest.fixture
def settings(settings):
    """Give settings whose breaker trips on more than a few refs."""
    return replace(settings, breaker_min=LEAST)


@pytest.fixture
def crowd(store, make_file):
    """Give a way to store some refs at once."""

    def some(count, scope="s", **options):
        options.setdefault("ttl", "30m")
        paths = [make_file(f"{scope}-{number}.jpg") for number in range(count)]
        return [store.store(path, scope=scope, **options) for path in paths], paths

    return some


@pytest.fixture
def lived_a_day(store, client, clock, settings):
    """Give an index in which one ref ended by itself in each of the last 24 hours."""
    hour = clock.ms // HOUR_MS
    hours = {str(hour - n): 1 for n in range(24)}
    client.hset(f"{prefix(settings.namespace)}breaker", mapping=hours)


def by_mistake(store):
    """Shorten the policy of refs that were stored for a month."""
    store.set_policy("voice", "10m")


@pytest.fixture
def shortened(store, clock, crowd):
    """Give refs and their files whose policy was shortened from 30 days to 10 minutes, in a young index."""
    store.set_policy("voice", "30d")
    made = crowd(LEAST + 2, ttl=None, meta=MediaMeta(policy="voice"))
    clock.pass_by(HOUR_MS)
    by_mistake(store)
    return made


# --- what trips it


@real
def test_a_policy_that_is_shortened_trips_it_before_the_first_file(store, shortened):
    refs, paths = shortened

    swept = store.sweep()

    assert (swept.frozen, swept.expired, swept.deleted) == (LEAST + 2, 0, 0)
    assert all(path.exists() for path in paths)
    assert store.stats().frozen == ("breaker",)
    found = store.breaker()
    assert (found.tripped.due, found.tripped.live, found.tripped.mean) == (LEAST + 2, LEAST + 2, 0)
    assert (found.due, found.live, found.hours) == (LEAST + 2, LEAST + 2, 0)
    assert store.clean_expired() == 0
    # Their deadlines have passed: readers are told so.
    with pytest.raises(RefGone):
        store.resolve(refs[0])
    assert store.resolve(store.restore(refs[0], ttl="1h")) == paths[0]


@blocking
def test_a_policy_that_brings_deadlines_nearer_counts_until_they_come(store, clock, crowd):
    store.set_policy("voice", "30d")
    crowd(LEAST + 2, ttl=None, meta=MediaMeta(policy="voice"))
    store.set_policy("voice", "7d")
    assert store.sweep().frozen == 0
    clock.pass_by(7 * DAY_MS)

    assert store.sweep().frozen == LEAST + 2
    assert store.breaker().changed_until.timestamp() * 1000 == clock.ms + DAY_MS


@blocking
def test_more_than_ever_ended_in_an_hour_trips_it(store, lived_a_day, clock, crowd):
    crowd(11)
    clock.pass_by(HOUR_MS)

    assert (store.sweep().frozen, store.breaker().tripped.mean) == (11, 1)


@blocking
@pytest.mark.parametrize(("due", "longer"), [(LEAST, 0), (10, 0), (11, 11)])
def test_no_more_than_the_least_than_ten_times_the_mean_or_than_half_trips_it_not(
    store, lived_a_day, clock, crowd, due, longer
):
    crowd(due)
    crowd(longer, scope="longer", ttl="1d")
    clock.pass_by(HOUR_MS)

    assert (store.sweep().expired, store.stats().frozen) == (due, ())


@blocking
def test_a_young_index_whose_policies_nobody_shortened_trips_it_not(store, clock, crowd):
    store.set_policy("voice", "10m")
    crowd(LEAST + 2, ttl=None, meta=MediaMeta(policy="voice"))
    store.set_policy("voice", "20m")
    clock.pass_by(HOUR_MS)

    assert store.sweep().expired == LEAST + 2


@blocking
def test_scopes_past_their_deadline_count_by_what_they_hold(store, lived_a_day, clock, crowd):
    paths = [path for name in ("a", "a/b/c", "d") for path in crowd(4, name, ttl=NEVER)[1]]
    for name in ("a", "d"):
        store._ask(lives.limit(name, MINUTE_MS, "", f"op{name}"))
    clock.pass_by(HOUR_MS)

    assert (store.sweep().frozen, store.breaker().tripped.due) == (2, 12)
    assert all(path.exists() for path in paths)


@blocking
def test_of_many_scopes_the_rest_is_taken_to_be_like_the_first(store, lived_a_day, clock, cat):
    for number in range(40):
        store.store(cat, scope=f"{number:02}", ttl=NEVER)
        store._ask(lives.limit(f"{number:02}", MINUTE_MS, "", f"op{number}"))
    clock.pass_by(HOUR_MS)

    assert (store.sweep().frozen, store.breaker().tripped.due) == (40, 40)


# --- what it stops, and what not


@real
def test_releases_are_carried_out_and_files_are_deleted_meanwhile(
    store, shortened, crowd, make_file
):
    _, paths = shortened
    store.sweep()
    crowd(3, scope="t")

    released = store.release_all("t")
    alone = make_file("alone.jpg")
    store.delete_media(store.store(alone, scope="u"))

    assert (released.deleted, alone.exists()) == (3, False)
    assert store.release_all("s").deleted == len(paths)
    assert store.sweep().frozen == 0
    assert store.stats().frozen == ()


@blocking
def test_sidecars_are_written_meanwhile(store, shortened, client, settings):
    store.sweep()
    (root,) = store.stats().roots
    store.touch(store.store_media(MediaContent(data=b"x"), scope="t"), "1d")
    assert client.zcard(f"{prefix(settings.namespace)}meta:{root}") == 1

    store.sweep()

    assert client.zcard(f"{prefix(settings.namespace)}meta:{root}") == 0


@blocking
def test_a_release_trips_it_never(store, lived_a_day, clock, crowd):
    crowd(20)
    store.release_all("s", wait=False)
    clock.pass_by(HOUR_MS)

    # Nothing ends at its deadline, until it is known how much had been released.
    assert (store.clean_expired(), store.stats().frozen) == (0, ())
    assert (store.sweep().drained, store.stats().frozen) == (20, ())


@blocking
def test_what_is_past_its_deadline_beside_a_release_trips_it(store, lived_a_day, clock, crowd):
    crowd(40)
    crowd(20, scope="t")
    store.release_all("t", wait=False)
    clock.pass_by(HOUR_MS)

    assert (store.sweep().frozen, store.stats().frozen) == (60, ("breaker",))


@blocking
def test_nothing_ends_while_a_policy_is_being_changed_until_all_is_known(
    store, clock, crowd, monkeypatch
):
    """Else a sweep would end by tens what a change shortens by tens, and never see many at once."""
    store.set_policy("voice", "30d")
    _, paths = crowd(25, ttl=None, meta=MediaMeta(policy="voice"))
    clock.pass_by(HOUR_MS)
    inner(store)._ctx = replace(
        inner(store)._ctx, settings=replace(inner(store)._ctx.settings, release_budget=1e-9)
    )
    assert store.set_policy("voice", "10m").pending

    assert (store.clean_expired(), store.stats().frozen) == (0, ())
    assert (store.sweep().frozen, store.stats().frozen) == (25, ("breaker",))
    assert all(path.exists() for path in paths)


@blocking
def test_a_change_that_something_stops_for_an_hour_is_waited_for_no_more(
    store, client, settings, clock, crowd
):
    store.set_policy("voice", "30d")
    crowd(LEAST + 2, ttl="30m")
    name = prefix(settings.namespace)
    client.zadd(f"{name}under:voice", {f"r{n}": 1 for n in range(50)})
    client.hset(f"{name}changing", "voice", f"{clock.ms * 1000} 0")
    clock.pass_by(HOUR_MS - 1)
    assert store.clean_expired() == 0

    clock.pass_by(1)

    assert store.clean_expired() == LEAST + 2


@blocking
def test_after_epoch_accept_what_is_only_put_off_trips_it_not(store, lived_a_day, clock, crowd):
    crowd(20)
    clock.pass_by(HOUR_MS)
    store.accept_epoch()

    store.sweep()

    assert store.stats().frozen == ()


# --- the way out


@real
def test_what_is_allowed_ends_until_then_and_no_longer(store, shortened, clock, crowd):
    _, paths = shortened
    store.sweep()

    found = store.allow_breaker("1h")

    assert (found.tripped, found.allowed_until.timestamp() * 1000) == (None, clock.ms + HOUR_MS)
    assert (store.stats().frozen, store.sweep().deleted) == ((), len(paths))
    # What was let through is known of from then on: more than ten times as much is too much.
    crowd(61, meta=MediaMeta(policy="voice"), ttl=None)
    clock.pass_by(HOUR_MS)
    assert store.sweep().frozen == 61
    assert store.breaker().allowed_until is None


@blocking
def test_it_is_reset_once_no_more_than_the_least_is_due(store, clock, crowd):
    store.set_policy("voice", "30d")
    for scope in ("s", "t"):
        crowd(3, scope=scope, ttl=None, meta=MediaMeta(policy="voice"))
    clock.pass_by(HOUR_MS)
    by_mistake(store)
    assert store.sweep().frozen == 6

    store.release_all("t")

    assert (store.clean_expired(), store.stats().frozen) == (3, ())


@blocking
def test_refs_that_end_with_their_scope_count_as_usual_too(store, clock, crowd):
    crowd(3, scope="a", ttl=NEVER)
    store._ask(lives.limit("a", MINUTE_MS, "", "op"))
    clock.pass_by(HOUR_MS)

    store.sweep()

    assert (store.breaker().mean, store.breaker().hours) == (3, 1)


@blocking
def test_nothing_that_is_stored_meanwhile_makes_it_let_go(store, shortened, crowd):
    store.sweep()
    crowd(5 * LEAST, scope="more", ttl=NEVER)

    assert store.sweep().frozen == LEAST + 2


@blocking
def test_none_trips_where_the_least_is_0(store, shortened, client):
    _, paths = shortened
    store.sweep()
    off = inner(store)
    off._ctx = replace(off._ctx, settings=replace(off._ctx.settings, breaker_min=0))

    assert (store.sweep().deleted, store.stats().frozen) == (len(paths), ())


@pytest.mark.parametrize("until", [NEVER, "8d", "soon", 0, -1, None])
def test_it_can_be_allowed_for_a_while_only(other, until):
    with pytest.raises(InvalidRequest):
        other.allow_breaker(until)

    assert other.breaker().allowed_until is None


@real
def test_it_is_logged_once_and_so_is_its_end(store, shortened, caplog):
    with caplog.at_level(logging.WARNING, "mediastore"):
        for _ in range(3):
            store.sweep()
        store.allow_breaker("1h")
        for _ in range(3):
            store.sweep()

    told = [r.getMessage() for r in caplog.records if "breaker" in r.getMessage()]
    assert ["has tripped: 6" in told[0], "not tripped any more" in told[1], len(told)] == [
        *(True, True),
        2,
    ]


# --- a fleet that turns over completely


class Turnover:
    """Refs that live for half an hour, all of them ended and as many stored by each pass: the scripts alone, a write a pass."""

    def __init__(self, store, settings, clock):
        self.store, self.clock, self.number = store, clock, 0
        self.looks = Looks(breaker="2 500000")
        self.terms = changes.Terms(1)

    def _new(self):
        self.number += 1
        name = f"{self.number:022}"
        held = Held("root", f"{self.number}.jpg", 1, f"inode:{self.number}", "1:1:1", "borrowed")
        return changes.store(name, name, "s", held, HOUR_MS // 2, MediaMeta())

    def passes(self, count, refs=3):
        """Let half an hour pass, as often; returns why scripts did nothing."""
        held = set()
        for _ in range(count):
            self.clock.pass_by(HOUR_MS // 2)
            expire = changes.expire(f"op{self.number}", self.terms, self.looks)
            steps = (expire, *(self._new() for _ in range(refs)))
            answers = self.store._ask(Batch(steps))
            held.add(answers[0].stopped.why)
            assert answers[0].stopped.why or answers[0].expired in {0, 3}
        return held


@blocking
@pytest.mark.parametrize("count", [120, pytest.param(10_000, marks=pytest.mark.torture)])
def test_a_fleet_that_turns_over_completely_each_half_hour_trips_it_never(
    store, settings, clock, count
):
    fleet = Turnover(store, settings, clock)

    assert fleet.passes(count) == {""}
    assert store.stats().expired_refs == 3 * (count - 1)
    found = store.breaker()
    assert (found.hours, 5 < found.mean <= 6) == (24, True)
    # It would have tripped: ten times as many do it.
    fleet.passes(1, refs=61)
    assert fleet.passes(1) == {"breaker"}
