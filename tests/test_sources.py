"""Sources: whatever content was handed over as, its bytes come out whole, in pieces no larger than asked for."""

from __future__ import annotations

import array
import asyncio
import ctypes
import io
import os
import socket

import pytest

from mediastore.blobs.sources import source_of
from mediastore.content import MediaContent
from mediastore.errors import (
    BlobsUnavailable,
    FileMissing,
    InvalidPath,
    InvalidRequest,
    NotARegularFile,
)

from .source_fixtures import (
    DATA,
    FEW,
    WAYS,
    Answers,
    Upload,
    adrained,
    drained,
    given_one_by_one,
    handed,
    read_whole,
)


@pytest.mark.parametrize("way", WAYS)
def test_the_bytes_come_out_whole_behind_a_head_that_takes_nothing_away(way, tmp_path):
    with handed(way, tmp_path) as source:
        assert source.head(10) == DATA[:10]
        assert source.head() == DATA[:8192]
        assert source.head(3) == DATA[:3]
        assert source.size == (len(DATA) if WAYS[way][1] else None)
        assert not source.async_
        assert drained(source) == DATA
        assert source.size == (len(DATA) if WAYS[way][1] else None)


@pytest.mark.parametrize("way", FEW)
def test_a_source_that_is_not_awaited_answers_awaits_as_well(way, tmp_path):
    async def both():
        return await source.ahead(5), await adrained(source)

    with handed(way, tmp_path) as source:
        assert asyncio.run(both()) == (DATA[:5], DATA)


@pytest.mark.parametrize(
    "empty",
    [
        b"",
        bytearray(),
        memoryview(b""),
        memoryview((ctypes.c_char * 3 * 0)()),
        io.BytesIO(),
        iter([]),
        [b""],
        "data:,",
    ],
)
def test_an_empty_source_is_an_empty_file(empty):
    with source_of(MediaContent(data=empty)) as source:
        assert source.head() == b""
        assert source.read(5) == b""


def test_a_url_that_holds_no_data_is_not_fetched():
    with pytest.raises(InvalidRequest, match="not fetched"):
        source_of(MediaContent(url="https://example.org/cat.jpg"))


