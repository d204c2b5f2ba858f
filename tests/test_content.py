"""Handing content over: what PromptKit's store promised, on the same index and journal as everything else."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mediastore import MediaContent, MediaMeta, MediaStore
from mediastore.blobs import posix
from mediastore.errors import BlobsUnavailable, InvalidPath, InvalidRequest, TooLarge

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + b"\x00" * 64
IN_SESSION = MediaMeta(session_id="abc", message_idx=3, part_idx=1)


def files(media):
    """Return the files that are not our bookkeeping, relative to the root."""
    return sorted(
        str(path.relative_to(media))
        for path in media.rglob("*")
        if path.is_file() and ".mediastore" not in path.parts
    )


def contents_of(data, path):
    """Return the same bytes in every form in which they can be handed over."""
    path.write_bytes(data)
    return {
        "bytes": MediaContent(data=data),
        "buffer": MediaContent(data=memoryview(data)),
        "base64": MediaContent(data=base64.b64encode(data).decode()),
        "file object": MediaContent(data=io.BytesIO(data)),
        "iterator": MediaContent(data=iter([data[:7], b"", data[7:]])),
        "path": MediaContent(file_path=path),
        "data URL": MediaContent(data=f"data:image/png;base64,{base64.b64encode(data).decode()}"),
    }


@pytest.mark.parametrize("form", [
    "bytes", "buffer", "base64", "file object", "iterator", "path", "data URL",
])  # fmt: skip
def test_content_of_every_form_is_resolved_by_another_process(store, other, tmp_path, form):
    content = contents_of(PNG, tmp_path / "cat")[form]

    ref = store.store_media(content, meta=IN_SESSION)

    path, meta = other.resolve_with_meta(ref)
    assert path.read_bytes() == PNG
    assert meta.content_type == "image/png"
    assert other.get(ref).custody == "owned"


def test_content_of_a_session_lies_in_its_directory_and_scope(store, media):
    ref = store.store_media(MediaContent(data=PNG), meta=IN_SESSION)

    assert store.get(ref).scope == "session/abc"
    name = f"sessions/abc/3_1_{ref.id}.png"
    assert files(media) == [name, f"{name}.meta"]


def test_a_released_session_leaves_nothing(store, media, expect_empty):
    for _ in range(3):
        store.store_media(MediaContent(data=PNG), meta=IN_SESSION)

    done = store.release_all("session/abc")

    assert (done.refs, done.deleted, done.freed_bytes) == (3, 3, 3 * len(PNG))
    assert [path.name for path in media.iterdir()] == [".mediastore"]
    expect_empty()


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_exact_whatever_the_form(store, settings, clients, media, over, expect_empty):
    with MediaStore(clients(), replace(settings, max_file_size=100 - over)) as limited:
        for content in (
            MediaContent(data=b"x" * 100),
            MediaContent(data=iter([b"x" * 60, b"x" * 40])),
        ):
            if over:
                with pytest.raises(TooLarge):
                    limited.store_media(content, scope="s")
            else:
                limited.store_media(content, scope="s")
        limited.release_all("s")

    assert files(media) == []
    expect_empty()


def test_equal_content_is_kept_once_where_that_is_wanted(clients, settings, media, expect_empty):
    with MediaStore(clients(), replace(settings, dedup=True)) as store:
        first = store.store_media(MediaContent(data=PNG), scope="a", meta=MediaMeta(filename="1"))
        second = store.store_media(
            MediaContent(data=iter([PNG])), scope="b", meta=MediaMeta(filename="2")
        )

        assert store.resolve(first) == store.resolve(second)
        assert [store.get(ref).meta.filename for ref in (first, second)] == ["1", "2"]
        assert (store.stats().refs, store.stats().blobs) == (2, 1)
        assert store.release_all("a").kept == 1
        assert store.resolve(second).read_bytes() == PNG
        assert store.release_all("b").deleted == 1
        store.drain()  # the sidecar of the first ref, which ended before its file

    assert files(media) == []
    expect_empty()


def test_without_a_scope_and_an_id_nothing_is_stored(store, media, expect_empty):
    with pytest.raises(InvalidRequest, match="session_id"):
        store.store_media(MediaContent(data=PNG))

    assert files(media) == []
    expect_empty()


def test_what_the_source_raises_comes_through_and_leaves_nothing(store, media, expect_empty):
    def broken():
        yield b"some"
        raise RuntimeError("the network is gone")

    with pytest.raises(RuntimeError, match="the network is gone"):
        store.store_media(MediaContent(data=broken()), scope="s")

    assert files(media) == []
    expect_empty()


def test_a_source_that_ends_by_stop_iteration_ends_the_call(store, media, expect_empty):
    class Reader:
        def read(self, _):
            return next(pieces)

    pieces = iter([b"some"])

    with pytest.raises(RuntimeError, match="StopIteration"):
        store.store_media(MediaContent(data=Reader()), scope="s")

    assert files(media) == []
    expect_empty()


def test_a_path_that_is_no_text_is_refused(store):
    with pytest.raises(InvalidPath):
        store.store_media(MediaContent(file_path="/tmp/\ud800"), scope="s")


@pytest.mark.parametrize("stand_there", [Path.touch, lambda path: path.symlink_to("elsewhere")])
def test_what_stands_in_the_way_of_a_directory_is_named(store, media, expect_empty, stand_there):
    (media / "elsewhere").mkdir()
    stand_there(media / "sessions")

    with pytest.raises(BlobsUnavailable, match=r"sessions/abc.* move away"):
        store.store_media(MediaContent(data=PNG), meta=IN_SESSION)

    assert list((media / "elsewhere").iterdir()) == []
    expect_empty()


def test_in_a_root_of_a_group_its_members_can_read_and_delete_content(store, media):
    media.chmod(0o2770)

    path = store.resolve(store.store_media(MediaContent(data=PNG), scope="s"))

    assert path.stat().st_mode & 0o7777 == 0o660
    assert path.parent.stat().st_mode & 0o7777 == 0o2770


@pytest.mark.parametrize("opens", ["open_directory", "open_to_change"])
def test_no_rights_are_given_to_what_a_name_leads_to_by_then(
    clients, settings, media, tmp_path, monkeypatch, opens
):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    media.chmod(0o2770)
    opened = getattr(posix, opens)

    def swapped(path, **named):
        fd = opened(path, **named)
        if path == "s" and not (media / "scopes/s").is_symlink():
            (media / "scopes/s").rename(media / "scopes/away")
            (media / "scopes/s").symlink_to(outside)
        return fd

    monkeypatch.setattr(posix, opens, swapped)
    with MediaStore(clients(), settings) as store, suppress(BlobsUnavailable):
        store.store_media(MediaContent(data=PNG), scope="s")

    assert outside.stat().st_mode & 0o7777 == 0o700
    assert list(outside.iterdir()) == []
