"""Bytes that wait, under a lease or in grace, are counted exactly by every way in and out."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mediastore import Cleanup, MediaMeta
from mediastore.errors import BlobMissing, InvalidRequest, LeaseLost, RefGone, RefUnknown
from mediastore.index.steps import prefix

from .lab import Lab
from .lifetimes import end, numbers, one_lane, renew, take, with_grace

FORGET = MediaMeta(cleanup=Cleanup.FORGET)
META = MediaMeta(filename="cät [1].jpg", content_type="image/jpeg", message_idx=7)


# --- leases keep bytes as grace does


@one_lane
def test_a_hand_over_that_came_too_late_stays_lost_when_the_clock_steps_back(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "aa"), scope="s")
    token = store.handoff(ref, "1m")
    lab.pass_time(61)
    with pytest.raises(LeaseLost):
        store.accept(token)

    lab.pass_time(-5)

    with pytest.raises(LeaseLost):
        store.accept(token)
    assert store.leases(ref) == []


@one_lane
def test_a_lease_makes_bytes_wait_and_its_end_lets_them_go(lab):
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
def test_leased_bytes_wait_whatever_the_trash_says(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "aa"), scope="s")
    taken = take(store, ref, 100)
    store.release_all("s")
    [trash] = lab.client.scan_iter(f"{prefix(lab.namespace)}trash:*")
    for blob in lab.client.zrange(trash, 0, -1):
        lab.client.zadd(trash, {blob: 1})

    swept = lab.process().sweep()

    assert (swept.deleted, lab.files(), numbers(store)) == (0, {"a": "aa"}, (1, 2))
    assert end(store, taken)
    assert (lab.files(), numbers(store), lab.leftovers()) == ({}, (0, 0), [])


@one_lane
def test_a_renewed_lease_makes_bytes_wait_longer(lab):
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
def test_who_comes_late_for_a_lease_changes_no_count(lab, late, grace):
    with_grace(lab, grace)
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
def test_the_longer_of_grace_and_lease_counts(lab, grace, ttl, kept_for):
    with_grace(lab, grace)
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
def test_a_borrowed_file_under_a_lease_waits_and_is_never_deleted(lab):
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
def test_a_forgotten_root_waits_for_no_lease(lab):
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
