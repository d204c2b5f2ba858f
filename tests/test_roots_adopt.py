"""Adopting: a restored, copied or returned directory becomes the root; no ref dangles and no file is destroyed by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from mediastore import Adopted, Cleanup, MediaMeta
from mediastore.errors import BlobsUnavailable, InvalidRoot

from .conftest import names_left
from .test_roots import at  # noqa: F401 - a fixture
from .test_roots_forget import info, root_of

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


def copied_plainly(source, target):
    """Copy each name as a file of its own, as most tools do."""
    shutil.copytree(source, target)


def copied_with_links(source, target):
    """Keep hard links, as `cp -a`, `rsync -aH` and tar do."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def linked(source, target):
    """Make a hard-linked copy, as snapshot tools do."""
    shutil.copytree(source, target, copy_function=os.link)


COPIES = [copied_plainly, copied_with_links]
each_copy = pytest.mark.parametrize("copy", COPIES, ids=lambda each: each.__name__)


def restored(root, copy=copied_plainly):
    """Lose the root and put a copy of it in its place; no file keeps its inode number."""
    copy(root, root.with_name("backup"))
    shutil.rmtree(root)
    root.with_name("backup").rename(root)


# --- the tree that was refused


@each_copy
def test_a_restored_tree_is_refused_with_the_way_out_and_then_adopted(
    store, at, make_file, media, copy
):
    refs = [store.store(make_file(f"{n}/a.jpg", b"ours" * n), scope="s") for n in range(1, 4)]
    root = root_of(store)
    restored(media, copy)

    with pytest.raises(InvalidRoot, match=f"mediastore roots adopt {media}"):
        at(media).stats()
    done = store.adopt_root(media)

    assert (done.root, done.path, done.rebound) == (root, media, 3)
    assert (done.missing, done.differ, done.removed, done.parked) == ((), (), 0, 0)
    again = at(media)
    assert [again.resolve(ref).read_bytes() for ref in refs] == [b"ours" * n for n in (1, 2, 3)]
    assert (info(again, root).verified, info(again, root).blobs) == (True, 3)
    released = again.release_all("s")
    assert (released.deleted, released.freed_bytes, released.failed) == (3, 24, 0)
    assert list(media.glob("*/*.jpg")) == []
    assert names_left(media) == []


def test_a_moved_copy_is_the_root_and_a_ref_may_be_stored_again_in_it(
    store, at, cat, media, tmp_path
):
    old = store.store(cat, scope="s")
    copied_plainly(media, tmp_path / "moved")
    shutil.rmtree(media)

    store.adopt_root(tmp_path / "moved")

    moved = at(tmp_path / "moved")
    new = moved.store(tmp_path / "moved" / "cat.jpg", scope="t")
    assert moved.resolve(old) == moved.resolve(new) == tmp_path / "moved" / "cat.jpg"
    assert moved.release_all("s").kept == 1
    assert moved.release_all("t").deleted == 1
    assert moved.stats().roots == {root_of(moved): f"{moved._host}:{tmp_path / 'moved'}"}


def test_a_running_process_goes_on_in_the_adopted_tree_by_itself(store, other, cat, media):
    ref = store.store(cat, scope="s")
    assert other.resolve(ref) == cat
    restored(media)
    with pytest.raises(BlobsUnavailable):
        other.resolve(ref)

    store.adopt_root(media)

    assert other.resolve(ref) == cat
    assert other.release_all("s").deleted == 1


def test_adopting_what_is_in_order_changes_nothing(store, cat, media, settings, client):
    ref = store.store(cat, scope="s")
    before = (media / ".mediastore" / "root").read_text(), cat.stat().st_ino

    done = store.adopt_root(media)

    assert (done.rebound, done.missing, done.differ, done.removed, done.parked) == (0, (), (), 0, 0)
    assert ((media / ".mediastore" / "root").read_text(), cat.stat().st_ino) == before
    assert store.resolve(ref) == cat


# --- second names of nobody


@pytest.mark.parametrize("place", ["held", "new"])
def test_second_names_of_nobody_go_and_the_only_name_of_a_file_is_parked(
    store, at, cat, media, place
):
    store.store(cat, scope="s")
    home = media / ".mediastore"
    (media / "plain.jpg").write_text("also elsewhere")
    (home / place / ("b" * 22 + ".jpg")).hardlink_to(media / "plain.jpg")
    (home / place / ("c" * 22 + ".jpg")).write_text("nowhere else")
    restored(media, copied_with_links)

    done = store.adopt_root(media)

    assert (done.removed, done.parked) == (1, 1)
    assert (media / "plain.jpg").read_text() == "also elsewhere"
    assert [path.read_text() for path in at(media)._blobs.parked()] == ["nowhere else"]
    assert len(names_left(media)) == 2  # the cat's held link, the parked file


