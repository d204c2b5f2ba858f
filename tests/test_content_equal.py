"""Equal content, kept once: who is first, who joins what, and what is never joined."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from mediastore import MediaContent
from mediastore.errors import FileMissing
from mediastore.flows import leasing

from .content_fixtures import (  # noqa: F401 - a fixture
    DATA,
    beaten_at,
    blobs_of,
    hand_over,
    nothing_is_left,
    pieces,
    reserved,
    sharing,
)
from .lab import Crash, is_gone
from .processes import Once, crash
from .test_content import files


@pytest.mark.parametrize(("script", "number"), [("reserve", 1), ("reserve", 2), ("commit", 1)])
def test_the_loser_of_a_race_joins_the_winner_and_leaves_nothing_of_its_own(
    sharing, script, number
):
    """C27: the index takes the loser's blob for doomed in the same step."""
    lab, loser, winner = sharing, sharing.process(), sharing.process()
    won = []
    beaten_at(script, lab, loser, lambda: won.append(hand_over(winner, "w")), number)

    lost = hand_over(loser, "l", pieces())

    assert loser.resolve(lost) == winner.resolve(won[0])
    assert len(files(lab.root)) == 2  # the file and its sidecar
    stats = lab.process().stats()
    assert (stats.refs, stats.blobs, stats.trash) == (2, 1, 0)
    assert (stats.deleted_blobs, stats.freed_bytes) == (0, 0)
    assert reserved(lab) == (0, 0)
    assert loser.release_all("l").kept == 1
    done = loser.release_all("w")
    assert (done.deleted, done.freed_bytes) == (1, len(DATA))
    nothing_is_left(lab)


def test_content_that_a_sweeper_is_deleting_is_written_anew(sharing, stage):
    """No sweeper's blob is joined, whatever became of it; and its end does not take the new one along."""
    lab, sweeper, writer = sharing, sharing.process(), sharing.process()
    old = hand_over(sweeper)
    [gone] = blobs_of(lab, old)
    new = []
    write = Once(lambda: new.append(hand_over(writer, "t")), when=lambda name, _: name == "unlink")

    with stage.during(write):
        sweeper.release_all("s")

    assert write.done
    assert blobs_of(lab, *new) != [gone]
    assert writer.resolve(new[0]).read_bytes() == DATA
    assert hand_over(lab.process(), "u")
    stats = lab.process().stats()
    assert (stats.refs, stats.blobs, stats.deleted_blobs) == (2, 1, 1)
    writer.release_all("t")
    writer.release_all("u")
    nothing_is_left(lab)


def test_content_whose_sweeper_died_is_written_anew(sharing, stage):
    lab = sharing
    hand_over(lab.process())
    with pytest.raises(Crash), stage.during(Once(crash, when=lambda name, _: name == "unlink")):
        lab.process().release_all("s")

    ref = hand_over(lab.process(), "t")

    assert lab.process().resolve(ref).read_bytes() == DATA
    lab.settle()
    assert lab.process().resolve(ref).read_bytes() == DATA
    assert lab.process().stats().blobs == 1
    lab.process().release_all("t")
    nothing_is_left(lab)


@pytest.mark.parametrize("known", [True, False], ids=["bytes", "stream"])
@pytest.mark.parametrize("keeps", ["grace", "lease", "grace and lease", "no sweep yet"])
def test_content_that_waits_for_its_end_is_rescued(sharing, keeps, known):
    lab = sharing
    if "grace" in keeps:
        lab.settings = replace(lab.settings, grace=60)
    store = lab.process()
    old = hand_over(store)
    [blob] = blobs_of(lab, old)
    taken = store._run(leasing.take(store._ctx, old, 20)) if "lease" in keeps else None
    store.release_all("s", wait=False)
    lab.pass_time(5)

    new = hand_over(store, "t", DATA if known else pieces())

    assert is_gone(store, old)
    assert blobs_of(lab, new) == [blob]
    stats = lab.process().stats()
    assert (stats.refs, stats.blobs, stats.trash, stats.waiting) == (1, 1, 0, 0)
    lab.pass_time(61)
    lab.settle()
    assert store.resolve(new).read_bytes() == DATA
    if taken:
        store._run(leasing.end(store._ctx, taken))
    store.release_all("t")
    lab.pass_time(61)
    lab.settle()
    nothing_is_left(lab)


