"""Deleting: only the file that was registered goes, whoever moves names about and whichever process is late.

One process acts exactly between two file calls of another. Redis is fakeredis here: the files are what matters,
and `test_crash.py` drives the same flows on a real server.
"""

from __future__ import annotations

import errno
import os
from itertools import count

import pytest

from mediastore import Cleanup, MediaMeta
from mediastore.blobs import posix

from .lab import CHANGES, CLAIM_S, STRAY_S, Crash, Fuse, Lab, is_gone
from .processes import Once, Paused, Stage

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


@pytest.fixture
def lane():
    return "fake"


@pytest.fixture
def lab(clients, tmp_path):
    return Lab(clients, tmp_path / "media")


@pytest.fixture
def labs(clients, tmp_path):
    """Give one laboratory after the other, each with a root of its own."""
    return (Lab(clients, tmp_path / str(number)) for number in count())


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


@pytest.fixture
def no_links(monkeypatch):
    """Make the file system one without hard links."""

    def refuse(*_):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(posix, "link", refuse)


def identity(path):
    seen = path.lstat()
    return seen.st_ino, seen.st_mode, os.readlink(path) if path.is_symlink() else None


def there(path):
    """Return what is at the path, as a list of nothing or one."""
    return [identity(path)] if os.path.lexists(path) else []


def replace(path, content):
    """Put another file at the path, as a download that is renamed into place does."""
    draft = path.with_name("draft")
    draft.write_text(content)
    draft.rename(path)
    return identity(path)


def registered(lab, name="a.jpg", scope="s"):
    path = lab.file(name, "ours")
    lab.process().store(path, scope=scope)
    return path


def takes(path):
    """Tell the call that moves the path into quarantine, wherever the walk has got to."""
    return lambda name, args: name == "rename" and args[0] == path.name and "quarantine" in args[2]


def puts_back(name, args):
    return name in {"link", "rename"} and "quarantine" in args[0] and args[2] == "a.jpg"


def changes(name, _):
    return name in CHANGES


def crash():
    raise Crash


# --- somebody else's file at the path


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_replaced_ours_is_not_moved_for_a_moment(lab, stage, request, links):
    if not links:
        request.getfixturevalue("no_links")
    path = registered(lab)
    theirs = replace(path, "theirs")
    calls = []

    def look(name, _):
        calls.append(name)
        assert identity(path) == theirs, calls

    with stage.during(look):
        done = lab.process().release_all("s")

    assert (done.deleted, identity(path), path.read_text()) == (1, theirs, "theirs")
    assert len(calls) > 5
    assert lab.leftovers() == []


def test_a_file_swapped_in_between_the_look_and_the_rename_is_put_back(lab, stage):
    path = registered(lab)
    theirs = []

    with stage.during(Once(lambda: theirs.append(replace(path, "theirs")), when=takes(path))):
        lab.process().release_all("s")

    assert (identity(path), path.read_text()) == (theirs[0], "theirs")
    assert lab.leftovers() == []


def test_a_file_is_not_put_back_over_a_third_one_but_parked_and_reported(lab, stage, caplog):
    path = registered(lab)
    process = lab.process()
    swap = Once(lambda: replace(path, "theirs"), when=takes(path))
    third = Once(lambda: path.write_text("third"), when=puts_back)

    with stage.during(lambda *call: (swap(*call), third(*call))):
        process.release_all("s")

    assert path.read_text() == "third"
    assert [parked.read_text() for parked in process._blobs.parked()] == ["theirs"]
    assert "a file that is not ours could not be put back" in caplog.text


def test_a_put_back_that_was_cut_short_is_finished(lab, stage):
    path = registered(lab)
    swap = Once(lambda: replace(path, "theirs"), when=takes(path))
    cut = Once(crash, when=lambda name, args: swap.done and name == "unlink")
    with stage.during(lambda *call: (swap(*call), cut(*call))), pytest.raises(Crash):
        lab.process().release_all("s")
    assert path.lstat().st_nlink == 2

    lab.settle()

    assert (path.read_text(), path.lstat().st_nlink) == ("theirs", 1)
    assert lab.leftovers() == []


def test_a_second_file_is_never_parked_over_the_first(lab, stage):
    path = registered(lab)
    spare = path.with_name("spare.jpg")
    spare.hardlink_to(path)
    swap = Once(lambda: replace(path, "first"), when=takes(path))
    cut = Once(crash, when=puts_back)
    with stage.during(lambda *call: (swap(*call), cut(*call))), pytest.raises(Crash):
        lab.process().release_all("s")
    spare.rename(path)
    lab.pass_time(CLAIM_S + 1)
    again = Once(lambda: replace(path, "second"), when=takes(path))
    third = Once(lambda: path.write_text("third"), when=lambda *call: again.done and puts_back(*call))

    with stage.during(lambda *call: (again(*call), third(*call))):
        process = lab.process()
        process.sweep()

    assert again.done
    assert third.done
    assert {parked.read_text() for parked in process._blobs.parked()} == {"first", "second"}
    assert path.read_text() == "third"


