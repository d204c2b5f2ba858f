"""Custody: what is borrowed, what is shared, what begins afresh, and a store of what is on its way out."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import permutations, product

import pytest

from mediastore import Cleanup, MediaMeta
from mediastore.errors import BlobsUnavailable, FileMissing

from .lab import CLAIM_S, Crash, Fuse
from .processes import Once, crash, replace

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


@pytest.fixture
def lane():
    return "fake"


def test_what_is_borrowed_is_neither_deleted_nor_held_nor_pending(lab):
    path, process = lab.file("a.jpg", "theirs"), lab.process()
    process.store(path, scope="s", meta=FORGET)
    assert path.stat().st_nlink == 1

    done = process.release_all("s")

    assert (done.refs, done.deleted, done.kept, done.pending, done.freed_bytes) == (1, 0, 1, 0, 0)
    assert path.read_text() == "theirs"
    assert lab.leftovers() == []


def test_a_release_that_finishes_what_is_borrowed_waits_for_nobody(lab):
    path, process = lab.file("a.jpg", "theirs"), lab.process()
    for meta in (None, FORGET):  # the first made a held link, which goes
        process.store(path, scope="s", meta=meta)
    process.release_all("s", wait=False)
    before = lab.now_ms()

    done = lab.process().release_all("s")

    assert (done.pending, done.closed, lab.now_ms() - before) == (0, False, 0)
    assert path.read_text() == "theirs"
    assert lab.leftovers() == []


@pytest.mark.parametrize("alias", ["a.jpg", "./a.jpg", "sub/../a.jpg", "door/a.jpg"])
@pytest.mark.parametrize("metas", [(FORGET, None), (None, FORGET)])
def test_borrowed_wins_on_a_shared_path_by_whatever_name(lab, metas, alias):
    path, process = lab.file("a.jpg", "theirs"), lab.process()
    (lab.root / "sub").mkdir()
    (lab.root / "door").symlink_to(lab.root)
    for name, meta in zip(("a.jpg", alias), metas, strict=True):
        process.store(f"{lab.root}/{name}", scope="s", meta=meta)

    done = process.release_all("s")

    assert (done.refs, done.deleted, done.kept, done.pending) == (2, 0, 1, 0)
    assert path.read_text() == "theirs"
    assert lab.leftovers() == []


@pytest.mark.parametrize("metas", [(FORGET, None), (None, FORGET)])
def test_borrowed_wins_when_the_file_was_replaced_in_between(lab, metas):
    path, process = lab.file("a.jpg", "first"), lab.process()
    process.store(path, scope="s", meta=metas[0])
    replace(path, "second")
    process.store(path, scope="s", meta=metas[1])

    done = process.release_all("s")

    assert (done.refs, done.pending, done.failed) == (2, 0, 0)
    assert path.read_text() == "second"
    assert lab.leftovers() == []


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("order", list(permutations("abc")))
@pytest.mark.parametrize("metas", list(product((FORGET, None), repeat=3)))
def test_what_replaced_a_borrowed_file_is_borrowed_for_as_long_as_one_ref_of_it_lives(
    lab, metas, order, wait
):
    path, process = lab.file("a.jpg", "first"), lab.process()
    borrowed: set[str] = set()
    for scope, meta in zip("abc", metas, strict=True):
        replace(path, f"file of {scope}")
        process.store(path, scope=scope, meta=meta)
        if meta or borrowed:
            borrowed.add(scope)

    for number, ended in enumerate(order):
        process.release_all(ended, wait=wait)
        borrowed.discard(ended)
        replace(path, f"probe {number}")
        process.store(path, scope="probe")
        process.release_all("probe")
        assert path.exists() == bool(borrowed)

    process.sweep()
    assert lab.leftovers() == []


def test_a_borrowed_file_with_a_held_link_counts_like_one_without(lab):
    path, process = lab.file("a.jpg", "first"), lab.process()
    process.store(path, scope="first")
    process.store(path, scope="first", meta=FORGET)
    replace(path, "second")
    process.store(path, scope="second")
    process.release_all("second")
    assert path.exists()

    process.store(path, scope="third")
    process.release_all("third")

    assert path.read_text() == "second"
    process.release_all("first")
    process.store(path, scope="fourth")
    assert process.release_all("fourth").deleted == 1
    assert lab.leftovers() == []


def test_what_is_rescued_beside_a_borrowed_file_that_it_replaced_is_borrowed_again(lab):
    path, process = lab.file("a.jpg", "first"), lab.process()
    process.store(path, scope="first", meta=FORGET)
    replace(path, "second")
    process.store(path, scope="second")
    process.release_all("second", wait=False)

    process.store(path, scope="third")
    process.release_all("third")

    assert path.read_text() == "second"


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("metas", [(FORGET, None), (None, FORGET)])
def test_after_the_last_ref_a_path_begins_afresh(lab, metas, wait):
    path, process = lab.file("a.jpg", "theirs"), lab.process()
    for meta in metas:
        process.store(path, scope="s", meta=meta)
    process.release_all("s", wait=wait)

    process.store(path, scope="t")

    assert process.release_all("t").deleted == 1
    assert not path.exists()


def test_two_names_of_one_file_are_two_blobs_and_each_goes_by_itself(lab):
    path, process = lab.file("a.jpg", "ours"), lab.process()
    twin = path.with_name("twin.jpg")
    twin.hardlink_to(path)
    refs = [process.store(each, scope=each.name) for each in (path, twin)]
    assert process.stats().blobs == 2

    first = process.release_all("a.jpg")
    assert (first.deleted, first.freed_bytes, path.exists()) == (1, 0, False)
    assert process.resolve(refs[1]).read_text() == "ours"
    second = process.release_all("twin.jpg")

    assert (second.deleted, second.freed_bytes, twin.exists()) == (1, 4, False)


def test_a_file_that_comes_back_to_its_path_is_the_blob_it_was(lab):
    path, process = lab.file("a.jpg", "first"), lab.process()
    first = process.store(path, scope="first")
    path.rename(aside := path.with_name("aside"))
    path.write_text("second")
    process.store(path, scope="second")
    process.release_all("second")
    aside.rename(path)

    third = process.store(path, scope="third")
    assert process.get(third).blob == process.get(first).blob
    process.release_all("third")

    assert process.resolve(first).read_text() == "first"
    assert process.release_all("first").deleted == 1
    assert lab.leftovers() == []


@pytest.mark.parametrize("order", list(permutations("abc")))
@pytest.mark.parametrize("metas", list(product((FORGET, None), repeat=3)))
def test_files_that_take_turns_at_one_path_stay_for_as_long_as_their_refs(lab, metas, order):
    path, process = lab.root / "a.jpg", lab.process()
    names = {scope: lab.file(f"{scope}.file", scope) for scope in "abc"}

    def turn(scope):
        path.unlink(missing_ok=True)
        path.hardlink_to(names[scope])

    refs: dict[str, list[str]] = {}
    for scope, meta in zip("abcab", (*metas, None, None), strict=True):
        turn(scope)
        refs.setdefault(scope, []).append(process.store(path, scope=scope, meta=meta))
    borrowed = {scope for scope, meta in zip("abc", metas, strict=True) if meta}

    for number, ended in enumerate(order):
        process.release_all(ended)
        for scope in order[number + 1 :]:
            turn(scope)
            assert {process.resolve(ref).read_text() for ref in refs[scope]} == {scope}
            process.store(path, scope="probe")
            process.release_all("probe")
            assert process.resolve(refs[scope][0]).read_text() == scope

    turn(order[-1])
    process.store(path, scope="last")
    assert (process.release_all("last").deleted, path.exists()) == (1, False), borrowed
    assert lab.leftovers() == []


def test_a_slow_store_does_not_make_a_second_blob_of_another_ones_file(lab, stage):
    path, slow, other = lab.file("a.jpg", "first"), lab.process(), lab.process()
    other.store(path, scope="s")
    kept = []

    def meanwhile():
        other.release_all("s")
        path.write_text("second")
        kept.append(other.store(path, scope="kept"))

    names: list[str] = []

    def has_linked(name, _):
        names.append(name)
        return "link" in names[:-1]

    with stage.during(Once(meanwhile, when=has_linked)):
        ref = slow.store(path, scope="slow")
    assert slow.get(ref).blob == slow.get(kept[0]).blob
    slow.release_all("slow")

    assert slow.resolve(kept[0]).read_text() == "second"
    assert slow.release_all("kept").deleted == 1
    assert lab.leftovers() == []


@pytest.mark.parametrize("order", list(permutations("abc")))
@pytest.mark.parametrize("wait", [True, False])
def test_the_file_of_a_blob_that_had_lost_its_path_goes_with_it_whoever_ends_last(lab, order, wait):
    path, process = lab.root / "a.jpg", lab.process()
    names = {scope: lab.file(f"aside/{scope}", scope) for scope in "abc"}
    for scope in "abc":
        path.unlink(missing_ok=True)
        path.hardlink_to(names[scope])
        process.store(path, scope=f"all/{scope}")
    path.unlink()
    path.hardlink_to(names[order[-1]])

    for scope in order:
        process.release_all(f"all/{scope}", wait=wait)
    lab.settle()

    assert not path.exists()
    assert {kept.read_text() for kept in names.values()} == {"a", "b", "c"}
    assert lab.leftovers() == []


def test_one_release_of_all_that_a_path_was_leaves_none_of_it(lab):
    path, process = lab.file("a.jpg", "first"), lab.process()
    process.store(path, scope="s")
    path.rename(aside := path.with_name("aside"))
    path.write_text("second")
    process.store(path, scope="s")
    aside.rename(path)

    done = process.release_all("s")

    assert (done.deleted, done.pending, path.exists()) == (2, 0, False)
    assert lab.leftovers() == []


def test_what_a_store_that_was_killed_had_displaced_goes_when_it_is_released(lab, stage):
    path, slow, other = lab.file("a.jpg", "first"), lab.process(Fuse()), lab.process()
    names: list[str] = []

    def has_linked(name, _):
        names.append(name)
        return "link" in names[:-1]

    def meanwhile():
        replace(path, "second")
        other.store(path, scope="t")

    slow.fuse.at, slow.fuse.after = 0, True
    with stage.during(Once(meanwhile, when=has_linked)), pytest.raises(Crash):
        slow.store(path, scope="u", ttl="1m")
    lab.pass_time(61)
    other.sweep()
    other.release_all("t")
    lab.settle()

    assert (lab.files(), lab.leftovers()) == ({}, [])


def test_an_unpinned_file_that_comes_back_is_the_blob_it_was(lab, monkeypatch):
    def no_links(*_, **__):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr("mediastore.blobs.posix.link", no_links)
    path, process = lab.file("a.jpg", "-----"), lab.process()
    refs: list[str] = []
    for text, time in (("first", 1), ("other", 2), ("third", 3), ("first", 1)):
        path.write_text(text)
        os.utime(path, ns=(time * 10**18, time * 10**18))
        refs.append(process.store(path, scope=f"s/{len(refs)}"))

    process.release_all("s/3")

    assert process.resolve(refs[0]).read_text() == "first"


# --- storing what is on its way out


def test_a_store_of_what_is_doomed_rescues_it(lab):
    path, process = lab.file("a.jpg", "ours"), lab.process()
    process.store(path, scope="s")
    process.release_all("s", wait=False)
    assert process.stats().trash == 1

    ref = process.store(path, scope="t")

    assert (process.stats().trash, process.stats().blobs) == (0, 1)
    assert process.get(ref).state == "live"
    assert process.sweep().deleted == 0
    assert process.resolve(ref).read_text() == "ours"


def test_a_store_of_what_is_being_deleted_waits_for_the_claim_and_then_finishes_it(lab, stage):
    path, process = lab.file("a.jpg", "ours"), lab.process()
    process.store(path, scope="s")
    dies = Once(crash, when=lambda name, args: name == "rename" and args[0] == "a.jpg")
    with stage.during(dies), pytest.raises(Crash):
        process.release_all("s")
    began = lab.now_ms()

    with pytest.raises(FileMissing):
        process.store(path, scope="t")

    assert CLAIM_S <= (lab.now_ms() - began) / 1000 <= CLAIM_S + 1
    replace(path, "second life")
    assert process.resolve(process.store(path, scope="t")).read_text() == "second life"
    assert process.stats().deleted_blobs == 1


def test_a_store_of_what_cannot_be_deleted_gives_up_after_a_claim_and_says_why(lab, stage):
    path, process = lab.file("a.jpg", "ours"), lab.process()
    process.store(path, scope="s")

    def fail(name, args):
        if name == "rename" and args[0] == "a.jpg":
            raise OSError(errno.EIO, "the disk")

    with stage.during(fail):
        assert process.release_all("s").failed == 1
        began = lab.now_ms()
        with pytest.raises(
            BlobsUnavailable, match="has not finished, the last try failed with EIO"
        ):
            process.store(path, scope="t")

    assert CLAIM_S < (lab.now_ms() - began) / 1000 <= CLAIM_S + 6
    lab.settle()
    assert (lab.files(), lab.leftovers()) == ({}, [])


@pytest.mark.parametrize("fresh", [False, True])
def test_a_store_overtaken_at_any_call_by_a_release_of_its_path_does_not_dangle(labs, stage, fresh):
    for number, lab in enumerate(labs):
        path, process, other = lab.file("a.jpg", "first"), lab.process(), lab.process()
        process.store(path, scope="s")

        def overtake(path=path, other=other):
            other.release_all("s")
            if fresh and not path.exists():
                replace(path, "second")

        overtaken, refs = Once(overtake, number), []
        with stage.during(overtaken), suppress(FileMissing):
            refs.append(process.store(path, scope="t"))

        texts = [other.resolve(ref).read_text() for ref in refs]
        assert texts == [each.read_text() for each in (path,) if each.exists()], number
        assert process.stats().refs == len(refs) + (not overtaken.done)
        process.release_all("s")
        process.release_all("t")
        process.sweep()
        assert (lab.files(), lab.leftovers()) == ({}, []), number
        stats = process.stats()
        assert stats.stored_refs == stats.released_refs == 1 + len(refs)
        if not overtaken.done:
            break
    assert number > 5
