"""Nothing outside of a root is read, changed or deleted: whatever the index says, whoever swaps directories for symlinks."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

import pytest

from mediastore import MediaContent, MediaMeta
from mediastore.blobs import posix
from mediastore.errors import Corrupt, MediaStoreError

from .lab import CLAIM_S, STRAY_S, Crash
from .processes import Once, crash, unlinks

# --- a path in the index that leaves the root


@pytest.fixture
def secret(media):
    outside = media.parent / "outside"
    outside.mkdir()
    path = outside / "secret.txt"
    path.write_text("secret")
    (media / "link").symlink_to(outside)
    (media / "file-link").symlink_to(path)
    return path


LEAVES = [
    "../outside/secret.txt",
    "link/../../outside/secret.txt",
    "./cat.jpg",
    "a//b",
    "",
    ".",
    "..",
    ".mediastore/root",
    ".mediastore/../../outside/secret.txt",
    "/etc/hostname",
    "cat.jpg/",
]
SYMLINKS = ["link/secret.txt", "file-link"]


def readers(store, ref):
    return [
        lambda: store.resolve(ref),
        lambda: store.resolve_with_meta(ref),
        lambda: store.open(ref),
        lambda: store.take_lease(ref, "1m"),
        lambda: store.get_url(ref),
        lambda: store.get_base64(ref),
        lambda: store.get_data_url(ref),
        lambda: store.retrieve_media(ref),
    ]


def point_to(client, prefix, media, path, secret):
    """Have the index say that a ref, and its blob, lie elsewhere; the identity fits what is there."""
    seen = secret.stat()
    kind = media.identity.partition(":")[0]
    fits = {"link": seen.st_ino, "inode": seen.st_ino, "owned": seen.st_size}.get(kind, "")
    for key in (f"ref:{media.ref.id}", f"blob:{media.blob}"):
        client.hset(prefix + key, mapping={"path": path, "identity": f"{kind}:{fits}"})


@pytest.mark.parametrize("custody", ["adopted", "owned"])
@pytest.mark.parametrize("path", [*LEAVES, *SYMLINKS, "{secret}"])
def test_a_path_that_leaves_the_root_is_neither_read_nor_deleted(
    other, client, key, settings, cat, make_file, secret, custody, path
):
    path = path.format(secret=secret)
    meta = MediaMeta(session_id="a")
    if custody == "adopted":
        ref = other.store(cat, scope="s")
    else:
        ref = other.store_media(MediaContent(data=b"secret"), scope="s", meta=meta)
    healthy = make_file("healthy.jpg")
    other.store(healthy, scope="s")
    point_to(client, key(""), other.get(ref), path, secret)

    for read in readers(other, ref):
        with pytest.raises(MediaStoreError) as raised:
            read()
        if path not in SYMLINKS:
            assert isinstance(raised.value, Corrupt)
            assert ref.id in str(raised.value) or "blob" in str(raised.value)
    other.release_all("s")
    other.sweep()

    assert secret.read_text() == "secret"
    assert not healthy.exists()


@pytest.fixture
def key(settings):
    """Give the whole name of a key of the namespace."""
    return lambda name: f"mediastore:{{{settings.namespace}}}:{name}"


def test_a_file_that_the_store_has_not_written_is_never_deleted_by_its_name(
    other, client, key, cat
):
    blob = other.get(other.store(cat, scope="s")).blob
    client.hset(key(f"blob:{blob}"), "custody", "owned")
    cat.unlink()
    cat.write_text("theirs")

    other.release_all("s")
    other.sweep()

    assert cat.read_text() == "theirs"
    assert b"CORRUPT" in client.hget(key("stuck"), blob)


@pytest.mark.parametrize("kind", ["ref", "blob"])
@pytest.mark.parametrize("ended", ["expired", "released"])
def test_a_record_of_a_foreign_type_keeps_no_other_waiting(
    other, client, key, make_file, kind, ended
):
    refs = [other.store(make_file(f"{n}.jpg"), scope=f"s/{n}", ttl=0.001) for n in range(3)]
    name = key(f"ref:{refs[1].id}" if kind == "ref" else f"blob:{blob_of(client, key, refs[1])}")
    client.delete(name)
    client.set(name, "foreign")

    if ended == "released":
        other.release_all("s")
    other.sweep()

    assert [make_file("probe").with_name(f"{n}.jpg").exists() for n in range(3)] == [
        False,
        True,
        False,
    ]
    assert client.get(name) == b"foreign"
    assert any(b"its type" in said for said in client.hvals(key("stuck"))) or kind == "ref"


def blob_of(client, key, ref):
    return client.hget(key(f"ref:{ref.id}"), "blob").decode()


@pytest.mark.parametrize("path", [*LEAVES, "a\x00b", "\ud800"])
def test_no_walk_begins_on_a_path_that_leaves_the_root(media, secret, path):
    root = posix.open_root(str(media))
    with pytest.raises(Corrupt), posix.walked(root, path):
        pass
    os.close(root)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\x00b"])
def test_no_file_call_takes_more_than_one_name(media, name):
    root = posix.open_root(str(media))
    for call in (
        posix.unlink,
        posix.look,
        posix.remove_directory,
        posix.open_file,
        posix.open_directory,
    ):
        with pytest.raises(Corrupt):
            call(name, at=root)
    for names in ((name, "x"), ("x", name)):
        for move in (posix.rename, posix.link):
            with pytest.raises(Corrupt):
                move(names[0], root, names[1], root)
    os.close(root)


# --- directories that are swapped for symlinks in the middle of a call

HOMES = ["", "new", "held", "quarantine", "spare", "tmp", "meta", "drafts", "parked"]


def store_a_file(lab):
    path = lab.file("chat/a.jpg", "ours")
    return lambda: lab.process().store(path, scope="s")


def store_content(lab):
    return lambda: lab.process().store_media(MediaContent(data=b"ours"), scope="s")


def move_a_file(lab):
    path = lab.file("chat/a.jpg", "ours")
    return lambda: lab.process().store(path, scope="s", move=True)


def release_files(lab):
    process = lab.process()
    for name in ("chat/a.jpg", "b.jpg"):
        process.store(lab.file(name, "ours"), scope="s")
    return lambda: lab.process().release_all("s")


def release_content(lab):
    lab.process().store_media(MediaContent(data=b"ours"), scope="s")
    return lambda: lab.process().release_all("s")


def read_under_a_lease(lab):
    ref = lab.process().store(lab.file("chat/a.jpg", "ours"), scope="s")

    def read():
        with lab.process().open(ref) as file:
            file.read()

    return read


def take_a_claim_over(lab):
    release_files(lab)
    process = lab.process()
    process.release_all("s", wait=False)
    with lab.stage.during(Once(crash, when=unlinks)), suppress(Crash):
        process.sweep()
    lab.pass_time(CLAIM_S + 1)
    return lambda: lab.process().sweep()


def tidy_up(lab):
    lab.process()
    home = lab.root / ".mediastore"
    for name in ("new", "tmp", "quarantine/lost", "drafts/lost"):
        (home / name).mkdir(parents=True, exist_ok=True)
        (home / name / ("x" * 22)).write_text("stray")
    lab.pass_time(STRAY_S)
    return lambda: lab.process().sweep()


def write_sidecars(lab):
    process = lab.process()
    ref = process.store_media(MediaContent(data=b"ours"), scope="s")
    process.share(ref, "t")
    process.touch(ref, "2h")
    return lambda: lab.process().drain()


def rebuild_the_index(lab):
    write_sidecars(lab)()
    lab.client.flushall()
    return lambda: lab.newcomer().rebuild()


def start_anew(lab):
    lab.process()
    for home in HOMES[1:]:
        shutil.rmtree(lab.root / ".mediastore" / home)
    return lambda: lab.newcomer().stats()


def adopt_a_copy(lab):
    lab.process().store(lab.file("chat/a.jpg", "ours"), scope="s")
    marker = lab.root / ".mediastore/root"
    text = marker.read_bytes()
    marker.rename(lab.root.parent / f"{lab.root.name}.marker")
    marker.write_bytes(text)
    return lambda: lab.newcomer().adopt_root(lab.root)


OPERATIONS = [
    store_a_file,
    store_content,
    move_a_file,
    release_files,
    release_content,
    read_under_a_lease,
    take_a_claim_over,
    tidy_up,
    write_sidecars,
    rebuild_the_index,
    start_anew,
    adopt_a_copy,
]


class Swap:
    """Puts a symlink to a directory outside of the root in the place of one inside; outside are files of the same names."""

    def __init__(self, lab, place):
        self.outside = lab.root.parent / f"{lab.root.name}-outside"
        self.place, self.away = place, lab.root.parent / f"{lab.root.name}-away"

    def __call__(self):
        self.outside.mkdir()
        names = ["x" * 22, "victim"]
        if self.place.is_dir():
            names += [path.name for path in self.place.iterdir()]
            self.place.rename(self.away)
        for name in set(names):
            path = self.outside / name
            if (self.away / name).is_dir():
                path.mkdir()
                path = path / "victim"
            path.write_text("theirs")
            os.utime(path, (1, 1))
        self.before = self.seen()
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self.place.symlink_to(self.outside)

    def seen(self):
        found = {}
        for path in (self.outside, *self.outside.rglob("*")):
            told = path.lstat()
            text = path.read_text() if path.is_file() else sorted(os.listdir(path))
            found[path] = (told.st_mode, told.st_uid, told.st_gid, told.st_nlink, text)
        return found


def attack(labs, stage, operation, places, step, offset=0):
    """Swap each place before each call of an operation, every `step`-th of them; returns how often it came to that."""
    tries = 0
    for number, place in enumerate(places):
        at = (offset + number) % step
        while True:
            lab = next(labs)
            lab.stage = stage
            act = operation(lab)
            lab.root.chmod(0o770)  # rights that are given to anything outside would be seen
            swap = Swap(lab, lab.root / place)
            once = Once(swap, at)
            with stage.during(once), suppress(MediaStoreError):
                act()
            if not once.done:
                break
            assert swap.seen() == swap.before, (operation.__name__, place, at)
            tries += 1
            at += step
    return tries


PLACES = [*(f".mediastore/{home}" if home else ".mediastore" for home in HOMES), "chat", "scopes/s"]


@pytest.mark.parametrize("lane", ["fake"])
@pytest.mark.parametrize(
    "step",
    [11, pytest.param(1, id="every call", marks=[pytest.mark.torture, pytest.mark.timeout(1800)])],
)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
def test_a_directory_swapped_for_a_symlink_at_any_call_leads_nowhere_outside(
    labs, stage, operation, step, lane
):
    if operation in {store_content, start_anew}:
        step = min(step, 5)  # they make directories, and give rights to them
    # The user himself says where the file is that is to be moved.
    places = [place for place in PLACES if operation is not move_a_file or place != "chat"]
    assert attack(labs, stage, operation, places, step) > 3