def test_a_file_that_is_being_registered_in_a_root_in_use_is_let_alone(store, media):
    store.stats()
    mine = media / ".mediastore" / "new" / ("b" * 22)
    mine.write_text("in flight")

    store.adopt_root(media)

    assert mine.read_text() == "in flight"


# --- refusals


def test_a_root_that_stands_elsewhere_on_this_host_is_refused(store, at, cat, media, tmp_path):
    ref = store.store(cat, scope="s")
    for number, copy in enumerate([*COPIES, linked]):
        copy(media, tmp_path / str(number))

        with pytest.raises(InvalidRoot, match=f"stands at {media}"):
            store.adopt_root(tmp_path / str(number))

        shutil.rmtree(tmp_path / str(number))
    assert at(media).resolve(ref) == cat


def test_a_directory_that_cannot_be_adopted_is_refused_and_not_touched(
    store, media, tmp_path, settings
):
    store.stats()
    (tmp_path / "plain").mkdir()
    foreign, broken, unknown = (tmp_path / name for name in ("foreign", "broken", "unknown"))
    words = {"root": "u" * 22, "namespace": settings.namespace, "inode": 1, "format": 1}
    for path, said in ((foreign, {**words, "namespace": "x"}), (broken, "?"), (unknown, words)):
        (path / ".mediastore").mkdir(parents=True)
        (path / ".mediastore" / "root").write_text(json.dumps(said))
    reasons = {
        tmp_path / "plain": "no marker",
        foreign: "belongs to namespace",
        broken: "cannot be read",
        unknown: "does not know its root",
        "/etc": "belongs to the system",
        tmp_path / "none": "not a directory",
    }

    for path, reason in reasons.items():
        with pytest.raises(InvalidRoot, match=reason):
            store.adopt_root(path)

    assert list((tmp_path / "plain").iterdir()) == []
    for path in (foreign, broken, unknown):
        assert [each.name for each in path.rglob("*")] == [".mediastore", "root"]


def test_two_who_adopt_at_once_do_not_both_get_it(labs, tmp_path):
    lab = next(labs)
    ref = lab.process().store(lab.file("a.jpg", "ours"), scope="s")
    copied_plainly(lab.root, tmp_path / "other")
    restored(lab.root)
    first, second = lab.newcomer(), lab.newcomer()
    asked = first._ask
    answers: list[Adopted] = []

    def ask(step):
        if getattr(step, "script", "") == "rebind" and not answers:
            answers.append(second.adopt_root(tmp_path / "other"))
        return asked(step)

    first._ask = ask
    with pytest.raises(BlobsUnavailable, match=f"taken by .*{tmp_path / 'other'}"):
        first.adopt_root(lab.root)

    assert [done.rebound for done in answers] == [1]
    with pytest.raises(InvalidRoot, match="copy"):
        lab.process()
    lab.settings = lab.settings.build(namespace=lab.namespace, roots=(str(tmp_path / "other"),))
    assert lab.process().resolve(ref) == tmp_path / "other" / "a.jpg"


# --- a forgotten root that comes back


@pytest.mark.parametrize("moved", [False, True])
def test_a_forgotten_root_that_comes_back_is_taken_back(store, at, make_file, media, moved):
    live = store.store(make_file("live.jpg"), scope="live")
    store.store(make_file("lost.jpg", b"lost"), scope="s")
    store.release_all("s", wait=False)
    root = root_of(store)
    assert store.forget_root(root, even_here=True).lost_blobs == 1
    if moved:
        restored(media)

    done = store.adopt_root(media)

    assert (done.root, done.rebound, done.missing, done.differ) == (root, int(moved), (), ())
    assert (done.removed, done.parked) == ((0, 1) if moved else (1, 0))
    back = at(media)
    assert back.resolve(live) == media / "live.jpg"
    assert (media / "lost.jpg").read_bytes() == b"lost"
    assert (info(back, root).forgotten_at, info(back, root).lost) == (None, 1)
    assert back.release_all("live").deleted == 1
    again = back.store(media / "lost.jpg", scope="t")
    assert back.resolve(again) == media / "lost.jpg"
