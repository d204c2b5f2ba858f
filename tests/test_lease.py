"""Leases: bytes that stay for whoever uses them, whatever becomes of the ref; how one is taken, renewed, ended, lost."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from mediastore import MediaMeta
from mediastore.errors import (
    InvalidRequest,
    LeaseLost,
    RefGone,
    RefUnknown,
)
from mediastore.index.steps import prefix

from .conftest import JPEG, Blocking
from .lease_fixtures import at_server, deaf, settings, without_collector
from .life import inner
from .waiting import until

__all__ = ["settings", "without_collector"]  # fixtures


def end_by_release(other, ref):
    done = other.release_all("chat:1")
    assert (done.refs, done.deleted, done.pending) == (1, 0, 1)


def end_by_delete(other, ref):
    done = other.delete_media(ref)
    assert (done.refs, done.deleted, done.pending) == (1, 0, 1)


def end_by_expiry(other, ref):
    at_server(other, 3600)
    assert other.clean_expired() == 1
    at_server(other, 0)


# --- the bytes stay


@pytest.mark.parametrize("end", [end_by_release, end_by_delete, end_by_expiry])
def test_leased_bytes_outlive_the_end_of_their_ref_and_go_with_the_lease(
    end, store, other, cat, expect_empty
):
    ref = store.store(cat, scope="chat:1", meta=MediaMeta(filename="a cat"))

    # By an hour that passes the lease lapses as well, unless it lasts for longer.
    with store.lease(ref, ttl="2h") as held:
        end(other, ref)
        other.sweep()

        assert held.path.read_bytes() == JPEG
        assert (held.ref, held.meta.filename, held.lost) == (ref, "a cat", False)
        with pytest.raises(RefGone):
            store.resolve(ref)

    assert not cat.exists()
    expect_empty()


def test_the_path_of_a_lease_is_the_second_name_and_keeps_the_extension(store, media, cat):
    ref = store.store(cat, scope="s")

    with store.lease(ref) as held:
        assert held.path.parent == media / ".mediastore" / "held"
        assert held.path.suffix == ".jpg"
        assert held.path.samefile(cat)


def test_a_lease_is_renewed_in_the_background_for_as_long_as_the_body_runs(store, other, cat):
    ref = store.store(cat, scope="s")

    with store.lease(ref, ttl=0.9) as held:
        first = held.expires_at
        other.release_all("s")
        until(lambda: held.expires_at > first + timedelta(seconds=1.2))
        other.sweep()

        assert held.path.read_bytes() == JPEG

    assert not cat.exists()


def test_a_lease_that_the_body_has_no_name_for_is_renewed_as_well(store, cat):
    ref = store.store(cat, scope="s")

    with store.lease(ref, ttl=0.9):
        first = store.leases(ref)[0].until
        until(lambda: store.leases(ref)[0].until > first + timedelta(seconds=0.6))


def test_a_lease_that_everybody_has_forgotten_is_not_renewed(store, cat, without_collector):
    """Also the first one: a server that does not know the script yet answers with an error."""
    ref = store.store(cat, scope="s")
    store.lease(ref, ttl=0.9).__enter__()

    until(lambda: not store.leases(ref))


def test_what_was_not_entered_says_how_it_is(store, cat):
    ref = store.store(cat, scope="s")

    for call in (store.lease, inner(store).lease):
        with pytest.raises(AttributeError, match=r"then held\.path"):
            _ = call(ref).path
    assert store.leases(ref) == []


def test_two_leases_hold_the_bytes_until_the_last_ends(store, other, cat):
    ref = store.store(cat, scope="s")
    first, second = store.take_lease(ref), other.take_lease(ref)
    store.release_all("s")

    first.end()
    other.sweep()
    assert second.path.read_bytes() == JPEG
    second.end()

    assert not cat.exists()


def test_the_file_of_a_live_ref_stays_when_its_lease_ends(store, cat):
    ref = store.store(cat, scope="s")

    with store.lease(ref):
        pass

    assert store.resolve(ref) == cat


def test_a_lease_that_nobody_ends_lapses_and_a_sweep_takes_the_bytes(
    store, other, cat, expect_empty
):
    ref = store.store(cat, scope="s")
    held = store.take_lease(ref, ttl=0.9)
    other.release_all("s")

    other.sweep()
    assert cat.exists()
    until(lambda: other.sweep().deleted)

    assert not cat.exists()
    assert held.lost
    expect_empty()


@pytest.mark.parametrize("settings", [{"lease_max": 1.3}], indirect=True)
def test_no_renewal_goes_beyond_the_longest_time(store, other, cat):
    ref = store.store(cat, scope="s")

    context = store.lease(ref, ttl=0.9)
    held = context.__enter__()
    other.release_all("s")
    until(lambda: held.lost)
    until(lambda: other.sweep().deleted)

    assert not cat.exists()
    with pytest.raises(LeaseLost):
        context.__exit__(None, None, None)


# --- taking


def test_a_lease_is_taken_through_a_live_ref_only(store, cat):
    ref = store.store(cat, scope="s")
    store.release_all("s")

    with pytest.raises(RefGone):
        store.take_lease(ref)
    with pytest.raises(RefGone), store.lease(ref):
        pytest.fail("the body ran")
    with pytest.raises(RefUnknown):
        store.take_lease("media://" + "x" * 22)
    with pytest.raises(RefGone):
        store.handoff(ref)
    with pytest.raises(RefGone), store.open(ref):
        pytest.fail("the body ran")


@pytest.mark.parametrize("ttl", ["never", 0, -1, "soon", "25h"])
def test_a_ttl_that_cannot_be_is_refused_and_nothing_is_taken(ttl, store, cat):
    ref = store.store(cat, scope="s")
    held = store.take_lease(ref)
    before = held.expires_at

    with pytest.raises(InvalidRequest):
        store.take_lease(ref, ttl)
    with pytest.raises(InvalidRequest):
        store.handoff(ref, ttl)
    with pytest.raises(InvalidRequest):
        held.renew(ttl)

    assert len(store.leases(ref)) == 1
    assert held.expires_at == before


def test_who_holds_a_lease_is_told_until_it_ends(store, other, cat):
    ref = store.store(cat, scope="s")
    held = store.take_lease(ref, ttl="1m")
    other.handoff(ref)

    infos = sorted(other.leases(ref), key=lambda info: info.holder.startswith("handoff:"))

    assert [info.holder.count(":") for info in infos] == [1, 2]
    assert infos[0].until == held.expires_at
    assert infos[0].until - infos[0].since == timedelta(minutes=1)
    held.end()
    assert [info.holder[:8] for info in store.leases(ref)] == ["handoff:"]


# --- by hand


def test_a_taken_lease_is_renewed_by_hand_and_by_nobody_else(store, other, cat):
    ref = store.store(cat, scope="s")
    held, left = store.take_lease(ref, ttl=0.9), store.take_lease(ref, ttl=0.9)
    first = held.expires_at

    until(lambda: held.renew() and left.lost)

    assert held.expires_at > first
    assert held.path.exists()
    with pytest.raises(LeaseLost):
        _ = left.path


def test_a_renewal_may_change_the_length_but_never_shortens(store, cat):
    held = store.take_lease(store.store(cat, scope="s"), ttl="1m")
    first = held.expires_at

    longer = held.renew("10m")
    same = held.renew("1m")

    assert timedelta(minutes=8) < longer - first < timedelta(minutes=10)
    assert longer == same == held.expires_at


def test_a_lease_past_its_own_deadline_is_lost_although_the_server_would_renew_it(store, cat):
    ref = store.store(cat, scope="s")
    at_server(store, 0)
    frozen = int(time.time() * 1000)
    inner(store)._speech.now = lambda: frozen
    held = store.take_lease(ref, ttl=0.3)

    until(lambda: held.lost)

    (before,) = store.leases(ref)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            held.renew("1h")
        with pytest.raises(LeaseLost):
            _ = held.path
    assert store.leases(ref) == [before]


def test_an_end_that_comes_too_late_tells_it_although_the_server_still_holds(store, cat):
    at_server(store, -3600)
    frozen = inner(store)._speech.now()
    inner(store)._speech.now = lambda: frozen
    held = store.take_lease(store.store(cat, scope="s"), ttl=0.1)
    other = store.take_lease(held.ref, ttl=0.1)

    until(lambda: other.lost)

    with pytest.raises(LeaseLost, match="not renewed"):
        held.end()


def test_a_lease_the_server_has_let_go_is_lost_although_its_deadline_is_not_here_yet(store, cat):
    held = store.take_lease(store.store(cat, scope="s"), ttl="1m")
    assert held.path
    at_server(store, 120)

    with pytest.raises(LeaseLost, match="lapsed on the server"):
        held.renew()

    at_server(store, 0)
    assert held.lost
    with pytest.raises(LeaseLost):
        _ = held.path


def test_an_ended_lease_gives_no_path_and_ends_once(store, cat):
    held = store.take_lease(store.store(cat, scope="s"))

    held.end()
    held.end()

    assert not held.lost
    with pytest.raises(LeaseLost, match="ended"):
        _ = held.path
    with pytest.raises(LeaseLost, match="ended"):
        held.renew()
    assert "ended" in repr(held._store if isinstance(held, Blocking) else held)


def test_the_end_of_a_lost_lease_tells_it_once(store, cat):
    held = store.take_lease(store.store(cat, scope="s"), ttl=0.1)
    until(lambda: held.lost)

    with pytest.raises(LeaseLost) as told:
        held.end()

    assert told.value.ref == held.ref
    held.end()


# --- the exit


def test_the_exit_tells_that_the_lease_was_lost(store, cat):
    ref = store.store(cat, scope="s")

    with pytest.raises(LeaseLost, match="not renewed"), store.take_lease(ref, ttl=0.1) as held:
        until(lambda: held.lost)


def test_the_exit_tells_what_only_the_server_knew(store, cat):
    ref = store.store(cat, scope="s")

    with pytest.raises(LeaseLost, match="lapsed on the server"), store.take_lease(ref):
        at_server(store, 120)


def test_the_error_of_the_body_is_not_masked_by_a_lost_lease(store, cat):
    ref = store.store(cat, scope="s")

    def fail(held):
        until(lambda: held.lost)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as told, store.take_lease(ref, ttl=0.1) as held:
        fail(held)

    assert any("does not hold any more" in note for note in told.value.__notes__)


def test_the_error_of_the_body_ends_the_lease(store, cat):
    ref = store.store(cat, scope="s")

    with pytest.raises(ZeroDivisionError) as told, store.lease(ref):
        raise ZeroDivisionError

    assert store.leases(ref) == []
    assert not hasattr(told.value, "__notes__")


def test_an_end_that_redis_does_not_hear_is_no_error_and_the_lease_lapses(store, other, cat):
    ref = store.store(cat, scope="s")

    with store.lease(ref, ttl=0.9) as held:
        deaf(store)
    assert not held.lost
    other.release_all("s")

    assert cat.exists()
    until(lambda: other.sweep().deleted)


def test_a_store_that_closes_renews_nothing_any_more(store, other, cat):
    ref = store.store(cat, scope="s")
    context = store.lease(ref, ttl=0.9)
    held = context.__enter__()

    store.close()
    other.release_all("s")

    until(lambda: other.sweep().deleted)
    assert held.lost
    with pytest.raises(LeaseLost):
        context.__exit__(None, None, None)


def test_a_lease_that_cannot_be_renewed_costs_no_other_its_own(other, client, settings, make_file):
    refs = [other.store(make_file(f"{n}.jpg"), scope="s") for n in range(3)]
    key = f"{prefix(settings.namespace)}holders:{other.get(refs[0]).blob}"
    with other.lease(refs[1], 0.6) as held, other.lease(refs[2], 0.6) as last:
        broken = other.lease(refs[0], 0.6).__enter__()
        client.set(key, "foreign")
        first = last.expires_at

        until(lambda: broken.lost)
        until(lambda: last.expires_at > first + timedelta(seconds=1))
        client.unlink(key)

    assert not held.lost
