"""Refs of content meet what every ref meets: they move, wait, are leased, and their files are registered as well."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from mediastore import Cleanup, MediaMeta, Ref, blobs
from mediastore.errors import BlobMissing, BlobsUnavailable, FileMissing, InvalidRequest
from mediastore.flows import leasing

from .conftest import names_left
from .content_fixtures import DATA, beaten_at, blobs_of, file_of, hand_over, nothing_is_left
from .lab import Crash
from .processes import crash
from .test_content import files
from .test_roots import at  # noqa: F401 - a fixture
from .test_roots_adopt import COPIES, restored


def test_a_ref_of_content_moves_like_any_other(lab):
    store = lab.process()
    ref = hand_over(store, "s/x")

    shared = store.share(ref, "t")
    store.transfer(ref, "u")
    with store.lease(shared) as held, store.open(ref) as file:
        store.delete_media(shared)
        assert held.path.read_bytes() == file.read() == DATA
        assert held.path == store.resolve(ref)
    store.touch(ref)
    assert store.resolve(ref).read_bytes() == DATA
    assert store.release_all("u").deleted == 1
    nothing_is_left(lab)


def test_a_lease_keeps_content_whose_ref_has_ended(lab):
    store = lab.process()
    ref = hand_over(store)
    taken = store._run(leasing.take(store._ctx, ref, 20))

    done = store.release_all("s")
    lab.process().sweep()

    assert done.pending == 1
    assert taken.path.read_bytes() == DATA
    store._run(leasing.end(store._ctx, taken))
    nothing_is_left(lab)


def test_content_in_grace_is_restored_and_goes_after_it(lab):
    lab.settings = replace(lab.settings, grace=60)
    store = lab.process()
    ref = hand_over(store)
    path = store.resolve(ref)
    store.release_all("s")

    again = store.restore(ref, "t")

    assert store.resolve(again) == path
    assert store.stats().waiting == 0
    store.release_all("t")
    assert path.exists()
    assert store.stats().waiting == 1
    lab.pass_time(61)
    done = store.sweep()
    assert (done.deleted, done.freed_bytes) == (1, len(DATA))
    nothing_is_left(lab)


# --- a file of the store's own that is registered, too


def test_registering_the_file_of_content_is_one_more_ref_of_it(lab):
    store = lab.process()
    first = hand_over(store)

    second = store.store(store.resolve(first), scope="t")
    borrowed = store.store(store.resolve(first), scope="u", meta=MediaMeta(cleanup=Cleanup.FORGET))

    assert len(set(blobs_of(lab, first, second, borrowed))) == 1
    assert {store.get(ref).custody for ref in (first, second, borrowed)} == {"owned"}
    assert store.release_all("s").kept == 1
    assert store.resolve(second).read_bytes() == DATA
    store.release_all("t")
    assert store.release_all("u").deleted == 1
    nothing_is_left(lab)


def test_registering_content_that_somebody_wrote_to_is_refused(lab):
    store = lab.process()
    path = store.resolve(hand_over(store))
    path.write_bytes(DATA * 2)

    with pytest.raises(InvalidRequest, match="written to"):
        store.store(path, scope="t")
    [many] = store.store_many([path], scope="t")

    assert isinstance(many, InvalidRequest)
    assert store.refs("t") == []
    assert path.read_bytes() == DATA * 2
    store.release_all("s")
    nothing_is_left(lab)


def test_registering_a_file_that_is_not_committed_waits_for_its_ref(lab, stage):
    store, writer = lab.process(), lab.process()
    waited = []

    def register():
        helper = lab.process()
        perform = helper._perform

        def watched(step):
            if isinstance(step, blobs.Pause):
                waited.append(step)
                go_on.set()
                committed.wait(10)
            return perform(step)

        helper._perform = watched
        refs.append(helper.store(file_of(lab), scope="t"))

    go_on, committed, refs = threading.Event(), threading.Event(), list[Ref]()
    helper = threading.Thread(target=register)

    def published():
        helper.start()
        assert go_on.wait(10)

    beaten_at("commit", lab, writer, published)
    ref = hand_over(writer, "s")
    committed.set()
    helper.join(10)

    assert waited
    assert len(set(blobs_of(lab, ref, *refs))) == 1
    assert store.get(refs[0]).custody == "owned"
    assert store.stats().blobs == 1
    store.release_all("s")
    store.release_all("t")
    nothing_is_left(lab)


def test_registering_a_file_that_its_writer_gave_up_finds_none(lab, stage):
    """The writer died before its commit. Its file is there until somebody wants it, and goes then."""
    writer = lab.process()
    beaten_at("commit", lab, writer, crash)
    with pytest.raises(Crash):
        hand_over(writer)
    path = file_of(lab)

    with pytest.raises(FileMissing):
        lab.process().store(path, scope="t")

    nothing_is_left(lab)


def test_bytes_that_somebody_linked_elsewhere_are_not_counted_as_free(lab):
    store = lab.process()
    path = store.resolve(hand_over(store))
    lab.root.with_name(f"{lab.root.name}-kept").hardlink_to(path)

    done = store.release_all("s")

    assert (done.deleted, done.freed_bytes) == (1, 0)
    nothing_is_left(lab)


# --- a root that was copied


@pytest.mark.parametrize("copy", COPIES, ids=lambda each: each.__name__)
def test_an_adopted_copy_has_its_content_with_the_same_refs(store, at, media, copy):
    refs = [hand_over(store, "s", DATA * n) for n in range(1, 5)]
    paths = [store.resolve(ref) for ref in refs]
    restored(media, copy)
    paths[1].unlink()
    paths[2].write_bytes(DATA)

    done = store.adopt_root(media)

    again = at(media)
    assert (done.rebound, len(done.missing), len(done.differ), done.parked) == (2, 1, 1, 0)
    assert [again.resolve(refs[n]).read_bytes() for n in (0, 3)] == [DATA, DATA * 4]
    for ref in refs[1:3]:
        with pytest.raises(BlobMissing):
            again.resolve(ref)
    released = again.release_all("s")
    assert (released.deleted, released.gone, released.failed) == (3, 1, 0)
    assert files(media) == []
    assert names_left(media) == []


@pytest.mark.parametrize("copy", COPIES, ids=lambda each: each.__name__)
def test_half_of_a_file_in_an_adopted_copy_is_not_taken_for_the_whole(lab, copy):
    """The writer's own file is in the tree that went; under its name lies what there was of it when it was copied."""
    writer, other = lab.process(), lab.process()

    def source():
        yield DATA * 1_000
        restored(lab.root, copy)
        done = other.adopt_root(lab.root)
        assert (done.missing, done.differ) == ((), ())
        yield DATA

    with pytest.raises(BlobsUnavailable, match="store it again"):
        hand_over(writer, "s", source())

    lab.settle()
    nothing_is_left(lab)


