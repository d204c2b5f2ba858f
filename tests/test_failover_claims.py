"""Claims that the index has lost, by a failover or a restored snapshot: what their directories hold is not lost with them."""

from __future__ import annotations

from contextlib import suppress

import pytest

from mediastore.blobs import posix

from .conftest import names_left
from .lab import CLAIM_S, STRAY_S, Crash
from .processes import Once, Paused, crash, identity, no_link, replace, there, unlinks


@pytest.fixture
def lane():
    return "fake"


def snapshot(lab):
    """Read every key of the index."""
    return {key: lab.client.dump(key) for key in lab.client.scan_iter()}


def restore(lab, kept):
    """Put a snapshot in the place of the index."""
    lab.client.flushall()
    for key, value in kept.items():
        lab.client.restore(key, 0, value)


def doomed(lab):
    path, process = lab.file("a.jpg", "ours"), lab.process()
    process.store(path, scope="s")
    process.release_all("s", wait=False)
    return path, process


@pytest.mark.parametrize("links", [True, False])
def test_the_next_claim_finds_what_a_lost_one_has_moved(labs, stage, monkeypatch, links):
    if not links:
        monkeypatch.setattr(posix, "link", no_link)
    for number, lab in enumerate(labs):
        path, process = doomed(lab)
        kept = snapshot(lab)
        dies = Once(crash, number)
        with stage.during(dies), suppress(Crash):
            process.sweep()
        if not dies.done:
            break
        restore(lab, kept)

        lab.process().sweep()

        assert there(path) == [], number
        lab.pass_time(STRAY_S)
        lab.process().sweep()
        assert lab.leftovers() == [], number
    assert number > 15


def test_a_worker_whose_claim_was_lost_goes_on_beside_the_next_and_harms_nothing(labs, stage):
    for number, lab in enumerate(labs):
        path, process = doomed(lab)
        kept = snapshot(lab)
        late = Paused(stage, process.sweep, number)
        if late.stopped:
            restore(lab, kept)
        lab.process().sweep()
        theirs = [] if path.exists() else [replace(path, "theirs")]
        late.finish()
        for seconds in (CLAIM_S + 1, CLAIM_S + 1, STRAY_S):
            lab.pass_time(seconds)
            lab.process().sweep()

        assert there(path) == theirs or not theirs, number
        assert [n for n in names_left(lab.root) if not n.startswith("parked/")] == [], number
        if not late.stopped:
            break
    assert number > 15


def lost(lab, stage):
    """Leave what a worker had begun to delete in a directory that the index does not know, and that is old."""
    path, process = doomed(lab)
    kept = snapshot(lab)
    with stage.during(Once(crash, when=unlinks)), pytest.raises(Crash):
        process.sweep()
    restore(lab, kept)
    lab.pass_time(STRAY_S)
    return path


def is_clean(lab, path):
    for seconds in (CLAIM_S + 1, CLAIM_S + 1, STRAY_S):
        lab.pass_time(seconds)
        lab.process().sweep()
    return there(path) == lab.leftovers() == []


def test_a_sweep_that_tidies_beside_the_claim_that_finds_them_leaves_nothing(labs, stage):
    for number, lab in enumerate(labs):
        path = lost(lab, stage)
        beside = Once(lab.process().sweep, number)
        with stage.during(beside):
            lab.process().sweep()

        assert is_clean(lab, path), number
        if not beside.done:
            break
    assert number > 20


def test_a_claim_that_dies_while_it_finds_them_leaves_nothing(labs, stage):
    for number, lab in enumerate(labs):
        path = lost(lab, stage)
        dies = Once(crash, number)
        with stage.during(dies), suppress(Crash):
            lab.process().sweep()

        assert is_clean(lab, path), number
        if not dies.done:
            break
    assert number > 20


def half_deleted(lab, stage):
    """Stop a worker right after it has moved the file, then lose its claim together with the release."""
    path, process = lab.file("a.jpg", "ours"), lab.process()
    ref = process.store(path, scope="s")
    kept = snapshot(lab)
    process.release_all("s", wait=False)
    with stage.during(Once(crash, when=unlinks)), pytest.raises(Crash):
        process.sweep()
    assert there(path) == []
    restore(lab, kept)
    return path, ref


def test_tidying_puts_back_what_an_unknown_claim_holds(lab, stage):
    _, ref = half_deleted(lab, stage)
    lab.process().touch(ref, "3h")

    lab.pass_time(STRAY_S)
    lab.process().sweep()

    assert lab.process().resolve(ref).read_text() == "ours"
    assert [n.partition("/")[0] for n in names_left(lab.root)] == ["held"]


def test_tidying_puts_nothing_back_over_another_file(lab, stage):
    path, ref = half_deleted(lab, stage)
    lab.process().touch(ref, "3h")
    theirs = replace(path, "theirs")

    lab.pass_time(STRAY_S)
    lab.process().sweep()

    assert identity(path) == theirs
    assert sorted(n.partition("/")[0] for n in names_left(lab.root)) == ["held", "parked"]


def test_tidying_leaves_a_young_claim_alone(lab, stage):
    half_deleted(lab, stage)
    before = names_left(lab.root)

    lab.pass_time(STRAY_S / 2)
    lab.process().sweep()

    assert names_left(lab.root) == before


def test_tidying_parks_what_no_blob_has_any_more(lab, stage):
    path, _ = half_deleted(lab, stage)
    lab.client.flushall()

    lab.pass_time(STRAY_S)
    lab.process().sweep()

    assert [n.partition("/")[0] for n in names_left(lab.root)] == ["parked", "parked"]
    assert {p.read_text() for p in lab.process()._blobs.parked()} == {"ours"}
    assert there(path) == []
