"""New refs of the bytes of dead ones, while they are there and nobody has begun to delete them."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore
from mediastore.errors import (
    BlobsUnavailable,
    InvalidRequest,
    InvalidScope,
    RefGone,
    RefUnknown,
)
from mediastore.index.steps import END_BATCH

from .grace_fixtures import lab, settings  # noqa: F401 - fixtures
from .lifetimes import HOUR, UNKNOWN, index_of, is_gone, numbers, one_lane, seconds_left, with_grace
from .processes import replace as put_instead

FORGET = MediaMeta(cleanup=Cleanup.FORGET)
META = MediaMeta(filename="cät [1].jpg", content_type="image/jpeg", message_idx=7)


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
def test_what_a_sweeper_had_is_not_brought_back_whatever_else_the_index_says(lab):
    """C18 and C30: no script leaves a blob like this, and if one ever does, its file may be half gone."""
    store, path = lab.process(), lab.file("a", "a")
    dead = store.store(path, scope="s")
    store.release_all("s")
    (blob,) = lab.client.scan_iter(match=f"mediastore:{{{lab.namespace}}}:blob:*")
    lab.client.hset(blob, "ever", 1)

    assert store.tombstone(dead).kept_for == ""
    with pytest.raises(RefGone, match="released"):
        store.restore(dead)
    with pytest.raises(BlobsUnavailable, match="has not finished"):
        store.store(path, scope="t")
    assert numbers(store) == (1, 1)


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
    [held] = (media / ".mediastore" / "held").glob(f"{store.get(ref).blob}*")
    assert store.resolve(ref) == held
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
