"""A member of a root's group who swaps our directories for symlinks, as fast as it can, while each operation runs.

It is a process of another user. Outside of the root lie files of ours, whose names look like ours.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import secrets
import stat
import time
from contextlib import suppress

import pytest

from mediastore import MediaContent, MediaStore, Settings
from mediastore.blobs.local import LocalBlobs
from mediastore.errors import MediaStoreError

GROUP = 64_123
MEMBER, OURS = 64_124, 64_125
HOMES = ["new", "held", "quarantine", "spare", "tmp", "meta", "drafts", "parked"]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
    pytest.mark.parametrize("lane", ["real"]),
]


@pytest.fixture
def root(tmp_path):
    """Give a root that is shared with a group, on a way that everybody may go."""
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == os.geteuid() and place != place.parent and place.name != "tmp":
            place.chmod(place.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    path = tmp_path / "media"
    path.mkdir()
    os.chown(path, 0, GROUP)
    path.chmod(0o2770)
    return path


@pytest.fixture
def outside(tmp_path):
    """Give a directory of ours beside the root, with files that nobody may touch."""
    path = tmp_path / "outside"
    path.mkdir()
    for _ in range(30):
        name = secrets.token_urlsafe(16)
        (path / f"{name}.jpg").write_text("theirs")
        (path / name).mkdir()
        (path / name / f"{secrets.token_urlsafe(16)}.held").write_text("theirs")
    return path


def seen(directory):
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_gid, path.lstat().st_nlink)
        for path in (directory, *directory.rglob("*"))
    }


def swap(root, outside, swaps, stop, seed):
    """Be the member: put a symlink, or a directory of one's own, in the place of ours, and take it back."""
    os.setgroups([GROUP])
    os.setgid(GROUP)
    os.setuid(MEMBER)
    dice = random.Random(seed)
    places = [root / ".mediastore" / home for home in HOMES]
    places += [root / ".mediastore", root / "scopes", root / "chat"]
    while not stop.is_set():
        place = dice.choice(places)
        if dice.random() < 0.3:
            claims = root / ".mediastore/quarantine"
            with suppress(OSError, IndexError):
                place = claims / dice.choice(os.listdir(claims))
        away = place.with_name(f"{place.name}.away")
        try:
            os.rename(place, away)
        except OSError:
            continue
        with suppress(OSError):
            os.symlink(outside, place)
        swaps.value += 1
        for _ in range(dice.randrange(200)):
            pass
        with suppress(OSError):
            os.unlink(place)
        with suppress(OSError):
            os.rename(away, place)


class Attacked:
    """The operations, each with a store of its own, at a root that somebody swaps directories of."""

    def __init__(self, url, root):
        self.root = root
        self.settings = Settings(
            redis_url=url, namespace=f"t{secrets.token_hex(6)}", roots=(str(root),),
            claim="1s", timeout="1s", min_free=0, durable=False,
        )  # fmt: skip
        self.number = itertools.count()
        self.store = self.newcomer()
        self.store.stats()
        os.makedirs(root / "chat", exist_ok=True)
        os.chown(root / "chat", -1, GROUP)
        os.chmod(root / "chat", 0o2770)
        self.chat = os.open(root / "chat", os.O_RDONLY | os.O_DIRECTORY)

    def newcomer(self):
        store = MediaStore.from_settings(self.settings)
        # An hour ahead: whatever lies in our directories, or is made to, is old enough to be tidied.
        store._blobs = LocalBlobs(
            self.settings.roots, self.settings.namespace, wall=lambda: time.time() + 3600
        )
        return store

    def file(self):
        """Write a file, wherever its directory is now; a bot's own writing is not what is tried here."""
        name = f"{next(self.number)}.jpg"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o660, dir_fd=self.chat))
        return self.root / "chat" / name

    def store_a_file(self):
        self.store.store(self.file(), scope="s")

    def write(self):
        # The path leads where the member wants, so this must not make a file.
        with self.store.writer(scope="s") as writer, writer.path.open("r+") as file:
            file.write("ours")

    def move(self):
        self.store.store(self.file(), scope="s", move=True)

    def release(self):
        self.store_a_file()
        self.store.store_media(MediaContent(data=b"ours"), scope="s")
        self.store.release_all("s")

    def sweep(self):
        self.store.store(self.file(), scope="s", ttl=0.001)
        self.store.drain(budget=1)

    def tidy(self):
        self.store.sweep(budget=1)

    def adopt(self):
        self.store.adopt_root(self.root)

    def rebuild(self):
        self.store.store_media(MediaContent(data=b"ours"), scope="s")
        self.store.rebuild()

    def start(self):
        with self.newcomer() as store:
            store.stats()


OPERATIONS = [
    "store_a_file",
    "write",
    "move",
    "release",
    "sweep",
    "tidy",
    "adopt",
    "rebuild",
    "start",
]


def attack(url, root, outside, operation, tries):
    """Run an operation until the member has swapped so often; returns how often that was."""
    attacked = Attacked(url, root)
    before = seen(outside)
    swaps, stop = multiprocessing.Value("L", 0), multiprocessing.Event()
    member = multiprocessing.get_context("fork").Process(
        target=swap, args=(root, outside, swaps, stop, tries)
    )
    member.start()
    try:
        while swaps.value < tries and member.is_alive():
            with suppress(MediaStoreError, FileNotFoundError, NotADirectoryError):
                getattr(attacked, operation)()
            # Whatever the member has left, the next try needs a root.
            put_right(root)
    finally:
        stop.set()
        member.join(30)
    assert seen(outside) == before
    return swaps.value


def put_right(root):
    """Take away what a swap has left that was cut short by one of ours."""
    for home in (root / ".mediastore", *(root / ".mediastore" / home for home in HOMES)):
        away = home.with_name(f"{home.name}.away")
        with suppress(OSError):
            if away.is_dir() and home.is_dir() and not home.is_symlink():
                home.rmdir()
        with suppress(OSError):
            if away.is_dir() and not os.path.lexists(home):
                away.rename(home)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_member_who_swaps_directories_has_us_touch_nothing_outside(
    server_url, root, outside, operation, lane
):
    assert attack(server_url, root, outside, operation, 300) >= 300


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_twenty_thousand_swaps_of_a_member_have_us_touch_nothing_outside(
    server_url, root, outside, operation, lane
):
    assert attack(server_url, root, outside, operation, 20_000) >= 20_000
