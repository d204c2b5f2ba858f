"""What handing content over costs, as a ratio to the same files written by hand, in blocks that take turns.

Goals: without fsync 0.7 times as fast as write and rename, or better; with dedup the same at any number of blobs (1.15x at
most); taking a file over ten times as fast as a copy, or better.
"""

from __future__ import annotations

import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediastore import MediaContent, MediaStore, Settings
from mediastore.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS, CALLS = 9, 60
PIECE_BYTES = 64 << 10
LARGE_BYTES = 64 << 20


def by_hand(directory: Path, *, durable: bool) -> Callable[[bytes], None]:
    """Write a file beside its place and rename it, with fsync of file and directory or without."""
    numbers = count()
    directory.mkdir()

    def write(data: bytes) -> None:
        path = directory / str(next(numbers))
        with open(f"{path}.tmp", "wb") as file:
            file.write(data)
            if durable:
                os.fsync(file.fileno())
        os.rename(f"{path}.tmp", path)
        if durable:
            fd = os.open(directory, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    return write


def handed_over(store: MediaStore) -> Callable[[bytes], None]:
    """Hand the same bytes over."""
    return lambda data: (store.store_media(MediaContent(data=data), scope="s"), None)[1]


def timed(call: Callable[[bytes], None]) -> float:
    """Return microseconds a call, each with new bytes."""
    pieces = [secrets.token_bytes(PIECE_BYTES) for _ in range(CALLS)]
    started = time.perf_counter()
    for piece in pieces:
        call(piece)
    return (time.perf_counter() - started) / CALLS * 1e6


def compare(title: str, calls: dict[str, Callable[[bytes], None]]) -> None:
    """Time blocks in turn and print each against the first."""
    results: dict[str, list[float]] = {}
    for call in calls.values():
        timed(call)
    for _ in range(BLOCKS):
        for name, call in calls.items():
            results.setdefault(name, []).append(timed(call))
    base = statistics.median(next(iter(results.values())))
    print(title)
    for name, times in results.items():
        middle = statistics.median(times)
        spread = f"{min(times):.0f} to {max(times):.0f}"
        print(f"  {name:32} {middle:8.0f} us ({spread}), {base / middle:.2f} times as fast")


def grow(store: MediaStore, blobs: int) -> tuple[float, float]:
    """Return microseconds of a new content and of one that is there, with so many blobs."""
    call = handed_over(store)
    while store.stats().blobs < blobs:
        store.store_media(MediaContent(data=secrets.token_bytes(16)), scope="many")
    known = secrets.token_bytes(PIECE_BYTES)
    call(known)
    new, again = [], []
    for _ in range(BLOCKS):
        new.append(timed(call))
        again.append(timed(lambda _: call(known)))
    return statistics.median(new), statistics.median(again)


def take_over(store: MediaStore, directory: Path) -> None:
    """Print what taking a large file costs against a copy of it."""
    copies, moves = [], []
    source = directory / "source"
    for number in range(5):
        source.write_bytes(b"\0" * LARGE_BYTES)
        started = time.perf_counter()
        shutil.copyfile(source, directory / f"copy{number}")
        copies.append(time.perf_counter() - started)
        started = time.perf_counter()
        store.store(source, scope="large", move=True)
        moves.append(time.perf_counter() - started)
    copied, moved = (statistics.median(times) for times in (copies, moves))
    print(
        f"taking over {LARGE_BYTES >> 20} MiB: {moved * 1e3:.1f} ms, {copied / moved:.0f} times as fast as a copy"
    )


def main() -> None:
    """Measure; the number of blobs to grow to may be said."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with EmbeddedServer(directory / "server") as server:
            plain = Settings(redis_url=server.url, max_age=None, durable=False, max_file_size=-1)

            def opened(space: str, **changes: Any) -> MediaStore:
                root = directory / space
                root.mkdir()
                return MediaStore(
                    None, replace(plain, namespace=space, roots=(str(root),), **changes)
                )

            compare(
                "64 KiB, no fsync",
                {
                    "write + rename": by_hand(directory / "hand", durable=False),
                    "store_media, no sidecar": handed_over(opened("bare", sidecars=False)),
                    "store_media": handed_over(opened("sidecars")),
                    "store_media, dedup": handed_over(opened("dedup", dedup=True)),
                },
            )
            compare(
                "64 KiB, fsync",
                {
                    "write + fsync + rename + fsync": by_hand(directory / "durable", durable=True),
                    "store_media, no sidecar": handed_over(
                        opened("lean", durable=True, sidecars=False)
                    ),
                    "store_media": handed_over(opened("whole", durable=True)),
                },
            )
            many = opened("many", dedup=True, sidecars=False)
            for blobs in (1000, most):
                new, again = grow(many, blobs)
                print(f"dedup with {blobs} blobs: new {new:.0f} us, there already {again:.0f} us")
            take_over(opened("large", sidecars=False), directory)


if __name__ == "__main__":
    main()
