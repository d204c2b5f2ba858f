"""Policies applied to refs that live: counted from the store, never in the past; and `enforce_policy`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mediastore import NEVER, MediaMeta
from mediastore.errors import InvalidPolicy, RefGone, RefUnknown
from mediastore.index.steps import prefix

from .lifetimes import UNKNOWN, index_of, one_lane, seconds_left
from .policy_fixtures import by, follows, known, life


@pytest.mark.parametrize("policy", ["retain-2hours", "named", "own"])
def test_a_policy_is_applied_from_when_the_ref_was_stored(labs, policy):
    lab = next(labs)
    lab.settings = replace(lab.settings, policies={"own": 7200})
    store = lab.process()
    store.set_policy("named", 7200)
    ref = store.store(lab.file("a.jpg", "a"), scope="s", ttl=100)
    lab.pass_time(60)

    due = store.apply_policy(ref, policy)

    media = store.get(ref)
    assert due == media.expires_at == media.stored_at + timedelta(hours=2)
    assert media.meta.policy == policy
    assert known(store)["named"][1] == (policy == "named")


def test_applied_by_both_clients_it_can_be_changed_afterwards(store, cat):
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s", meta=by("retain-1days"))

    assert store.apply_policy(ref, "p") == store.get(ref).expires_at
    assert store.apply_policy(ref, "p") == store.get(ref).expires_at
    store.set_policy("p", 90)

    assert life(store, ref) == ("p", 90)


def test_a_policy_shorter_than_a_ref_has_lived_ends_it_now_and_not_in_the_past(lab):
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "a"), scope="s")
    lab.pass_time(900)

    due = store.apply_policy(ref, "delete-after-10min")

    assert round(due.timestamp() * 1000) == lab.now_ms()
    with pytest.raises(RefGone) as caught:
        store.resolve(ref)
    assert (caught.value.reason, caught.value.when) == ("expired", due)
    assert (store.enforce_policy().expired, lab.files()) == (1, {})


def test_another_policy_takes_a_ref_out_of_the_one_before(store, cat, client, settings):
    store.set_policy("p", 60)
    store.set_policy("q", 120)
    ref = store.store(cat, scope="s", meta=by("p"))

    store.apply_policy(ref, "q")

    assert known(store) == {"p": (60, 0), "q": (120, 1)}
    assert store.apply_policy(ref, "retain-1days")
    assert follows(client, settings) == set()


@pytest.mark.parametrize("nothing", ["", None])
def test_a_ref_without_its_policy_keeps_its_deadline(store, cat, nothing, client, settings):
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s", meta=by("p", source="bot"))
    before = store.get(ref).expires_at

    assert store.apply_policy(ref, nothing) == before
    store.set_policy("p", 90)

    assert (store.get(ref).expires_at, store.get(ref).meta) == (before, MediaMeta(source="bot"))
    assert follows(client, settings) == set()


def test_a_pinned_ref_gets_the_length_for_when_it_is_unpinned(store, cat):
    store.set_policy("p", "1h")
    ref = store.store(cat, scope="s", ttl=60)
    store.pin(ref)

    assert store.apply_policy(ref, "p") is None

    assert (store.get(ref).pinned, store.get(ref).expires_at) == (True, None)
    assert 3590 < seconds_left(store.unpin(ref)) <= 3600


def test_a_policy_without_an_end_takes_the_deadline_away(store, cat, client, settings):
    store.set_policy("kept", NEVER)
    ref = store.store(cat, scope="s", ttl=60)

    assert store.apply_policy(ref, "kept") is None
    assert store.get(ref).expires_at is None
    assert client.zcard(f"{prefix(settings.namespace)}expiry") == 0
    assert store.touch(ref) is None


@one_lane
def test_applying_a_policy_is_activity_of_an_idling_scope(lab):
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "a"), scope="s")
    store.scope("s", idle=100).open()
    lab.pass_time(60)

    store.apply_policy(ref, "retain-1days")

    lab.pass_time(60)
    store.sweep()
    assert store.resolve(ref)


@pytest.mark.parametrize("policy", ["nobodys", "Junk", "retain-0days", "delete-after-5hours"])
def test_a_policy_that_nobody_knows_is_not_applied(store, cat, policy, client, settings):
    ref = store.store(cat, scope="s")
    before = index_of(client, settings)

    with pytest.raises(InvalidPolicy):
        store.apply_policy(ref, policy)

    assert index_of(client, settings) == before


def test_a_dead_ref_gets_no_policy(store, cat, client, settings):
    ref = store.store(cat, scope="s", meta=by("retain-1days"))
    store.release_all("s")
    before = index_of(client, settings)

    with pytest.raises(RefGone, match="released"):
        store.apply_policy(ref, "retain-2days")
    with pytest.raises(RefUnknown):
        store.apply_policy(UNKNOWN, "retain-2days")

    assert index_of(client, settings) == before


@one_lane
def test_enforcing_is_a_sweep(lab):
    store = lab.process()
    store.store(lab.file("a.jpg", "a"), scope="s", meta=by("delete-after-1min"))
    lab.pass_time(61)

    done = store.enforce_policy()

    assert (done.expired, done.deleted) == (1, 1)
