"""Workers that are late: one whose claim has lapsed goes on beside those that took it over, and harms nothing.

Each test stops a process before each of its file calls in turn, lets others act, and lets it go on.
Redis is fakeredis here: the files are what matters.
"""

from __future__ import annotations

import errno
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from mediastore import blobs
from mediastore.blobs import posix
from mediastore.errors import FileMissing

from .conftest import names_left
from .lab import CLAIM_S, STRAY_S, Crash, Fuse
from .lanes import mostly_real
from .processes import (
    Once,
    Paused,
    around_changes,
    changes,
    crash,
    identity,
    no_link,
    replace,
    there,
    unlinks,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lane():
    return "fake"


@pytest.mark.parametrize("links", [True, False])
def test_a_worker_late_at_any_call_touches_nothing_of_the_next_life(
    labs, stage, monkeypatch, caplog, links
):
    if not links:
        monkeypatch.setattr(posix, "link", no_link)
    for number, lab in enumerate(labs):
        late = lab.process()
        theirs: dict[Path, Any] = {}
        paths = [lab.file(name, "ours") for name in ("a.jpg", "b.jpg")]
        for path in paths:
            late.store(path, scope="s")
        late.release_all("s", wait=False)

        def overtake(lab=lab, paths=paths, theirs=theirs):
            lab.pass_time(CLAIM_S + 1)
            lab.process().sweep()
            assert not any(path.exists() for path in paths)
            theirs.update((path, replace(path, "theirs")) for path in paths)

        stop = Once(overtake, number)

        def act(*call, stop=stop, theirs=theirs):
            stop(*call)
            assert {path: identity(path) for path in theirs} == theirs

        with stage.during(act):
            late.sweep()

        assert {path: identity(path) for path in theirs} == theirs
        assert late.stats().deleted_blobs == 2
        assert lab.leftovers() == []
        assert "cannot" not in caplog.text
        if not stop.done:
            break
    assert number > 30


def doomed(lab):
    """Register and release a file; return its path and the process that will delete it."""
    path, process = lab.file("a.jpg", "ours"), lab.process()
    process.store(path, scope="s")
    process.release_all("s", wait=False)
    lab.pass_time(CLAIM_S + 1)
    return path, process


def verdict(lab, process, path, theirs, point):
    assert there(path) == theirs, point
    assert process.stats().deleted_blobs == 1, point
    assert lab.leftovers() == [], point


#: Two places at which something happens: of all pairs of them each second one, as on a chequerboard.
each_pair = pytest.mark.parametrize(
    "step", [2, pytest.param(1, id="every pair", marks=pytest.mark.torture)]
)


@each_pair
@mostly_real
def test_a_worker_that_goes_on_while_another_takes_over_harms_nothing(labs, stage, step):
    points = 0
    for at in count():
        for number, lab in enumerate(labs):
            if (at + number) % step:
                continue
            path, process = doomed(lab)
            late = Paused(stage, process.sweep, at)
            theirs: list[Any] = []

            def go_on(path=path, late=late, theirs=theirs):
                theirs += [] if path.exists() else [replace(path, "theirs")]
                late.finish()

            lab.pass_time(CLAIM_S + 1)
            resumed, other = Once(go_on, number, when=around_changes()), lab.process()
            with stage.during(resumed):
                other.sweep()
            late.finish()

            verdict(lab, other, path, theirs, (at, number))
            points += 1
            if not resumed.done:
                break
        if not late.stopped:
            break
    assert points > 200 / step


@each_pair
@mostly_real
def test_three_workers_one_late_behind_the_other_harm_nothing(labs, stage, step):
    points = 0
    for at in count():
        for number, lab in enumerate(labs):
            if (at + number) % step:
                continue
            path, process = doomed(lab)
            theirs: list[Any] = []

            def third(lab=lab, path=path, theirs=theirs):
                lab.pass_time(CLAIM_S + 1)
                lab.process().sweep()
                theirs.append(replace(path, "theirs"))

            inner = Once(third, number, when=changes)

            def second(lab=lab, inner=inner):
                lab.pass_time(CLAIM_S + 1)
                with stage.during(inner):
                    lab.process().sweep()

            outer = Once(second, at)
            with stage.during(outer):
                process.sweep()

            verdict(lab, process, path, theirs, (at, number))
            points += 1
            if not inner.done:
                break
        if not outer.done:
            break
    assert points > 100 / step


@pytest.mark.parametrize("scopes", [["s"], ["s", "s/x"]])
@mostly_real
def test_a_release_that_waits_returns_when_the_files_of_an_earlier_one_are_gone(
    labs, stage, monkeypatch, scopes
):
    waits = 0
    for number, lab in enumerate(labs):
        paths = [lab.file(f"{n}.jpg", "ours") for n in range(3)]
        first, second = lab.process(), lab.process()
        for n, path in enumerate(paths):
            first.store(path, scope=scopes[n % len(scopes)])
        busy = Paused(stage, partial(first.release_all, "s"), number)

        def wait(seconds, lab=lab, busy=busy):
            busy.finish()
            lab.offset_s += seconds

        monkeypatch.setattr(lab, "pass_time", wait)
        before = lab.offset_s
        second.release_all("s")

        assert not any(path.exists() for path in paths), number
        waits += lab.offset_s > before
        busy.finish()
        assert first.stats().deleted_blobs == 3
        assert lab.leftovers() == []
        if not busy.stopped:
            break
    assert waits > 20


@pytest.mark.parametrize("call", ["look", "rename"])
def test_a_late_worker_reports_nothing_of_a_file_that_another_has_deleted(
    lab, stage, monkeypatch, call
):
    """Without hard links it has nothing else to miss in the directory that is its own no more."""
    monkeypatch.setattr(posix, "link", no_link)
    path, late = doomed(lab)
    perform = late._perform
    reported: list[Any] = []

    def listen(step):
        answer = perform(step)
        reported.extend(answer.outcomes if isinstance(step, blobs.Destroy) else ())
        return answer

    def overtake():
        lab.pass_time(CLAIM_S + 1)
        lab.process().sweep()

    at_the_path = Once(overtake, when=lambda name, args: name == call and args[0] == path.name)
    monkeypatch.setattr(late, "_perform", listen)
    with stage.during(at_the_path):
        late.sweep()

    assert (at_the_path.done, reported) == (True, [])
    verdict(lab, late, path, [], call)


# --- a worker that is dead


def lists_a_claim(name, args):
    return (
        name == "names"
        and args[0].startswith(".mediastore/quarantine/")
        and args[0][-2:] == "/."
        and args[0].count("/") > 2
    )


def test_a_chain_of_three_dead_workers_is_finished_by_the_fourth(labs, stage):
    deepest = 0
    for number, lab in enumerate(labs):
        path, _ = doomed(lab)
        with lab.fused(Fuse(at=number, after=True)) as process:
            try:
                process.sweep()
                break
            except Crash:
                pass
        for _ in range(2):
            lab.pass_time(CLAIM_S + 1)
            dies = Once(crash, when=lists_a_claim)
            try:
                with stage.during(dies):
                    lab.process().sweep()
            except Crash:
                deepest = max(deepest, *(name.count("/") for name in names_left(lab.root)))
        lab.settle()

        verdict(lab, lab.process(), path, [], number)
    assert number > 8
    assert deepest == 4  # quarantine/third/second/first/blob


def test_what_late_workers_left_in_two_claims_of_a_chain_is_not_laid_one_over_the_other(lab, stage):
    path, process = doomed(lab)
    with stage.during(Once(crash, when=unlinks)), pytest.raises(Crash):
        process.sweep()
    lab.pass_time(CLAIM_S + 1)
    with stage.during(Once(crash, when=lists_a_claim)), pytest.raises(Crash):
        lab.process().sweep()
    (held,) = lab.root.glob(".mediastore/quarantine/*/*/*.held")
    inner, outer = (place / held.stem for place in (held.parent, held.parent.parent))
    for file, text in ((inner, "first"), (outer, "second")):
        file.unlink(missing_ok=True)
        file.write_text(text)

    lab.settle()

    kept = [path, *(lab.root / ".mediastore/parked").iterdir()]
    assert {each.read_text() for each in kept if each.exists()} == {"first", "second"}
    assert lab.process().stats().trash == 0


@pytest.mark.parametrize("depth", [2, 4], ids=["the old directory", "an entry of it"])
def test_a_take_over_that_fails_raises_nothing_and_is_repeated(lab, stage, caplog, depth):
    path, process = doomed(lab)
    with stage.during(Once(crash, when=unlinks)), pytest.raises(Crash):
        process.sweep()
    lab.pass_time(CLAIM_S + 1)

    def fail(name, args):
        if (
            name == "rename"
            and args[0].count("/") == depth
            and ".mediastore/quarantine/" in args[0]
        ):
            raise OSError(errno.EIO, "the disk")

    with stage.during(fail):
        assert process.sweep().deleted == 0
    assert "a claim cannot be taken over now" in caplog.text
    lab.settle()

    verdict(lab, process, path, [], "after the disk is well again")


def test_the_directory_of_a_crashed_prepare_goes_when_it_is_old(lab):
    process = lab.process()
    (root,) = process.stats().roots
    process._blobs.perform(blobs.Prepare(root, "crashed"))

    process.sweep()
    assert names_left(lab.root) == ["quarantine/crashed"]
    lab.pass_time(STRAY_S)
    process.sweep()
    assert names_left(lab.root) == []


def test_a_flushed_index_makes_the_sweeps_delete_nothing_and_park_what_was_claimed(lab, stage):
    kept = lab.file("kept.jpg", "kept")
    lab.process().store(kept, scope="t")
    path, process = doomed(lab)
    with stage.during(Once(crash, when=unlinks)), pytest.raises(Crash):
        process.sweep()
    lab.client.flushall()

    lab.settle()

    left = names_left(lab.root)
    assert sorted(name.partition("/")[0] for name in left) == ["held", "parked", "parked"]
    parked = [name for name in left if name.startswith("parked/")]
    assert [(lab.root / ".mediastore" / name).read_text() for name in parked] == ["ours"] * 2
    assert (kept.read_text(), there(path)) == ("kept", [])


# --- a store in the midst of it


@pytest.mark.parametrize("fresh", [False, True])
def test_a_store_during_a_deletion_gives_a_ref_that_holds_or_says_there_is_no_file(
    labs, stage, fresh
):
    outcomes = set()
    for number, lab in enumerate(labs):
        path, process = doomed(lab)
        other = lab.process()
        refs: list[str] = []

        def store(lab=lab, path=path, other=other, refs=refs):
            if fresh:
                replace(path, "second")
            try:
                refs.append(other.store(path, scope="t"))
            except FileMissing:
                assert not fresh

        during = Once(store, number)
        with stage.during(during):
            process.sweep()

        texts = [other.resolve(ref).read_text() for ref in refs]
        assert texts == ["second" if fresh else "ours"] * len(refs)
        assert path.exists() == bool(refs)
        other.release_all("t")
        assert there(path) == lab.leftovers() == []
        assert process.stats().deleted_blobs == 1 + (fresh and len(refs))
        outcomes.add(len(refs))
        if not during.done:
            break
    assert number > 25
    assert outcomes == {0, 1}


def test_a_release_finds_the_second_name_of_a_store_whenever_it_gets_its_place(labs, stage):
    for number, lab in enumerate(labs):
        path = lab.file("a.jpg", "ours")
        new, held = (lab.root / ".mediastore" / name for name in ("new", "held"))
        stops = Once(crash, when=lambda name, args: name == "rename" and "/held/" in args[2])
        with stage.during(stops), pytest.raises(Crash):
            lab.process().store(path, scope="s")
        (second_name,) = new.iterdir()

        def go_on(second_name=second_name, held=held):
            if second_name.exists():
                second_name.rename(held / second_name.name)

        gone_on = Once(go_on, number)
        with stage.during(gone_on):
            done = lab.process().release_all("s")

        assert (done.deleted, done.freed_bytes, path.exists()) == (1, 4, False), number
        assert lab.leftovers() == []
        if not gone_on.done:
            break
    assert number > 10
