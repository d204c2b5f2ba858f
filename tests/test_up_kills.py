"""Every process of a fleet is killed under bots that store all the time: nothing is lost, nothing is left."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis

from .conftest import keys_left, names_left
from .fleet_fixtures import UpFleet, up
from .waiting import until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["up"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

BOTS = ("ada", "bob")
PROCESSES = ("server", "worker", "beat")
#: `appendfsync everysec`: a server that is killed may not have written what it answered last.
WINDOW_S = 2.0


@dataclass
class Bots:
    """Bots that store into a fleet, and what they were told is stored."""

    up: UpFleet

    def start(self) -> None:
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.fleet_bot", name, self.up.media, self._ledger(name)],
                env=self.up.plain,
                stderr=subprocess.DEVNULL,
            )
            for name in BOTS
        ]

    def _ledger(self, name: str) -> Path:
        return self.up.directory / f"{name}.ledger"

    def stored(self) -> list[tuple[float, str, str]]:
        lines = [
            line.split(" ")
            for name in BOTS
            if self._ledger(name).exists()
            for line in self._ledger(name).read_text().splitlines()
        ]
        return [(float(at), ref, name) for at, ref, name in lines]

    def store_some_more(self, count: int = 100) -> None:
        before = len(self.stored())
        until(lambda: len(self.stored()) >= before + count, "bots that store")

    def pids(self) -> set[int]:
        return {process.pid for process in self.processes}

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def bots(up: UpFleet):
    up.start()
    made = Bots(up)
    made.start()
    yield made
    made.end()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "victims",
    [
        # The death of a supervisor or a server alone is in test_up.py as well, without bots.
        pytest.param(("worker", "all"), id="some"),
        pytest.param((*PROCESSES, "supervisor", "all"), id="each", marks=pytest.mark.torture),
    ],
)
def test_kills_under_a_storing_fleet_lose_and_leave_nothing(
    up: UpFleet, bots: Bots, victims: tuple[str, ...]
) -> None:
    server_killed_at: list[float] = []
    for victim in victims:
        bots.store_some_more()
        if victim in {"server", "all"}:
            server_killed_at.append(time.time())
        before = up.all_up()

        up.kill_all() if victim == "all" else up.kill(victim)

        if victim in {"supervisor", "all"}:
            until(lambda: not up.processes(but=bots.pids()), "the end of every process")
            up.start()
        seen = until(partial(_changed, up, before), victim)
        again = set(PROCESSES) if victim not in PROCESSES else {victim}
        assert {name for name in PROCESSES if seen[name]["pid"] != before[name]["pid"]} == again
        _expect_a_sweep(up, victim)
    bots.end()

    lost = _lost(up, bots)
    assert all(
        any(killed_at - WINDOW_S < at <= killed_at + WINDOW_S for killed_at in server_killed_at)
        for at in lost.values()
    ), lost
    _release_everything(up)
    _expect_nothing_left(up, set(lost))
    assert up.command("down").stdout == "mediastore up has ended\n"
    assert up.processes() == []


def _changed(up: UpFleet, before: dict[str, Any]) -> dict[str, Any]:
    now = up.all_up()
    return now if now != before else {}


def _expect_a_sweep(up: UpFleet, victim: str) -> None:
    path = up.file(f"swept-{victim}.jpg")
    with up.store() as store:
        store.store(path, scope="swept", ttl=0.1)
    until(lambda: not path.exists(), "a sweep after the kill")


def _lost(up: UpFleet, bots: Bots) -> dict[str, float]:
    """The names of what was acknowledged and is not there, and when it was acknowledged."""
    with up.store() as store:
        known = {
            media.path.name
            for scope in store.scopes()
            for media in store.refs(scope, limit=1_000_000)
        }
    return {name: at for at, _, name in bots.stored() if name not in known}


def _release_everything(up: UpFleet) -> None:
    with up.store() as store:
        for name in BOTS:
            store.release_all(f"chat:{name}")
        until(lambda: store.stats().trash == 0 and not store.stats().closed, "the last deletion")


def _expect_nothing_left(up: UpFleet, lost: set[str]) -> None:
    """No key, no second name and no file, but those of refs the server had not written yet."""
    with up.store() as store:
        stats = store.stats()
        assert (stats.refs, stats.blobs, stats.stuck) == (0, 0, 0)
        with redis.Redis.from_url(store.settings.redis_url) as client:
            assert keys_left(client, "default") == set()
    files = {path.name for path in up.media.iterdir() if path.is_file()}
    # A bot that was killed in a call has written its file and knows no ref.
    unanswered = {name for name in files - lost if not _was_acknowledged(up, name)}
    assert files <= lost | unanswered
    assert len(unanswered) <= len(BOTS)
    # A store that failed in mid-call leaves a name in `new`; the sweep takes it once it is ten minutes old.
    ours = [name for name in names_left(up.media) if not name.startswith("new/")]
    assert len(ours) <= len(lost)


def _was_acknowledged(up: UpFleet, name: str) -> bool:
    return any(f" {name}\n" in (up.directory / f"{bot}.ledger").read_text() for bot in BOTS)