def test_a_file_object_is_read_from_its_position_and_stays_open(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")

    with path.open("rb") as file:
        file.seek(4)
        source = source_of(MediaContent(data=file))
        assert source.size == 6
        assert drained(source) == b"456789"
        source.close()
        assert not file.closed


def test_the_size_of_a_pipe_is_not_known():
    read, write = os.pipe()
    os.write(write, b"abc")
    os.close(write)

    with os.fdopen(read, "rb") as file, source_of(MediaContent(data=file)) as source:
        assert source.size is None
        assert drained(source) == b"abc"


def test_the_size_of_a_device_is_not_known():
    with open("/dev/zero", "rb", buffering=0) as file:
        source = source_of(MediaContent(data=file))

        assert source.size is None


@pytest.mark.parametrize(
    ("piece", "says"),
    [
        ("text", '"rb"'),
        ("", '"rb"'),
        (None, "NoneType"),
        (7, "int"),
        (memoryview(b"abcd")[::2], "memoryview"),
    ],
)
def test_a_piece_that_is_not_bytes_is_refused(piece, says):
    with pytest.raises(InvalidRequest, match=says):
        read_whole(data=Answers(b"a", piece))
    with pytest.raises(InvalidRequest, match=says):
        read_whole(data=iter([b"a", piece]))
    with pytest.raises(InvalidRequest, match=says):
        asyncio.run(adrained(source_of(MediaContent(data=given_one_by_one(b"a", piece)))))
    with pytest.raises(InvalidRequest, match=says):
        asyncio.run(adrained(source_of(MediaContent(data=Upload(b"a", piece)))))


def test_pieces_larger_than_asked_for_are_handed_out_in_parts():
    assert read_whole(3, data=Answers(b"0123456789", b"ab", b"")) == b"0123456789ab"
    assert read_whole(3, data=[memoryview(array.array("H", [0x3130] * 5))]) == b"01" * 5


def test_a_buffer_that_an_iterator_uses_again_is_copied_in_time():
    held = bytearray(4)

    def filled():
        for number in range(5):
            held[:] = bytes([number]) * 4
            yield held
        held.clear()

    source = source_of(MediaContent(data=filled()))

    assert source.head(10) == b"\0\0\0\0\1\1\1\1\2\2"
    assert drained(source, 3) == b"".join(bytes([number]) * 4 for number in range(5))


@pytest.mark.parametrize("error", [RuntimeError("mine"), OSError(5, "mine"), KeyboardInterrupt()])
def test_what_the_callers_iterator_or_file_raises_is_raised_as_it_is(error, monkeypatch):
    def broken(*_):
        raise error

    file = Answers()
    monkeypatch.setattr(file, "read", broken)
    with pytest.raises(type(error)) as caught:
        read_whole(data=file)
    assert caught.value is error
    with pytest.raises(type(error)) as caught:
        read_whole(data=map(broken, [1]))
    assert caught.value is error


def test_the_end_of_a_source_is_asked_for_once():
    source = source_of(MediaContent(data=Answers(b"ab", b"", b"more")))

    assert source.head(5) == b"ab"
    assert drained(source) == b"ab"


def test_async_pieces_are_awaited_behind_a_head_that_takes_nothing_away():
    async def whole(data):
        source = source_of(MediaContent(data=data))
        assert source.async_
        assert source.size is None
        assert await source.ahead(10) == DATA[:10]
        assert await source.ahead() == DATA[:8192]
        return await adrained(source)

    assert asyncio.run(whole(given_one_by_one(b"", DATA[:3], bytearray(), DATA[3:]))) == DATA
    assert asyncio.run(whole(Upload(DATA[:3], DATA[3:], b"", b"more"))) == DATA


def test_what_an_async_iterator_raises_is_raised_as_it_is():
    error = OSError(5, "mine")

    async def broken():
        yield b"a"
        raise error

    with pytest.raises(OSError, match="mine") as caught:
        asyncio.run(adrained(source_of(MediaContent(data=broken()))))

    assert caught.value is error


def test_async_pieces_need_the_async_store():
    source = source_of(MediaContent(data=given_one_by_one(b"a")))

    with pytest.raises(InvalidRequest, match="AsyncMediaStore"):
        source.read(1)
    with pytest.raises(InvalidRequest, match="AsyncMediaStore"):
        source.head()


@pytest.mark.parametrize("size", [0, -1])
def test_a_read_asks_for_something(size):
    with pytest.raises(ValueError, match="one byte"):
        source_of(MediaContent(data=b"a")).read(size)


@pytest.mark.parametrize("way", FEW)
def test_a_closed_source_does_not_pass_for_one_that_ended(way, tmp_path):
    with handed(way, tmp_path) as source:
        source.head()

        source.close()
        source.close()

        with pytest.raises(ValueError, match="closed"):
            source.read(1)


def test_a_closed_source_lets_the_callers_buffer_go():
    held = bytearray(b"abc" * 1000)
    source = source_of(MediaContent(data=held))
    source.read(1)

    source.close()

    held.clear()  # a BufferError while a view of it is out
    assert held == b""


def test_making_a_source_opens_nothing(tmp_path):
    source = source_of(MediaContent(file_path=tmp_path / "late"))

    (tmp_path / "late").write_bytes(b"now")

    assert source.size == 3
    source.close()


def test_a_source_opens_its_file_once_and_closes_it(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    before = os.listdir("/dev/fd")

    with source_of(MediaContent(file_path=path)) as source:
        assert source.size == 3  # opens it
        during = os.listdir("/dev/fd")
        assert source.head() == b"abc"

    assert len(during) == len(before) + 1
    assert len(os.listdir("/dev/fd")) == len(before)


def test_a_path_without_a_file_is_missing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")

    for name in ("nothing", "nothing/more", "file/more", "loop", "dangling"):
        with pytest.raises(FileMissing, match=name):
            read_whole(file_path=tmp_path / name)


@pytest.mark.parametrize("begin", ["open", "head"])
def test_a_missing_file_is_told_so_by_whatever_comes_first(tmp_path, begin):
    source = source_of(MediaContent(file_path=tmp_path / "nothing"))

    with pytest.raises(FileMissing, match="nothing"):
        getattr(source, begin)()


def test_what_is_no_regular_file_is_refused_without_waiting_and_without_a_descriptor(
    tmp_path, monkeypatch
):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "linked").symlink_to(tmp_path / "fifo")
    before = len(os.listdir("/dev/fd"))

    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        listening.bind("socket")
        for name, said in (
            ("fifo", "FIFO"),
            ("linked", "FIFO"),
            ("socket", "socket"),
            (".", "directory"),
        ):
            with pytest.raises(NotARegularFile, match=said):
                read_whole(file_path=tmp_path / name)
    with pytest.raises(NotARegularFile, match="device"):
        read_whole(file_path="/dev/null")

    assert len(os.listdir("/dev/fd")) == before


def test_a_fifo_that_takes_the_place_of_a_file_is_refused_without_waiting(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"abc")
    looked = os.stat(tmp_path / "b")
    before = len(os.listdir("/dev/fd"))
    monkeypatch.setattr(os, "stat", lambda *_, **__: looked)

    with pytest.raises(NotARegularFile, match="FIFO") as caught:
        read_whole(file_path=tmp_path / "a")

    # The traceback still holds what was open when it was raised.
    assert caught.value.__traceback__
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("path", ["/" + "a" * 300, "/" + "a/" * 5000, "/\ud800"])
def test_a_path_that_can_be_none_is_refused(path):
    with pytest.raises(InvalidPath):
        read_whole(file_path=path)


def test_a_file_that_cannot_be_read_says_so(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"abc")

    def denied(*_, **__):
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "open", denied)

    with pytest.raises(BlobsUnavailable, match="EACCES"):
        read_whole(file_path=path)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="only Linux has it")
def test_a_file_that_fails_while_it_is_read_says_so():
    # Reading the memory of a process from address 0 on is an I/O error.
    with pytest.raises(BlobsUnavailable, match="EIO"):
        read_whole(file_path="/proc/self/mem")
