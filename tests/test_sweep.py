"""Expiry and the sweep: what is due ends, however it is triggered and by however many."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest

from mediastore import MediaStore, Settings
from mediastore.errors import RefGone
from mediastore.index.steps import END_BATCH

from .lab import Lab
from .processes import Once
from .waiting import LIMIT_S


@pytest.fixture
def lab(clients, tmp_path):
    """Give a laboratory with a clock of its own."""
    return Lab(clients, tmp_path / "lab")


def eventually(condition, within_s=LIMIT_S):
    """Wait until the condition holds; says so when it never does."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.01)


def test_clean_expired_ends_the_due_and_only_the_due(lab):
    store = lab.process()
    store.store(lab.file("short.jpg", "x"), scope="s", ttl=10)
    kept = store.store(lab.file("long.jpg", "x"), scope="s", ttl=20)
    lab.pass_time(10)

    assert store.clean_expired() == 1

    assert sorted(lab.files()) == ["long.jpg"]
    assert store.resolve(kept).name == "long.jpg"
    assert store.clean_expired() == 0


def test_a_ref_lives_up_to_its_last_millisecond(lab):
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "x"), scope="s", ttl=10)

    lab.pass_time(9.999)
    assert store.clean_expired() == 0
    assert store.resolve(ref)

    lab.pass_time(0.001)
    with pytest.raises(RefGone) as caught:
        store.resolve(ref)
    assert caught.value.reason == "expired"


def test_the_deadline_is_the_storing_clients_not_the_sweepers(lab):
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "x"), scope="s", ttl="2h")
    hasty = lab.process()
    hasty.settings = Settings(namespace=lab.namespace, roots=(str(lab.root),), max_age=1)
    lab.pass_time(3600)

    assert hasty.sweep().expired == 0
    assert store.resolve(ref)


def test_expiry_counts_refs_and_leaves_shared_files(lab):
    store = lab.process()
    shared = lab.file("a.jpg", "x")
    store.store(shared, scope="s", ttl=10)
    store.store(shared, scope="t", ttl=10)
    kept = store.store(shared, scope="u", ttl=100)
    lab.pass_time(11)

    swept = lab.process().sweep()

    assert (swept.refs, swept.expired, swept.deleted) == (2, 2, 0)
    assert store.resolve(kept).read_text() == "x"


def test_expiry_of_many_is_done_in_one_sweep(lab):
    store = lab.process()
    count = 2 * END_BATCH + 3
    for number in range(count):
        store.store(lab.file(f"{number}.jpg", "x"), scope=f"s/{number % 5}", ttl=5)
    lab.pass_time(6)

    swept = lab.process().sweep()

    assert (swept.expired, swept.deleted, swept.freed_bytes) == (count, count, count)
    assert lab.leftovers() == []
    assert lab.files() == {}


def test_a_sweep_with_nothing_to_do_does_nothing(lab):
    swept = lab.process().sweep()

    assert (swept.refs, swept.deleted, swept.pending, swept.failed) == (0, 0, 0, 0)


def test_a_sweep_with_nothing_due_is_one_round_trip(lab):
    store = lab.process()
    store.store(lab.file("a.jpg", "x"), scope="s")
    store.sweep()  # looks at the epoch of the root, as the first of every twenty seconds
    store.fuse.calls.clear()

    store.sweep()

    assert store.fuse.calls == ["read"]


def test_a_due_ref_that_was_released_counts_as_released(lab):
    store = lab.process()
    for number in range(END_BATCH + 1):
        store.store(lab.file(f"{number}.jpg", "x"), scope="s", ttl=10)
    store.release_all("s", wait=False)
    lab.pass_time(11)

    swept = lab.process().sweep()

    assert (swept.expired, swept.drained) == (0, END_BATCH + 1)


def test_a_budget_ends_a_sweep_and_the_next_goes_on(lab, monkeypatch):
    store = lab.process()
    for number in range(4 * END_BATCH):
        store.store(lab.file(f"{number}.jpg", "x"), scope="s", ttl=5)
    lab.pass_time(6)
    ask = type(store)._ask
    monkeypatch.setattr(
        type(store), "_ask", lambda self, step: (lab.pass_time(1), ask(self, step))[1]
    )

    first = store.sweep(budget=4)
    rest = store.sweep(budget=1000)

    assert 0 < first.expired < 4 * END_BATCH
    assert first.expired + rest.expired == 4 * END_BATCH
    assert lab.files() == {}


