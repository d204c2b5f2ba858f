"""What we give to the tests of those who use the store."""

from __future__ import annotations

import pytest

from mediastore.errors import LeaseLost, RefGone
from mediastore.testing import lab_store


def test_the_clock_moves_only_by_hand(tmp_path):
    (tmp_path / "cat.jpg").write_text("x")
    with lab_store(tmp_path, max_age="2h") as (store, clock):
        ref = store.store(tmp_path / "cat.jpg", scope="chat:42")
        clock.pass_time("1h")
        assert store.resolve(ref).name == "cat.jpg"

        clock.pass_time("1h")

        with pytest.raises(RefGone):
            store.resolve(ref)
        assert store.clean_expired() == 1
    assert not (tmp_path / "cat.jpg").exists()


def test_a_lease_is_lost_when_the_clock_has_passed_its_deadline(tmp_path):
    (tmp_path / "cat.jpg").write_text("x")
    with lab_store(tmp_path) as (store, clock):
        held = store.take_lease(store.store(tmp_path / "cat.jpg", scope="chat:42"), ttl="1m")
        store.release_all("chat:42")
        clock.pass_time("59s")
        assert held.path.read_text() == "x"

        clock.pass_time("1s")

        with pytest.raises(LeaseLost):
            _ = held.path
        assert store.sweep().deleted == 1
