"""What one call costs, as a ratio to one `redis.get` of redis-py on the same socket, in blocks that take turns.

resolve and store include their work on the file. Goals: resolve 1.0x, store 1.25x, asyncio within 1.25x of that.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from mediastore import AsyncMediaStore, MediaStore, Settings
from mediastore.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = 15
CALLS = 300


def timed(call: Callable[[], Any]) -> float:
    """Return microseconds a call."""
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1e6


def measure(root: Path, url: str) -> dict[str, list[float]]:
    """Time blocks of each call in turn."""
    settings = Settings(redis_url=url, roots=(str(root),))
    client = redis.Redis.from_url(url)
    client.set("key", "x" * 40)
    cat = root / "cat.jpg"
    cat.write_bytes(b"x")
    results: dict[str, list[float]] = {}
    loop = asyncio.new_event_loop()
    awaited = AsyncMediaStore(None, settings)
    with MediaStore(None, settings) as store:
        ref = store.store(cat, scope="kept")
        calls: dict[str, Callable[[], Any]] = {
            "redis.get": lambda: client.get("key"),
            "resolve": lambda: store.resolve(ref),
            "store (same path)": lambda: store.store(cat, scope="s"),
            "resolve (asyncio)": lambda: loop.run_until_complete(awaited.resolve(ref)),
        }
        for call in calls.values():
            timed(call)
        for _ in range(BLOCKS):
            for name, call in calls.items():
                results.setdefault(name, []).append(timed(call))
        loop.run_until_complete(awaited.close())
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    client.close()
    return results


def main() -> None:
    """Print each call's median and its ratio to `redis.get` in the same round."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "media")
        root.mkdir()
        with EmbeddedServer(Path(directory, "server")) as server:
            results = measure(root, server.url)
    base = results["redis.get"]
    print(f"{'call':20} {'us':>6} {'ratio':>6}  {'min':>5} {'max':>5}")
    for name, times in results.items():
        ratios = sorted(t / b for t, b in zip(times, base, strict=True))
        print(
            f"{name:20} {statistics.median(times):6.0f} {statistics.median(ratios):5.2f}x"
            f"  {ratios[0]:5.2f} {ratios[-1]:5.2f}"
        )


if __name__ == "__main__":
    main()
