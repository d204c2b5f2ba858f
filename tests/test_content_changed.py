"""Content that somebody overwrites after it was stored: whoever stores the right bytes gets the right ones."""

from __future__ import annotations

import os

import pytest

from mediastore import MediaContent
from mediastore.errors import InvalidRequest, QuotaExceeded

from .content_fixtures import (  # noqa: F401 - a fixture
    DATA,
    beaten_at,
    blobs_of,
    hand_over,
    nothing_is_left,
    pieces,
    sharing,
)
from .lanes import mostly_real
from .processes import Once

pytestmark = mostly_real

WRONG = b"\x89PNG\r\n\x1a\n" + b"CONTENT" * 9


def from_writer(store, tmp_path):
    with store.writer(scope="s") as draft:
        draft.path.write_bytes(DATA)
        late = os.open(draft.path, os.O_RDWR)
    return draft.ref, late


def from_writer_replaced(store, tmp_path):
    """A library that puts a file of its own in the place of the temporary one."""
    with store.writer(scope="s") as draft:
        other = tmp_path / "other"
        other.write_bytes(DATA)
        late = os.open(other, os.O_RDWR)
        other.replace(draft.path)
    return draft.ref, late


def moved(store, tmp_path):
    path = tmp_path / "found.png"
    path.write_bytes(DATA)
    late = os.open(path, os.O_RDWR)
    return store.store_media(MediaContent(file_path=path), scope="s", move=True), late


def handed_over(store, tmp_path):
    ref = hand_over(store)
    return ref, os.open(store.resolve(ref), os.O_RDWR)


WAYS = (from_writer, from_writer_replaced, moved, handed_over)
each_way = pytest.mark.parametrize("way", WAYS)
each_source = pytest.mark.parametrize("known", [True, False], ids=["bytes", "stream"])


@each_way
@each_source
def test_overwritten_content_is_not_joined(sharing, tmp_path, way, known):
    lab, store = sharing, sharing.process()
    old, late = way(store, tmp_path)
    os.pwrite(late, WRONG, 0)
    os.close(late)

    new = hand_over(store, "t", DATA if known else pieces())

    assert store.resolve(new).read_bytes() == DATA
    assert store.resolve(old).read_bytes() == WRONG
    assert blobs_of(lab, new) == blobs_of(lab, hand_over(store, "u"))
    for scope in "stu":
        store.release_all(scope)
    nothing_is_left(lab)


@each_way
def test_content_that_nobody_touched_is_joined(sharing, tmp_path, way):
    lab, store = sharing, sharing.process()
    old, late = way(store, tmp_path)
    os.close(late)

    new = [hand_over(store, "t", data) for data in (DATA, pieces())]

    assert blobs_of(lab, *new) == blobs_of(lab, old) * 2


def test_the_next_write_shows_however_coarse_the_clock_of_the_file_system_is(sharing, tmp_path):
    """A clock that moves in steps of two seconds gives a file that is written to at once the time that it had."""
    for way in WAYS:
        store = sharing.process()
        ref, late = way(store, tmp_path)
        os.close(late)

        seen = store.resolve(ref).stat()

        assert seen.st_ctime_ns - seen.st_mtime_ns > 2_000_000_000
        store.release_all("s")


def test_what_was_overwritten_is_not_joined_by_a_move_either(sharing, tmp_path):
    lab, store = sharing, sharing.process()
    old, late = handed_over(store, tmp_path)
    os.pwrite(late, WRONG, 0)
    os.close(late)

    new, late = moved(store, tmp_path)
    os.close(late)

    assert store.resolve(new).read_bytes() == DATA
    assert blobs_of(lab, new) != blobs_of(lab, old)
    assert not (tmp_path / "found.png").exists()


def test_a_moved_file_that_joins_loses_its_former_name(sharing, tmp_path):
    lab, store = sharing, sharing.process()
    old = hand_over(store)

    new, late = moved(store, tmp_path)
    os.close(late)

    assert blobs_of(lab, new) == blobs_of(lab, old)
    assert not (tmp_path / "found.png").exists()


@pytest.mark.parametrize("change", [os.chmod, os.link], ids=["chmod", "link"])
def test_new_rights_and_further_names_change_no_bytes(sharing, tmp_path, change):
    """Its ctime is another one; its bytes are looked at, and they are the same."""
    lab, store = sharing, sharing.process()
    old = hand_over(store)
    path = store.resolve(old)
    os.chmod(path, 0o640) if change is os.chmod else os.link(path, tmp_path / "backup")

    new = hand_over(store, "t")

    assert blobs_of(lab, new) == blobs_of(lab, old)


def test_bytes_whose_time_was_set_back_are_looked_at(sharing):
    lab, store = sharing, sharing.process()
    old = hand_over(store)
    path = store.resolve(old)
    before = path.stat()
    path.write_bytes(WRONG)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    new = hand_over(store, "t")

    assert store.resolve(new).read_bytes() == DATA
    assert blobs_of(lab, new) != blobs_of(lab, old)


@pytest.mark.parametrize("wrong", [False, True], ids=["same", "other"])
def test_a_blob_of_an_older_index_is_joined_if_its_bytes_are_the_same(sharing, wrong):
    lab, store = sharing, sharing.process()
    old = hand_over(store)
    [blob] = blobs_of(lab, old)
    lab.client.hdel(f"mediastore:{{{lab.namespace}}}:blob:{blob}", "stamp")
    if wrong:
        store.resolve(old).write_bytes(WRONG)

    new = hand_over(store, "t")

    assert (blobs_of(lab, new) == [blob]) is not wrong
    assert store.resolve(new).read_bytes() == DATA


def test_content_that_somebody_can_still_write_to_is_not_joined(sharing, tmp_path):
    """Overwritten after it was joined, the stranger would have the wrong bytes all the same."""
    lab, store = sharing, sharing.process()
    old, late = from_writer(store, tmp_path)

    new = hand_over(store, "t")

    os.pwrite(late, WRONG, 0)
    os.close(late)
    assert store.resolve(new).read_bytes() == DATA
    assert blobs_of(lab, new) != blobs_of(lab, old)


def test_a_moved_file_keeps_its_time_if_nothing_comes_of_it(sharing, tmp_path):
    lab, store = sharing, sharing.process()
    path = tmp_path / "found.png"
    path.write_bytes(DATA)
    before = path.stat().st_mtime_ns
    beaten_at("reserve", lab, store, lambda: lab.process().set_quota("s", max_bytes=1), number=2)

    with pytest.raises(QuotaExceeded):
        store.store_media(MediaContent(file_path=path), scope="s", move=True)

    assert path.stat().st_mtime_ns == before
    assert path.read_bytes() == DATA


def test_a_file_that_changes_while_it_is_hashed_is_refused(sharing, stage, tmp_path):
    """Of the same size, so that only its time tells."""
    store = sharing.process()
    path = tmp_path / "found.png"
    path.write_bytes(DATA)
    write = Once(lambda: path.write_bytes(WRONG), when=lambda name, _: name == "sync")

    with pytest.raises(InvalidRequest, match="still being written"), stage.during(write):
        store.store_media(MediaContent(file_path=path), scope="s", move=True)

    assert path.read_bytes() == WRONG
    nothing_is_left(sharing)


def test_what_was_written_to_is_never_joined_again_whatever_it_holds_now(sharing):
    """Whoever writes to it may do so once more."""
    lab, store = sharing, sharing.process()
    old = hand_over(store)
    path = store.resolve(old)
    path.write_bytes(WRONG)
    path.write_bytes(DATA)

    new = hand_over(store, "t")

    assert blobs_of(lab, new) != blobs_of(lab, old)
