"""Files that are taken for content: without a copy where that is possible, and never lost."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mediastore import Cleanup, MediaContent, MediaMeta, MediaStore
from mediastore.blobs import posix
from mediastore.errors import (
    FileMissing,
    InvalidPath,
    InvalidRequest,
    NotARegularFile,
    QuotaExceeded,
    TooLarge,
)

from .test_content import PNG, files


@pytest.fixture
def found(tmp_path):
    path = tmp_path / "found.png"
    path.write_bytes(PNG)
    path.chmod(0o644)
    return path


def by_store(store, path, **named):
    return store.store(path, scope="s", move=True, **named)


def by_store_media(store, path, **named):
    return store.store_media(MediaContent(file_path=path), scope="s", move=True, **named)


each_way = pytest.mark.parametrize("move", [by_store, by_store_media])


@each_way
def test_a_moved_file_is_the_content_itself(store, media, found, move):
    inode = found.stat().st_ino

    ref = move(store, found)

    path, meta = store.resolve_with_meta(ref)
    assert not found.exists()
    assert (path.stat().st_ino, path.stat().st_nlink) == (inode, 1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (meta.filename, meta.content_type) == ("found.png", "image/png")
    assert store.get(ref).custody == "owned"
    assert store.release_all("s").deleted == 1
    assert files(media) == []


@each_way
def test_a_file_of_the_root_moves_too(store, media, make_file, move):
    cat = make_file("in/cat.jpg")

    ref = move(store, cat)

    assert not cat.exists()
    assert store.resolve(ref).parent.name == "s"


def no_links(*_):
    raise OSError(18, "Invalid cross-device link")


@each_way
def test_where_no_link_is_possible_it_is_copied_and_goes(store, found, move, monkeypatch):
    inode = found.stat().st_ino
    monkeypatch.setattr(posix, "link", no_links)

    ref = move(store, found)

    assert not found.exists()
    assert store.resolve(ref).read_bytes() == PNG
    assert store.resolve(ref).stat().st_ino != inode


def test_a_file_with_another_name_is_copied(store, found, tmp_path):
    os.link(found, tmp_path / "other")

    ref = by_store(store, found)
    (tmp_path / "other").write_bytes(b"changed")

    assert not found.exists()
    assert store.resolve(ref).read_bytes() == PNG


def test_a_file_that_live_refs_are_registered_for_stays(store, cat):
    ref = store.store(cat, scope="t")

    with pytest.raises(InvalidRequest, match="would lose it"):
        by_store(store, cat)

    assert store.resolve(ref) == cat


@pytest.mark.parametrize("dedup", [False, True])
def test_a_file_whose_refs_have_ended_stays_for_as_long_as_it_is_kept(clients, settings, dedup):
    with MediaStore(clients(), replace(settings, dedup=dedup, grace=60)) as store:
        ref = store.store_media(MediaContent(data=PNG), scope="s")
        path = store.resolve(ref)
        store.release_all("s")

        with pytest.raises(InvalidRequest, match="grace"):
            by_store(store, path)

        assert store.resolve(store.restore(ref)).read_bytes() == PNG


@pytest.mark.parametrize("theirs", ["bots", "others"])
def test_a_file_in_a_root_that_this_process_does_not_have_stays(
    clients, settings, tmp_path, theirs
):
    there = tmp_path / "there"
    there.mkdir()
    namespace = f"{settings.namespace}-{theirs}" if theirs == "others" else settings.namespace
    others = replace(settings, namespace=namespace, roots=(str(there),))
    with MediaStore(clients(), settings) as store, MediaStore(clients(), others) as other:
        path = other.resolve(other.store_media(MediaContent(data=PNG), scope="s"))

        with pytest.raises(InvalidPath, match="does not have"):
            by_store(store, path)

        assert path.read_bytes() == PNG


@pytest.mark.parametrize("dedup", [False, True])
def test_equal_files_are_kept_once_where_that_is_wanted(clients, settings, media, tmp_path, dedup):
    with MediaStore(clients(), replace(settings, dedup=dedup, sidecars=False)) as store:
        for name in "ab":
            (tmp_path / name).write_bytes(PNG)
            by_store(store, tmp_path / name)

        assert not (tmp_path / "a").exists()
        assert not (tmp_path / "b").exists()
        assert len(files(media)) == (1 if dedup else 2)
        assert store.stats().blobs == (1 if dedup else 2)


def test_what_is_refused_stays_where_it_is(clients, settings, media, found, tmp_path):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(found)
    os.mkfifo(pipe)
    with MediaStore(clients(), replace(settings, max_file_size=len(PNG) - 1)) as store:
        for path, error in {
            found: TooLarge,
            link: NotARegularFile,
            pipe: NotARegularFile,
            tmp_path: NotARegularFile,
            tmp_path / "none": FileMissing,
            media / ".mediastore/root": InvalidPath,
        }.items():
            with pytest.raises(error):
                by_store(store, path)
        with pytest.raises(InvalidRequest, match="its own to delete"):
            by_store(store, found, meta=MediaMeta(cleanup=Cleanup.FORGET))
        with pytest.raises(InvalidRequest, match="only a file"):
            store.store_media(MediaContent(data=PNG), scope="s", move=True)

    assert found.read_bytes() == PNG
    assert link.is_symlink()
    assert files(media) == []


def test_a_file_that_is_refused_at_the_end_has_its_rights_as_before(store, media, found):
    store.set_quota(max_bytes=1)

    with pytest.raises(QuotaExceeded):
        by_store(store, found)

    assert (found.stat().st_mode & 0o777, found.stat().st_nlink) == (0o644, 1)
    assert files(media) == []


def test_what_comes_to_the_name_meanwhile_stays(store, found, monkeypatch, caplog):
    take = posix.rename

    def replaced(*args):
        take(*args)
        if not found.exists() or found.read_bytes() == PNG:
            found.unlink()
            found.write_bytes(b"new")

    monkeypatch.setattr(posix, "rename", replaced)

    ref = by_store(store, found)

    assert found.read_bytes() == b"new"
    assert store.resolve(ref).read_bytes() == PNG
    assert "was replaced" in caplog.text


def test_what_is_written_to_a_file_while_it_is_copied_is_not_lost(
    store, found, monkeypatch, caplog
):
    rename = posix.rename

    def appended(*args):
        rename(*args)
        with found.open("ab") as late:
            late.write(b"more")

    store.stats()  # the root is marked
    monkeypatch.setattr(posix, "link", no_links)
    monkeypatch.setattr(posix, "rename", appended)

    ref = by_store(store, found)

    assert found.read_bytes().startswith(PNG + b"more")
    assert store.resolve(ref).read_bytes() == PNG
    assert "written to while it was moved" in caplog.text
