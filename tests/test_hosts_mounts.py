"""Hosts with mounts of their own: processes in mount namespaces, where the kernel allows them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from .test_roots import at  # noqa: F401 - a fixture

UNSHARE = shutil.which("unshare")
PREPARE = "mount --make-rprivate / && "


def can_unshare():
    """Whether this kernel and this user may have a mount namespace of their own."""
    if UNSHARE is None:
        return False
    probe = "mount -t tmpfs none /mnt"
    return (
        subprocess.run(
            [UNSHARE, "-m", "sh", "-c", PREPARE + probe], check=False, capture_output=True
        ).returncode
        == 0
    )


own_mounts = pytest.mark.skipif(not can_unshare(), reason="no mount namespaces for this user here")

HOST = """
import json, subprocess, sys
from mediastore import MediaStore, errors
url, namespace, root = sys.argv[1:4]
store = MediaStore.from_url(url, namespace=namespace, roots=[root])
def sh(*words): subprocess.run(words, check=True)
def say(**words): print(json.dumps(words))
"""


@pytest.fixture
def on_host(server_url, settings, tmp_path):
    """Give a way to run a program on a host of its own: same path, its own mounts."""
    root = tmp_path / "srv"
    root.mkdir()

    def run(mounts, program, *args):
        command = [sys.executable, "-c", HOST + program, server_url, settings.namespace, str(root)]
        words = " ".join(f"'{word}'" for word in [*command, *map(str, args)])
        done = subprocess.run(
            [str(UNSHARE), "-m", "sh", "-c", PREPARE + mounts.format(root=root) + ' && exec "$@"',
             "sh", *command, *map(str, args)],
            check=False, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        return json.loads(done.stdout), done.stderr

    return run


@own_mounts
def test_the_same_path_on_two_hosts_is_never_confused(on_host, tmp_path):
    disks = [tmp_path / name for name in ("disk1", "disk2")]
    for disk in disks:
        disk.mkdir()
        (disk / "cat.jpg").write_text(disk.name)
    mounts = [f"mount --bind {disk} {{root}}" for disk in disks]
    stored, _ = on_host(mounts[0], 'say(ref=store.store(root + "/cat.jpg", scope="s"))')

    told, _ = on_host(
        mounts[1],
        """
try:
    store.resolve(sys.argv[4])
except errors.WrongHost as error:
    wrong = error.host
done = store.release_all("s")
store.sweep()
say(host=wrong, refs=done.refs, deleted=done.deleted, pending=done.pending)
""",
        stored["ref"],
    )

    place = f"{socket.gethostname()}:{tmp_path / 'srv'}"
    assert told == {"host": place, "refs": 1, "deleted": 0, "pending": 1}
    assert [(disk / "cat.jpg").read_text() for disk in disks] == ["disk1", "disk2"]
    swept, _ = on_host(mounts[0], "say(deleted=store.sweep().deleted)")
    assert (swept, [(disk / "cat.jpg").exists() for disk in disks]) == (
        {"deleted": 1},
        [False, True],
    )


@own_mounts
def test_a_share_mounted_at_two_paths_is_one_root(on_host, at, tmp_path):
    share = tmp_path / "share"
    share.mkdir()
    (share / "cat.jpg").write_text("x")
    stored, _ = on_host(
        f"mount --bind {share} {{root}}", 'say(ref=store.store(root + "/cat.jpg", scope="s"))'
    )

    told, _ = on_host(
        f"mount --bind {share} {{root}} && mkdir {tmp_path}/other && mount --bind {share} {tmp_path}/other",
        """
with MediaStore.from_url(url, namespace=namespace, roots=[sys.argv[5]]) as other:
    found = other.resolve(sys.argv[4])
    say(path=str(found), deleted=other.release_all("s").deleted, roots=len(other.roots()))
""",
        stored["ref"],
        tmp_path / "other",
    )

    assert told == {"path": str(tmp_path / "other" / "cat.jpg"), "deleted": 1, "roots": 1}
    assert not (share / "cat.jpg").exists()


@own_mounts
@pytest.mark.parametrize("empty", ["", "mkdir -p {root}/.mediastore"])
def test_a_root_unmounted_in_mid_work_stops_deletion_until_it_is_mounted_again(
    on_host, tmp_path, empty
):
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "cat.jpg").write_text("x")
    (tmp_path / "srv" / "cat.jpg").write_text("under the mount")

    told, log = on_host(
        f"{empty or 'true'} && mount --bind {disk} {{root}}",
        """
import logging
logging.basicConfig(level="WARNING", format="%(levelname)s %(message)s")
ref = store.store(root + "/cat.jpg", scope="s")
sh("umount", "-l", root)
try:
    store.resolve(ref)
except errors.BlobsUnavailable as error:
    said = str(error)
