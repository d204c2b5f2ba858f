"""Deadlines of refs that move: touched, taken away, exempted, given again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediastore import NEVER, MediaMeta
from mediastore.errors import InvalidRequest, RefGone
from mediastore.index.steps import prefix

from .lifetimes import one_lane, seconds_left

# --- touch


@one_lane
def test_touch_gives_the_same_length_again_from_now(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=100)
    lab.pass_time(90)

    due = store.touch(ref)

    assert due == store.get(ref).expires_at
    assert round(due.timestamp() * 1000) == lab.now_ms() + 100_000
    lab.pass_time(99)
    assert store.resolve(ref)
    lab.pass_time(1)
    with pytest.raises(RefGone, match="expired"):
        store.resolve(ref)


@one_lane
def test_touch_gives_a_length_that_later_touches_give_again(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=100)
    lab.pass_time(50)

    longer = store.touch(ref, "10m")
    lab.pass_time(550)
    again = store.touch(ref)
    shorter = store.touch(ref, 10)

    assert (longer.timestamp(), again - longer) == (
        pytest.approx(lab.base_ms / 1000 + 650),
        timedelta(seconds=550),
    )
    assert shorter - again == timedelta(seconds=-590)
    lab.pass_time(10)
    lab.process().sweep()
    with pytest.raises(RefGone, match="expired"):
        store.resolve(ref)
    assert lab.files() == {}


@pytest.mark.parametrize("never", [NEVER, "never"])
def test_touch_can_take_the_deadline_away_for_good_and_give_one_again(store, other, cat, never):
    ref = store.store(cat, scope="s", ttl=0.2)

    assert store.touch(ref, never) is None

    assert store.get(ref).expires_at is None
    assert store.touch(ref) is None
    assert 59 < seconds_left(store.touch(ref, "1m")) <= 60
    assert other.stats().refs == 1


@one_lane
def test_an_old_deadline_in_the_index_does_not_end_a_touched_ref(lab, client):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    store.touch(ref, 1000)
    lab.client.zadd(f"{prefix(lab.namespace)}expiry", {ref.id: lab.now_ms() + 1})
    lab.pass_time(20)

    swept = lab.process().sweep()

    assert (swept.expired, store.resolve(ref).read_text()) == (0, "a")
    lab.pass_time(990)
    assert lab.process().sweep().expired == 1


@pytest.mark.parametrize("ttl", [0, -1, "soon", True])
def test_touch_refuses_what_is_no_lifetime(other, cat, ttl):
    ref = other.store(cat, scope="s")
    before = other.get(ref)

    with pytest.raises(InvalidRequest):
        other.touch(ref, ttl)

    assert other.get(ref) == before


# --- pin and unpin


@one_lane
def test_a_pinned_ref_survives_its_deadline(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)

    store.pin(ref)

    lab.pass_time(10_000)
    assert lab.process().sweep().expired == 0
    media = store.get(ref)
    assert (media.pinned, media.expires_at, store.refs("s")) == (True, None, [media])


@one_lane
def test_unpin_gives_the_length_from_now(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    lab.pass_time(9)
    store.pin(ref)
    store.pin(ref)
    lab.pass_time(10_000)

    due = store.unpin(ref)

    assert round(due.timestamp() * 1000) == lab.now_ms() + 10_000
    assert (store.get(ref).pinned, store.get(ref).expires_at) == (False, due)
    lab.pass_time(10)
    assert lab.process().sweep().expired == 1


@pytest.mark.parametrize(("ttl", "then"), [(70, 70), (None, 10), (NEVER, None)])
@one_lane
def test_touch_of_a_pinned_ref_changes_only_the_length_for_later(lab, ttl, then):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    store.pin(ref)

    assert store.touch(ref, ttl) is None

    lab.pass_time(10_000)
    assert lab.process().sweep().expired == 0
    assert store.get(ref).pinned
    due = store.unpin(ref)
    assert (due and round(due.timestamp() * 1000) - lab.now_ms()) == (then and then * 1000)


def test_a_ref_without_a_deadline_has_none_after_unpinning(store, cat):
    ref = store.store(cat, scope="s", ttl=NEVER)
    store.pin(ref)

    assert store.unpin(ref) is None

    assert (store.get(ref).expires_at, store.get(ref).pinned) == (None, False)


@pytest.mark.parametrize("end", ["release_all", "delete_media", "release of the parent"])
def test_a_pin_does_not_outlive_a_release_or_a_deletion(store, cat, end, expect_empty):
    ref = store.store(cat, scope="a/x")
    store.pin(ref)

    done = (
        store.delete_media(ref)
        if end == "delete_media"
        else store.release_all("a" if "parent" in end else "a/x")
    )

    assert (done.refs, done.deleted) == (1, 1)
    with pytest.raises(RefGone):
        store.unpin(ref)
    expect_empty()


def test_touch_wins_over_the_policy_of_the_metadata(other, cat):
    ref = other.store(cat, scope="s", meta=MediaMeta(policy="delete-after-10min"))

    assert 3590 < seconds_left(other.touch(ref, "1h")) <= 3600
    assert 3590 < seconds_left(other.touch(ref)) <= 3600
