"""An outcome is called what it was: deleted, gone, spared, kept, and the books balance over all of them."""

from __future__ import annotations

import errno
import os

import pytest

from mediastore import Cleanup, MediaContent, MediaMeta, Released
from mediastore.blobs import posix

from .lab import CLAIM_S, Crash
from .lanes import mostly_real
from .processes import no_link, replace

BORROWED = MediaMeta(cleanup=Cleanup.FORGET)


@pytest.fixture
def no_links(monkeypatch):
    """Let the file system have no hard links, or protected_hardlinks forbid one of another user's file."""
    monkeypatch.setattr(posix, "link", no_link)


def counts(done):
    """What became of the blobs: deleted, gone, spared, kept."""
    return done.deleted, done.gone, done.spared, done.kept


def ended(stats):
    """The same of everything that ever ended."""
    return stats.deleted_blobs, stats.gone_blobs, stats.spared_blobs, stats.kept_blobs


def noted(client, settings):
    """What is remembered of files that were spared, the newest first."""
    return [
        each.decode().split(" ", 5)
        for each in client.lrange(f"mediastore:{{{settings.namespace}}}:spared", 0, -1)[::-1]
    ]


def touched(path):
    seen = path.stat()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1_000_000))


def appended(path):
    with path.open("ab") as file:
        file.write(b"more")


def replaced(path):
    replace(path, "theirs")


def a_directory(path):
    path.unlink()
    path.mkdir()


def a_symlink(path):
    path.unlink()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [touched, appended, replaced, a_directory, a_symlink])
@mostly_real
def test_what_cannot_be_shown_to_be_the_registered_file_is_spared(
    other, client, settings, cat, no_links, change
):
    other.store(cat, scope="s")
    was = cat.stat()
    change(cat)
    before = cat.lstat()

    done = other.release_all("s")

    assert done == Released(refs=1, spared=1)
    after = cat.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        *(before.st_ino, before.st_size, before.st_mtime_ns),
    )
    stats = other.stats()
    assert (ended(stats), stats.freed_bytes, stats.trash) == ((0, 0, 1, 0), 0, 0)
    [(_, root, _, expected, found, path)] = noted(client, settings)
    assert ([root], path) == (list(stats.roots), cat.name)
    assert expected == f"stat:{was.st_ino}:{was.st_size}:{was.st_mtime_ns}"
    here = f"file:{before.st_ino}:{before.st_size}:{before.st_mtime_ns}"
    assert found == {a_directory: "directory", a_symlink: "symlink"}.get(change, here)


def test_without_links_the_registered_file_is_deleted(store, cat, no_links):
    size = cat.stat().st_size
    store.store(cat, scope="s")

    assert store.release_all("s") == Released(refs=1, deleted=1, freed_bytes=size)
    assert not cat.exists()


def test_without_links_a_file_that_its_owner_removed_is_gone(
    store, client, settings, cat, no_links
):
    store.store(cat, scope="s")
    cat.unlink()

    assert store.release_all("s") == Released(refs=1, gone=1)
    assert ended(store.stats()) == (0, 1, 0, 0)
    assert noted(client, settings) == []


def test_a_file_whose_directory_was_removed_is_gone(store, make_file, no_links):
    path = make_file("sub/cat.jpg")
    store.store(path, scope="s")
    path.unlink()
    path.parent.rmdir()

    assert store.release_all("s") == Released(refs=1, gone=1)


def test_a_file_behind_a_symlink_that_took_the_place_of_its_directory_is_spared(
    store, client, settings, make_file, tmp_path, no_links
):
    path = make_file("sub/cat.jpg")
    store.store(path, scope="s")
    path.parent.rename(tmp_path / "moved")
    path.parent.symlink_to(tmp_path / "moved")

    assert store.release_all("s") == Released(refs=1, spared=1)
    assert path.exists()
    assert noted(client, settings)[0][4:] == ["symlink", "sub/cat.jpg"]


