"""Roots: only a directory whose marker was verified is touched."""

from __future__ import annotations

import json
import os
import shutil
from itertools import count
from pathlib import Path

import pytest

from mediastore import MediaStore, Settings
from mediastore.blobs import posix
from mediastore.blobs.local import LocalBlobs
from mediastore.errors import BlobsUnavailable, InvalidRoot, OutsideRoots

from .processes import Once, Paused, no_link


@pytest.fixture
def at(clients, settings):
    """Give a maker of stores with other roots of the same namespace."""
    made = []

    def make(*roots, namespace=settings.namespace) -> MediaStore:
        store = MediaStore(clients(), Settings(namespace=namespace, roots=tuple(map(str, roots))))
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


def test_the_first_use_marks_the_root(other, media, settings):
    other.stats()

    words = json.loads((media / ".mediastore" / "root").read_text())
    assert (words["namespace"], words["format"]) == (settings.namespace, 1)
    assert words["inode"] == (media / ".mediastore" / "root").stat().st_ino
    assert list(other.stats().roots) == [words["root"]]


def test_the_marker_is_made_once_by_many(at, media):
    roots = {tuple(at(media).stats().roots) for _ in range(5)}

    assert len(roots) == 1


def test_the_marker_is_made_once_however_two_processes_interleave(tmp_path, stage):
    points = 0
    for at in count():
        for number in count():
            root = tmp_path / f"{at} {number}"
            root.mkdir()
            first, second = (LocalBlobs((str(root),), "bots") for _ in range(2))
            waiting = Paused(stage, first.roots, at)
            resumed = Once(waiting.finish, number)
            with stage.during(resumed):
                second.roots()
            waiting.finish()

            assert first.roots().keys() == second.roots().keys(), (at, number)
            points += 1
            if not resumed.done:
                break
        if not waiting.stopped:
            break
    assert points > 200


@pytest.mark.parametrize("path", ["/", "/etc", "/usr/lib", "/tmp", "/proc", "/var"])
def test_system_directories_are_refused(at, path):
    with pytest.raises(InvalidRoot, match="belongs to the system"):
        at(path).stats()

    assert not Path(path, ".mediastore").exists()


def test_a_home_is_refused(at, tmp_path, monkeypatch):
    home = tmp_path / "me"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))

    with pytest.raises(InvalidRoot, match="is a home directory"):
        at(home).stats()

    assert list(home.iterdir()) == []


def test_a_root_that_does_not_exist_is_refused(at, tmp_path):
    with pytest.raises(InvalidRoot, match="not a directory"):
        at(tmp_path / "absent").stats()


