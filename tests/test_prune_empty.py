"""Directories that were left empty go with a sweep, where the setting says so; no others, and never all at once."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace

import pytest

from mediastore import MediaStore
from mediastore.blobs import posix, pruning

from .test_hosts_mounts import on_host, own_mounts

__all__ = ["on_host"]  # a fixture

HOUR = 3600


@pytest.fixture
def lane():
    return "real"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Let a slow machine look at everything in one sweep."""
    monkeypatch.setattr(pruning, "monotonic", lambda: 0.0)


@pytest.fixture
def pruner(clients, settings):
    """Give a maker of stores that remove directories which are empty for an hour; `later` is how late it is for them."""
    made = []

    def make(later=2 * HOUR, **said):
        store = MediaStore(clients(), replace(settings, **{"prune_empty": "1h", **said}))
        store._blobs._wall = lambda: time.time() + later
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


def directories(root):
    found = (os.path.relpath(place, root) for place, _, _ in os.walk(root))
    return sorted(each for each in found if each != "." and not each.startswith(".mediastore"))


def test_directories_that_a_release_left_empty_go_when_they_are_old(pruner, make_file, media):
    paths = [make_file(f"chat/{number}/cat.jpg") for number in range(30)]
    pruner().store_many(paths, scope="s")
    pruner().release_all("s")

    pruner(later=HOUR / 2).sweep()
    young = directories(media)
    pruner().sweep()

    assert len(young) == 31
    assert directories(media) == []
    assert media.is_dir()


def test_it_is_off_by_default(pruner, media):
    (media / "empty").mkdir()

    pruner(prune_empty=0).sweep()
    pruner(prune_empty="never").drain()
    pruner().drain()

    assert directories(media) == ["empty"]


def test_what_holds_anything_stays_and_is_not_changed(pruner, make_file, media, tmp_path):
    make_file("kept/deep/.hidden")
    os.mkfifo(media / "pipe")
    (media / "dangling").mkdir()
    (media / "dangling" / "link").symlink_to("nowhere")
    (media / "alias").symlink_to("empty")
    outside = tmp_path / "outside"
    (outside / "empty").mkdir(parents=True)
    (media / "out").symlink_to(outside)
    (media / "empty").mkdir()
    store = pruner()
    before = store.stats()

    store.sweep()

    assert directories(media) == ["dangling", "kept", "kept/deep"]
    assert (outside / "empty").is_dir()
    assert sorted(os.listdir(media)) == [
        ".mediastore", "alias", "dangling", "kept", "out", "pipe",
    ]  # fmt: skip
    assert sorted(os.listdir(media / ".mediastore" / "held")) == []
    assert len(os.listdir(media / ".mediastore")) > 5
    assert store.stats() == before


def test_a_directory_that_another_fills_at_the_last_moment_stays(pruner, media, monkeypatch):
    (media / "empty").mkdir()
    removing = posix.remove_directory

    def filled(name, *, at):
        if name == "empty":
            (media / "empty" / "new.jpg").write_text("new")
        removing(name, at=at)

    monkeypatch.setattr(posix, "remove_directory", filled)
    pruner().sweep()

    assert (media / "empty" / "new.jpg").read_text() == "new"


def test_another_directory_that_came_in_its_place_stays(pruner, media, monkeypatch):
    """One that somebody has just made is young, whatever had its name before."""
    (media / "empty").mkdir()
    looking = posix.look

    def swapped(name, *, at):
        if name == "empty":
            (media / "empty").rename(media / "old")
            (media / "empty").mkdir()
        return looking(name, at=at)

    store = pruner()
    [root] = store.stats().roots
    walk = store._blobs._walks[root] = pruning.Walk()
    walk._anywhere = False  # from the beginning to the end, once
    monkeypatch.setattr(posix, "look", swapped)
    store.sweep()

    assert directories(media) == ["empty", "old"]


def test_another_root_below_is_left_alone(pruner, media):
    """It must not be there, and if it is, its own directories are empty as a rule."""
    for name in ("new", "held"):
        (media / "inner" / ".mediastore" / name).mkdir(parents=True)
    (media / "inner" / "empty").mkdir()

    pruner().sweep()

    assert sorted(directories(media)) == [
        "inner", "inner/.mediastore", "inner/.mediastore/held", "inner/.mediastore/new", "inner/empty",
    ]  # fmt: skip


def test_one_that_cannot_be_entered_or_removed_keeps_no_other(pruner, media, monkeypatch):
    for name in ("a", "b", "c"):
        (media / name).mkdir()
    opening = posix.open_directory

    def barred(name, *, at):
        if name == "b":
            raise PermissionError(13, "no")
        return opening(name, at=at)

    monkeypatch.setattr(posix, "open_directory", barred)
    pruner().sweep()

    assert directories(media) == ["b"]


def test_a_huge_tree_is_gone_through_in_parts(pruner, media, monkeypatch):
    """Each sweep does a little, and another goes on where it stopped, in a process that lives on and in new ones."""
    for number in range(40):
        (media / f"{number % 3}" / f"{number % 7}" / f"{number}").mkdir(parents=True)
    (media / "1" / "kept").write_text("kept")
    monkeypatch.setattr(pruning, "_PART_S", -1)  # one directory is all there is time for
    store = pruner()

    rounds = 0
    while directories(media) != ["1"]:
        before = len(directories(media))
        (store if rounds % 2 else pruner()).sweep()
        rounds += 1
        assert before - len(directories(media)) <= 2, "a sweep did more than its part"
        assert rounds < 2000

    assert rounds > 20


def test_a_new_process_each_time_comes_to_the_end_of_a_large_tree_as_well(
    pruner, make_file, media, monkeypatch
):
    """Began they all at the first directory, and stopped before the last, an empty one there would stay for ever."""
    for number in range(5):
        make_file(f"{number}/kept")
    (media / "z").mkdir()
    monkeypatch.setattr(pruning, "_PART_S", -1)

    rounds = 0
    while (media / "z").exists():
        pruner().sweep()
        rounds += 1
        assert rounds < 500


def test_a_very_deep_tree_does_no_harm(pruner, media):
    fd = os.open(media, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        fd, before = os.open("d", os.O_RDONLY, dir_fd=fd), fd
        os.close(before)
    os.close(fd)

    pruner().sweep()
    pruner().sweep()

    assert (media / "d").is_dir()


def test_it_says_how_many_went(pruner, media, caplog):
    for name in ("a", "b/c"):
        (media / name).mkdir(parents=True)

    with caplog.at_level(logging.INFO, "mediastore"):
        pruner().sweep()
        pruner().sweep()

    said = [each.getMessage() for each in caplog.records if "empty" in each.getMessage()]
    assert said == [f"root {media}: 3 empty directories removed"]


@own_mounts
def test_mounts_are_not_entered_even_of_the_same_disk(on_host, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "empty").mkdir(parents=True)
    root = tmp_path / "srv"
    for name in ("bound", "disk", "empty"):
        (root / name).mkdir()
    mounts = f"mount --bind {elsewhere} {{root}}/bound && mount -t tmpfs none {{root}}/disk && mkdir {{root}}/disk/empty"

    told, _ = on_host(
        mounts,
        """
import os, time
store = MediaStore.from_url(url, namespace=namespace, roots=[root], prune_empty="1h")
store._blobs._wall = lambda: time.time() + 7200
store.sweep()
say(found=sorted(os.listdir(root)), inner=os.listdir(root + "/bound") + os.listdir(root + "/disk"))
""",
    )

    assert told == {"found": [".mediastore", "bound", "disk"], "inner": ["empty", "empty"]}
    assert (elsewhere / "empty").is_dir()
