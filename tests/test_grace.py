"""Bytes that stay for a while after their last ref: kept, seen, and gone in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore
from mediastore.errors import RefGone
from mediastore.index.steps import END_BATCH

from .conftest import names_left
from .grace_fixtures import lab, settings  # noqa: F401 - fixtures
from .lab import Crash
from .lifetimes import HOUR, give, is_gone, numbers, one_lane, seconds_left, slowly
from .processes import Once, crash
from .waiting import until

FORGET = MediaMeta(cleanup=Cleanup.FORGET)
META = MediaMeta(filename="cät [1].jpg", content_type="image/jpeg", message_idx=7)


# --- what grace keeps


def release(store, ref, sweep):
    return store.release_all("s")


def close(store, ref, sweep):
    give(store, "s/below", "1h")  # a scope with one below is closed, and drained later
    assert store.release_all("s", wait=False).closed
    return sweep()


def delete(store, ref, sweep):
    return store.delete_media(ref)


def expire(store, ref, sweep):
    store.touch(ref, 0.001)
    return until_ended(sweep)


def lapse(store, ref, sweep):
    give(store, "s", 0.001)
    return until_ended(sweep)


def until_ended(sweep):
    ended = []

    def swept():
        ended.append(sweep())
        return ended[-1].refs

    until(swept, "the end")
    return ended[-1]


ENDS = {
    release: "released",
    close: "released",
    delete: "deleted",
    expire: "expired",
    lapse: "expired",
}
each_end = pytest.mark.parametrize("end", ENDS, ids=lambda each: each.__name__)


@each_end
def test_every_end_keeps_the_bytes_for_the_grace_and_says_so(store, other, cat, end):
    size = cat.stat().st_size
    ref = store.store(cat, scope="s", meta=META)

    done = end(store, ref, other.sweep)

    assert (done.refs, done.deleted, done.freed_bytes, done.pending) == (1, 0, 0, 1)
    assert cat.exists()
    is_gone(store, ref)
    stats = store.stats()
    assert (stats.refs, stats.blobs, stats.size_bytes, stats.trash) == (0, 0, 0, 1)
    assert (stats.waiting, stats.waiting_bytes) == (1, size)
    [waits] = store.waiting("s")
    assert (waits.path, waits.size_bytes, waits.kept_for) == (cat, size, "grace")
    assert HOUR - 10 < seconds_left(waits.until) <= HOUR
    stone = store.tombstone(ref)
    assert (stone.reason, stone.scope, stone.meta) == (ENDS[end], "s", META)
    assert (stone.kept_for, stone.bytes_until) == ("grace", waits.until)
    assert (other.sweep().deleted, other.drain().deleted) == (0, 0)
    assert cat.exists()


@one_lane
@each_end
def test_after_the_grace_a_sweep_deletes_the_bytes(lab, end):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)

    def sweep():
        lab.pass_time(1)
        return lab.process().sweep()

    end(store, ref, sweep)
    lab.pass_time(HOUR - 2)
    assert lab.process().sweep().deleted == 0

    lab.pass_time(2)
    swept = lab.process().sweep()

    assert (swept.deleted, swept.freed_bytes, swept.pending) == (1, 1, 0)
    assert (lab.files(), lab.leftovers()) == ({}, [])
    assert (numbers(store), store.waiting("s")) == ((0, 0), [])
    assert store.tombstone(ref).kept_for == ""


@one_lane
def test_a_release_does_not_wait_for_grace(lab):
    store = lab.process()
    for number in range(3 * END_BATCH):
        store.store(lab.file(f"{number}", "x"), scope="s" if number % 2 else "s/x")
    before = lab.now_ms()

    done = store.release_all("s")
    again = store.release_all("s")

    assert (done.refs, done.pending, done.closed) == (3 * END_BATCH, 3 * END_BATCH, False)
    assert (again.refs, again.pending) == (0, 0)
    assert lab.now_ms() == before  # waiting passes the laboratory's time
    assert len(store.waiting("s", limit=1000)) == 3 * END_BATCH
    assert len(store.waiting("s", limit=5)) == 5


@one_lane
def test_a_release_looks_no_longer_than_its_timeout_at_what_waits(lab):
    store = lab.process()
    for number in range(15 * END_BATCH):
        store.store(lab.file(f"{number}", "x"), scope="s")
    store.release_all("s")
    store.store(lab.file("last", "x"), scope="s")
    slowly(lab, store, 2)
    before = lab.now_ms()

    done = store.release_all("s")

    assert (done.refs, done.pending) == (1, 1)
    assert lab.now_ms() - before <= 2 * 1000 * store.settings.seconds("timeout") + 5_000


@one_lane
def test_what_has_waited_and_was_claimed_waits_no_more_when_its_root_is_forgotten(lab, stage):
    store = lab.process()
    store.store(lab.file("a", "a"), scope="s")
    store.release_all("s")
    assert numbers(store) == (1, 1)
    lab.pass_time(HOUR)
    with stage.during(Once(crash, when=lambda name, _: name == "unlink")), pytest.raises(Crash):
        lab.process().sweep()

    (root,) = store.stats().roots
    assert store.forget_root(root, even_here=True).lost_blobs == 1

    assert numbers(store) == (0, 0)


@one_lane
def test_only_the_last_ref_of_shared_bytes_begins_the_grace(lab):
    store = lab.process()
    one = store.store(lab.file("a", "a"), scope="s")
    two = store.share(one, "t", ttl=NEVER)
    assert store.release_all("s").kept == 1
    assert (numbers(store), store.waiting("s")) == ((0, 0), [])
    assert store.tombstone(one).kept_for == "refs"
    lab.pass_time(2 * HOUR)
    lab.process().sweep()

    store.delete_media(two)

    assert (numbers(store), len(store.waiting("t"))) == ((1, 1), 1)
    assert store.waiting("t")[0].until.timestamp() * 1000 == pytest.approx(
        lab.now_ms() + HOUR * 1000
    )


def test_what_is_borrowed_needs_no_grace(store, cat):
    ref = store.store(cat, scope="s", meta=FORGET)

    done = store.release_all("s")

    assert (done.refs, done.kept, done.pending, done.deleted) == (1, 1, 0, 0)
    assert (numbers(store), store.waiting("s"), cat.exists()) == ((0, 0), [], True)
    with pytest.raises(RefGone):
        store.restore(ref)


@one_lane
def test_what_was_ours_and_is_lent_since_needs_no_grace(store, cat, media, expect_empty):
    """Its second name goes at once; nobody has to wait for it."""
    store.store(cat, scope="s")
    store.store(cat, scope="s", meta=FORGET)
    assert len(names_left(media)) == 1

    done = store.release_all("s")

    assert (done.refs, done.kept, done.pending, done.deleted) == (2, 1, 0, 0)
    assert (numbers(store), cat.exists()) == ((0, 0), True)
    expect_empty()


def test_each_process_keeps_what_it_ends_as_its_own_settings_say(clients, settings, make_file):
    patient = MediaStore(clients(), settings)
    hasty = MediaStore(clients(), replace(settings, grace=0))
    kept, gone = make_file("kept.jpg"), make_file("gone.jpg")
    patient.store(gone, scope="hasty")
    hasty.store(kept, scope="patient")

    assert hasty.release_all("hasty").deleted == 1
    assert patient.release_all("patient").pending == 1

    assert (kept.exists(), gone.exists()) == (True, False)
    assert hasty.sweep().deleted == 0
    assert hasty.release_all("patient").deleted == 0
    assert kept.exists()
    assert numbers(hasty) == (1, kept.stat().st_size)
    patient.close()
    hasty.close()