def test_the_default_root_is_made(clients, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with MediaStore(clients(), Settings(namespace=settings.namespace)) as store:
        store.stats()

    made = tmp_path / "state" / "mediastore" / "media"
    assert made.stat().st_mode & 0o777 == 0o700


def test_a_copied_root_is_refused_and_nothing_in_it_is_deleted(at, other, cat, media, tmp_path):
    other.store(cat, scope="s")
    copy = tmp_path / "copy"
    shutil.copytree(media, copy)

    with pytest.raises(InvalidRoot, match="copy"):
        at(copy).release_all("s")

    assert (copy / "cat.jpg").exists()


def test_a_hard_linked_copy_is_refused(at, other, cat, media, tmp_path):
    other.store(cat, scope="s")
    copy = tmp_path / "copy"
    shutil.copytree(media, copy, copy_function=os.link)

    with pytest.raises(InvalidRoot, match="hard-linked copy"):
        at(copy).sweep()

    assert (copy / "cat.jpg").exists()


def test_a_hard_linked_copy_that_takes_the_place_of_a_root_in_use_is_refused(
    other, cat, media, tmp_path
):
    other.store(cat, scope="s")
    copy = tmp_path / "copy"
    shutil.copytree(media, copy, copy_function=os.link)
    assert other.resolve(other.refs("s")[0].ref) == cat  # a backup stops nobody
    media.rename(tmp_path / "aside")
    copy.rename(media)

    done = other.release_all("s")

    assert (done.deleted, done.pending, cat.exists()) == (0, 1, True)


def test_a_marker_that_says_another_root_is_not_believed_for_its_inode_number(other, cat, media):
    """A root is what its marker says, and that can be written anew in place."""
    ref = other.store(cat, scope="s")
    marker = media / ".mediastore/root"
    words = marker.read_text()
    marker.write_text(words.replace('"root": "', '"root": "another'))

    with pytest.raises(BlobsUnavailable, match="not the root it was"):
        other.resolve(ref)

    assert other.release_all("s").pending == 1
    marker.write_text(words)
    assert other.sweep().deleted == 1


def a_copy(source, source_at, target, target_at):
    """Stand in for `posix.link` where a name has an inode number of its own, as on mergerfs without use_ino."""
    posix.look(source, at=source_at)
    os.close(posix.create_file(target, 0o600, at=target_at))


def test_where_inode_numbers_belong_to_names_nothing_becomes_a_root(other, media, monkeypatch):
    monkeypatch.setattr(posix, "file_system_of", lambda _: "fuse.mergerfs")
    monkeypatch.setattr(posix, "link", a_copy)

    with pytest.raises(
        InvalidRoot, match=r"\(fuse.mergerfs\) gives .*mergerfs: use_ino"
    ) as refused:
        other.stats()

    assert "adopt" not in str(refused.value)
    assert list(media.iterdir()) == []


def test_a_copy_in_user_space_may_be_none_and_is_told_so(at, other, media, tmp_path, monkeypatch):
    """Where there are no links, nobody can tell which of the two it is."""
    other.stats()
    copy = tmp_path / "copy"
    shutil.copytree(media, copy)
    monkeypatch.setattr(posix, "file_system_of", lambda _: "fuse.sshfs")
    monkeypatch.setattr(posix, "link", no_link)

    with pytest.raises(
        InvalidRoot, match=r"copy or a restored backup .*, or fuse.sshfs has given it another"
    ):
        at(copy).stats()


def test_a_root_of_another_namespace_is_refused(at, other, cat, media):
    other.store(cat, scope="s")

    with pytest.raises(InvalidRoot, match="belongs to namespace"):
        at(media, namespace="stranger").release_all("s")

    assert cat.exists()


@pytest.mark.parametrize("words", ["", "{}", "no json", '{"root": 1}', "[]"])
def test_a_marker_that_cannot_be_read_is_refused(at, other, cat, media, words):
    other.store(cat, scope="s")
    (media / ".mediastore" / "root").write_text(words)

    with pytest.raises(InvalidRoot, match="marker"):
        at(media).sweep()


def test_a_root_that_was_moved_is_still_the_same(at, other, cat, media, tmp_path):
    ref = other.store(cat, scope="s")
    media.rename(tmp_path / "moved")

    assert at(tmp_path / "moved").resolve(ref) == tmp_path / "moved" / "cat.jpg"


def test_roots_do_not_nest(at, media):
    at(media).stats()
    (media / "inner").mkdir()

    with pytest.raises(InvalidRoot, match="nest"):
        at(media / "inner").stats()

    assert list((media / "inner").iterdir()) == []


def test_nested_roots_of_one_store_are_refused(at, tmp_path):
    (tmp_path / "outer" / "inner").mkdir(parents=True)

    with pytest.raises(InvalidRoot, match="nest"):
        at(tmp_path / "outer" / "inner", tmp_path / "outer").stats()


@pytest.mark.parametrize("by", ["a directory", "a root"])
def test_a_root_replaced_in_mid_work_stops_everything_there(other, at, cat, media, tmp_path, by):
    """As an unmounted file system does: another directory is where the root was."""
    ref = other.store(cat, scope="s")
    media.rename(tmp_path / "away")
    media.mkdir()
    (media / "cat.jpg").write_text("not ours")
    if by == "a root":
        at(media).stats()

    with pytest.raises(BlobsUnavailable):
        other.resolve(ref)
    with pytest.raises(BlobsUnavailable):
        other.store(media / "cat.jpg", scope="s")
    done = other.release_all("s")

    assert (done.refs, done.deleted, done.pending) == (1, 0, 1)
    assert (media / "cat.jpg").read_text() == "not ours"
    assert (tmp_path / "away" / "cat.jpg").exists()


def test_a_root_that_comes_back_is_served_again(other, cat, media, tmp_path):
    other.store(cat, scope="s")
    media.rename(tmp_path / "away")
    assert other.release_all("s").pending == 1

    (tmp_path / "away").rename(media)

    assert other.sweep().deleted == 1
    assert not cat.exists()


def test_a_symlinked_root_is_the_directory_it_names(at, media, tmp_path, cat):
    (tmp_path / "door").symlink_to(media)

    ref = at(tmp_path / "door").store(tmp_path / "door" / "cat.jpg", scope="s")

    assert at(media).resolve(ref) == cat


def test_what_we_make_takes_the_roots_mode(at, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)

    at(shared).stats()

    for name in ("", "held", "new", "quarantine", "parked"):
        assert (shared / ".mediastore" / name).stat().st_mode & 0o777 == 0o775
    assert (shared / ".mediastore" / "root").stat().st_mode & 0o777 == 0o664


def test_another_file_system_below_the_root_is_outside(at, tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "mounted").mkdir(parents=True)
    (root / "mounted" / "a.jpg").write_text("x")
    real = os.fstat
    inode = (root / "mounted").stat().st_ino

    def fstat(fd):
        seen = real(fd)
        if seen.st_ino != inode:
            return seen
        return os.stat_result((*seen[:2], seen.st_dev + 1, *seen[3:]))

    monkeypatch.setattr("mediastore.blobs.posix.os.fstat", fstat)

    with pytest.raises(OutsideRoots, match="another file system"):
        at(root).store(root / "mounted" / "a.jpg", scope="s")
