"""Ending scopes: the cut, the tree, the drain, what is kept, and what is left when it is over."""

from __future__ import annotations

import pytest

from mediastore import Cleanup, MediaMeta, MediaStore
from mediastore.errors import InvalidRequest, RefGone
from mediastore.index.steps import END_BATCH

from .conftest import keys_left
from .lab import Lab

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


@pytest.fixture
def fill(make_file):
    """Give a maker of many files, each registered under a scope."""

    def store_many(store: MediaStore, count: int, scope: str = "s", prefix: str = "f") -> list[str]:
        return [
            store.store(make_file(f"{prefix}{number}.jpg", b"xy"), scope=scope)
            for number in range(count)
        ]

    return store_many


def test_release_ends_every_ref_and_deletes_its_file(store, fill, media, expect_empty):
    refs = fill(store, 3)

    done = store.release_all("s")

    assert (done.refs, done.deleted, done.freed_bytes) == (3, 3, 6)
    assert (done.kept, done.pending, done.failed, done.closed) == (0, 0, 0, False)
    assert list(media.glob("*.jpg")) == []
    for ref in refs:
        with pytest.raises(RefGone) as caught:
            store.resolve(ref)
        assert caught.value.reason == "released"
    expect_empty()


def test_release_of_an_unknown_scope_is_nothing(store, expect_empty):
    done = store.release_all("never:seen")

    assert (done.refs, done.deleted) == (0, 0)
    expect_empty()


def test_release_twice_does_it_once(store, fill):
    fill(store, 2)
    store.release_all("s")

    assert store.release_all("s").refs == 0


def test_release_leaves_other_scopes_alone(store, fill):
    fill(store, 2, "s", "a")
    kept = fill(store, 2, "s2", "b")

    store.release_all("s")

    assert [store.resolve(ref).exists() for ref in kept] == [True, True]


def test_release_of_a_parent_releases_its_descendants(store, fill, media, expect_empty):
    for scope in ("chat:1", "chat:1/msg:1", "chat:1/msg:1/tool:1", "chat:1/msg:2"):
        fill(store, 2, scope, scope.replace("/", "-"))

    done = store.release_all("chat:1")

    assert (done.refs, done.deleted) == (8, 8)
    assert list(media.glob("*.jpg")) == []
    expect_empty()


def test_release_of_a_child_leaves_the_parent(store, fill):
    (above,) = fill(store, 1, "chat:1", "a")
    fill(store, 1, "chat:1/msg:1", "b")
    (beside,) = fill(store, 1, "chat:11", "c")

    assert store.release_all("chat:1/msg:1").refs == 1

    assert store.resolve(above).exists()
    assert store.resolve(beside).exists()


@pytest.mark.parametrize("count", [END_BATCH - 1, END_BATCH, END_BATCH + 1, 3 * END_BATCH + 1])
def test_release_of_any_size_ends_all(other, fill, count, media, expect_empty):
    fill(other, count)

    done = other.release_all("s")

    assert (done.refs, done.deleted, done.freed_bytes) == (count, count, 2 * count)
    assert list(media.glob("*.jpg")) == []
    expect_empty()


def test_the_cut_ends_a_large_scope_for_everybody_at_once(store, other, fill, client, settings):
    refs = fill(store, END_BATCH + 10)
    assert all(other.resolve(ref) for ref in refs[:3])

    done = store.release_all("s", wait=False)

    assert (done.refs, done.closed) == (0, True)
    for ref in refs:
        with pytest.raises(RefGone):
            other.resolve(ref)
    assert other.scopes() == []
    assert other.refs("s") == []
    assert client.zcard(f"mediastore:{{{settings.namespace}}}:scope:s") == END_BATCH + 10


def test_a_sweep_finishes_what_a_cut_began(store, other, fill, media, expect_empty):
    fill(store, 2 * END_BATCH)
    store.release_all("s", wait=False)

    swept = other.sweep()

    assert (swept.drained, swept.deleted, swept.pending) == (2 * END_BATCH, 2 * END_BATCH, 0)
    assert list(media.glob("*.jpg")) == []
    expect_empty()


def test_refs_stored_after_the_cut_live(store, fill, make_file):
    fill(store, END_BATCH + 1)
    store.release_all("s", wait=False)
    late = store.store(make_file("late.jpg"), scope="s")

    store.sweep()

    assert store.resolve(late).name == "late.jpg"
    assert store.scopes() == ["s"]


def test_a_second_release_during_the_drain_loses_nothing_and_revives_nothing(clients, tmp_path):
    """PROTOCOL C1 and C4: the mark may go only when it is still the one that was drained."""
    lab = Lab(clients, tmp_path / "lab")
    store = lab.process()
    for number in range(END_BATCH + 2):
        store.store(lab.file(f"{number}.jpg", "x"), scope="a/x")
    store.release_all("a", wait=False)
    between = store.store(lab.file("between.jpg", "x"), scope="a/x")
    store.release_all("a", wait=False)
    after = store.store(lab.file("after.jpg", "x"), scope="a/x")
    store.release_all("a/x/nothing")

    lab.process().sweep()

    with pytest.raises(RefGone):
        store.resolve(between)
    assert store.resolve(after).name == "after.jpg"
    assert sorted(lab.files()) == ["after.jpg"]


def test_a_shared_file_stays_until_the_last_scope_ends(store, cat, expect_empty):
    store.store(cat, scope="a")
    kept = store.store(cat, scope="b")

    first = store.release_all("a")
    assert (first.refs, first.deleted, first.kept) == (1, 0, 1)
    assert store.resolve(kept) == cat

    assert store.release_all("b").deleted == 1
    assert not cat.exists()
    expect_empty()


