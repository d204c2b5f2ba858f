"""A writer: a temporary path for libraries that write to one, and a ref at the end."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mediastore import MediaMeta, MediaStore
from mediastore.blobs import posix
from mediastore.errors import FileMissing, InvalidRequest, NotARegularFile, RefUnknown, TooLarge

from .test_content import PNG, files

CAT = MediaMeta(filename="cat.png", session_id="abc")


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(PNG)
    other.replace(path)


def by_hand(path):
    path.write_bytes(PNG)


@pytest.mark.parametrize("write", [by_hand, replaced])
def test_what_is_written_to_the_path_gets_a_ref_at_the_exit(store, other, media, write):
    with store.writer(meta=CAT) as draft:
        write(draft.path)
        assert draft.path.suffix == ".png"
        assert other.scopes() == []

    path, meta = other.resolve_with_meta(draft.ref)
    assert path.read_bytes() == PNG
    assert path.stat().st_mode & 0o777 == 0o600
    assert (meta.filename, meta.content_type) == ("cat.png", "image/png")
    assert other.get(draft.ref).scope == "session/abc"


def test_the_file_object_writes_to_the_same_path(store, media):
    with store.writer(scope="s") as draft:
        draft.file.write(PNG)
        draft.file.seek(0)
        assert draft.file.read() == PNG

    assert store.resolve(draft.ref).read_bytes() == PNG
    assert draft.ref not in files(media)


def test_a_body_that_raises_keeps_nothing(store, media, expect_empty):
    with pytest.raises(ZeroDivisionError), store.writer(scope="s") as draft:
        draft.path.write_bytes(bytes(1 // 0))

    with pytest.raises(InvalidRequest, match="after its block"):
        _ = draft.ref
    assert files(media) == []
    expect_empty()


def removed(path):
    path.unlink()


def linked(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


def made_a_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(removed, FileMissing), (linked, NotARegularFile), (made_a_directory, NotARegularFile)],
)
def test_a_path_without_a_file_at_the_exit_is_refused(store, media, spoil, error):
    with pytest.raises(error), store.writer(scope="s") as draft:
        spoil(draft.path)

    assert files(media) == []
    assert store.scopes() == []


def test_the_limit_counts_at_the_exit(clients, settings, media, expect_empty):
    with (
        MediaStore(clients(), replace(settings, max_file_size=10)) as store,
        pytest.raises(TooLarge, match="11 bytes"),
        store.writer(scope="s") as draft,
    ):
        draft.path.write_bytes(b"x" * 11)

    assert files(media) == []
    expect_empty()


@pytest.mark.parametrize("dedup", [False, True])
def test_equal_content_of_two_writers_is_kept_once_where_that_is_wanted(
    clients, settings, media, dedup
):
    refs = []
    with MediaStore(clients(), replace(settings, dedup=dedup, sidecars=False)) as store:
        for _ in range(2):
            with store.writer(scope="s") as draft:
                draft.path.write_bytes(PNG)
            refs.append(draft.ref)

        assert len(files(media)) == (1 if dedup else 2)
        assert {store.resolve(ref).read_bytes() for ref in refs} == {PNG}
        assert store.release_all("s").refs == 2
    assert files(media) == []


def test_a_writer_is_entered_once_and_has_a_path_inside_only(store):
    writer = store.writer(scope="s")
    with pytest.raises(InvalidRequest, match="inside its block"):
        _ = writer.path
    with writer as draft:
        draft.path.write_bytes(PNG)

    with pytest.raises(InvalidRequest, match="inside its block"):
        _ = writer.path
    with pytest.raises(InvalidRequest, match="entered once"):
        writer.__enter__()


def test_without_a_scope_no_block_begins(store, media, expect_empty):
    with pytest.raises(InvalidRequest, match="session_id"), store.writer():
        pytest.fail("the block began")

    expect_empty()


def test_a_directory_with_files_at_the_path_is_parked(store, media):
    def filled(path):
        made_a_directory(path)
        (path / "theirs").write_bytes(PNG)

    with pytest.raises(NotARegularFile), store.writer(scope="s") as draft:
        filled(draft.path)

    [parked] = (media / ".mediastore/parked").iterdir()
    assert (parked / "theirs").read_bytes() == PNG


def test_a_writer_that_nobody_leaves_is_swept_up(lab):
    store = lab.process()
    writer = store.writer(scope="s")
    writer.__enter__()
    path = writer.path
    assert path.exists()
    del writer
    lab.pass_time(31)

    lab.process().sweep()

    assert not path.exists()
    assert lab.leftovers() == []


def test_a_file_that_is_still_being_written_at_the_exit_gets_no_ref(
    store, media, expect_empty, monkeypatch
):
    sync, draft = posix.sync, store.writer(scope="s")
    draft.__enter__()
    path = draft.path
    path.write_bytes(PNG)
    monkeypatch.setattr(posix, "sync", lambda fd: (append(path), sync(fd)))

    with pytest.raises(InvalidRequest, match="still being written"):
        draft.__exit__(None, None, None)

    assert files(media) == []
    expect_empty()


def append(path):
    with path.open("ab") as late:
        late.write(b"more")


def test_a_file_object_of_a_file_that_is_gone_says_so(store):
    with store.writer(scope="s") as draft:
        path = draft.path
        path.unlink()
        with pytest.raises(FileMissing):
            _ = draft.file
        path.write_bytes(PNG)


@pytest.mark.parametrize("error", [None, SystemExit()])
def test_a_forked_child_that_leaves_the_block_takes_nothing_from_its_parent(
    clients, settings, error
):
    with MediaStore(clients(), settings) as store:
        with store.writer(scope="s") as draft:
            file = draft.file
            file.write(PNG)
            if not (child := os.fork()):
                try:
                    draft.__exit__(type(error), error, None)
                    file.close()  # as its finalizer does when the child ends
                finally:
                    os._exit(0)
            os.waitpid(child, 0)

        assert store.resolve(draft.ref).read_bytes() == PNG


def test_a_file_left_open_in_the_block_is_closed_with_everything_in_it(store):
    with store.writer(scope="s") as draft:
        file = draft.file
        file.write(b"buffered")

    assert file.closed
    assert store.resolve(draft.ref).read_bytes() == b"buffered"


def test_a_ref_from_a_writer_is_released_like_any_other(store, media, expect_empty):
    with store.writer(scope="s") as draft:
        os.write(os.open(draft.path, os.O_WRONLY), PNG)

    store.release_all("s")

    with pytest.raises((RefUnknown, KeyError)):
        store.resolve(draft.ref)
    assert files(media) == []
    expect_empty()


def test_a_file_that_was_detached_keeps_nothing(store, media, expect_empty):
    with pytest.raises(InvalidRequest, match="cannot be closed"), store.writer(scope="s") as draft:
        draft.file.detach().close()

    assert files(media) == []
    expect_empty()