def left_by_a_loser(lab):
    """Leave the file of a process that lost the race at its commit, and died before it removed it; return its path."""
    loser, won = lab.process(), []
    beaten_at("commit", lab, loser, lambda: won.append(hand_over(lab.process(), "w")))
    beaten_at("claim", lab, loser, crash)
    with pytest.raises(Crash):
        hand_over(loser, "l", pieces())
    [winners] = [str(lab.process().resolve(ref).relative_to(lab.root)) for ref in won]
    [left] = {name for name in files(lab.root) if not name.endswith(".meta")} - {winners}
    return lab.root / left


def test_what_a_loser_left_is_nobodys_even_if_its_file_is_registered(sharing):
    lab = sharing
    path = left_by_a_loser(lab)

    with pytest.raises(FileMissing):
        lab.process().store(path, scope="t")

    lab.process().release_all("w")
    lab.process().release_all("l")
    lab.settle()
    nothing_is_left(lab)


@pytest.mark.parametrize("state", ["deleting", "doomed"])
def test_a_blob_that_a_sweeper_had_or_a_writer_gave_up_is_not_joined_whatever_the_index_says(
    sharing, stage, state
):
    """The entry by its digest is gone by then; should one be there all the same, the state decides."""
    lab, start = sharing, f"mediastore:{{{sharing.namespace}}}:"
    if state == "doomed":
        left_by_a_loser(lab)
    else:
        hand_over(lab.process())
        with pytest.raises(Crash), stage.during(Once(crash, when=lambda name, _: name == "unlink")):
            lab.process().release_all("s")
    found = {key.decode().removeprefix(start) for key in lab.client.scan_iter(f"{start}blob:*")}
    [blob] = [key for key in found if lab.client.hget(start + key, "state") == state.encode()]
    [root] = lab.process().stats().roots
    sha = hashlib.sha256(DATA).hexdigest()
    lab.client.hset(f"{start}dedup:{root}", sha, blob.removeprefix("blob:"))

    ref = hand_over(lab.process(), "t")

    assert f"blob:{blobs_of(lab, ref)[0]}" != blob
    lab.settle()
    assert lab.process().resolve(ref).read_bytes() == DATA


def test_content_of_another_size_is_not_taken_for_the_same(sharing):
    """A digest that meets another size is no collision that we bet on, but an index that somebody changed."""
    lab, store = sharing, sharing.process()
    [blob] = blobs_of(lab, hand_over(store))
    lab.client.hset(f"mediastore:{{{lab.namespace}}}:blob:{blob}", "size", len(DATA) + 1)

    ref = hand_over(store, "t")

    assert blobs_of(lab, ref) != [blob]
    assert store.resolve(ref).read_bytes() == DATA


def test_a_buffer_that_changes_while_it_is_stored_is_not_taken_for_what_it_was(sharing):
    lab, store = sharing, sharing.process()
    before = DATA * 1000  # more than the head that is looked at first
    buffer = bytearray(before)
    beaten_at("reserve", lab, store, lambda: buffer.__setitem__(-1, 0))

    changed = hand_over(store, data=buffer)

    assert store.resolve(hand_over(store, "t", before)).read_bytes() == before
    assert store.resolve(changed).read_bytes() == bytes(buffer)
    assert blobs_of(lab, changed) == blobs_of(lab, hand_over(store, "u", bytes(buffer)))


def test_a_file_that_somebody_removed_is_not_joined_but_written_anew(sharing):
    lab, store = sharing, sharing.process()
    old = hand_over(store)
    store.resolve(old).unlink()

    refs = [hand_over(store, "t"), hand_over(store, "t", pieces())]

    assert [store.resolve(ref).read_bytes() for ref in refs] == [DATA, DATA]
    assert len(set(blobs_of(lab, *refs))) == 1
    stats = store.stats()
    assert (stats.refs, stats.blobs) == (3, 2)
    store.release_all("s")
    assert [store.resolve(ref).read_bytes() for ref in refs] == [DATA, DATA]
    refs.append(
        hand_over(store, "t")
    )  # the end of the old blob has not taken the entry of the new one along
    assert len(set(blobs_of(lab, *refs))) == 1
    store.release_all("t")
    nothing_is_left(lab)


def test_a_stream_whose_equal_lost_its_file_by_hand_is_written_anew(sharing):
    store = sharing.process()
    first = store.store_media(MediaContent(data=DATA), scope="s")
    store.resolve(first).unlink()

    again = store.store_media(MediaContent(data=iter([DATA])), scope="s")

    assert store.resolve(again).read_bytes() == DATA
