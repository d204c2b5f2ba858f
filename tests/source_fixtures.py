"""What the tests of sources share: ways to hand the same bytes over, and reading them to the end."""

from __future__ import annotations

import array
import base64
import contextlib
import gzip
import io
from typing import Any
from urllib.parse import quote

from mediastore.blobs.sources import source_of
from mediastore.content import MediaContent

DATA = bytes(range(256)) * 1024 + b"end"
TEXT = base64.b64encode(DATA).decode()
MIB = 1024 * 1024

#: The same bytes handed over in every way, and whether their number is known before they are read.
WAYS: dict[str, tuple[Any, bool]] = {
    "bytes": (lambda _: {"data": DATA}, True),
    "bytearray": (lambda _: {"data": bytearray(DATA)}, True),
    "memoryview": (lambda _: {"data": memoryview(b"x" + DATA)[1:]}, True),
    "array": (lambda _: {"data": array.array("B", DATA)}, True),
    "base64": (lambda _: {"data": TEXT}, True),
    "unpadded": (lambda _: {"data": TEXT.rstrip("=")}, True),
    "url-safe": (lambda _: {"data": base64.urlsafe_b64encode(DATA).decode()}, True),
    "in lines": (lambda _: {"data": base64.encodebytes(DATA).decode()}, True),
    "data URL": (lambda _: {"data": f"data:image/png;base64,{TEXT}"}, True),
    "url": (lambda _: {"url": f"data:;base64,{TEXT}"}, True),
    "quoted base64": (lambda _: {"url": f"data:;base64,{quote(TEXT, safe='')}"}, False),
    "percent": (lambda _: {"url": f"data:,{quote(DATA)}"}, False),
    "BytesIO": (lambda _: {"data": io.BytesIO(DATA)}, True),
    "file": (lambda path: {"data": path.open("rb")}, True),
    "raw file": (lambda path: {"data": path.open("rb", buffering=0)}, True),
    "gzip": (lambda _: {"data": gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(DATA)))}, False),
    "packed": (lambda path: {"data": gzip.GzipFile(path.with_suffix(".gz"))}, False),
    "pieces": (lambda _: {"data": iter([b"", DATA[:1], bytearray(DATA[1:9]), DATA[9:]])}, False),
    "list": (lambda _: {"data": [DATA]}, False),
    "path": (lambda path: {"file_path": path}, True),
    "symlink": (lambda path: {"file_path": f"{path}.link"}, True),
}
FEW = ("bytes", "path", "pieces", "file", "base64")


class Answers:
    """A file object that gives what it was told to, whatever it is asked for."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.closed = False

    def read(self, size=-1):
        return self.answers.pop(0)

    def close(self):
        self.closed = True


class Upload(Answers):
    async def read(self, size=-1):
        return self.answers.pop(0)


async def given_one_by_one(*some):
    for piece in some:
        yield piece


def drained(source, size=1000):
    pieces = list(iter(lambda: source.read(size), b""))
    assert all(0 < len(piece) <= size for piece in pieces)
    assert source.read(size) == b""
    return b"".join(pieces)


def read_whole(size=1000, **content):
    with source_of(MediaContent(**content)) as source:
        return drained(source, size)


async def adrained(source, size=1000):
    whole = b""
    while piece := await source.aread(size):
        assert len(piece) <= size
        whole += piece
    assert await source.aread(size) == b""
    return whole


@contextlib.contextmanager
def handed(way, directory):
    """Give the source of one of the ways."""
    path = directory / "data.bin"
    path.write_bytes(DATA)
    path.with_suffix(".gz").write_bytes(gzip.compress(DATA))
    (directory / "data.bin.link").symlink_to(path)
    content = WAYS[way][0](path)
    with source_of(MediaContent(**content)) as source:
        yield source
    if hasattr(content.get("data"), "close"):
        content["data"].close()