def test_with_a_held_link_the_bytes_are_deleted_whatever_stands_at_the_path(store, cat):
    size = cat.stat().st_size
    store.store(cat, scope="s")
    replace(cat, "theirs")

    assert store.release_all("s") == Released(refs=1, deleted=1, freed_bytes=size)
    assert cat.read_text() == "theirs"


@pytest.mark.parametrize("there", [True, False])
def test_without_its_held_link_an_adopted_file_is_not_known(store, media, cat, there):
    store.store(cat, scope="s")
    for held in (media / ".mediastore/held").iterdir():
        held.unlink()
    if not there:
        cat.unlink()

    assert store.release_all("s") == Released(refs=1, spared=int(there), gone=int(not there))
    assert cat.exists() == there


def test_content_that_somebody_removed_is_gone(store):
    ref = store.store_media(MediaContent(data=b"content", mime_type="image/png"), scope="s")
    store.resolve(ref).unlink()

    assert store.delete_media(ref) == Released(refs=1, gone=1)
    assert ended(store.stats()) == (0, 1, 0, 0)


def test_empty_content_is_deleted_all_the_same(store):
    ref = store.store_media(MediaContent(data=b"x", mime_type="image/png"), scope="s")
    store.resolve(ref).write_bytes(b"")

    assert counts(store.delete_media(ref)) == (1, 0, 0, 0)


@pytest.mark.parametrize("adopted_first", [True, False])
def test_a_borrowed_file_is_kept(store, cat, adopted_first):
    if adopted_first:
        store.store(cat, scope="s")
    store.store(cat, scope="s", meta=BORROWED)

    done = store.release_all("s")

    assert (counts(done)[:3], cat.exists()) == ((0, 0, 0), True)
    assert (done.kept >= 1, done.pending, ended(store.stats())) == (True, 0, (0, 0, 0, 1))


def test_a_file_registered_again_after_a_touch_is_the_other_refs(store, cat, no_links):
    """The first blob is not the registered file any more, and the second one is."""
    store.store(cat, scope="one")
    touched(cat)
    store.store(cat, scope="two")

    assert store.release_all("one") == Released(refs=1, spared=1)
    assert cat.exists()
    assert counts(store.release_all("two")) == (1, 0, 0, 0)
    assert not cat.exists()


def many(store, make_file, monkeypatch):
    """Register a file for each outcome; two of it."""
    files = {}
    for number in range(2):
        for name in ("borrowed", "deleted", "spared", "gone"):
            if name == "spared":
                monkeypatch.setattr(posix, "link", no_link)
            path = files[name, number] = make_file(f"{name}{number}.jpg")
            store.store(path, scope="s", meta=BORROWED if name == "borrowed" else MediaMeta())
        monkeypatch.undo()
        appended(files["spared", number])
        files["gone", number].unlink()
    return files


@pytest.mark.parametrize("how", ["release", "sweep", "expire"])
def test_the_books_balance(store, other, make_file, monkeypatch, how):
    many(store, make_file, monkeypatch)
    assert store.stats().blobs == 8

    if how == "release":
        done = store.release_all("s")
        blobs = done
    elif how == "sweep":
        done = other.release_all("s", wait=False)
        assert (counts(done), done.pending) == ((0, 0, 0, 2), 6)
        blobs = store.sweep()
        assert blobs.kept == 0
    else:
        for media in store.refs("s"):
            other.touch(media.ref, ttl=0.001)
        blobs = store.sweep()
        while store.stats().refs:
            more = store.sweep()
            blobs = Released(*(a + b for a, b in zip(blobs_of(blobs), blobs_of(more), strict=True)))

    stats = store.stats()
    assert (blobs.deleted, blobs.gone, blobs.spared) == (2, 2, 2)
    assert ended(stats) == (2, 2, 2, 2)
    assert (stats.blobs, stats.trash, blobs.pending, blobs.failed) == (0, 0, 0, 0)


def blobs_of(done):
    return 0, done.deleted, done.freed_bytes, done.kept, done.gone, done.spared