released = store.release_all("s")
swept = [store.sweep().deleted for _ in range(3)]
below = open(root + "/cat.jpg").read()
sh("mount", "--bind", sys.argv[4], root)
say(said=said, pending=released.pending, swept=swept, below=below, back=store.sweep().deleted)
""",
        disk,
    )

    assert "unmounted or replaced?" in told.pop("said")
    assert told == {"pending": 1, "swept": [0, 0, 0], "below": "under the mount", "back": 1}
    assert not (disk / "cat.jpg").exists()
    assert [line.split()[0] for line in log.splitlines()] == ["ERROR", "WARNING"]
    assert (tmp_path / "srv" / "cat.jpg").read_text() == "under the mount"


@own_mounts
def test_another_disk_whose_marker_has_the_same_inode_number_is_another_root(on_host, tmp_path):
    """On two disks that were set up alike it has: 11 on tmpfs, 20 on ext4."""
    told, _ = on_host(
        "mount -t tmpfs first {root}",
        """
import os
path = root + "/cat.jpg"
def marker(): return os.stat(root + "/.mediastore/root").st_ino
store.stats()
open(path, "w").write("ours")
ref = store.store(path, scope="s")
inode = marker()
sh("mkdir", sys.argv[4])
sh("mount", "--move", root, sys.argv[4])
sh("mount", "-t", "tmpfs", "second", root)
with MediaStore.from_url(url, namespace=namespace, roots=[root]) as other:
    other.stats()
same = inode == marker()
open(path, "w").write("theirs")
failed = []
for call in (lambda: store.resolve(ref), lambda: store.store(path, scope="t")):
    try:
        call()
    except errors.BlobsUnavailable as error:
        failed.append("unmounted or replaced?" in str(error))
done = store.release_all("s")
swept = store.sweep()
theirs = open(path).read()
sh("umount", root)
sh("mount", "--move", sys.argv[4], root)
back = store.sweep()
say(same=same, failed=failed, done=[done.deleted, done.spared, done.gone, done.pending],
    swept=swept.deleted, theirs=theirs, back=back.deleted, left=os.path.exists(path))
""",
        tmp_path / "aside",
    )

    there = {"same": True, "failed": [True, True], "done": [0, 0, 0, 1], "swept": 0}
    assert told == {**there, "theirs": "theirs", "back": 1, "left": False}


@own_mounts
def test_a_disk_that_is_mounted_anew_and_a_marker_that_is_touched_are_the_root_they_were(
    on_host, tmp_path
):
    image = tmp_path / "image"
    told, log = on_host(
        f"truncate -s 8M {image} && mkfs.ext4 -q {image} && mount -o loop {image} {{root}}",
        """
import logging, os
logging.basicConfig(level="WARNING")
open(root + "/cat.jpg", "w").write("ours")
ref = store.store(root + "/cat.jpg", scope="s")
os.utime(root + "/.mediastore/root")
first = str(store.resolve(ref))
os.link(root + "/.mediastore/root", root + "/backup of the marker")
second = str(store.resolve(ref))
sh("umount", root)
sh("mount", "-o", "loop", sys.argv[4], root)
third = str(store.resolve(ref))
done = store.release_all("s")
say(paths=[first, second, third], deleted=done.deleted, free=done.freed_bytes)
""",
        image,
    )

    path = str(tmp_path / "srv/cat.jpg")
    assert (told, log) == ({"paths": [path] * 3, "deleted": 1, "free": 4}, "")


BOUND = {
    "of another disk": "mkdir {root}/sub && mount -t tmpfs other {root}/sub",
    "of the same disk": "mkdir {root}/sub {root}/../same && mount --bind {root}/../same {root}/sub",
    "of a file": "mkdir {root}/sub && touch {root}/../file {root}/sub/cat.jpg"
    " && mount --bind {root}/../file {root}/sub/cat.jpg",
}


@own_mounts
@pytest.mark.parametrize("mounts", BOUND.values(), ids=BOUND)
def test_a_file_on_a_mount_inside_a_root_is_outside_whatever_its_custody(on_host, mounts):
    told, _ = on_host(
        mounts,
        """
import os
from mediastore import Cleanup, MediaContent, MediaMeta
path = root + "/sub/cat.jpg"
open(path, "w").write("x")
refused = []
for cleanup in (Cleanup.DELETE, Cleanup.FORGET):
    try:
        store.store(path, scope="s", meta=MediaMeta(cleanup=cleanup))
    except errors.OutsideRoots as error:
        refused.append("or another mount, than its root" in str(error))
ref = store.store_media(MediaContent(file_path=path), scope="s", move=True)
content = store.open(ref).read().decode()
done = store.release_all("s")
say(refused=refused, refs=store.stats().refs, blobs=store.stats().stored_refs, content=content,
    left=os.listdir(root + "/.mediastore/new"))
