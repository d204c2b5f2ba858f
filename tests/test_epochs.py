"""An index that came back older than its roots know it deletes nothing, whatever it believes."""

from __future__ import annotations

import pytest

from mediastore import MediaMeta, Swept
from mediastore.index.steps import prefix

from .life import inner

DAY_MS, MINUTE_MS = 86_400_000, 60_000
START_MS = 1_900_000_000_000


@pytest.fixture
def clock(store):
    """Give a clock of the store that is moved by hand."""

    class Clock:
        ms = START_MS

        def pass_by(self, ms):
            self.ms += ms

    clock = Clock()
    inner(store)._speech.now = lambda: clock.ms
    return clock


@pytest.fixture
def minutes(store, clock):
    """Give a way to let minutes pass, in each of which somebody sweeps."""

    def pass_by(count):
        for _ in range(count):
            clock.pass_by(MINUTE_MS)
            store.sweep()

    return pass_by


@pytest.fixture
def snapshot(client, settings):
    """Give a way to save the index, which returns a way to put it back."""
    mine = prefix(settings.namespace)

    def save():
        saved = {key: client.dump(key) for key in client.scan_iter(f"{mine}*")}

        def put_back():
            for key in list(client.scan_iter(f"{mine}*")):
                client.delete(key)
            for key, value in saved.items():
                client.restore(key, 0, value)

        return put_back

    return save


real = pytest.mark.parametrize("lane", ["real"], indirect=True)


@real
def test_what_was_saved_since_a_snapshot_that_is_put_back_is_not_deleted(
    store, clock, minutes, snapshot, make_file
):
    pinned, touched, borrowed = (make_file(f"{n}.jpg") for n in range(3))
    refs = [store.store(path, scope="s", ttl="1h") for path in (pinned, touched, borrowed)]
    minutes(3)
    put_back = snapshot()
    minutes(5)
    store.pin(refs[0])
    store.touch(refs[1], "7d")
    store.store(borrowed, scope="own", meta=MediaMeta(cleanup="forget"))

    put_back()
    clock.pass_by(DAY_MS)
    swept = store.sweep()

    assert swept == Swept(frozen=3)
    assert all(path.exists() for path in (pinned, touched, borrowed))
    assert [store.resolve(ref) for ref in refs] == [pinned, touched, borrowed]
