"""What we give to the tests of those who use the store."""

from __future__ import annotations

import pytest

from mediastore.errors import RefGone
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