""",
    )

    assert told == {"refused": [True, True], "refs": 0, "blobs": 1, "content": "x", "left": []}


SAME = "mount --bind {root}/sub {root}/sub"
OTHER = (
    "mkdir {root}/../same && touch {root}/../same/cat.jpg && mount --bind {root}/../same {root}/sub"
)
NOTHING = "mount -t tmpfs other {root}/sub"


@own_mounts
@pytest.mark.parametrize(
    ("kind", "mount"),
    [
        *(("link", SAME), ("link", OTHER), ("link", NOTHING), ("stat", OTHER), ("stat", SAME)),
        *(("owned", NOTHING), ("owned", "mount --bind {root}/.. {root}/sub")),
    ],
)
def test_a_file_below_a_mount_that_came_later_waits_until_that_is_gone(on_host, kind, mount):
    told, _ = on_host(
        "mkdir {root}/sub",
        """
import os, time
from mediastore import MediaContent
from mediastore.blobs import posix
def no_link(*_): raise PermissionError(1, "no links here")
if sys.argv[4] == "stat":
    posix.link = no_link
if sys.argv[4] == "owned":
    os.rmdir(root + "/sub")
    path = str(store.resolve(store.store_media(MediaContent(data=b"x"), scope="s")))
    place = root + "/" + os.path.relpath(path, root).split("/")[0]
else:
    path, place = root + "/sub/cat.jpg", root + "/sub"
    open(path, "w").write("x")
    store.store(path, scope="s")
sh("sh", "-c", sys.argv[5].replace("{root}/sub", place).replace("{root}", root))
done = store.release_all("s")
sh("umount", place)
still = os.path.exists(path)
store._speech.now = lambda: round(time.time() * 1000) + 301_000
back = store.sweep()
say(done=[done.deleted, done.gone, done.spared, done.failed], still=still,
    back=[back.deleted, back.freed_bytes], left=os.path.exists(path), stuck=store.stats().stuck)
""",
        kind,
        mount,
    )

    assert told == {
        "done": [0, 0, 0, 1],
        "still": True,
        "back": [1, 1],
        "left": False,
        "stuck": 0,
    }


@own_mounts
def test_a_file_on_a_mount_inside_is_none_of_an_adopted_root(on_host, tmp_path):
    told, _ = on_host(
        "mkdir {root}/sub",
        """
import shutil
from mediastore import Cleanup, MediaMeta
copy = sys.argv[4]
for name, cleanup in (("ours", Cleanup.DELETE), ("lent", Cleanup.FORGET)):
    open(f"{root}/sub/{name}", "w").write(name)
    store.store(f"{root}/sub/{name}", scope="s", meta=MediaMeta(cleanup=cleanup))
shutil.copytree(root, copy)
shutil.copytree(root + "/sub", copy + ".sub")
sh("mv", root, root + ".aside")
sh("mount", "--bind", copy + ".sub", copy + "/sub")
done = store.adopt_root(copy)
say(rebound=done.rebound, missing=list(done.missing), differ=list(done.differ))
""",
        tmp_path / "copy",
    )

    assert told == {"rebound": 0, "missing": ["sub/lent", "sub/ours"], "differ": []}


@own_mounts
@pytest.mark.skipif(shutil.which("mergerfs") is None, reason="mergerfs is not installed")
def test_a_union_without_lasting_inode_numbers_is_told_as_that(on_host, tmp_path):
    told, _ = on_host(
        f"mkdir {tmp_path}/disk && mergerfs -o inodecalc=passthrough {tmp_path}/disk {{root}}",
        """
import os
from mediastore import Settings
from mediastore.doctor.roots import findings
def problem():
    found = findings(Settings(namespace=namespace, roots=(root,)), {})
    return [[each.state, each.advice] for each in found if each.state == "problem"]
def refusal():
    try:
        MediaStore.from_url(url, namespace=namespace, roots=[root]).stats()
    except errors.InvalidRoot as error:
        return error.detail
first, left = refusal(), os.listdir(root)
unused = problem()
sh("umount", "-l", root)
store.stats()
sh("sh", "-c", f"cp -a {root}/.mediastore {sys.argv[4]}/disk")
sh("mergerfs", "-o", "inodecalc=passthrough,nonempty", sys.argv[4] + "/disk", root)
again = refusal()
used = problem()
sh("umount", "-l", root)
say(first=first, left=left, again=again, unused=unused, used=used)
""",
        tmp_path,
    )

    assert told["first"] == told["again"]
    assert told["first"].startswith("its file system (fuse.mergerfs) gives the names of one file")
    assert told["left"] == []
    assert told["unused"] == told["used"]
    [(_, advice)] = told["used"]
    assert advice.startswith("Mount it with lasting inode numbers (mergerfs: use_ino)")
