"""Content is as long as it was said to be, by its caller or by the response that it comes from; else nothing is kept."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import socket
import tempfile
import threading
import urllib.request
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar
from urllib.parse import quote

import fakeredis
import pytest

from mediastore import AsyncMediaStore, MediaContent, MediaStore
from mediastore.errors import ContentMismatch, InvalidRequest

from .conftest import names_left
from .source_fixtures import Upload, given_one_by_one
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


# --- responses


@pytest.fixture
def serve():
    """Answer one request with these bytes, and give its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def give(answer):
            def serve_one():
                with server.accept()[0] as peer:
                    peer.recv(65536)
                    peer.sendall(answer)

            threading.Thread(target=serve_one, daemon=True).start()
            return f"http://127.0.0.1:{server.getsockname()[1]}/cat.png"

        yield give


def answer(body, *headers):
    return "\r\n".join(("HTTP/1.1 200 OK", "Connection: close", *headers, "", "")).encode() + body


def fetched(url):
    # No proxy of the environment stands in between.
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)


def test_a_body_that_was_cut_is_refused(store, media, serve, expect_empty):
    url = serve(answer(PNG, "Content-Length: 100000"))

    with fetched(url) as response, pytest.raises(ContentMismatch, match="100000"):
        store.store_media(MediaContent(data=response), scope="s")

    assert files(media) == []
    expect_empty()


def test_a_whole_body_is_stored(store, serve):
    packed = gzip.compress(PNG)
    length = f"Content-Length: {len(packed)}"

    with fetched(serve(answer(packed, length, "Content-Encoding: gzip"))) as response:
        ref = store.store_media(MediaContent(data=response), scope="s")

    assert store.resolve(ref).read_bytes() == packed


def test_what_is_left_of_a_body_counts(store, serve):
    with fetched(serve(answer(PNG, f"Content-Length: {len(PNG)}"))) as response:
        response.read(3)
        ref = store.store_media(MediaContent(data=response), scope="s")

    assert store.resolve(ref).read_bytes() == PNG[3:]


def test_a_body_that_was_read_before_is_refused(store, serve):
    with fetched(serve(answer(PNG, f"Content-Length: {len(PNG)}"))) as response:
        response.read()
        with pytest.raises(ContentMismatch, match="got 0"):
            store.store_media(MediaContent(data=response), scope="s")


def test_an_empty_body_that_was_announced_is_an_empty_file(store, serve):
    with fetched(serve(answer(b"", "Content-Length: 0"))) as response:
        ref = store.store_media(MediaContent(data=response), scope="s")

    assert store.resolve(ref).read_bytes() == b""


class Response:
    """What the responses of requests, httpx and aiohttp have in common."""

    def __init__(self, headers):
        self.headers = headers


class OfRequests(Response):
    def iter_content(self, chunk_size=1):
        yield PNG

    @property
    def content(self):
        raise AssertionError("the whole body must not be asked for")


class OfHttpx(Response):
    stream = ()

    def iter_bytes(self):
        yield PNG

    def read(self):
        return PNG


class OfAsyncHttpx(OfHttpx):
    stream = given_one_by_one()

    def aiter_bytes(self):
        return given_one_by_one(PNG)


class OfAiohttp(Response):
    class content:  # noqa: N801 - as it is called there
        left: ClassVar = [PNG]

        @classmethod
        def at_eof(cls):
            return False

        @classmethod
        async def read(cls, size):
            left, cls.left = cls.left, []
            return b"".join(left)

    async def read(self):
        return PNG


CUT = {"Content-Length": "100000"}


HEADERS = [
    (CUT, True),
    ({"content-length": str(len(PNG))}, False),
    (CUT | {"Content-Encoding": "gzip"}, False),
    (CUT | {"Transfer-Encoding": "chunked"}, False),
    ({}, False),
]


@pytest.mark.parametrize("kind", [OfRequests, OfHttpx])
def test_a_response_says_how_long_its_body_is(store, kind):
    for headers, refused in HEADERS:
        content = MediaContent(data=kind(headers))
        if refused:
            with pytest.raises(ContentMismatch):
                store.store_media(content, scope="s")
        else:
            assert store.resolve(store.store_media(content, scope="s")).read_bytes() == PNG


@pytest.mark.parametrize("kind", [OfAsyncHttpx, OfAiohttp])
def test_so_does_one_that_is_awaited(settings, kind):
    async def stored():
        async with AsyncMediaStore(fakeredis.FakeAsyncRedis(), settings) as store:
            for headers, refused in HEADERS:
                OfAiohttp.content.left = [PNG]
                content = MediaContent(data=kind(headers))
                if refused:
                    with pytest.raises(ContentMismatch):
                        await store.store_media(content, scope="s")
                else:
                    ref = await store.store_media(content, scope="s")
                    assert (await store.resolve(ref)).read_bytes() == PNG

    asyncio.run(stored())


def test_an_upload_that_gave_nothing_is_refused_unless_it_counts_itself_as_empty(settings):
    async def stored(upload):
        async with AsyncMediaStore(fakeredis.FakeAsyncRedis(), settings) as store:
            ref = await store.store_media(MediaContent(data=upload), scope="s")
            return (await store.resolve(ref)).read_bytes()

    class Empty(Upload):
        size = 0

    used_up, empty = Upload(b""), Empty(b"")

    with pytest.raises(InvalidRequest, match="size_bytes=0"):
        asyncio.run(stored(used_up))
    assert asyncio.run(stored(empty)) == b""


@pytest.mark.parametrize("lane", ["fake"], indirect=True)
@pytest.mark.parametrize("kind", [OfAsyncHttpx, OfAiohttp])
def test_a_response_that_is_awaited_needs_the_other_store(clients, settings, kind):
    with (
        MediaStore(clients(), settings) as store,
        pytest.raises(InvalidRequest, match="AsyncMediaStore"),
    ):
        store.store_media(MediaContent(data=kind({})), scope="s")


def test_the_caller_and_the_response_must_agree(store, expect_empty):
    with pytest.raises(ContentMismatch):
        store.store_media(MediaContent(data=OfRequests(CUT), size_bytes=len(PNG)), scope="s")

    expect_empty()


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
