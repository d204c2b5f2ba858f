"""A disk on which nothing can be made: what can be deleted goes, the rest is counted, told once and named by `doctor`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest

from mediastore import Cleanup, MediaContent, MediaMeta
from mediastore.blobs import posix
from mediastore.doctor import examine

from .lab import CLAIM_S, Crash
from .processes import Once, crash, unlinks
from .test_hosts_mounts import PREPARE, UNSHARE, own_mounts

FILLED = """
import json, os, sys
from mediastore import Cleanup, MediaContent, MediaMeta, MediaStore
url, namespace, root = sys.argv[1:4]
store = MediaStore.from_url(url, namespace=namespace, roots=[root], min_free=0, durable=False)
for n in range(3):
    store.store_media(MediaContent(data=os.urandom(5000)), scope="owned")
for n in range(40):
    path = f"{root}/adopted-{n}"
    open(path, "wb").write(b"x" * 100)
    store.store(path, scope="adopted" if n else "alone")
path = root + "/borrowed"
open(path, "wb").write(b"theirs")
store.store(path, scope="borrowed", meta=MediaMeta(cleanup=Cleanup.FORGET))
filled = []
try:
    for n in range(1_000_000):
        with open(f"{root}/fill-{n}", "ab") as file:
            file.write(bytes(4096))
except OSError as error:
    full = error.strerror
done = {scope: store.release_all(scope) for scope in ("alone", "owned", "borrowed", "adopted")}
swept = store.sweep()
left = sorted(n for n in os.listdir(root) if n.startswith(("adopted", "borrowed")))
held = sum(len(files) for _, _, files in os.walk(root + "/scopes"))
print(json.dumps(dict(full=full, left=left, held=held, trash=store.stats().trash,
    deleted={scope: each.deleted for scope, each in done.items()},
    failed=sum(each.failed for each in done.values()) + swept.failed)))
"""


@pytest.fixture
def on_full(server_url, settings, tmp_path):
    """Give a way to run the program in a root on a disk of its own."""
    root = tmp_path / "srv"
    root.mkdir()

    def run(mount):
        words = f'{PREPARE}{mount.format(root=root, image=tmp_path / "image")} && exec "$@"'
        done = subprocess.run(
            [str(UNSHARE), "-m", "sh", "-c", words, "sh", sys.executable, "-c", FILLED,
             server_url, settings.namespace, str(root)],
            check=False, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


INODES = "mount -t tmpfs -o nr_inodes=120,size=20m none {root}"
EXT4 = "truncate -s 16M {image} && mkfs.ext4 -q -m 0 -F {image} && mount -o loop {image} {root}"


def can_loop():
    """Whether a file can be mounted here as an ext4."""
    if UNSHARE is None or shutil.which("mkfs.ext4") is None:
        return False
    probe = (
        "d=$(mktemp -d) && truncate -s 4M $d/i && mkfs.ext4 -q -F $d/i && mkdir $d/m"
        " && mount -o loop $d/i $d/m"
    )
    words = [UNSHARE, "-m", "sh", "-c", PREPARE + probe]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


own_ext4 = pytest.mark.skipif(not can_loop(), reason="no ext4 can be mounted here")


@own_mounts
@pytest.mark.parametrize(
    "mount",
    [pytest.param(INODES, id="no inode"), pytest.param(EXT4, id="no block", marks=own_ext4)],
)
def test_a_full_disk_is_freed_by_releasing(on_full, mount):
    told = on_full(mount)

    assert told["full"] == os.strerror(errno.ENOSPC)
    assert told["deleted"] == {"alone": 1, "owned": 3, "borrowed": 0, "adopted": 39}
    assert (told["left"], told["held"], told["trash"], told["failed"]) == (["borrowed"], 0, 0, 0)


# --- and where there is no spare directory either


@pytest.fixture
def barred(monkeypatch):
    """Give a way to have no directory of a claim made, with an error of the system's."""
    kept = {name: getattr(posix, name) for name in ("make_directory", "rename")}

    def bar(code):
        def refuse(name, *args, **named):
            if name == "rename" and "quarantine" not in os.readlink(f"/proc/self/fd/{args[3]}"):
                return kept[name](*args)
            raise OSError(code, os.strerror(code))

        for name, call in kept.items():
            with_name = refuse.__get__(name) if code else call
            monkeypatch.setattr(posix, name, with_name)

    return bar


def filled(store, make_file, adopted=3, owned=2):
    for n in range(adopted):
        store.store(make_file(f"{n}.jpg"), scope="s")
    for n in range(owned):
        store.store_media(MediaContent(data=f"{n}".encode()), scope="s")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_files_of_our_own_go_and_the_others_are_counted_told_once_and_named(
    store, settings, make_file, media, barred, caplog, expect_empty, code
):
    filled(store, make_file)
    barred(code)

    done = store.release_all("s")
    swept = [store.sweep() for _ in range(2)]

    name = errno.errorcode[code]
    assert (done.refs, done.deleted, done.failed, done.pending) == (5, 2, 3, 0)
    assert [(each.deleted, each.failed, each.pending) for each in swept] == [(0, 3, 0)] * 2
    assert [record.message for record in caplog.records if name in record.message] == [
        f"root {media}: files that nobody holds cannot be deleted now: {name}"
    ]
    assert (media / "0.jpg").exists()

    barred(0)
    assert store.sweep().deleted == 3
    assert "can be deleted again" in caplog.text
    expect_empty()


