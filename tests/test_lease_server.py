"""Leases as the server keeps them: whatever the holder's clock and settings say, and nothing of those that are over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediastore.index.steps import prefix

from .lab import Lab
from .lease_fixtures import at_server, settings
from .lifetimes import with_grace

__all__ = ["settings"]  # a fixture


@pytest.fixture
def lab(clients, tmp_path):
    """Give a laboratory with a clock of its own."""
    return Lab(clients, tmp_path / "lab")


@pytest.mark.parametrize("settings", [{"lease_max": "10m"}], indirect=True)
def test_the_server_renews_no_lease_beyond_the_longest_time(store, cat):
    """Also of a holder whose clock stands still."""
    held = store.take_lease(store.store(cat, scope="s"), ttl="9m")
    first = held.expires_at
    at_server(store, 5 * 60)

    last = held.renew()

    assert timedelta(seconds=59) < last - first < timedelta(seconds=61)


def test_nothing_stays_of_a_lapsed_lease_once_the_next_is_taken(lab):
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "x"), scope="s", ttl="1d")
    for _ in range(3):
        store.take_lease(ref, ttl="1m")
        lab.pass_time(61)

    store.take_lease(ref, ttl="1m")

    blob = store.get(ref).blob
    start = prefix(lab.namespace)
    assert lab.client.zcard(f"{start}lease:{blob}") == 1
    assert lab.client.hlen(f"{start}holders:{blob}") == 1


def test_a_lease_that_lapses_does_not_cut_the_grace_short(lab):
    store = with_grace(lab, "1h").process()
    path = lab.file("a.jpg", "x")
    dead = store.store(path, scope="s")
    store.take_lease(dead, ttl="10m")
    store.release_all("s")

    lab.pass_time(601)
    lab.process().sweep()

    assert store.resolve(store.restore(dead)) == path
