"""Adopting: which file is the registered one, and which is only at its path."""

from __future__ import annotations

import base64
import os
import shutil

import pytest

from mediastore.blobs import posix
from mediastore.errors import BlobMissing
from mediastore.index.steps import prefix

from .conftest import JPEG, names_left
from .processes import no_link
from .test_roots import at  # noqa: F401 - a fixture
from .test_roots_adopt import FORGET, each_copy, restored
from .waiting import until


@each_copy
def test_files_that_are_missing_or_others_are_told_and_read_by_their_held_links(
    store, at, make_file, media, copy
):
    kinds = ("kept", "missing", "rewritten", "replaced", "a directory")
    refs = {kind: store.store(make_file(kind, b"ours"), scope="s") for kind in kinds}
    restored(media, copy)
    (media / "missing").unlink()
    (media / "replaced").unlink()
    (media / "replaced").write_bytes(b"not!")
    (media / "a directory").unlink()
    (media / "a directory").mkdir()
    (media / "rewritten").unlink()
    (media / "rewritten").write_bytes(b"longer than before")

    done = store.adopt_root(media)

    assert (done.rebound, done.missing, done.differ) == (1, (), ())
    assert done.hidden == ("a directory", "missing", "replaced", "rewritten")
    again = at(media)
    assert again.resolve(refs.pop("kept")) == media / "kept"
    for ref in refs.values():
        assert again.resolve(ref).read_bytes() == b"ours"
        with again.lease(ref) as held:
            assert held.path == again.resolve(ref)
    assert again.release_all("s").deleted == 5
    assert sorted(path.name for path in media.iterdir()) == [
        ".mediastore", "a directory", "replaced", "rewritten",
    ]  # fmt: skip
    assert (media / "replaced").read_bytes() == b"not!"
    assert (again.stats().trash, again.stats().stuck, names_left(media)) == (0, 0, [])


def test_without_second_names_no_file_is_taken_for_ours(store, at, make_file, media):
    """A backup may leave `.mediastore/held` out; what lies at the path since may be anybody's."""
    names = ("another's", "longer", "same")
    refs = {name: store.store(make_file(name, b"ours"), scope="s") for name in names}
    restored(media)
    shutil.rmtree(media / ".mediastore" / "held")
    (media / "another's").unlink()
    (media / "another's").write_bytes(b"mine")
    (media / "longer").write_bytes(b"longer")

    done = store.adopt_root(media)

    assert (done.rebound, done.differ) == (0, names)
    for ref in refs.values():
        with pytest.raises(BlobMissing):
            at(media).resolve(ref)
    assert at(media).release_all("s").spared == 3
    assert [(media / name).read_bytes() for name in names] == [b"mine", b"longer", b"ours"]
    assert (at(media).stats().trash, names_left(media)) == (0, [])


def test_a_borrowed_file_has_no_second_name_and_is_known_by_its_size(store, at, make_file, media):
    same, longer = (store.store(make_file(n, b"lent"), scope="s", meta=FORGET) for n in "ab")
    restored(media)
    (media / "b").write_bytes(b"longer")

    done = store.adopt_root(media)

    assert (done.rebound, done.differ) == (1, ("b",))
    assert at(media).resolve(same) == media / "a"
    with pytest.raises(BlobMissing):
        at(media).resolve(longer)
    at(media).release_all("s")
    assert [(media / name).read_bytes() for name in "ab"] == [b"lent", b"longer"]


@pytest.mark.parametrize("touched", [False, True])
def test_a_file_known_by_its_times_must_still_have_them(
    store, at, cat, media, monkeypatch, touched
):
    with monkeypatch.context() as patch:
        patch.setattr(posix, "link", no_link)
        ref = store.store(cat, scope="s")
    restored(media)
    if touched:
        os.utime(cat, ns=(1, 1))

    done = store.adopt_root(media)

    assert (done.rebound, done.differ) == ((0, ("cat.jpg",)) if touched else (1, ()))
    if not touched:
        assert at(media).resolve(ref) == cat
    at(media).release_all("s")
    assert cat.exists() == touched


def test_where_links_are_not_allowed_any_more_files_are_known_by_their_times(
    store, at, cat, media, monkeypatch
):
    ref = store.store(cat, scope="s")
    restored(media)
    real = posix.link

    def only_markers(source, *args):
        return real(source, *args) if ".mediastore/root" in source else no_link()

    monkeypatch.setattr(posix, "link", only_markers)

    assert store.adopt_root(media).rebound == 1

    assert at(media).resolve(ref) == cat
    assert at(media).release_all("s").deleted == 1
    assert (cat.exists(), names_left(media)) == (False, [])