def test_content_is_stored_into_a_copy_that_was_adopted_just_before_its_commit(lab):
    writer, other = lab.process(), lab.process()

    def adopt():
        restored(lab.root)
        other.adopt_root(lab.root)

    beaten_at("commit", lab, writer, adopt)

    ref = hand_over(writer)

    assert lab.process().resolve(ref).read_bytes() == DATA
    other.release_all("s")
    lab.settle()
    nothing_is_left(lab)


def moved_away(directory):
    directory.rename(directory.with_name("away"))
    directory.symlink_to("away")


def a_file_stands_there(directory):
    directory.rename(directory.with_name("away"))
    directory.write_text("theirs")


@pytest.mark.parametrize("bar", [moved_away, a_file_stands_there])
def test_content_whose_directory_is_barred_is_tried_again_until_it_is_back(lab, bar):
    store = lab.process()
    ref = hand_over(store)
    directory = store.resolve(ref).parent

    bar(directory)
    with pytest.raises(BlobMissing):
        store.resolve(ref)
    done = store.delete_media(ref)
    assert (done.deleted, done.failed) == (0, 1)
    assert [path.read_bytes() for path in directory.with_name("away").glob("*.png")] == [DATA]

    directory.unlink()
    directory.with_name("away").rename(directory)
    lab.pass_time(2)
    assert lab.process().sweep().deleted == 1
    nothing_is_left(lab)


def test_a_draft_whose_place_is_barred_goes_all_the_same(lab):
    writer = lab.process().writer(scope="s")
    writer.__enter__()
    (lab.root / "scopes").write_text("theirs")

    del writer
    lab.pass_time(31)
    lab.process().sweep()

    assert (lab.root / "scopes").read_text() == "theirs"
    (lab.root / "scopes").unlink()
    nothing_is_left(lab)
