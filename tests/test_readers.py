"""One answer for every reader: the registered bytes, at their path, else under their held link."""

from __future__ import annotations

import base64
import time
from urllib.parse import unquote, urlparse

import pytest

from mediastore import Cleanup, MediaMeta
from mediastore.blobs import posix
from mediastore.errors import BlobMissing, InvalidPath
from mediastore.index.steps import prefix

from .conftest import JPEG
from .lab import Crash
from .lanes import mostly_real
from .processes import no_link, replace as put_other_file
from .test_roots import at
from .test_roots_adopt import COPIES, restored

__all__ = ["at"]  # a fixture

BORROWED = MediaMeta(cleanup=Cleanup.FORGET)


def by_resolve_many(store, ref):
    [path] = store.resolve_many([ref])
    if isinstance(path, Exception):
        raise path
    return path.read_bytes()


def by_open(store, ref):
    with store.open(ref) as file:
        return file.read()


def by_lease(store, ref):
    with store.lease(ref) as held:
        return held.path.read_bytes()


def by_handoff(store, ref):
    held = store.accept(store.handoff(ref))
    try:
        return held.path.read_bytes()
    finally:
        held.end()


def by_url(store, ref):
    with open(unquote(urlparse(store.get_url(ref)).path), "rb") as file:
        return file.read()


READERS = {
    "resolve": lambda store, ref: store.resolve(ref).read_bytes(),
    "resolve_with_meta": lambda store, ref: store.resolve_with_meta(ref)[0].read_bytes(),
    "resolve_many": by_resolve_many,
    "retrieve_media": lambda store, ref: store.retrieve_media(ref).file_path.read_bytes(),
    "get_url": by_url,
    "get_base64": lambda store, ref: base64.b64decode(store.get_base64(ref)),
    "get_data_url": lambda store, ref: base64.b64decode(store.get_data_url(ref).split(",")[1]),
    "open": by_open,
    "lease": by_lease,
    "handoff": by_handoff,
    "share": lambda store, ref: store.resolve(store.share(ref, "run:7")).read_bytes(),
}


def answers(store, ref):
    """What each reader gives for a ref: its bytes, or the name of its error."""
    found = {}
    for name, read in READERS.items():
        try:
            found[name] = read(store, ref)
        except BlobMissing as error:
            found[name] = error.code
    return found


def all_give(answer):
    return dict.fromkeys(READERS, answer)


def removed(path):
    path.unlink()


def replaced(path):
    put_other_file(path, "another's")


def directory_removed(path):
    path.unlink()
    path.parent.rmdir()


def directory_in_its_place(path):
    path.unlink()
    path.mkdir()


def symlink_to_another(path):
    path.unlink()
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    "lose", [removed, replaced, directory_removed, directory_in_its_place, symlink_to_another],
    ids=lambda each: each.__name__,
)  # fmt: skip
def test_every_reader_gives_the_registered_bytes_whatever_became_of_their_path(
    store, make_file, media, lose
):
    path = make_file("in/cat.jpg")
    ref = store.store(path, scope="s")

    lose(path)

    assert answers(store, ref) == all_give(JPEG)
    assert store.resolve(ref).parent == media / ".mediastore" / "held"


def test_the_file_of_somebody_else_at_the_path_is_not_touched(store, cat):
    ref = store.store(cat, scope="s")
    replaced(cat)

    assert answers(store, ref) == all_give(JPEG)
    done = store.release_all("run:7"), store.release_all("s")

    assert [each.deleted for each in done] == [0, 1]
    assert cat.read_text() == "another's"


def test_a_file_at_its_path_is_found_there(store, cat):
    ref = store.store(cat, scope="s")

    assert store.resolve(ref) == cat
    assert answers(store, ref) == all_give(JPEG)


def lost_with_its_held_link(store, path, media):
    """Lose the file and its held link as well."""
    ref = store.store(path, scope="s")
    path.unlink()
    for held in (media / ".mediastore" / "held").iterdir():
        held.unlink()
    return ref


def borrowed_and_lost(store, path, media):
    ref = store.store(path, scope="s", meta=BORROWED)
    path.unlink()
    return ref


@pytest.mark.parametrize("lose", [lost_with_its_held_link, borrowed_and_lost])
@pytest.mark.parametrize("then", ["is empty", "holds another file", "holds a directory"])
def test_bytes_that_are_nowhere_are_missing_and_it_says_what_is_at_their_place(
    store, cat, make_file, media, lose, then
):
    another = make_file("another")  # made before, so that it has another inode number
    ref = lose(store, cat, media)
    if then == "holds another file":
        another.rename(cat)
    elif then == "holds a directory":
        cat.mkdir()

    assert answers(store, ref) == all_give("blob_missing")
    for read in (store.resolve, store.take_lease, store.get_base64):
        with pytest.raises(BlobMissing, match=f"{cat} in root .* {then}") as caught:
            read(ref)
        assert (caught.value.path, caught.value.root) == (str(cat), store.get(ref).root)
    assert store.leases(ref) == []