def test_a_blob_of_a_forgotten_root_is_gone(store, cat):
    store.store(cat, scope="s")
    [root] = store.stats().roots
    store.forget_root(root, even_here=True)

    done = store.release_all("s")

    assert done == Released(refs=1, gone=1)
    assert (store.stats().lost_blobs, ended(store.stats()), cat.exists()) == (1, (0, 0, 0, 0), True)


def test_the_newest_thousand_are_remembered(store, client, settings, cat, no_links):
    key = f"mediastore:{{{settings.namespace}}}:spared"
    client.rpush(
        key, *(f"{n} root blob stat:1:1:1 directory a{n}.jpg" for n in reversed(range(1000)))
    )
    store.store(cat, scope="s")
    touched(cat)

    store.release_all("s")

    assert client.llen(key) == 1000
    assert [each[5] for each in noted(client, settings)[:2]] == ["cat.jpg", "a0.jpg"]


# --- what an earlier sweeper did


def until(ask, script):
    """Ask until a script is to run; there the process stops."""

    def stop(step):
        if getattr(step, "script", "") == script:
            raise Crash(f"before {script}")
        return ask(step)

    return stop


@pytest.mark.parametrize("kind", ["held", "no link", "owned"])
@mostly_real
def test_what_a_killed_sweeper_deleted_was_deleted(lab, monkeypatch, kind):
    if kind == "no link":
        monkeypatch.setattr(posix, "link", no_link)
    process = lab.process()
    if kind == "owned":
        process.store_media(MediaContent(data=b"ours", mime_type="image/png"), scope="s")
    else:
        process.store(lab.file("a.jpg", "ours"), scope="s")
    process.release_all("s", wait=False)
    first = lab.process()
    monkeypatch.setattr(first, "_ask", until(first._ask, "acknowledge"))
    with pytest.raises(Crash):
        first.sweep()
    assert [name for name in lab.files() if not name.endswith(".meta")] == []

    lab.pass_time(CLAIM_S + 1)
    done = lab.process().sweep()

    assert counts(done) == (1, 0, 0, 0)
    assert ended(process.stats()) == (1, 0, 0, 0)


@pytest.mark.parametrize("kind", ["no link", "owned"])
@mostly_real
def test_what_could_not_be_deleted_and_was_removed_by_hand_is_gone(lab, stage, monkeypatch, kind):
    if kind == "no link":
        monkeypatch.setattr(posix, "link", no_link)
    process = lab.process()
    if kind == "owned":
        ref = process.store_media(MediaContent(data=b"ours", mime_type="image/png"), scope="s")
        path = process.resolve(ref)
    else:
        path = lab.file("a.jpg", "ours")
        process.store(path, scope="s")

    def refuse(name, args):
        if name in {"rename", "unlink"} and args[0] == path.name:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with stage.during(refuse):
        assert process.release_all("s") == Released(refs=1, failed=1)
    path.unlink()
    lab.pass_time(301)
    done = process.sweep()

    assert (counts(done), done.failed, process.stats().stuck) == ((0, 1, 0, 0), 0, 0)


@pytest.mark.parametrize("links", [True, False])
@mostly_real
def test_a_registered_file_that_cannot_leave_its_directory_is_not_deleted(
    lab, stage, monkeypatch, links
):
    """Project quotas of a file system refuse a rename as a mount does: EXDEV."""
    if not links:
        monkeypatch.setattr(posix, "link", no_link)
    path = lab.file("sub/a.jpg", "ours")
    process = lab.process()
    process.store(path, scope="s")

    def refuse(name, args):
        if name == "rename" and args[0] == path.name:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    with stage.during(refuse):
        assert process.release_all("s") == Released(refs=1, failed=1)
    assert (path.read_text(), process.stats().stuck) == ("ours", 1)
    lab.pass_time(301)

    assert (counts(process.sweep()), path.exists()) == ((1, 0, 0, 0), False)