def test_a_clock_that_steps_back_revives_nothing(lab):
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "x"), scope="s", ttl=10)
    lab.pass_time(11)
    store.clean_expired()

    lab.pass_time(-100)

    with pytest.raises(RefGone):
        store.resolve(ref)
    again = store.store(lab.file("b.jpg", "x"), scope="s", ttl=10)
    assert store.resolve(again)


def test_the_background_sweeper_expires_and_stops(clients, settings, make_file, caplog):
    quick = Settings(
        namespace=settings.namespace, roots=settings.roots, sweep_interval=0.05, drain_interval=0.05
    )
    caplog.set_level(logging.INFO, "mediastore")
    cat = make_file()
    with MediaStore(clients(), quick) as store:
        store.store(cat, scope="s", ttl=0.05)

        store.start()
        store.start()
        eventually(lambda: not cat.exists())
        store.stop()
        store.stop()

        assert [t for t in threading.enumerate() if t.name == "mediastore-sweeper"] == []
    assert "sweeping every 0.05s, max age 1800s" in caplog.text
    assert "1 expired" in caplog.text


def test_the_background_sweeper_carries_out_releases_between_sweeps(clients, settings, make_file):
    slow = Settings(
        namespace=settings.namespace, roots=settings.roots, sweep_interval="1h", drain_interval=0.05
    )
    cat = make_file()
    with MediaStore(clients(), slow) as store:
        store.store(cat, scope="s")
        store.start()
        store.release_all("s", wait=False)

        eventually(lambda: not cat.exists())


@pytest.mark.parametrize(
    "change", [{"cleanup_enabled": False}, {"sweep_interval": 0}, {"sweep_interval": -1}]
)
def test_a_disabled_or_bad_sweeper_does_not_start_and_does_not_crash(clients, settings, change):
    off = Settings(namespace=settings.namespace, roots=settings.roots, **change)
    with MediaStore(clients(), off) as store:
        store.start()

        assert [t for t in threading.enumerate() if t.name == "mediastore-sweeper"] == []
        store.stop()


def test_a_sweeper_outlives_a_failing_server(clients, settings, make_file, monkeypatch, caplog):
    from mediastore.errors import IndexUnavailable

    quick = Settings(
        namespace=settings.namespace, roots=settings.roots, sweep_interval=0.05, drain_interval=0.05
    )
    cat = make_file()
    with MediaStore(clients(), quick) as store:
        store.store(cat, scope="s", ttl=0.05)
        failures = iter([IndexUnavailable("the server is away"), RuntimeError("a bug")])
        sweep = store.sweep

        def failing(*args):
            for failure in failures:
                raise failure
            return sweep(*args)

        monkeypatch.setattr(store, "sweep", failing)

        store.start()
        eventually(lambda: not cat.exists())

    assert "the server is away" in caplog.text


def test_the_store_sweeps_in_the_background_of_either_kind(store, cat):
    store.store(cat, scope="s", ttl=3600)

    store.start()
    store.start()
    store.stop()

    assert store.stats().refs == 1


def test_no_whole_ref_is_logged_at_info(store, cat, caplog):
    caplog.set_level(logging.INFO, "mediastore")
    ref = store.store(cat, scope="s")

    store.release_all("s")
    store.sweep()

    assert ref.id not in caplog.text


def test_a_sweep_in_the_midst_of_a_store_leaves_the_new_link_of_an_old_file(lab, stage):
    """A link is as old as its name, not as its file."""
    path = lab.file("a.jpg", "ours")
    os.utime(path, (0, 0))
    store, home = lab.process(), lab.root / ".mediastore"
    sweep = Once(lab.process().sweep, when=lambda *_: any((home / "new").iterdir()))

    with stage.during(sweep):
        store.store(path, scope="s")

    assert sweep.done
    (held,) = (home / "held").iterdir()
    assert held.samefile(path)


def test_a_stray_that_cannot_be_removed_keeps_no_other_waiting(lab):
    home = lab.root / ".mediastore"
    lab.process()
    (home / "tmp/made-beside-a-draft").mkdir()
    (home / "tmp/made-beside-a-draft/half").write_text("theirs")
    (home / "new/a-directory/with").mkdir(parents=True)
    (home / "quarantine/a-file").write_text("theirs")
    strays = [home / f"tmp/{number}.part" for number in range(9)] + [home / "quarantine/claim"]
    for stray in strays[:-1]:
        stray.touch()
    strays[-1].mkdir()

    lab.settle()

    assert [stray for stray in strays if stray.exists()] == []
    assert (home / "parked/made-beside-a-draft/half").read_text() == "theirs"
    assert (home / "quarantine/a-file").read_text() == "theirs"
