"""Bytes that stay for a while after their last ref: kept, seen, counted, brought back, and gone in the end."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import replace

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore
from mediastore.errors import BlobMissing, InvalidRequest, InvalidScope, RefGone, RefUnknown
from mediastore.flows import leasing
from mediastore.flows.scoping import open_scope
from mediastore.index.steps import END_BATCH

from .lab import Lab
from .processes import replace as put_instead
from .test_marks import ask, inner
from .test_moving import index_of, is_gone, one_lane, seconds_left

FORGET = MediaMeta(cleanup=Cleanup.FORGET)
META = MediaMeta(filename="cät [1].jpg", content_type="image/jpeg", message_idx=7)
HOUR = 3600
UNKNOWN = "media://" + "u" * 22


@pytest.fixture
def settings(settings):
    return replace(settings, grace="1h")


@pytest.fixture
def lab(clients, tmp_path):
    """Give a laboratory whose processes keep bytes for an hour."""
    return with_grace(Lab(clients, tmp_path / "lab"), "1h")


def with_grace(lab, grace):
    lab.settings = replace(lab.settings, grace=grace)
    return lab


def numbers(store):
    stats = store.stats()
    return stats.waiting, stats.waiting_bytes


# --- what grace keeps


def release(store, ref, sweep):
    return store.release_all("s")


def close(store, ref, sweep):
    give_deadline(store, "s/below", "1h")  # a scope with one below is closed, and drained later
    assert store.release_all("s", wait=False).closed
    return sweep()


def delete(store, ref, sweep):
    return store.delete_media(ref)


def expire(store, ref, sweep):
    store.touch(ref, 0.001)
    return until_ended(sweep)


def lapse(store, ref, sweep):
    give_deadline(store, "s", 0.001)
    return until_ended(sweep)


def give_deadline(store, scope, ttl):
    return ask(store, inner(store)._run(open_scope(inner(store)._ctx, scope, ttl, None)))


def until_ended(sweep):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        swept = sweep()
        if swept.refs:
            return swept
    raise AssertionError("it never ended")


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


# --- restore


def test_restore_gives_a_new_ref_and_the_dead_one_stays_dead(store, other, cat, expect_empty):
    dead = store.store(cat, scope="chat/1", meta=META, ttl="10m")
    store.release_all("chat")

    ref = store.restore(dead)

    assert ref != dead
    is_gone(store, dead)
    found = store.get(ref)
    assert (found.scope, found.meta, found.path, found.state) == ("chat/1", META, cat, "live")
    assert 1790 < seconds_left(found) <= 1800
    assert other.resolve(ref) == cat
    assert (numbers(store), store.waiting("chat"), store.stats().trash) == ((0, 0), [], 0)
    stats = store.stats()
    assert (stats.refs, stats.blobs, stats.size_bytes) == (1, 1, cat.stat().st_size)
    assert store.tombstone(dead).kept_for == "refs"
    assert other.release_all("chat").refs == 1
    assert (numbers(store), len(store.waiting("chat"))) == ((1, cat.stat().st_size), 1)


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(None, 12 * HOUR), ("1m", 60), (NEVER, None)], ids=str
)
def test_restore_to_another_scope_with_a_lifetime(store, cat, ttl, seconds):
    dead = store.store(cat, scope="a/x", meta=MediaMeta(policy="retain-12hours"))
    store.release_all("a")

    found = store.get(store.restore(dead, "b/y", ttl))

    assert (found.scope, found.meta.policy) == ("b/y", "retain-12hours")
    if seconds is None:
        assert found.expires_at is None
    else:
        assert seconds - 10 < seconds_left(found) <= seconds
    assert store.release_all("b").refs == 1


def test_restore_twice_gives_two_refs_of_one_blob(store, cat):
    dead = store.store(cat, scope="s")
    store.release_all("s")

    one, two = store.restore(dead), store.restore(dead, "t")

    assert store.get(one).blob == store.get(two).blob
    assert (store.stats().refs, store.stats().blobs) == (2, 1)
    assert store.release_all("s").kept == 1
    assert store.resolve(two) == cat


def test_restore_of_a_live_ref_is_refused(store, cat, client, settings):
    ref = store.store(cat, scope="s")
    before = index_of(client, settings)

    with pytest.raises(InvalidRequest, match="share"):
        store.restore(ref)
    with pytest.raises(InvalidRequest):
        store.tombstone(ref)

    assert index_of(client, settings) == before


def test_restore_of_what_nobody_knows_is_refused(store, cat, expect_empty):
    with pytest.raises(RefUnknown):
        store.restore(UNKNOWN)
    with pytest.raises(RefUnknown):
        store.tombstone(UNKNOWN)
    with pytest.raises(InvalidScope):
        store.restore(UNKNOWN, "a//b")
    with pytest.raises(InvalidScope):
        store.restore(UNKNOWN, "")

    expect_empty()


@one_lane
def test_restore_after_a_sweeper_has_claimed_the_bytes_is_too_late(lab):
    store = lab.process()
    dead = store.store(lab.file("a", "a"), scope="s")
    store.release_all("s")
    lab.pass_time(HOUR)
    claimer = lab.process()
    perform = claimer._perform

    def stop_before_the_files(step):
        if type(step).__name__ == "Destroy":
            before = index_of(lab.client, lab.settings)
            with pytest.raises(RefGone, match="released"):
                store.restore(dead)
            assert index_of(lab.client, lab.settings) == before
            assert numbers(store) == (0, 0)
        return perform(step)

    claimer._perform = stop_before_the_files
    assert claimer.sweep().deleted == 1

    before = index_of(lab.client, lab.settings)
    with pytest.raises(RefGone):
        store.restore(dead)
    assert index_of(lab.client, lab.settings) == before


@one_lane
def test_bytes_whose_grace_has_passed_can_be_restored_until_somebody_claims_them(lab):
    store = lab.process()
    dead = store.store(lab.file("a", "a"), scope="s", meta=META)
    store.release_all("s")
    lab.pass_time(HOUR + 1)
    assert store.tombstone(dead).kept_for == ""

    ref = store.restore(dead)

    lab.process().sweep()
    assert (store.resolve(ref).read_text(), store.get(ref).meta) == ("a", META)
    assert numbers(store) == (0, 0)


def test_restore_of_a_ref_that_is_dead_by_a_mark_only(store, other, make_file):
    paths = [make_file(f"{n}.jpg") for n in range(END_BATCH + 1)]
    refs = [store.store(path, scope="s", meta=META) for path in paths]
    other.release_all("s", wait=False)
    stone = store.tombstone(refs[0])
    assert (stone.reason, stone.meta, stone.kept_for) == ("released", META, "")

    ref = store.restore(refs[0])

    assert store.get(ref).meta == META
    assert other.sweep().drained == END_BATCH + 1
    assert store.resolve(ref) == paths[0]
    assert numbers(store)[0] == END_BATCH
    assert [media.ref for media in store.refs("s")] == [ref]
    is_gone(store, refs[0])


@one_lane
def test_restore_of_a_ref_that_has_expired_and_was_not_swept(lab):
    store = lab.process()
    dead = store.store(lab.file("a", "a"), scope="s", ttl=10, meta=META)
    lab.pass_time(11)

    ref = store.restore(dead, ttl="10h")

    assert lab.process().sweep().expired == 1
    assert (store.resolve(ref).read_text(), store.get(ref).meta) == ("a", META)
    is_gone(store, dead)


def test_restore_after_another_store_of_the_path_has_rescued_the_bytes(store, other, cat):
    dead = store.store(cat, scope="s", meta=META)
    store.release_all("s")
    stored = other.store(cat, scope="t")
    assert (numbers(store), store.stats().trash, store.waiting("s")) == ((0, 0), 0, [])

    ref = store.restore(dead)

    assert store.get(ref).blob == store.get(stored).blob == store.get(ref).blob
    assert (store.get(ref).meta, store.get(stored).meta) == (META, MediaMeta())
    assert store.stats().blobs == 1
    assert (store.release_all("t").kept, store.resolve(ref)) == (1, cat)


def test_restore_of_a_shared_file_whose_other_ref_lives(store, cat):
    dead = store.store(cat, scope="s", meta=META)
    live = store.share(dead, "t")
    store.release_all("s")

    ref = store.restore(dead)

    assert store.get(ref).meta == META
    assert store.get(ref).blob == store.get(live).blob
    assert store.stats().refs == 2


def test_restore_of_a_borrowed_file_whose_other_ref_lives(store, cat, expect_empty):
    dead = store.store(cat, scope="s", meta=FORGET)
    store.share(dead, "t")
    store.release_all("s")

    ref = store.restore(dead)

    assert (store.get(ref).custody, store.get(ref).meta) == ("borrowed", FORGET)
    store.release_all("s")
    assert store.release_all("t").kept == 1
    assert cat.exists()
    expect_empty()


def test_restore_after_another_file_came_to_the_path(store, cat, media):
    dead = store.store(cat, scope="s")
    store.release_all("s")
    put_instead(cat, "foreign")
    new = store.store(cat, scope="t")

    ref = store.restore(dead)

    assert store.get(ref).blob != store.get(new).blob
    with pytest.raises(BlobMissing):
        store.resolve(ref)
    [held] = (media / ".mediastore" / "held").glob(f"{store.get(ref).blob}*")
    cat.unlink()
    cat.hardlink_to(held)  # its own file is back
    assert store.resolve(ref) == cat
    assert store.store(cat, scope="u") != ref
    assert store.get(store.refs("u")[0].ref).blob == store.get(ref).blob


@one_lane
def test_what_was_restored_at_a_foreign_path_ends_without_touching_it(lab):
    store = lab.process()
    path = lab.file("a", "ours")
    dead = store.store(path, scope="s")
    store.release_all("s")
    put_instead(path, "foreign")
    new = store.store(path, scope="t", ttl=NEVER)
    store.restore(dead, "u")

    store.release_all("u")
    lab.pass_time(HOUR)
    lab.process().sweep()

    assert lab.files() == {"a": "foreign"}
    assert store.resolve(new).read_text() == "foreign"
    store.release_all("t")
    lab.pass_time(HOUR)
    lab.process().sweep()
    assert (lab.files(), lab.leftovers()) == ({}, [])


@one_lane
def test_a_path_is_free_for_another_file_while_the_old_one_waits(lab):
    store = lab.process()
    path = lab.file("a", "ours")
    store.store(path, scope="s")
    store.release_all("s")
    put_instead(path, "new")

    new = store.store(path, scope="t", ttl=NEVER)

    lab.pass_time(HOUR)
    assert lab.process().sweep().deleted == 1
    assert store.resolve(new).read_text() == "new"


def test_a_restored_ref_of_a_forgotten_root_is_refused(at, make_file, media, tmp_path, client):
    (tmp_path / "far").mkdir()
    far, near = at(tmp_path / "far"), at(media)
    (tmp_path / "far" / "a").write_text("aa")
    (tmp_path / "far" / "b").write_text("bb")
    dead = far.store(tmp_path / "far" / "a", scope="s")
    shared = far.store(tmp_path / "far" / "b", scope="s")
    far.share(shared, "t")
    far.release_all("s")
    assert numbers(near) == (1, 2)
    [root] = [each.root for each in near.roots() if not each.here]

    near.forget_root(root)

    assert (numbers(near), near.waiting("s")) == ((0, 0), [])
    for ref in (dead, shared):
        before = index_of(client, near.settings)
        with pytest.raises(RefGone):
            near.restore(ref)
        assert index_of(client, near.settings) == before


@pytest.fixture
def at(clients, settings):
    """Give a maker of stores with other roots of the same namespace."""
    made = []

    def make(*roots):
        made.append(MediaStore(clients(), replace(settings, roots=tuple(map(str, roots)))))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_waits_in_a_root_that_moves_is_restored_there(at, cat, media, tmp_path):
    before = at(media)
    dead = before.store(cat, scope="s", meta=META)
    before.release_all("s")
    shutil.copytree(media, tmp_path / "moved")
    shutil.rmtree(media)

    before.adopt_root(tmp_path / "moved")

    after = at(tmp_path / "moved")
    assert [each.path for each in after.waiting("s")] == [tmp_path / "moved" / "cat.jpg"]
    ref = after.restore(dead)
    assert after.resolve(ref) == tmp_path / "moved" / "cat.jpg"
    assert after.get(ref).meta == META
    assert numbers(after) == (0, 0)


@one_lane
def test_what_waits_in_a_root_that_moves_goes_there(labs, tmp_path):
    lab = with_grace(next(labs), "1h")
    store = lab.process()
    store.store(lab.file("a", "a"), scope="s")
    store.release_all("s")
    shutil.copytree(lab.root, tmp_path / "copy")
    shutil.rmtree(lab.root)
    (tmp_path / "copy").rename(lab.root)
    lab.newcomer().adopt_root(lab.root)

    lab.pass_time(HOUR)
    swept = lab.process().sweep()

    assert (swept.deleted, lab.files(), lab.leftovers()) == (1, {}, [])


# --- leases keep bytes as grace does


@pytest.fixture
def leased(clients, tmp_path):
    """Give a laboratory without grace, and a maker of leases in it."""
    return Lab(clients, tmp_path / "leased")


def take(store, ref, ttl):
    return store._run(leasing.take(store._ctx, ref, ttl))


def renew(store, taken):
    return store._run(leasing.renew(store._ctx, [taken]))[0]


def end(store, taken):
    return store._run(leasing.end(store._ctx, taken))


@one_lane
def test_a_lease_makes_bytes_wait_and_its_end_lets_them_go(leased):
    lab = leased
    store, other = lab.process(), lab.process()
    ref = store.store(lab.file("a", "aa"), scope="s", meta=META)
    taken = take(store, ref, 100)
    before = lab.now_ms()

    done = other.release_all("s")

    assert (done.refs, done.deleted, done.pending, lab.now_ms()) == (1, 0, 1, before)
    assert numbers(other) == (1, 2)
    [waits] = other.waiting("s")
    assert (waits.kept_for, waits.until.timestamp() * 1000) == ("lease", before + 100_000)
    assert other.tombstone(ref).kept_for == "lease"
    assert end(store, taken)
    assert (numbers(other), other.waiting("s"), lab.files(), lab.leftovers()) == (
        (0, 0),
        [],
        {},
        [],
    )


@one_lane
def test_a_renewed_lease_makes_bytes_wait_longer(leased):
    lab = leased
    store = lab.process()
    dead = store.store(lab.file("a", "aa"), scope="s", meta=META)
    taken = take(store, dead, 100)
    store.release_all("s")
    lab.pass_time(90)
    assert renew(store, taken) == lab.now_ms() + 100_000
    lab.pass_time(90)
    assert lab.process().sweep().deleted == 0
    ref = store.restore(dead)
    assert (numbers(store), store.get(ref).meta) == ((0, 0), META)
    store.release_all("s")
    assert numbers(store) == (1, 2)

    lab.pass_time(11)
    swept = lab.process().sweep()

    assert (swept.deleted, lab.files(), numbers(store)) == (1, {}, (0, 0))
    assert renew(store, taken) is None
    assert numbers(store) == (0, 0)
    assert lab.leftovers() == []


@pytest.mark.parametrize("grace", [0, 50, 1000])
@pytest.mark.parametrize("late", [renew, end])
@one_lane
def test_who_comes_late_for_a_lease_changes_no_count(leased, late, grace):
    lab = with_grace(leased, grace)
    store = lab.process()
    ref = store.store(lab.file("a", "aa"), scope="s")
    taken = take(store, ref, 10)
    lab.pass_time(10)
    store.release_all("s", wait=False)
    waits = (1, 2) if grace else (0, 0)
    assert numbers(store) == waits

    assert not late(store, taken)

    if grace:
        assert numbers(store) == waits
        lab.pass_time(grace)
    lab.process().sweep()
    assert (numbers(store), lab.files(), lab.leftovers()) == ((0, 0), {}, [])


@pytest.mark.parametrize(("grace", "ttl", "kept_for"), [(50, 100, "lease"), (100, 50, "grace")])
@one_lane
def test_the_longer_of_grace_and_lease_counts(leased, grace, ttl, kept_for):
    lab = with_grace(leased, grace)
    store = lab.process()
    ref = store.store(lab.file("a", "aa"), scope="s")
    taken = take(store, ref, ttl)
    store.release_all("s")
    assert [(each.kept_for, each.until) for each in store.waiting("s")] == [
        (kept_for, store.tombstone(ref).bytes_until)
    ]

    assert end(store, taken)

    left = (1, 2)
    assert numbers(store) == left
    assert [each.kept_for for each in store.waiting("s")] == ["grace"]
    lab.pass_time(grace)
    assert lab.process().sweep().deleted == 1
    assert (numbers(store), lab.leftovers()) == ((0, 0), [])


@one_lane
def test_a_borrowed_file_under_a_lease_waits_and_is_never_deleted(leased):
    lab = leased
    store = lab.process()
    dead = store.store(lab.file("a", "aa"), scope="s", meta=FORGET)
    taken = take(store, dead, 100)
    done = store.release_all("s")
    assert (done.refs, done.pending, done.deleted) == (1, 1, 0)
    assert (numbers(store), [w.kept_for for w in store.waiting("s")]) == ((1, 2), ["lease"])
    ref = store.restore(dead)
    assert (store.get(ref).custody, store.resolve(ref).read_text()) == ("borrowed", "aa")
    store.release_all("s")

    assert end(store, taken)

    assert (numbers(store), lab.files(), lab.leftovers()) == ((0, 0), {"a": "aa"}, [])
    assert store.stats().deleted_blobs == 0


@one_lane
def test_a_forgotten_root_waits_for_no_lease(leased):
    lab = leased
    store = lab.process()
    ref = store.store(lab.file("a", "aa"), scope="s")
    taken = take(store, ref, 100)
    store.release_all("s")
    [root] = [each.root for each in store.roots()]

    store.forget_root(root, even_here=True)

    store.adopt_root(lab.root)
    assert numbers(lab.process()) == (0, 0)
    assert not end(store, taken)
    assert numbers(lab.process()) == (0, 0)


# --- all of it by chance


@pytest.mark.parametrize("seed", range(6))
@one_lane
def test_what_waits_is_counted_exactly_whatever_happens(clients, tmp_path, seed):
    """A walk of every way in and out of waiting; after each step the counter is the truth of the blobs."""
    dice = random.Random(seed)
    lab = with_grace(Lab(clients, tmp_path / "walk"), dice.choice([0, 20]))
    store = lab.process()
    refs, taken, seen = [], [], Counter[str]()
    for number in range(150):
        act = dice.choice(("store", "store", "end", "restore", "lease", "let go", "renew", "time"))
        path = lab.root / str(dice.randrange(4))
        try:
            if act == "store":
                path.exists() or path.write_text("xx")
                refs.append(store.store(path, scope=dice.choice("ab"), ttl=dice.choice([5, 500])))
            elif act == "end":
                dice.choice(
                    [
                        lambda: store.release_all(dice.choice("ab"), wait=dice.random() < 0.7),
                        lambda: store.delete_media(dice.choice(refs)),
                    ]
                )()
            elif act == "restore":
                refs.append(store.restore(dice.choice(refs)))
            elif act == "lease":
                taken.append(take(store, dice.choice(refs), dice.choice([3, 30])))
            elif act == "let go":
                end(store, dice.choice(taken))
            elif act == "renew":
                renew(store, dice.choice(taken))
            else:
                lab.pass_time(dice.choice([1, 4, 12]))
                lab.process().sweep() if dice.random() < 0.6 else None
            seen[act] += 1
        except (RefGone, RefUnknown, InvalidRequest, BlobMissing, IndexError):
            seen[f"no {act}"] += 1
        assert numbers(store) == counted(lab), (number, act)
    assert min(seen[act] for act in ("store", "end", "restore", "lease", "let go", "renew")) > 0
    assert not seen["no store"]
    lab.end()
    assert (numbers(store), lab.leftovers(), lab.files()) == ((0, 0), [], {})


def counted(lab):
    """Count what waits by looking at every blob."""
    start = f"mediastore:{{{lab.namespace}}}:blob:"
    rows = [
        lab.client.hmget(key, "state", "size", "due")
        for key in lab.client.scan_iter(match=f"{start}*", count=1000)
    ]
    waits = [int(size) for state, size, due in rows if state == b"doomed" and due]
    return len(waits), sum(waits)
