"""HTTP responses: their bodies are as long as they say, or nothing is kept."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import urllib.request
from typing import ClassVar

import fakeredis
import pytest

from mediastore import AsyncMediaStore, MediaContent, MediaStore
from mediastore.errors import ContentMismatch, InvalidRequest

from .source_fixtures import Upload, given_one_by_one
from .test_content import PNG, files


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


class OfUrllib3(Response):
    """It is read like a file, and counts what is left to come over the wire."""

    def __init__(self, headers, *, decode_content):
        super().__init__(headers)
        self.decode_content = decode_content
        self.length_remaining = int(headers["Content-Length"])
        self.left = [PNG, b""]

    def read(self, size):
        return self.left.pop(0)


def test_one_of_urllib3_does_unless_it_decodes_its_body(store):
    coded = CUT | {"Content-Encoding": "gzip"}
    whole = {"Content-Length": str(len(PNG))}
    for headers, decode_content, refused in (
        *((CUT, False, True), (CUT, True, True), (whole, True, False)),
        *((coded, False, True), (coded, True, False)),
    ):
        content = MediaContent(data=OfUrllib3(headers, decode_content=decode_content))
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
