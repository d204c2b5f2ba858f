"""Ending what is on a file by its path: the way to make room where removing a file by hand makes none."""

from __future__ import annotations

import pytest

from mediastore import Cleanup, MediaMeta
from mediastore.errors import InvalidPath, OutsideRoots, RefGone
from mediastore.index import places
from mediastore.index.steps import Batch

from .conftest import JPEG
from .lanes import mostly_real
from .processes import replace as put_other_file

BORROWED = MediaMeta(cleanup=Cleanup.FORGET)


def test_every_ref_of_a_path_ends_whatever_its_scope_and_its_bytes_go(
    store, cat, make_file, expect_empty
):
    refs = [store.store(cat, scope=f"chat:{n}/msg:1") for n in range(3)]
    refs.append(store.share(refs[0], "run:7"))
    other = store.store(make_file("dog.jpg"), scope="chat:1")

    assert {each.ref for each in store.refs_at(cat)} == set(refs)
    done = store.delete_path(cat)

    assert (done.refs, done.deleted, done.freed_bytes, done.kept) == (4, 1, len(JPEG), 0)
    assert not cat.exists()
    for ref in refs:
        with pytest.raises(RefGone, match="deleted"):
            store.resolve(ref)
    assert store.refs_at(cat) == []
    assert store.delete_media(other).deleted == 1
    expect_empty()


def test_a_file_that_was_removed_by_hand_is_erased_by_its_path(store, cat, media):
    ref = store.store(cat, scope="s")
    cat.unlink()
    [held] = (media / ".mediastore" / "held").iterdir()

    assert [each.ref for each in store.refs_at(cat)] == [ref]
    done = store.delete_path(cat)

    assert (done.refs, done.deleted, done.freed_bytes) == (1, 1, len(JPEG))
    assert not held.exists()


def test_all_that_was_registered_at_a_path_goes_and_not_what_came_there_since(store, cat):
    for number in range(3):
        store.store(cat, scope=f"s{number}")
        put_other_file(cat, f"version {number}")

    done = store.delete_path(cat)

    assert (done.refs, done.deleted + done.pending) == (3, 3)
    assert cat.read_text() == "version 2"


def test_a_borrowed_file_stays_and_counts_as_kept(store, cat):
    store.store(cat, scope="s", meta=BORROWED)

    done = store.delete_path(cat)

    assert (done.refs, done.deleted, done.kept) == (1, 0, 1)
    assert cat.exists()


def test_an_alias_of_a_path_is_the_path(store, make_file, media):
    path = make_file("in/cat.jpg")
    ref = store.store(path, scope="s")
    (media / "alias").symlink_to("in")

    assert [each.ref for each in store.refs_at(media / "alias" / ".." / "in" / "cat.jpg")] == [ref]
    assert store.delete_path(media / "alias" / "cat.jpg").refs == 1


def test_a_path_without_refs_is_no_error_and_one_elsewhere_is(store, cat, media, tmp_path):
    assert store.delete_path(cat).refs == 0
    assert store.delete_path(media / "no" / "where").refs == 0
    with pytest.raises(OutsideRoots):
        store.delete_path(tmp_path / "cat.jpg")
    with pytest.raises(InvalidPath):
        store.refs_at(media / ".mediastore" / "held" / "x.jpg")
    assert cat.exists()


@mostly_real
def test_refs_are_found_in_many_scopes_and_large_ones(other, make_file, monkeypatch):
    """Pages of scopes, and pages of refs in each of them, which share a write."""
    monkeypatch.setattr(places, "AT_ONCE", 3)
    path = make_file("a")
    for number in range(40):
        other.store(make_file(f"other{number % 5}"), scope=f"s{number:02}")
    wanted = [*(other.store(path, scope="s00") for _ in range(8)), other.store(path, scope="s39")]
    put_other_file(path, "another's")
    wanted.append(other.store(path, scope="s20"))

    assert {each.ref for each in other.refs_at(path)} == set(wanted)
    assert other.delete_path(path).refs == len(wanted)


@mostly_real
def test_what_somebody_else_ends_meanwhile_is_not_counted(
    store, other, clients, settings, cat, monkeypatch
):
    refs = [other.store(cat, scope="s") for _ in range(3)]
    performed = other._perform

    def others_first(step):
        if isinstance(step, Batch):
            assert store.delete_media(refs[0]).refs == 1
        return performed(step)

    monkeypatch.setattr(other, "_perform", others_first)
    done = other.delete_path(cat)

    assert (done.refs, done.deleted, done.kept) == (2, 1, 0)