def test_a_borrowed_file_stays_borrowed(store, at, cat, media):
    ref = store.store(cat, scope="s", meta=FORGET)
    restored(media)

    assert store.adopt_root(media).rebound == 1

    assert at(media).resolve(ref) == cat
    assert at(media).release_all("s").kept == 1
    assert cat.exists()


@pytest.mark.parametrize("kind", ["ref", "blob"])
def test_an_inode_number_that_comes_back_by_chance_means_nothing(
    store,
    at,
    cat,
    media,
    settings,
    client,
    kind,
):
    """In a young file system numbers begin anew: what was said of them was said of another disk."""
    ref = store.store(cat, scope="s")
    name = ref.id if kind == "ref" else store.get(ref).blob
    restored(media)
    cat.unlink()
    cat.write_bytes(b"another's")
    key = f"{prefix(settings.namespace)}{kind}:{name}"
    client.hset(key, "identity", f"link:{cat.stat().st_ino}")

    assert store.adopt_root(media).hidden == ("cat.jpg",)

    assert at(media).resolve(ref).read_bytes() == JPEG
    at(media).release_all("s")
    assert cat.read_bytes() == b"another's"


@pytest.mark.parametrize("again", [False, True], ids=["", "after one that was stopped"])
def test_a_ref_whose_path_went_on_to_another_blob_is_read_by_its_held_link(
    store, at, cat, media, settings, client, again
):
    """Its number may be that of the new file by chance: numbers begin anew in a young file system."""
    old = store.store(cat, scope="s")
    cat.unlink()
    cat.write_bytes(b"the next")
    new = store.store(cat, scope="s")
    restored(media)
    for kind, name in (("ref", old.id), ("blob", store.get(old).blob)):
        key = f"{prefix(settings.namespace)}{kind}:{name}"
        client.hset(key, "identity", f"link:{cat.stat().st_ino}")

    if again:  # it has forgotten which blobs had the path before
        client.delete(f"{prefix(settings.namespace)}older:{store.get(old).root}")

    done = store.adopt_root(media)

    assert (done.rebound, done.hidden) == (1, ("cat.jpg",))
    there = at(media)
    shared = there.share(old, "t")
    assert there.resolve(new) == cat
    for ref in (old, shared):
        assert there.resolve(ref).read_bytes() == JPEG
        assert base64.b64decode(there.get_base64(ref)) == JPEG
    there.release_all("t")
    there.release_all("s")
    until(lambda: there.sweep().pending == 0)
    assert names_left(media) == []


def test_what_an_older_version_called_missing_is_found_by_adopting_again(
    store, at, cat, media, settings, client
):
    """It bound no held links, and said of such a blob that it is lost."""
    ref = store.store(cat, scope="s")
    restored(media)
    cat.unlink()
    store.adopt_root(media)
    blob = f"{prefix(settings.namespace)}blob:{store.get(ref).blob}"
    client.hset(blob, "identity", "link:0")
    with pytest.raises(BlobMissing):
        at(media).resolve(ref)

    assert store.adopt_root(media).hidden == ("cat.jpg",)

    assert at(media).resolve(ref).read_bytes() == JPEG
    assert at(media).release_all("s").deleted == 1


@pytest.mark.parametrize("copied", [False, True])
def test_what_a_replaced_file_was_known_by_counts_only_where_it_was(
    store, at, cat, media, make_file, settings, client, copied
):
    """Else a new file that gets its inode number would be taken for it, and nothing would hold the new one."""
    store.store(cat, scope="old", ttl="never")
    make_file("next.jpg", b"the next").replace(cat)
    store.store(cat, scope="next", ttl="never")
    (root,) = store.stats().roots
    older = f"{prefix(settings.namespace)}older:{root}"
    assert client.hlen(older) == 1
    if copied:
        restored(media)

    store.adopt_root(media)

    assert client.exists(older) == (not copied)
    again = at(media)
    for scope in ("old", "next"):
        again.release_all(scope)
    assert (cat.exists(), again.stats().trash, names_left(media)) == (False, 0, [])
    assert not client.exists(older)
