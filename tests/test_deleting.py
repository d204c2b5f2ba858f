"""Deleting: only the file that was registered goes, whoever moves names about and whichever process is late.

One process acts exactly between two file calls of another. Redis is fakeredis here: the files are what matters,
and `test_crash.py` drives the same flows on a real server.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

import pytest

from mediastore import MediaStore, Settings
from mediastore.blobs import posix

from .lab import CLAIM_S, Crash
from .processes import Once, both, crash, identity, no_link, replace, there


@pytest.fixture
def lane():
    return "fake"


def registered(lab, name="a.jpg", scope="s"):
    path = lab.file(name, "ours")
    lab.process().store(path, scope=scope)
    return path


def takes(path):
    """Tell the call that moves the path into quarantine, wherever the walk has got to."""
    return lambda name, args: name == "rename" and args[0] == path.name and "quarantine" in args[2]


def puts_back(name, args):
    return name in {"link", "rename"} and "quarantine" in args[0] and args[2] == "a.jpg"


def test_in_a_root_of_a_group_its_members_can_finish_what_one_has_begun_to_delete(lab, stage):
    lab.root.chmod(0o2770)
    registered(lab)
    seen: set[int] = set()

    def look(*_):
        begun = [
            each for each in (lab.root / ".mediastore/quarantine").iterdir() if any(each.iterdir())
        ]
        seen.update(stat.S_IMODE(each.stat().st_mode) for each in begun)

    with stage.during(look):
        lab.process().release_all("s")

    assert seen == {0o2770}


# --- somebody else's file at the path


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_replaced_ours_is_not_moved_for_a_moment(lab, stage, monkeypatch, links):
    if not links:
        monkeypatch.setattr(posix, "link", no_link)
    path = registered(lab)
    theirs = replace(path, "theirs")
    calls = []

    def look(name, _):
        calls.append(name)
        assert identity(path) == theirs, calls

    with stage.during(look):
        done = lab.process().release_all("s")

    assert (done.deleted, done.spared) == (int(links), int(not links))
    assert (identity(path), path.read_text()) == (theirs, "theirs")
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

    with stage.during(both(swap, third)):
        process.release_all("s")

    assert path.read_text() == "third"
    assert [parked.read_text() for parked in process._blobs.parked()] == ["theirs"]
    assert "a file that is nobody's to delete is kept in .mediastore/parked/" in caplog.text


def test_a_put_back_that_was_cut_short_is_finished(lab, stage):
    path = registered(lab)
    swap = Once(lambda: replace(path, "theirs"), when=takes(path))
    cut = Once(crash, when=lambda name, args: swap.done and name == "unlink")
    with stage.during(both(swap, cut)), pytest.raises(Crash):
        lab.process().release_all("s")
    assert path.lstat().st_nlink == 2

    lab.settle()

    assert (path.read_text(), path.lstat().st_nlink) == ("theirs", 1)
    assert lab.leftovers() == []


def test_a_file_is_parked_although_somebody_has_removed_the_empty_directory(lab, stage):
    path = registered(lab)
    swap = Once(lambda: replace(path, "theirs"), when=takes(path))
    third = Once(lambda: path.write_text("third"), when=puts_back)
    process = lab.process()
    (lab.root / ".mediastore/parked").rmdir()

    with stage.during(both(swap, third)):
        done = process.release_all("s")

    assert (done.deleted, done.pending, path.read_text()) == (1, 0, "third")
    assert [parked.read_text() for parked in lab.process()._blobs.parked()] == ["theirs"]


def test_a_second_file_is_never_parked_over_the_first(lab, stage):
    path = registered(lab)
    spare = path.with_name("spare.jpg")
    spare.hardlink_to(path)
    swap = Once(lambda: replace(path, "first"), when=takes(path))
    cut = Once(crash, when=puts_back)
    with stage.during(both(swap, cut)), pytest.raises(Crash):
        lab.process().release_all("s")
    spare.rename(path)
    lab.pass_time(CLAIM_S + 1)
    again = Once(lambda: replace(path, "second"), when=takes(path))
    third = Once(
        lambda: path.write_text("third"), when=lambda *call: again.done and puts_back(*call)
    )

    with stage.during(both(again, third)):
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


@pytest.mark.parametrize("cut_short", ["", "before the name is back", "after"])
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
    after = cut_short == "after"
    when = (lambda name, _: swapped.done and name == "unlink") if after else puts_back
    cut = Once(crash if cut_short else lambda: None, when=when)
    with stage.during(both(swapped, cut)), suppress(Crash):
        lab.process().release_all("s")
    lab.settle()

    assert there(path) == theirs
    assert (outside / "target.jpg").read_text() == "outside"
    assert (lab.root / "b.jpg").read_text() == "another's"
    assert (
        sorted(file.read_text() for file in path.rglob("*.txt")) == ["1", "2"][: 2 * path.is_dir()]
    )
    assert lab.leftovers() == []


@pytest.mark.parametrize("inside", [True, False])
def test_a_parent_that_became_a_symlink_is_not_followed_whenever_it_did(labs, stage, inside):
    for number, lab in enumerate(labs):
        path = registered(lab, "sub/a.jpg")
        elsewhere = lab.root / "there" if inside else lab.root.with_name(f"{number} outside")
        elsewhere.mkdir()
        victim = elsewhere / "a.jpg"
        victim.hardlink_to(path)  # the very file that is looked for, under a name nobody registered

        def swap(parent=path.parent, elsewhere=elsewhere):
            if parent.exists():
                parent.rename(parent.with_name("moved"))
            parent.symlink_to(elsewhere)

        swapped = Once(swap, number)
        with stage.during(swapped):
            lab.process().release_all("s")

        assert victim.read_text() == "ours"
        assert lab.leftovers() == []
        if not swapped.done:
            break
    assert number > 20


def test_a_file_rewritten_in_place_is_still_ours(lab):
    path = registered(lab)
    path.write_text("rewritten, and longer than before")

    done = lab.process().release_all("s")

    assert (done.deleted, path.exists()) == (1, False)


# --- a file system without hard links


@pytest.mark.parametrize("touch", [None, "rewrite", "lengthen", "replace"])
def test_without_links_a_file_goes_only_as_it_was_registered(lab, monkeypatch, touch):
    monkeypatch.setattr(posix, "link", no_link)
    path = registered(lab)
    seen = path.stat()
    if touch == "rewrite":
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    if touch == "lengthen":
        path.write_text("ours, and more")
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    if touch == "replace":
        replace(path, "ours")
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))

    done = lab.process().release_all("s")

    assert (done.deleted, done.freed_bytes, done.spared) == ((0, 0, 1) if touch else (1, 4, 0))
    assert path.exists() == bool(touch)
    assert lab.leftovers() == []


# --- files that will not go


def failing(code, call):
    """Make one call on `bad.jpg` and what is made of it fail."""

    def act(name, args):
        theirs = args[0] == "bad.jpg" or (name == "unlink" and not args[0].endswith(".held"))
        if name == call and theirs:
            raise OSError(code, os.strerror(code))

    return act


@pytest.mark.parametrize("call", ["rename", "unlink"])
@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES, errno.EROFS])
def test_a_file_that_may_not_be_deleted_is_stuck_and_listed_at_once(lab, stage, code, call):
    path, process = registered(lab, "bad.jpg"), lab.process()

    with stage.during(failing(code, call)):
        done = process.release_all("s")
        again = process.sweep()

    assert (done.deleted, done.failed, done.pending) == (0, 1, 0)
    assert (again.failed, process.stats().stuck) == (0, 1)
    (words,) = lab.client.hvals(f"mediastore:{{{lab.namespace}}}:stuck")
    assert words.decode().split() == [errno.errorcode[code], *process.stats().roots, "bad.jpg"]
    lab.pass_time(300)
    assert (process.sweep().deleted, process.stats().stuck, path.exists()) == (1, 0, False)
    assert lab.leftovers() == []


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EIO])
def test_a_file_that_cannot_be_deleted_now_is_tried_at_doubling_intervals_until_it_is_stuck(
    lab, stage, code
):
    registered(lab, "bad.jpg")
    process, tries = lab.process(), 1

    with stage.during(failing(code, "unlink")):
        assert process.release_all("s").failed == 1
        for wait in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            assert process.stats().stuck == 0
            lab.pass_time(wait - 0.001)
            assert process.sweep().failed == 0
            lab.pass_time(0.001)
            assert process.sweep().failed == 1
            tries += 1
    assert (tries, process.stats().stuck) == (10, 1)

    lab.pass_time(300)
    assert (process.sweep().deleted, process.stats().stuck) == (1, 0)
    assert lab.leftovers() == []


def test_a_file_that_is_tried_for_ever_does_not_make_its_claim_grow(lab, stage):
    registered(lab, "bad.jpg")
    process = lab.process()

    with stage.during(failing(errno.EBUSY, "unlink")):
        process.release_all("s")
        for _ in range(3):
            lab.pass_time(300)
            assert process.sweep().failed == 1

    (claim,) = lab.client.scan_iter(match=f"mediastore:{{{lab.namespace}}}:claim:*")
    assert lab.client.hget(claim, "prev") == b""


def test_one_bad_file_never_stops_the_others(lab, stage):
    paths = [registered(lab, name) for name in ("a.jpg", "bad.jpg", "c.jpg", "d.jpg")]

    with stage.during(failing(errno.EIO, "rename")):
        done = lab.process().release_all("s")

    assert (done.deleted, done.failed, done.pending) == (3, 1, 0)
    assert [path.exists() for path in paths] == [False, True, False, False]


def test_whichever_call_fails_once_nothing_is_raised_and_the_sweeps_make_it_good(labs, stage):
    for number, lab in enumerate(labs):
        process = lab.process()
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            process.store(lab.file(name, "ours"), scope="s")

        def fail():
            raise OSError(errno.EIO, "the disk")

        fails = Once(fail, number)
        with stage.during(fails):
            done = process.release_all("s")
        lab.settle()

        assert done.failed in {0, 1, 3}  # all three where nothing could be claimed
        assert done.deleted + done.failed + done.pending == 3
        assert (lab.files(), lab.leftovers(), process.stats().deleted_blobs) == ({}, [], 3)
        if not fails.done:
            break
    assert number > 30


def test_a_root_that_went_away_stops_no_other_and_is_seen_to_when_it_is_back(clients, tmp_path):
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    settings = Settings(namespace="two-roots", roots=tuple(map(str, roots)))
    store = MediaStore(clients(), settings)
    for root in roots:
        (root / "a.jpg").write_text("ours")
        store.store(root / "a.jpg", scope="s")
    store.release_all("s", wait=False)
    roots[0].rename(tmp_path / "away")

    without = store.sweep()
    (tmp_path / "away").rename(roots[0])
    back = store.sweep()

    assert (without.deleted, without.pending) == (1, 1)
    assert (back.deleted, back.pending) == (1, 0)
