"""Refs that move to other scopes, and one more of them; and the end of one by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore, Settings
from mediastore.errors import InvalidRequest, InvalidScope, RefGone
from mediastore.index.steps import END_BATCH, prefix

from .lifetimes import fill, index_of, is_gone, seconds_left

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


@pytest.fixture
def children(client, settings):
    """Give a look at the scopes directly below one."""
    key = f"{prefix(settings.namespace)}children:"
    return lambda scope: [name.decode() for name in client.zrange(key + scope, 0, -1)]


# --- transfer


def test_a_transferred_ref_keeps_its_id_and_deadline_and_comes_last_in_its_new_scope(
    store, make_file
):
    first = store.store(make_file("1.jpg"), scope="a", ttl="10m")
    rest = [store.store(make_file(f"{n}.jpg"), scope="b") for n in (2, 3)]
    before = store.get(first)

    store.transfer(first, "b")

    after = store.get(first)
    assert (after.scope, after.ref, after.path) == ("b", first, before.path)
    assert after.expires_at == before.expires_at
    assert after.seq > before.seq
    assert [media.ref for media in store.refs("b")] == [*rest, first]
    assert store.refs("a") == []
    assert store.scopes() == ["b"]
    assert store.touch(first) - before.expires_at < timedelta(seconds=5)


def test_a_transfer_to_its_own_scope_puts_a_ref_last(store, make_file):
    one, two = (store.store(make_file(f"{n}.jpg"), scope="a/x") for n in (1, 2))

    store.transfer(one, "a/x")

    assert [media.ref for media in store.refs("a/x")] == [two, one]
    assert store.release_all("a").refs == 2


def test_only_the_scope_a_ref_is_in_now_ends_it(store, cat, make_file, expect_empty):
    moved, stays = store.store(cat, scope="a/x"), store.store(make_file("b.jpg"), scope="a/y")

    store.transfer(moved, "b/z")

    assert store.release_all("a").refs == 1
    assert store.resolve(moved) == cat
    with pytest.raises(RefGone):
        store.resolve(stays)
    assert store.release_all("b").refs == 1
    assert not cat.exists()
    expect_empty()


@pytest.mark.parametrize("verb", ["transfer", "share"])
@pytest.mark.parametrize("target", ["b", "b/below"])
def test_an_earlier_release_of_the_new_scope_does_not_end_a_ref_that_comes_later(
    store, cat, make_file, verb, target
):
    fill(store, make_file, "b")
    store.release_all("b", wait=False)
    ref = store.store(cat, scope="a")

    came = getattr(store, verb)(ref, target) or ref

    assert store.resolve(came) == cat
    assert store.sweep().drained == END_BATCH + 1
    assert store.resolve(came) == cat
    assert store.release_all("b").refs == 1


@pytest.mark.parametrize("verb", ["transfer", "share"])
def test_a_ref_below_a_pending_mark_is_dead_and_moves_nowhere(
    store, make_file, verb, client, settings
):
    refs = fill(store, make_file, "a")
    store.release_all("a", wait=False)
    before = index_of(client, settings)

    with pytest.raises(RefGone, match="released"):
        getattr(store, verb)(refs[3], "b")

    assert index_of(client, settings) == before


def test_a_scope_that_a_transfer_empties_leaves_the_tree(store, cat, children):
    ref = store.store(cat, scope="a/x/y")
    assert (children("a"), children("a/x")) == (["a/x"], ["a/x/y"])

    store.transfer(ref, "b/z")

    assert (children("a"), children("a/x"), children("b")) == ([], [], ["b/z"])
    assert store.plan_release("a").refs == 0


def test_a_scope_that_a_transfer_empties_stays_for_its_children(store, cat, make_file, children):
    ref, below = store.store(cat, scope="a/x"), store.store(make_file("b.jpg"), scope="a/x/y")

    store.transfer(ref, "b")

    assert (children("a"), children("a/x")) == (["a/x"], ["a/x/y"])
    assert store.release_all("a").refs == 1
    with pytest.raises(RefGone):
        store.resolve(below)


def test_a_transfer_out_of_a_scope_that_drains_leaves_the_drain_right(store, make_file):
    dead = fill(store, make_file, "a/x")
    store.release_all("a", wait=False)
    live = store.store(make_file("late.jpg"), scope="a/x")

    store.transfer(live, "a/y")
    store.sweep()

    assert store.resolve(live).name == "late.jpg"
    assert store.stats().refs == 1
    assert all(is_gone(store, ref) for ref in dead)
    assert store.release_all("a").refs == 1


@pytest.mark.parametrize("scope", ["", "a//b", "/a", 7])
def test_a_malformed_scope_is_refused(store, cat, scope, client, settings):
    ref = store.store(cat, scope="s")
    before = index_of(client, settings)

    for move in (store.transfer, store.share):
        with pytest.raises(InvalidScope):
            move(ref, scope)

    assert index_of(client, settings) == before


def test_odd_scope_names_survive_a_move(store, cat):
    ref = store.store(cat, scope="räume *?[1]/% {x}")

    assert store.promote(ref) == "räume *?[1]"
    store.transfer(ref, "b/日 本")

    assert store.get(ref).scope == "b/日 本"
    assert store.promote(ref) == "b"
    assert store.release_all("b").refs == 1


# --- promote


def test_promote_moves_a_ref_to_the_parent_and_says_where(store, cat):
    ref = store.store(cat, scope="a/x/y")

    assert [store.promote(ref), store.promote(ref)] == ["a/x", "a"]

    assert store.release_all("a/x").refs == 0
    assert store.get(ref).scope == "a"


def test_promote_at_the_top_is_refused(store, cat, client, settings):
    ref = store.store(cat, scope="a")
    before = index_of(client, settings)

    with pytest.raises(InvalidRequest, match="'a'"):
        store.promote(ref)

    assert index_of(client, settings) == before


# --- share


def test_a_shared_ref_has_a_copy_of_the_metadata_and_a_life_of_its_own(store, cat):
    meta = MediaMeta(filename="cat.jpg", source="x[y] z", message_idx=3)
    ref = store.store(cat, scope="a", meta=meta, ttl="10m")
    store.touch(ref, "2h")
    store.pin(ref)

    twin = store.share(ref, "b")

    one, two = store.get(ref), store.get(twin)
    assert (two.meta, two.scope, two.path, two.blob) == (meta, "b", cat, one.blob)
    assert two.seq > one.seq
    assert two.stored_at >= one.stored_at
    assert (two.pinned, two.ref == ref) == (False, False)
    # The setting's half hour, not what was said of the first one; and again at the next touch.
    assert 1790 < seconds_left(two) <= 1800
    assert 1790 < seconds_left(store.touch(twin)) <= 1800


@pytest.mark.parametrize(("ttl", "seconds"), [(None, 12 * 3600), ("1m", 60), (NEVER, None)])
def test_a_shared_ref_lives_as_its_metadata_or_the_call_says(store, cat, ttl, seconds):
    ref = store.store(cat, scope="a", meta=MediaMeta(policy="retain-12hours"))

    twin = store.share(ref, "b", ttl)

    found = store.get(twin)
    assert found.meta.policy == "retain-12hours"
    if seconds is None:
        assert found.expires_at is None
    else:
        assert seconds - 10 < seconds_left(found) <= seconds


def test_shared_bytes_stay_until_the_last_ref_ends(store, cat, expect_empty):
    first = store.store(cat, scope="a")
    refs = [first, store.share(first, "b"), store.share(first, "a/x")]
    size = cat.stat().st_size
    stats = store.stats()
    assert (stats.refs, stats.blobs, stats.size_bytes) == (3, 1, size)
    assert (stats.stored_refs, stats.stored_bytes) == (3, 3 * size)

    assert (store.release_all("a/x").kept, store.release_all("b").kept) == (1, 1)
    assert store.resolve(refs[0]) == cat
    assert store.delete_media(refs[0]).deleted == 1

    stats = store.stats()
    assert (stats.refs, stats.blobs, stats.size_bytes, stats.deleted_blobs) == (0, 0, 0, 1)
    assert (stats.released_refs, stats.deleted_refs, stats.freed_bytes) == (2, 1, size)
    expect_empty()


def test_a_borrowed_file_is_shared_and_never_deleted(store, cat, expect_empty):
    ref = store.store(cat, scope="a", meta=FORGET)
    twin = store.share(ref, "b")
    assert store.get(twin).custody == "borrowed"

    store.release_all("a")
    done = store.release_all("b")

    assert (done.refs, done.deleted, done.kept, cat.exists()) == (1, 0, 1, True)
    expect_empty()


def test_a_ref_shared_after_its_file_was_replaced_shares_the_old_file(store, cat):
    old = store.store(cat, scope="a")
    cat.unlink()
    cat.write_text("new")
    new = store.store(cat, scope="a")

    twin = store.share(old, "b")

    assert store.get(twin).blob == store.get(old).blob != store.get(new).blob
    assert store.release_all("b").kept == 1
    assert store.resolve(new).read_text() == "new"


# --- delete_media


def test_delete_media_ends_only_that_ref(store, cat, make_file):
    gone, stays = store.store(cat, scope="a"), store.store(make_file("b.jpg"), scope="a")

    done = store.delete_media(gone)

    assert (done.refs, done.deleted, done.freed_bytes) == (1, 1, 102)
    assert (done.kept, done.pending, done.failed, done.closed) == (0, 0, 0, False)
    assert not cat.exists()
    assert [media.ref for media in store.refs("a")] == [stays]
    with pytest.raises(RefGone, match=r"deleted .* by delete_media\(\) of"):
        store.resolve(gone)
    stats = store.stats()
    assert (stats.deleted_refs, stats.deleted_bytes, stats.released_refs) == (1, 102, 0)


def test_delete_media_keeps_bytes_that_another_ref_holds(store, cat, expect_empty):
    one = store.store(cat, scope="a")
    two = store.share(one, "a")

    done = store.delete_media(one)

    assert (done.refs, done.deleted, done.kept) == (1, 0, 1)
    assert store.resolve(two) == cat
    assert store.delete_media(two).deleted == 1
    expect_empty()


def test_delete_media_leaves_bytes_of_another_root_pending(at, make_file, media, tmp_path, cat):
    (tmp_path / "far").mkdir()
    far, near = at(tmp_path / "far"), at(media)
    (tmp_path / "far" / "a").write_text("a")
    ref = far.store(tmp_path / "far" / "a", scope="s")

    done = near.delete_media(ref)

    assert (done.refs, done.deleted, done.pending) == (1, 0, 1)
    assert far.sweep().deleted == 1


@pytest.fixture
def at(clients, settings):
    """Give a maker of stores with other roots of the same namespace."""
    with_roots = []

    def make(*roots):
        store = MediaStore(
            clients(), Settings(namespace=settings.namespace, roots=tuple(map(str, roots)))
        )
        with_roots.append(store)
        return store

    yield make
    for store in with_roots:
        store.close()