def test_an_inode_number_that_comes_back_is_not_taken_for_the_file(
    store, cat, media, settings, client
):
    """Without the held link that pins it, a file system may give the number to the very next file."""
    ref = lost_with_its_held_link(store, cat, media)
    cat.write_text("another's")
    for kind, name in (("ref", ref.id), ("blob", store.get(ref).blob)):
        key = f"{prefix(settings.namespace)}{kind}:{name}"
        client.hset(key, "identity", f"link:{cat.stat().st_ino}")

    assert answers(store, ref) == all_give("blob_missing")


def test_a_file_written_to_is_the_registered_one_only_where_a_held_link_says_so(
    store, make_file, monkeypatch
):
    linked = make_file("linked.jpg")
    ref = store.store(linked, scope="s")
    with monkeypatch.context() as patch:
        patch.setattr(posix, "link", no_link)
        bare = store.store(make_file("bare.jpg"), scope="s")
    for path in (linked, store.resolve(bare)):
        path.write_bytes(b"more")

    assert answers(store, ref) == all_give(b"more")
    with pytest.raises(BlobMissing, match="holds a file that was written to or replaced"):
        store.resolve(bare)


def test_a_reader_that_comes_between_a_killed_store_and_its_sweep_finds_the_bytes(
    other, cat, media, monkeypatch
):
    """The held link is in `new/` then, and a sweep would move it: a reader gives no name that moves."""

    def crash(*_):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(posix, "rename", crash)
        with pytest.raises(Crash):
            other.store(cat, scope="s")
    [found] = other.refs("s")
    cat.unlink()

    path = other.resolve(found.ref)

    assert path.parent == media / ".mediastore" / "held"
    other._blobs._wall = lambda: time.time() + 3600
    other.sweep()
    assert path.read_bytes() == JPEG


def test_content_that_is_replaced_between_the_look_and_the_opening_is_read_all_the_same(
    other, cat, monkeypatch
):
    ref = other.store(cat, scope="s")
    opening = posix.open_file

    def swapped(name, *, at):
        if name == cat.name:
            replaced(cat)
        return opening(name, at=at)

    monkeypatch.setattr(posix, "open_file", swapped)

    assert base64.b64decode(other.get_base64(ref)) == JPEG


@pytest.mark.parametrize("copy", COPIES, ids=lambda each: each.__name__)
def test_every_reader_agrees_on_an_adopted_copy(store, at, cat, media, copy):
    """Its files have other inode numbers, and refs say the old ones still."""
    ref = store.store(cat, scope="s")
    restored(media, copy)

    store.adopt_root(media)

    assert answers(at(media), ref) == all_give(JPEG)


def test_a_number_of_the_old_disk_leads_nobody_to_what_came_to_the_path(
    store, at, cat, media, settings, client
):
    """In a young file system numbers begin anew: without its held link, the old file's may be that of the new one."""
    old = store.store(cat, scope="s")
    replaced(cat)
    new = store.store(cat, scope="s")
    restored(media)
    [held] = (media / ".mediastore" / "held").glob(f"{store.get(old).blob}*")
    held.unlink()
    for kind, name in (("ref", old.id), ("blob", store.get(old).blob)):
        key = f"{prefix(settings.namespace)}{kind}:{name}"
        client.hset(key, "identity", f"link:{cat.stat().st_ino}")

    store.adopt_root(media)

    assert answers(at(media), old) == all_give("blob_missing")
    assert answers(at(media), new) == all_give(b"another's")
    # One that was stopped halfway, and called again, knows of no blob that lost its path before.
    key = f"{prefix(settings.namespace)}blob:{store.get(old).blob}"
    client.hset(key, "identity", f"link:{cat.stat().st_ino}")
    with pytest.raises(BlobMissing):
        at(media).resolve(old)


@pytest.mark.parametrize("move", [False, True])
def test_what_a_reader_was_given_is_not_registered_again_and_it_says_what_is_meant(
    store, cat, move
):
    ref = store.store(cat, scope="s")
    cat.unlink()

    with pytest.raises(InvalidPath, match=r"share\(ref, scope\)"):
        store.store(store.resolve(ref), scope="t", move=move)

    assert answers(store, ref) == all_give(JPEG)
    assert store.refs("t") == []


@mostly_real
def test_the_usual_resolve_looks_once_at_the_path_and_asks_once(other, make_file, monkeypatch):
    """What hidden bytes cost must not be paid by all others."""
    ref = other.store(make_file("in/cat.jpg"), scope="s")
    other.resolve(ref)
    looks: list[str] = []
    asked: list[object] = []

    def counted(log, real, which):
        def call(*args, **named):
            log.append(args[which])
            return real(*args, **named)

        return call

    for name in ("look", "open_directory", "open_file"):
        monkeypatch.setattr(posix, name, counted(looks, getattr(posix, name), 0))
    link = type(other._link)
    monkeypatch.setattr(link, "perform", counted(asked, link.perform, 1))

    other.resolve(ref)

    assert (looks, len(asked)) == (["in", "cat.jpg"], 1)