@pytest.mark.parametrize("lane", ["real"], indirect=False)
def test_doctor_names_the_host_and_the_error_until_it_is_over(
    other, settings, server_url, make_file, barred, lane
):
    asked = replace(settings, redis_url=server_url)
    filled(other, make_file)
    barred(errno.ENOSPC)
    other.release_all("s")

    said = [each for each in examine(asked) if each.name == "stuck" and each.state == "problem"]
    assert len(said) == 1
    assert ": ENOSPC" in said[0].detail
    assert "A full disk" in said[0].advice

    barred(0)
    other.sweep()
    assert not [each for each in examine(asked) if each.name == "stuck" and each.state != "ok"]


def test_many_that_cannot_go_do_not_hide_one_that_can(other, make_file, barred):
    filled(other, make_file, adopted=70, owned=0)
    other.store_media(MediaContent(data=b"last"), scope="t")
    barred(errno.ENOSPC)
    other.release_all("s", wait=False)
    other.drain()
    other.release_all("t", wait=False)

    swept = other.sweep()

    assert (swept.deleted, swept.failed) == (1, 70)


def test_a_large_release_counts_each_file_that_cannot_go_once_and_waits_for_none(lab, barred):
    process = lab.process()
    for n in range(25):
        process.store(lab.file(f"{n}.jpg", "ours"), scope=f"s/{n % 3}")
    barred(errno.ENOSPC)
    before = lab.now_ms()

    done = process.release_all("s")

    assert (done.refs, done.deleted, done.failed, done.pending) == (25, 0, 25, 0)
    assert lab.now_ms() == before


def test_what_expires_in_the_same_pass_fails_once(lab, make_file, barred):
    process = lab.process()
    for n in range(3):
        process.store(lab.file(f"{n}.jpg", "ours"), scope="s", ttl=10)
    barred(errno.ENOSPC)
    lab.pass_time(11)

    swept = process.sweep()

    assert (swept.expired, swept.deleted, swept.failed) == (3, 0, 3)


def test_a_claim_that_lapsed_with_registered_files_in_it_waits_for_a_directory(lab, stage, barred):
    process = lab.process()
    process.store(lab.file("a.jpg", "ours"), scope="s")
    process.store_media(MediaContent(data=b"owned"), scope="s")
    process.release_all("s", wait=False)
    with stage.during(Once(crash, when=unlinks)), pytest.raises(Crash):
        process.sweep()
    lab.pass_time(CLAIM_S + 1)
    barred(errno.ENOSPC)

    assert lab.process().sweep().failed == 2
    barred(0)
    assert lab.process().sweep().deleted == 2
    assert lab.leftovers() == []


def test_a_lapsed_claim_of_our_own_files_makes_no_other_file_count_twice(lab, stage, barred):
    process = lab.process()
    for n in range(12):
        process.store_media(MediaContent(data=f"{n}".encode()), scope="a")
    process.release_all("a", wait=False)
    with stage.during(Once(crash, when=unlinks)), pytest.raises(Crash):
        process.sweep()
    lab.pass_time(CLAIM_S + 1)
    for n in range(9):
        process.store_media(MediaContent(data=f"more {n}".encode()), scope="b")
    process.release_all("b", wait=False)
    lab.pass_time(1)
    for n in range(20):
        process.store(lab.file(f"{n}.jpg", "ours"), scope="c")
    process.release_all("c", wait=False)
    lab.pass_time(1)
    barred(errno.ENOSPC)

    swept = lab.process().sweep()

    assert (swept.deleted, swept.failed, swept.pending) == (21, 20, 0)


def test_too_many_open_files_are_counted_and_told(other, make_file, monkeypatch, caplog):
    filled(other, make_file, adopted=1, owned=1)
    kept = posix.open_root

    def full(_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(posix, "open_root", full)
    assert other.release_all("s").failed == 2
    assert "Too many open files" in caplog.text

    monkeypatch.setattr(posix, "open_root", kept)
    assert other.sweep().deleted == 2


def test_a_borrowed_file_without_a_held_link_needs_no_directory(other, make_file, barred):
    other.store(make_file("lent.jpg"), scope="s", meta=MediaMeta(cleanup=Cleanup.FORGET))
    barred(errno.ENOSPC)

    done = other.release_all("s")

    assert (done.kept, done.failed) == (1, 0)


# --- the spare directories


def test_claims_use_the_spare_directories_and_give_them_back(other, make_file, media):
    other.stats()
    spare = media / ".mediastore/spare"
    before = {path.stat().st_ino for path in spare.iterdir()}
    for _ in range(5):
        filled(other, make_file, owned=0)
        assert other.release_all("s").deleted == 3

    assert {path.stat().st_ino for path in spare.iterdir()} == before
    assert len(before) == 8


def test_what_somebody_put_among_the_spare_directories_is_not_used(other, make_file, media):
    other.stats()
    spare = media / ".mediastore/spare"
    (spare / ".0").write_text("junk")
    (spare / ".1").symlink_to(media.parent)
    for path in spare.iterdir():
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
    filled(other, make_file)

    assert other.release_all("s").deleted == 5


def test_a_symlink_in_the_place_of_a_dead_claim_keeps_nothing_waiting(lab, stage):
    process = lab.process()
    path = lab.file("a.jpg", "ours")
    process.store(path, scope="s")
    process.release_all("s", wait=False)
    with stage.during(Once(crash, when=unlinks)), suppress(Crash):
        process.sweep()
    (claim,) = (lab.root / ".mediastore/quarantine").iterdir()
    lab.pass_time(CLAIM_S + 1)
    claim.rename(lab.root / "away")
    claim.symlink_to(lab.root.parent)

    assert lab.process().sweep().failed == 0
    assert lab.process().stats().trash == 0


def test_spare_directories_that_dead_claims_have_taken_are_replaced(lab, media):
    process = lab.process()
    shutil.rmtree(lab.root / ".mediastore/spare")

    process.sweep()

    assert len(list((lab.root / ".mediastore/spare").iterdir())) == 8
