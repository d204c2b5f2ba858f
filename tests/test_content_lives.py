"""Refs of content meet what every ref meets: they move, wait, are leased, and their files are registered as well."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from mediastore import Cleanup, MediaMeta, Ref, blobs
from mediastore.errors import FileMissing
from mediastore.flows import leasing

from .content_fixtures import DATA, beaten_at, blobs_of, file_of, hand_over, nothing_is_left
from .lab import Crash
from .processes import crash


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
