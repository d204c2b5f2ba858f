"""Large content: what it costs in memory, and that too much of it is refused unread."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mediastore import MediaContent, MediaStore
from mediastore.errors import TooLarge

from .test_content import files

HERE = Path(__file__).parent.parent
MIB = 1 << 20

#: Prints by how much one act raised the most memory that the process ever had, in bytes.
MEASURED = """
import resource, sys
from mediastore import MediaContent, MediaStore

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def act(store, way, path, size):
    if way == "path":
        store.store_media(MediaContent(file_path=path), scope="s")
    elif way == "iterator":
        piece = bytes(3 << 20)
        pieces = (piece[: min(len(piece), size - at)] for at in range(0, size, len(piece)))
        store.store_media(MediaContent(data=pieces), scope="s")
    elif way == "file":
        with open(path, "rb") as file:
            store.store_media(MediaContent(data=file), scope="s")
    elif way == "move":
        store.store(path, scope="s", move=True)
    else:
        with store.writer(scope="s") as draft:
            for at in range(0, size, 1 << 20):
                draft.file.write(bytes(min(1 << 20, size - at)))

url, root, way, path, size = sys.argv[1:]
with MediaStore.from_url(url, namespace=f"size-{way}", roots=[root], dedup=True, max_file_size=-1, durable=False) as store:
    ref = store.store_media(MediaContent(data=iter([b"warm", b"up"])), scope="s")
    with store.open(ref) as file:
        file.read()
    before = peak()
    act(store, way, path, int(size))
    [_, large] = store.refs("s")
    with store.open(large.ref) as file:
        total = sum(map(len, iter(lambda: file.read(1 << 20), b"")))
    assert total == large.size_bytes == int(size), (total, large)
    print(peak() - before)
    store.release_all("s")
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["path", "iterator", "file", "move", "writer"])
@pytest.mark.parametrize(
    "size", [100 * MIB, pytest.param(2048 * MIB, marks=[pytest.mark.torture])], ids=["100M", "2G"]
)
def test_memory_is_bounded_whatever_the_size(server_url, tmp_path, media, way, size):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)

    told = subprocess.run(
        [sys.executable, "-c", MEASURED, server_url, str(media), way, str(path), str(size)],
        cwd=HERE, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert told.returncode == 0, told.stderr
    assert int(told.stdout) < 64 * MIB


@pytest.mark.parametrize("lane", ["fake"], indirect=True)
@pytest.mark.parametrize("form", ["path", "file", "move"])
def test_a_file_over_the_limit_is_refused_without_reading_it(
    clients, settings, tmp_path, form, expect_empty, media
):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    limited = replace(settings, max_file_size="50MiB")

    with path.open("rb") as file, MediaStore(clients(), limited) as store:
        content = MediaContent(data=file) if form == "file" else MediaContent(file_path=path)
        before = read_bytes()
        with pytest.raises(TooLarge) as caught:
            store.store_media(content, scope="s", move=form == "move")

    assert (caught.value.limit, caught.value.size) == (50 * MIB, 10 << 30)
    assert read_bytes() - before < MIB
    assert path.stat().st_size == 10 << 30
    assert files(media) == []
    expect_empty()


@pytest.mark.parametrize("lane", ["fake"], indirect=True)
def test_the_room_for_a_stream_is_looked_at_now_and_then(clients, settings, monkeypatch):
    looks, look = [], os.fstatvfs

    def counted(fd):
        looks.append(fd)
        return look(fd)

    monkeypatch.setattr(os, "fstatvfs", counted)
    with MediaStore(clients(), replace(settings, durable=False)) as store:
        store.store_media(MediaContent(data=(bytes(MIB) for _ in range(40))), scope="s")

    assert 2 <= len(looks) <= 5


def read_bytes() -> int:
    """Return how many bytes this process has read so far, however they were cached."""
    if not os.path.exists("/proc/self/io"):
        pytest.skip("only Linux counts them")
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])
