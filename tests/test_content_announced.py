"""Content is as long as it was said to be, by its caller or by the response that it comes from; else nothing is kept."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tempfile
from dataclasses import replace
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest

from mediastore import MediaContent, MediaStore
from mediastore.errors import ContentMismatch, InvalidRequest

from .conftest import names_left
from .test_content import PNG, files

SHA = hashlib.sha256(PNG).hexdigest()
TEXT = base64.b64encode(PNG).decode()


def as_path(tmp_path):
    path = tmp_path / "found.png"
    path.write_bytes(PNG)
    return path


SOURCES: dict[str, Any] = {
    "bytes": lambda _: {"data": PNG},
    "base64": lambda _: {"data": TEXT},
    "data URL": lambda _: {"url": f"data:image/png;base64,{TEXT}"},
    "percent": lambda _: {"url": f"data:image/png,{quote(PNG)}"},
    "file": lambda _: {"data": io.BytesIO(PNG)},
    "iterator": lambda _: {"data": iter([PNG[:9], PNG[9:]])},
    "path": lambda tmp_path: {"file_path": as_path(tmp_path)},
    "move": lambda tmp_path: {"file_path": as_path(tmp_path)},
    "writer": lambda _: {"data": PNG},
}
WRONG: Any = (
    ({"size_bytes": len(PNG) + 1}, ("size_bytes", len(PNG) + 1, len(PNG))),
    ({"size_bytes": len(PNG) - 1}, ("size_bytes", len(PNG) - 1, len(PNG))),
    ({"sha256": "5" * 64}, ("sha256", "5" * 64, SHA)),
)


def hand_over(store, tmp_path, source, said):
    content = SOURCES[source](tmp_path)
    if source == "writer":
        with store.writer(scope="s", **said) as draft:
            draft.path.write_bytes(content["data"])
        return draft.ref
    return store.store_media(MediaContent(**content, **said), scope="s", move=source == "move")


def test_what_is_not_as_it_was_announced_is_refused_whatever_the_source(store, media, tmp_path):
    for source, (said, fields) in product(SOURCES, WRONG):
        with pytest.raises(ContentMismatch) as caught:
            hand_over(store, tmp_path, source, said)

        error = caught.value
        assert (error.what, error.expected, error.got) == fields, source
        assert all(str(field) in str(error) for field in fields)
        if source in {"path", "move"}:
            assert (tmp_path / "found.png").read_bytes() == PNG
        assert (files(media), names_left(media)) == ([], []), source
    assert store.scopes() == []


def test_what_is_as_it_was_announced_is_stored(store, tmp_path):
    for source in SOURCES:
        ref = hand_over(store, tmp_path, source, {"size_bytes": len(PNG), "sha256": SHA.upper()})

        assert store.resolve(ref).read_bytes() == PNG, source


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_content_that_is_there_already_is_not_joined_if_another_was_announced(clients, settings):
    with MediaStore(clients(), replace(settings, dedup=True)) as store:
        store.store_media(MediaContent(data=PNG), scope="a")

        for said in ({"size_bytes": 1}, {"sha256": "5" * 64}):
            with pytest.raises(ContentMismatch):
                store.store_media(MediaContent(data=PNG, **said), scope="b")

        assert store.scopes() == ["a"]


def test_an_endless_source_is_read_no_further_than_it_was_announced(store, expect_empty):
    given = []

    def endless():
        while True:
            given.append(bytes(1 << 16))
            yield given[-1]

    with pytest.raises(ContentMismatch):
        store.store_media(MediaContent(data=endless(), size_bytes=100), scope="s")

    assert len(given) < 50
    expect_empty()


# --- what gives nothing at all


def at_its_end(file):
    file.write(PNG)
    return file


def used_up(pieces):
    list(pieces)
    return pieces


def test_a_source_that_was_used_up_is_no_empty_file(store, tmp_path, expect_empty):
    with (
        (tmp_path / "file").open("w+b") as file,
        tempfile.SpooledTemporaryFile() as spooled,
        gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(PNG))) as packed,
    ):
        packed.read()
        empty = [at_its_end(each) for each in (io.BytesIO(), file, spooled)]
        for data in (*empty, packed, iter(()), used_up(iter([PNG])), []):
            with pytest.raises(InvalidRequest, match="size_bytes=0"):
                store.store_media(MediaContent(data=data), scope="s")
        expect_empty()

        ref = store.store_media(MediaContent(data=file, size_bytes=0), scope="s")
    assert store.resolve(ref).read_bytes() == b""


def test_what_is_empty_itself_is_an_empty_file(store):
    for content in (
        *({"data": b""}, {"data": io.BytesIO()}, {"url": "data:,"}),
        {"text": "", "size_bytes": 0},
    ):
        ref = store.store_media(MediaContent(**content), scope="s")

        assert store.resolve(ref).read_bytes() == b""


def test_a_writer_that_nobody_wrote_to_keeps_nothing(store, media, expect_empty):
    with pytest.raises(InvalidRequest, match="nothing was written"), store.writer(scope="s"):
        pass

    assert files(media) == []
    expect_empty()
    with store.writer(scope="s", size_bytes=0) as draft:
        pass
    assert store.resolve(draft.ref).read_bytes() == b""


# --- what is said


def test_what_no_bytes_can_have_is_refused():
    for said in (
        *({"size_bytes": -1}, {"size_bytes": "5"}),
        *({"sha256": "abc"}, {"sha256": "x" * 64}, {"sha256": None}),
    ):
        with pytest.raises(InvalidRequest):
            MediaContent(data=b"x", **said)


# --- text


def test_text_is_stored_as_utf_8(store):
    text = "Grüße, 世界 😀\n" * 30_000

    ref = store.store_media(MediaContent(text=text, size_bytes=len(text.encode())), scope="s")

    assert store.resolve(ref).read_bytes() == text.encode()
    assert store.get(ref).meta.content_type == "text/plain"
    assert store.resolve(ref).suffix == ".txt"


def test_text_that_says_what_it_is_keeps_its_type(store):
    ref = store.store_media(MediaContent(text="# Title", mime_type="text/markdown"), scope="s")

    assert (store.get(ref).meta.content_type, store.resolve(ref).suffix) == ("text/markdown", ".md")


def test_text_that_is_none_is_refused():
    for wrong in ({"text": b"x"}, {"text": "\ud800"}, {"text": "x", "data": b"x"}):
        with pytest.raises(InvalidRequest):
            MediaContent(**wrong)


def test_text_is_not_shown():
    assert repr(MediaContent(text="secret")) == "MediaContent(text=<text of 6 characters>)"


def test_plain_text_as_data_is_told_how_to_be_said(store, expect_empty):
    for text in ("hello world!", "Grüße", "abcde"):
        with pytest.raises(InvalidRequest, match=r"base64 by contract.*MediaContent\(text="):
            store.store_media(MediaContent(data=text), scope="s")

    expect_empty()