def a_link_outside(path, outside):
    path.symlink_to(outside / "target.jpg")


def a_link_inside(path, _):
    path.symlink_to("b.jpg")


def a_directory(path, _):
    (path / "one").mkdir(parents=True)
    (path / "two").mkdir()
    (path / "one" / "same.txt").write_text("1")
    (path / "two" / "same.txt").write_text("2")


def a_fifo(path, _):
    os.mkfifo(path)


@pytest.mark.parametrize("cut_short", [False, True])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("put", [a_link_outside, a_link_inside, a_directory, a_fifo])
def test_what_is_no_file_is_neither_followed_nor_kept_nor_taken_apart(
    lab, stage, tmp_path, put, early, cut_short
):
    path = registered(lab)
    outside = tmp_path / "outside"
    lab.file("b.jpg", "another's")
    lab.file("../outside/target.jpg", "outside")
    theirs = []

    def swap():
        path.unlink()
        put(path, outside)
        theirs.append(identity(path))

    swapped = Once(swap, 0, when=None if early else takes(path))
    cut = Once(crash if cut_short else lambda: None, when=puts_back)
    with stage.during(lambda *call: (swapped(*call), cut(*call))):
        try:
            lab.process().release_all("s")
        except Crash:
            pass
    lab.settle()

    assert there(path) == theirs
    assert (outside / "target.jpg").read_text() == "outside"
    assert (lab.root / "b.jpg").read_text() == "another's"
    assert sorted(file.read_text() for file in path.rglob("*.txt")) == ["1", "2"][: 2 * path.is_dir()]
    assert lab.leftovers() == []


@pytest.mark.parametrize("inside", [True, False])
def test_a_parent_that_became_a_symlink_is_not_followed_whenever_it_did(labs, stage, inside):
    for number, lab in enumerate(labs):
        path = registered(lab, "sub/a.jpg")
        elsewhere = lab.root / "there" if inside else lab.root.with_name(f"{number} outside")
        elsewhere.mkdir()
        victim = elsewhere / "a.jpg"
        victim.write_text("another's")

        def swap(parent=path.parent, elsewhere=elsewhere):
            if parent.exists():
                parent.rename(parent.with_name("moved"))
            parent.symlink_to(elsewhere)

        swapped = Once(swap, number)
        with stage.during(swapped):
            lab.process().release_all("s")

        assert victim.read_text() == "another's"
        assert lab.leftovers() == []
        if not swapped.done:
            break
    assert number > 20


def test_a_file_rewritten_in_place_is_still_ours(lab):
    path = registered(lab)
    path.write_text("rewritten, and longer than before")

    done = lab.process().release_all("s")

    assert (done.deleted, path.exists()) == (1, False)


# --- a worker that is late


@pytest.mark.parametrize("links", [True, False])
def test_a_worker_late_at_any_call_touches_nothing_of_the_next_life(labs, stage, request, links):
    if not links:
        request.getfixturevalue("no_links")
    for number, lab in enumerate(labs):
        paths = [registered(lab, name) for name in ("a.jpg", "b.jpg")]
        lab.process().release_all("s", wait=False)
        late, theirs = lab.process(), {}

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
        if not stop.done:
            break
    assert number > 30


def test_a_worker_that_goes_on_at_any_call_of_the_one_that_took_over_harms_nothing(labs, stage):
    points = 0
    for at in count():
        for number, lab in enumerate(labs):
            path = registered(lab)
            lab.process().release_all("s", wait=False)
            late = Paused(stage, lab.process().sweep, at)
            theirs = []

            def go_on(path=path, late=late, theirs=theirs):
                if not path.exists():
                    theirs.append(replace(path, "theirs"))
                late.finish()

            lab.pass_time(CLAIM_S + 1)
            resumed = Once(go_on, number)
            with stage.during(resumed):
                lab.process().sweep()
            late.finish()

            assert there(path) == theirs, (at, number)
            assert lab.process().stats().deleted_blobs == 1, (at, number)
            assert lab.leftovers() == [], (at, number)
            points += 1
            if not resumed.done:
                break
        if not late.stopped:
            break
    assert points > 400


def test_three_workers_one_late_behind_the_other_harm_nothing(labs, stage):
    points = 0
    for at in count():
        for number, lab in enumerate(labs):
            path = registered(lab)
            lab.process().release_all("s", wait=False)
            theirs = []

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
                lab.process().sweep()

            assert there(path) == theirs, (at, number)
            assert lab.process().stats().deleted_blobs == 1, (at, number)
            assert lab.leftovers() == [], (at, number)
            points += 1
            if not inner.done:
                break
        if not outer.done:
            break
    assert points > 150
