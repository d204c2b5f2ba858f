"""Content handed over: exactly one source, typed refusals, and nothing of the data in what is printed."""

from __future__ import annotations

import array
import base64
import io
from pathlib import Path
from typing import Any

import pytest

from mediastore.content import MediaContent, data_url
from mediastore.errors import InvalidPath, InvalidRequest

#: Not in the type of `data`: one is refused, the other cannot be named before Python 3.12.
TEXT_FILE: Any = io.StringIO("a")
NUMBERS: Any = array.array("i", [1, 2])


class Reader:
    """A file object whose read is async, as web frameworks hand over uploads."""

    async def read(self, size=-1):
        return b""


async def pieces():
    yield b"a"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({"data": b"abc"}, "bytes"),
        ({"data": b""}, "bytes"),
        ({"data": bytearray()}, "bytes"),
        ({"data": memoryview(b"abc")}, "bytes"),
        ({"data": NUMBERS}, "bytes"),
        ({"data": "YWJj"}, "base64"),
        ({"data": "data:,abc"}, "data-url"),
        ({"data": "DATA:image/png;base64,YWJj"}, "data-url"),
        ({"data": io.BytesIO(b"abc")}, "file"),
        ({"data": iter([b"abc"])}, "iterator"),
        ({"data": [b"abc"]}, "iterator"),
        ({"data": pieces()}, "async"),
        ({"data": Reader()}, "async"),
        ({"file_path": "/srv/cat.jpg"}, "path"),
        ({"file_path": Path("cat.jpg")}, "path"),
        ({"url": "data:,abc"}, "data-url"),
        ({"url": "https://example.org/cat.jpg"}, "url"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_one_source_of_each_kind_is_content(source, kind):
    assert MediaContent(**source).kind == kind


@pytest.mark.parametrize(
    "nothing", [{}, {"data": ""}, {"data": None}, {"file_path": ""}, {"url": ""}]
)
def test_content_without_a_source_is_refused_and_says_what_to_give(nothing):
    with pytest.raises(
        InvalidRequest, match="no source: give exactly one of data, file_path, url and text"
    ):
        MediaContent(**nothing)


@pytest.mark.parametrize(
    "several",
    [
        {"data": b"", "file_path": "/a"},
        {"data": b"a", "url": "data:,a"},
        {"file_path": "/a", "url": "https://example.org"},
        {"data": "YQ", "file_path": "/a", "url": "data:,a"},
    ],
)
def test_content_with_several_sources_is_refused(several):
    with pytest.raises(InvalidRequest, match="several sources"):
        MediaContent(**several)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"data": 5}, "not int"),
        ({"data": Path("/a")}, "say file_path"),
        ({"data": object()}, "not object"),
        ({"data": list}, "not type"),
        ({"data": memoryview(b"abcdef")[::2]}, "gaps"),
        ({"file_path": b"/a"}, "file_path is text or a Path"),
        ({"file_path": 3}, "file_path is text or a Path"),
        ({"url": b"data:,a"}, "url is text"),
        ({"data": b"a", "policy": None}, "policy is text"),
        ({"data": b"a", "mime_type": None}, "mime_type is text"),
        ({"data": b"a", "size_bytes": -1}, "size_bytes"),
        ({"data": b"a", "size_bytes": "3"}, "size_bytes"),
        ({"data": "data:no comma"}, "no comma"),
        ({"data": "data:" + "x" * 3000 + ","}, "no comma in time"),
        ({"data": "data:junk,abc"}, "type/subtype"),
    ],
)
def test_a_source_or_a_word_of_a_wrong_type_is_refused(wrong, says):
    with pytest.raises(InvalidRequest, match=says):
        MediaContent(**wrong)


def test_a_released_buffer_is_refused():
    view = memoryview(b"abc")
    view.release()

    with pytest.raises(InvalidRequest, match="cannot be read"):
        MediaContent(data=view)


