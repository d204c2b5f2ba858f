"""A clock that is moved by hand, and an index that can be put back."""

from __future__ import annotations

import pytest

from mediastore.index.steps import prefix

from .life import inner

DAY_MS, MINUTE_MS = 86_400_000, 60_000
START_MS = 1_900_000_000_000

real = pytest.mark.parametrize("lane", ["real"], indirect=True)


class Clock:
    """The server's time, as the stores under test read it."""

    ms = START_MS

    def pass_by(self, ms):
        self.ms += ms


@pytest.fixture
def clock(store, monkeypatch):
    """Give the clock of the store, which looks at its roots with each sweep: this clock does not move the host's."""
    monkeypatch.setattr("mediastore.flows.epochs.LOOK_EVERY_S", 0.0)
    made = Clock()
    inner(store)._speech.now = lambda: made.ms
    return made


@pytest.fixture
def minutes(store, clock):
    """Give a way to let minutes pass, in each of which the store sweeps."""

    def pass_by(count):
        for _ in range(count):
            clock.pass_by(MINUTE_MS)
            store.sweep()

    return pass_by


@pytest.fixture
def snapshot(client, settings):
    """Give a way to save the index, which returns a way to put it back."""
    mine = f"{prefix(settings.namespace)}*"

    def save():
        saved = {key: client.dump(key) for key in client.scan_iter(mine)}

        def put_back():
            for key in list(client.scan_iter(mine)):
                client.delete(key)
            for key, value in saved.items():
                client.restore(key, 0, value)

        return put_back

    return save
