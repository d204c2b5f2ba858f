"""Content on its way while others act: each moment is ours, by a stage or by steps."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from mediastore import MediaContent, MediaStore
from mediastore.blobs import drafting
from mediastore.blobs.local import LocalBlobs
from mediastore.errors import BlobsUnavailable, IndexUnavailable, InvalidRoot, StoreFull

from .content_fixtures import DATA, META, beaten_at, hand_over, nothing_is_left, pieces, sharing  # noqa: F401 - a fixture
from .lab import STRAY_S, Crash
from .lanes import mostly_real
from .processes import Once, Paused, crash, replace as put_instead
from .test_content import files
from .waiting import until

# --- a writer that is too slow


def sweep_away(lab):
    """Let every lease of a writer lapse, and sweep as another process does."""
    lab.pass_time(31)
    return lab.process().sweep()


@pytest.mark.parametrize("lane", ["real"], indirect=True)
@pytest.mark.parametrize("dedup", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_a_writer_whose_reservation_was_swept_away_fails_wherever_it_goes_on(
    labs, stage, dedup, durable
):
    """It stands still before each of its file calls; while it does, another process sweeps."""
    ends = set()
    for number in range(100):
        lab = next(labs)
        lab.settings = replace(lab.settings, dedup=dedup, durable=durable)
        writer = lab.process()
        stop = Once(partial(sweep_away, lab), number)
        try:
            with stage.during(stop):
                ref = writer.store_media(MediaContent(data=pieces()), meta=META)
        except BlobsUnavailable as error:
            ends.add(str(error).rpartition("; ")[2])
        else:
            # It stood still before its reservation, or after its ref was made.
            ends.add("stored" if stop.done else "over")
            assert writer.resolve(ref).read_bytes() == DATA
            writer.release_all("session/42")
            lab.settle()
        nothing_is_left(lab)
        if not stop.done:
            break
    assert ends == {"store it again", "stored", "over"}


@pytest.mark.parametrize("script", ["reserve", "commit"])
def test_a_writer_that_stands_still_before_its_command_is_too_late(sharing, script):
    """C23 and C26: the reservation itself is asked, not the clock."""
    lab, writer = sharing, sharing.process()
    ask, said = writer._ask, []

    def slow(step):
        name = getattr(step, "script", "")
        said.append(name)
        if name == script and said.count(name) == (2 if script == "reserve" else 1):
            sweep_away(lab)
        return ask(step)

    writer._ask = slow

    with pytest.raises(BlobsUnavailable, match="store it again"):
        writer.store_media(MediaContent(data=pieces()), meta=META)

    nothing_is_left(lab)


def test_a_reservation_that_lapsed_is_no_good_even_before_a_sweeper_comes(sharing):
    lab, writer = sharing, sharing.process()
    ask, said = writer._ask, []

    def slow(step):
        said.append(getattr(step, "script", ""))
        if said[-1] == "reserve" and said.count("reserve") == 2:
            lab.pass_time(31)
        return ask(step)

    writer._ask = slow

    with pytest.raises(BlobsUnavailable, match="store it again"):
        writer.store_media(MediaContent(data=pieces()), meta=META)

    nothing_is_left(lab)


@pytest.mark.slow
def test_the_file_of_a_writer_that_takes_long_is_no_stray(lab):
    store, sweeper = lab.process(), lab.process()
    sweeper._blobs = LocalBlobs(
        lab.settings.roots, lab.namespace, wall=lambda: time.time() + STRAY_S
    )

    with store.writer(scope="s") as draft:
        draft.path.write_bytes(DATA)
        sweeper.sweep()

    assert store.resolve(draft.ref).read_bytes() == DATA


def test_a_file_that_took_the_place_of_the_temporary_one_is_not_stored(lab):
    """As in a copy of the root that was adopted meanwhile."""
    store = lab.process()
    perform = store._perform

    def swap(step):
        if isinstance(step, drafting.Publish):
            put_instead(step.draft.path, "theirs")
        return perform(step)

    store._perform = swap
    with pytest.raises(BlobsUnavailable, match="store it again"):
        store.store_media(MediaContent(data=DATA), meta=META)

    nothing_is_left(lab)


def test_a_ref_that_is_made_long_after_its_sidecar_counts_from_a_minute_before(lab):
    store = lab.process()
    perform = store._perform

    def late(step):
        answer = perform(step)
        if isinstance(step, drafting.Publish):
            lab.pass_time(300)
        return answer

    store._perform = late
    found = store.get(store.store_media(MediaContent(data=DATA), meta=META, ttl="1h"))

    assert round(found.stored_at.timestamp() * 1000) == lab.now_ms() - 60_000
    assert found.expires_at - found.stored_at == timedelta(hours=1)


def test_a_writer_keeps_its_reservation_for_as_long_as_its_content_comes(clients, settings, media):
    brief = replace(settings, claim="1s")
    with MediaStore(clients(), brief) as writer, MediaStore(clients(), brief) as sweeper:

        def slow():
            yield DATA * 1_000
            end = time.monotonic() + 2.5
            until(lambda: sweeper.sweep() and time.monotonic() > end)
            yield DATA

        ref = writer.store_media(MediaContent(data=slow()), scope="s")

        assert writer.resolve(ref).read_bytes() == DATA * 1_001
        assert sweeper.release_all("s").deleted == 1
        assert files(media) == []


# --- a directory that others prune


@pytest.mark.parametrize("dedup", [False, True])
@mostly_real
def test_a_writer_makes_its_directory_again_whenever_others_prune_it(lab, stage, dedup):
    """Before each of its file calls another process deletes the last file that lies there."""
    lab.settings = replace(lab.settings, dedup=dedup)
    writer, other = lab.process(), lab.process()
    beside = hand_over(other, "other", b"beside", META)
    calls = []

    def prune(name, args):
        nonlocal beside
        calls.append(name)
        if len(calls) < 60:
            other.delete_media(beside)
            beside = hand_over(other, "other", b"beside", META)
            other.delete_media(beside)
            beside = hand_over(other, "elsewhere", b"beside %d" % len(calls))

    with stage.during(prune):
        ref = hand_over(writer, "s", pieces(), META)

    assert calls.count("make_directory") > 2
    assert writer.resolve(ref).read_bytes() == DATA
    for scope in ("s", "other", "elsewhere"):
        other.release_all(scope)
    nothing_is_left(lab)


# --- no memory in the server


@pytest.mark.parametrize("script", ["reserve", "reserve again", "commit"])
def test_a_command_refused_for_lack_of_memory_makes_no_ref_of_which_nobody_is_told(sharing, script):
    """Its twin comes late, before each of the commands that take back what was begun."""
    lab = sharing
    for number in range(1, 20):
        writer = lab.process()
        twin, after = refused_once(writer, script, number)

        try:
            told = [writer.store_media(MediaContent(data=pieces()), meta=META)]
        except StoreFull:
            told = []

        assert len(twin) == 1
        assert [media.ref for media in lab.process().refs("session/42")] == told
        assert all(writer.resolve(ref).read_bytes() == DATA for ref in told)
        writer.release_all("session/42")
        lab.settle()
        nothing_is_left(lab)
        if len(after) < number:
            break
    assert number >= 2


def refused_once(process, script, number):
    """Have a command refused, and its twin carried out before the n-th command after it."""
    ask, said = process._ask, []
    twin: list[Any] = []
    after: list[Any] = []

    def scarce(step):
        said.append(getattr(step, "script", "read"))
        if twin:
            after.append(step)
            if len(after) == number:
                ask(twin[0])
        elif (said[-1], said.count("reserve")) in WANTED[script]:
            twin.append(step)
            raise StoreFull("no memory")
        return ask(step)

    process._ask = scarce
    return twin, after


@pytest.mark.parametrize("arrived", [True, False])
def test_content_whose_last_answer_is_lost_is_left_alone(lab, arrived):
    """Its ref was made or not: whoever removed the file might take it from a ref."""
    writer = lab.process()
    ask = writer._ask

    def cut_off(step):
        if getattr(step, "script", "") == "commit":
            if arrived:
                ask(step)
            raise IndexUnavailable("the answer was lost")
        return ask(step)

    writer._ask = cut_off

    with pytest.raises(IndexUnavailable):
        hand_over(writer)

    lab.settle()
    found = lab.process().refs("s")
    assert len(found) == arrived
    assert all(writer.resolve(media.ref).read_bytes() == DATA for media in found)
    lab.process().release_all("s")
    nothing_is_left(lab)


WANTED = {
    "reserve": {("reserve", 1)},
    "reserve again": {("reserve", 2)},
    "commit": {("commit", 2)},
}


# --- a root that goes


@pytest.mark.parametrize(("script", "number"), [("reserve", 1), ("reserve", 2), ("commit", 1)])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "begun"])
def test_a_root_that_is_forgotten_while_content_comes_takes_no_ref(sharing, script, number, whole):
    """Whether its blobs have been given up by then or not."""
    lab, writer, other = sharing, sharing.process(), sharing.process()
    [root] = other.stats().roots

    def forget():
        if whole:
            other.forget_root(root, even_here=True)
        else:
            lab.client.hset(f"mediastore:{{{lab.namespace}}}:lost", root, "1 here:/media")

    beaten_at(script, lab, writer, forget, number)

    with pytest.raises((InvalidRoot, BlobsUnavailable), match=r"forgotten|store it again"):
        hand_over(writer, "s", pieces())

    assert files(lab.root) == []
    other.adopt_root(lab.root)
    lab.settle()
    nothing_is_left(lab)


def test_a_root_that_is_forgotten_leaves_no_entry_of_its_content(sharing):
    lab, store = sharing, sharing.process()
    hand_over(store)
    [root] = store.stats().roots

    store.forget_root(root, even_here=True)
    store.release_all("s")

    assert lab.leftovers() == []


# --- a sweeper that is not done


@pytest.mark.parametrize("script", ["reserve", "commit"])
def test_a_writer_whose_blob_is_being_deleted_is_too_late(sharing, stage, script):
    """C26: the sweeper has claimed the reservation, and stands still before it removes a name."""
    lab, writer = sharing, sharing.process()

    def half_swept():
        lab.pass_time(31)
        with pytest.raises(Crash), stage.during(Once(crash, when=lambda name, _: name == "unlink")):
            lab.process().sweep()

    beaten_at(script, lab, writer, half_swept, 2 if script == "reserve" else 1)

    with pytest.raises(BlobsUnavailable, match="store it again"):
        hand_over(writer, "s", pieces())

    assert lab.process().stats().refs == 0
    lab.settle()
    nothing_is_left(lab)


@pytest.mark.parametrize("lane", ["fake"], indirect=True)
@pytest.mark.parametrize("rename", [0, 1], ids=["file", "sidecar"])
def test_a_writer_that_renames_between_two_steps_of_the_sweeper_leaves_nothing(labs, stage, rename):
    """C24: the temporary names go before the final ones. The writer dies before its commit, and removes nothing."""
    for number in range(1, 100):
        lab = next(labs)
        writer = lab.process()
        beaten_at("commit", lab, writer, crash)
        act = partial(hand_over, writer, "s", pieces())
        stands = Paused(stage, act, rename, when=lambda name, _: name == "rename")
        lab.pass_time(31)
        go_on = Once(partial(to_its_end, stands), number, when=at_an_end)

        with stage.during(go_on):
            lab.process().sweep()

        if not go_on.done:
            to_its_end(stands)
        lab.settle()
        nothing_is_left(lab)
        if not go_on.done:
            break
    assert number > 3


def at_an_end(name, _):
    return name in {"look", "unlink", "remove_directory"}


def to_its_end(stands):
    with suppress(Crash, BlobsUnavailable):
        stands.finish()