def test_a_file_object_in_text_mode_is_refused_and_says_how_to_open_it(tmp_path):
    (tmp_path / "a.txt").write_text("a")

    with (tmp_path / "a.txt").open() as file, pytest.raises(InvalidRequest, match='"rb"'):
        MediaContent(data=file)
    with pytest.raises(InvalidRequest, match='"rb"'):
        MediaContent(data=TEXT_FILE)


def test_a_path_with_a_nul_is_refused():
    with pytest.raises(InvalidPath):
        MediaContent(file_path="/a\x00b")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", ""),
        ("  ", ""),
        ("image/PNG", "image/png"),
        (" Text/Plain ; Charset=UTF-8 ", "text/plain; Charset=UTF-8"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ("audio/L16;rate=24000", "audio/l16;rate=24000"),
    ],
)
def test_the_type_is_kept_in_lower_case_with_its_parameters(said, kept):
    assert MediaContent(data=b"a", mime_type=said).mime_type == kept


@pytest.mark.parametrize(
    "junk",
    [
        "image",
        "image/",
        "/png",
        "image/png/x",
        "image png",
        "*/*",
        "image/png\r\nX: y",
        "a/b;\x00",
        "a/é",
        "a/b c",
        "a" * 200 + "/b",
        "a/b;" + "c" * 2000,
    ],
)
def test_a_type_that_is_none_is_refused(junk):
    with pytest.raises(InvalidRequest, match="type/subtype"):
        MediaContent(data=b"a", mime_type=junk)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("data:image/PNG;base64,YQ==", "image/png"),
        ("data:text/plain;charset=utf-8,a", "text/plain;charset=utf-8"),
        ("data:;charset=utf-8,a", "text/plain;charset=utf-8"),
        ("data:,a", ""),
        ("data:;base64,YQ", ""),
        ("data:text/plain;charset=utf-8;BASE64,YQ", "text/plain;charset=utf-8"),
    ],
)
def test_the_type_of_a_data_url_counts_where_none_is_given(url, kept):
    assert MediaContent(data=url).mime_type == kept
    assert MediaContent(url=url).mime_type == kept
    assert MediaContent(url=url, mime_type="audio/ogg").mime_type == "audio/ogg"


def test_the_head_of_a_data_url_says_how_its_payload_is_spelt():
    assert data_url("data:a/b;base64,YQ").base64
    assert not data_url("data:a/b;x=base64,YQ").base64
    assert data_url("data:a/b,YQ").start == len("data:a/b,")


def test_content_shows_of_its_data_only_kind_and_length():
    secret = b"secret-bytes"
    text = base64.b64encode(secret).decode()
    shown = [
        repr(MediaContent(data=secret, mime_type="image/png", policy="retain-1days")),
        repr(MediaContent(data=text)),
        repr(MediaContent(data=f"data:;base64,{text}")),
        repr(MediaContent(url="https://api.example.org/bot123:token/file.jpg", size_bytes=3)),
        repr(MediaContent(data=io.BytesIO(secret))),
        repr(MediaContent(data=iter([secret]))),
        repr(MediaContent(data=NUMBERS)),
    ]

    assert shown == [
        "MediaContent(data=<12 bytes>, mime_type='image/png', policy='retain-1days')",
        "MediaContent(data=<base64 text of 16 characters>)",
        "MediaContent(data=<data URL of 29 characters>)",
        "MediaContent(url=<URL of 45 characters>, size_bytes=3)",
        "MediaContent(data=<BytesIO>)",
        "MediaContent(data=<list_iterator>)",
        "MediaContent(data=<8 bytes>)",
    ]
    assert repr(MediaContent(file_path="/a/b")) == f"MediaContent(file_path={Path('/a/b')!r})"


def test_content_is_frozen_and_equal_by_its_fields():
    one = MediaContent(data=b"a", mime_type="image/PNG")

    assert one == MediaContent(data=b"a", mime_type="image/png")
    assert hash(one) == hash(MediaContent(data=b"a", mime_type="image/png"))
    assert one != MediaContent(data=b"b", mime_type="image/png")
    with pytest.raises(AttributeError):
        one.data = b"b"  # type: ignore[misc]