def test_the_same_path_twice_in_one_scope_is_deleted_once(store, cat):
    store.store(cat, scope="s")
    store.store(cat, scope="s")

    done = store.release_all("s")

    assert (done.refs, done.deleted) == (2, 1)


def test_aliases_of_a_path_are_one_file(store, cat, media):
    (media / "sub").mkdir()
    (media / "door").symlink_to(media)
    aliases = [cat, f"{media}/./cat.jpg", f"{media}/sub/../cat.jpg", f"{media}/door/cat.jpg"]
    for number, alias in enumerate(aliases):
        store.store(alias, scope=f"s{number}")

    assert store.stats().blobs == 1
    assert [store.release_all(f"s{n}").deleted for n in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize("order", [(FORGET, None), (None, FORGET)])
def test_forget_wins_over_delete_on_a_shared_path(store, cat, order, expect_empty):
    for number, meta in enumerate(order):
        store.store(cat, scope=f"s{number}", meta=meta)

    done = [store.release_all(f"s{number}") for number in (0, 1)]

    assert sum(d.deleted for d in done) == 0
    assert cat.exists()
    expect_empty()


def test_a_borrowed_file_is_never_deleted_and_has_no_held_link(store, cat, media, expect_empty):
    store.store(cat, scope="s", meta=FORGET)
    assert list((media / ".mediastore" / "held").iterdir()) == []

    done = store.release_all("s")

    assert (done.refs, done.deleted, done.kept, cat.exists()) == (1, 0, 1, True)
    expect_empty()


def test_a_forgotten_registration_does_not_bind_the_next_life_of_the_path(store, cat):
    """picoclaw: the path state is forgotten when its count reaches zero."""
    store.store(cat, scope="a", meta=FORGET)
    store.release_all("a")
    store.store(cat, scope="b")

    assert store.release_all("b").deleted == 1


def test_a_file_that_is_already_gone_is_no_error(store, cat, expect_empty):
    store.store(cat, scope="s")
    cat.unlink()

    done = store.release_all("s")

    assert (done.refs, done.deleted, done.failed) == (1, 1, 0)
    expect_empty()


def test_a_replaced_file_is_not_ours_to_delete(store, cat, expect_empty):
    store.store(cat, scope="s")
    cat.unlink()
    cat.write_text("foreign")

    done = store.release_all("s")

    assert (done.refs, done.failed, cat.read_text()) == (1, 0, "foreign")
    expect_empty()


def test_hard_linked_bytes_are_not_reported_as_freed(store, cat, tmp_path):
    (tmp_path / "second.jpg").hardlink_to(cat)
    store.store(cat, scope="s")

    done = store.release_all("s")

    assert (done.deleted, done.freed_bytes) == (1, 0)


def test_a_plan_counts_and_changes_nothing(store, fill, cat):
    fill(store, 2, "chat:1", "a")
    fill(store, 3, "chat:1/msg:1", "b")
    store.store(cat, scope="chat:1/msg:1")
    store.store(cat, scope="elsewhere")

    plan = store.plan_release("chat:1")

    assert (plan.refs, plan.blobs, plan.kept, plan.scopes) == (6, 6, 1, 2)
    assert store.stats().refs == 7
    done = store.execute(plan)
    assert (done.refs, done.deleted, done.kept) == (6, 5, 1)


def test_only_a_plan_can_be_executed(other):
    with pytest.raises(InvalidRequest):
        other.execute("chat:1")


def test_refs_come_in_store_order_and_in_pages(store, fill):
    refs = fill(store, END_BATCH + 5)

    first = store.refs("s", limit=10)
    rest = store.refs("s", limit=1000, after=first[-1])
    by_ref = store.refs("s", limit=1000, after=first[-1].ref)

    assert [media.ref for media in first + rest] == refs
    assert by_ref == rest
    assert store.refs("s", limit=1)[0].path.is_absolute()
    with pytest.raises(InvalidRequest):
        store.refs("s", limit=0)


def test_scopes_are_listed_by_name_and_prefix(store, fill):
    for number in (3, 1, 2):
        fill(store, 1, f"telegram:{number}", f"t{number}-")
    fill(store, 1, "slack:9/msg:1", "s")

    assert store.scopes("telegram:") == ["telegram:1", "telegram:2", "telegram:3"]
    assert store.scopes() == ["slack:9/msg:1", "telegram:1", "telegram:2", "telegram:3"]
    assert store.scopes("nobody") == []


def test_more_scopes_than_a_page_are_listed_whole(other, cat):
    names = sorted(f"room {number:03d}" for number in range(END_BATCH + 7))
    for name in names:
        other.store(cat, scope=name)

    assert other.scopes("room") == names


def test_stats_count_what_is_there_and_what_has_been(store, fill, cat):
    fill(store, 3)
    store.store(cat, scope="t")
    store.store(cat, scope="u")
    store.release_all("s")

    stats = store.stats()

    assert (stats.refs, stats.blobs, stats.scopes) == (2, 1, 2)
    assert (stats.stored_refs, stats.released_refs, stats.deleted_blobs) == (5, 3, 3)
    assert stats.size_bytes == cat.stat().st_size
    assert (stats.trash, stats.stuck, stats.closed) == (0, 0, 0)


@pytest.mark.parametrize("lane", ["real"], indirect=True)  # fakeredis takes seconds
def test_thousands_of_scopes_leave_no_key_behind(other, cat, client, settings):
    before = None
    for round_ in range(3):
        for number in range(200):
            other.store(cat, scope=f"r{round_}/x{number}/y")
        for number in range(200):
            other.release_all(f"r{round_}/x{number}" if number % 2 else f"r{round_}/x{number}/y")
        if not cat.exists():
            cat.write_text("next")
        left = keys_left(client, settings.namespace)
        assert before in (None, left)
        before = left
    assert before == set()
