"""One worker for many namespaces: each its share, whatever the others have or suffer from."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from types import SimpleNamespace

import pytest

from mediastore import MediaStore, celery as ours
from mediastore.blobs import posix
from mediastore.celery import tasks
from mediastore.celery.rounds import Rounds
from mediastore.client import driver
from mediastore.doctor import examine

from .worker_fleet import fleet_of, real

__all__ = ["fleet_of"]  # a fixture

pytestmark = real


@pytest.fixture
def several(settings, server_url, tmp_path):
    """Give settings of three namespaces, the third without its root."""
    names = tuple(f"{settings.namespace}-{name}" for name in ("huge", "small", "broken"))
    for name in names[:2]:
        (tmp_path / "roots" / name).mkdir(parents=True)
    return dataclasses.replace(
        settings,
        redis_url=server_url,
        namespace=names[0],
        namespaces=names,
        roots=(str(tmp_path / "roots" / "{namespace}"),),
    )


@pytest.fixture
def stores(several):
    made = {
        name.rpartition("-")[2]: MediaStore.from_settings(several.for_namespace(name))
        for name in several.served
    }
    yield made
    for store in made.values():
        store.close()


def put(store, name, scope="chat:1"):
    path = f"{store.settings.roots[0]}/{name}"
    with open(path, "w") as file:
        file.write(name)
    store.store(path, scope=scope)


def test_a_huge_backlog_in_one_namespace_keeps_no_other_waiting(
    several, stores, caplog, monkeypatch
):
    """By a clock that goes on with each file that is deleted, and with nothing else: a slow machine has as long as a fast one."""
    unlink, passed = posix.unlink, [0.0]

    def slowly(*args, **named):
        passed[0] += 0.005
        unlink(*args, **named)

    clock = SimpleNamespace(monotonic=lambda: passed[0], sleep=time.sleep)
    monkeypatch.setattr(posix, "unlink", slowly)
    monkeypatch.setattr(driver, "time", clock)
    monkeypatch.setattr(tasks, "Rounds", partial(Rounds, clock=clock.monotonic))
    huge, small = stores["huge"], stores["small"]
    for number in range(300):
        put(huge, f"{number}.jpg")
    put(small, "1.jpg")
    for store in (huge, small):
        store.release_all("chat:1", wait=False)
    app = ours.make_app(dataclasses.replace(several, sweep_budget=1))

    app.tasks[ours.DRAIN]()

    assert small.stats().trash == small.stats().refs == 0
    assert small.stats().deleted_blobs == 1
    assert 0 < huge.stats().deleted_blobs < 300  # it had its share, and has not done
    assert f"of namespace {several.served[2]} failed" in caplog.text


def test_one_worker_and_beat_serve_all_of_them_and_a_broken_one_stops_nobody(
    fleet_of, several, stores
):
    chosen = {name: getattr(several, name) for name in ("namespace", "namespaces", "roots")}
    fleet = fleet_of(**chosen)
    fleet.worker()
    fleet.beat()

    for name in ("huge", "small"):
        put(stores[name], "1.jpg")
        stores[name].release_all("chat:1", wait=False)

    fleet.until(lambda: all(stores[name].stats().deleted_blobs == 1 for name in ("huge", "small")))
    fleet.until(lambda: f"of namespace {several.served[2]} failed" in fleet.log)
    assert "Traceback" not in fleet.log
    told = {finding.name: finding.state for finding in examine(several)}
    for name in several.served[:2]:
        assert told[f"{name} worker"] == told[f"{name} beat"] == "ok"
    assert (
        told[f"{several.served[2]} root {several.for_namespace(several.served[2]).roots[0]}"]
        == "problem"
    )
