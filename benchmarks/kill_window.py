"""What a SIGKILL of the server loses: refs that were acknowledged and are not there after the restart.

Four processes store as fast as they can into the embedded server (`appendfsync everysec`, as `mediastore up`
runs it, and `always` beside it); the server is killed, started again, and asked for every ref that was
acknowledged. Prints how many are missing and how long before the kill the oldest of them was acknowledged.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from mediastore import MediaStore, Settings
from mediastore.embedded import EmbeddedServer
from mediastore.errors import MediaStoreError, NotThere

ROUNDS = 10
WRITERS = 4
LOAD_S = 2.0


def write(url: str, root: str, name: str, told: Any) -> None:
    """Store until the server has gone, and tell what was acknowledged and when."""
    acknowledged = []
    with MediaStore(None, Settings(redis_url=url, roots=(root,), retries=0)) as store:
        number = 0
        while True:
            path = Path(root, f"{name}-{number}")
            path.write_bytes(b"x")
            try:
                acknowledged.append((str(store.store(path, scope="load")), time.time()))
            except MediaStoreError:
                told.send(acknowledged)
                return
            number += 1


def one_kill(directory: Path, fsync: str) -> tuple[int, list[float]]:
    """Return how many refs were acknowledged, and how old each lost one was at the kill, in seconds."""
    root = directory / "media"
    root.mkdir(parents=True)
    config = {"appendfsync": fsync}
    with EmbeddedServer(directory / "server", config=config) as server:
        pipes, writers = [], []
        for number in range(WRITERS):
            here, there = multiprocessing.Pipe(duplex=False)
            args = (server.url, str(root), f"w{number}", there)
            writers.append(multiprocessing.Process(target=write, args=args))
            pipes.append(here)
            writers[-1].start()
        time.sleep(LOAD_S)
        killed_at = time.time()
        server.kill()
        acknowledged = [each for pipe in pipes for each in pipe.recv()]
        for writer in writers:
            writer.join()
        server.stop()
    with (
        EmbeddedServer(directory / "server", config=config) as server,
        MediaStore(None, Settings(redis_url=server.url, roots=(str(root),))) as store,
    ):
        lost = [killed_at - at for ref, at in acknowledged if not _there(store, ref)]
    return len(acknowledged), lost


def _there(store: MediaStore, ref: str) -> bool:
    try:
        store.get(ref)
    except NotThere:
        return False
    return True


def main() -> None:
    """Kill servers and print what was lost."""
    print(
        f"{'appendfsync':12} {'kills':>6} {'acknowledged':>13} {'lost':>6}   oldest lost, ms before the kill"
    )
    for fsync in ("everysec", "always"):
        total, lost = 0, []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as directory:
                count, missing = one_kill(Path(directory), fsync)
            total, lost = total + count, lost + missing
        oldest = f"{max(lost) * 1000:.0f}" if lost else "-"
        print(f"{fsync:12} {ROUNDS:6} {total:13} {len(lost):6}   {oldest}")


if __name__ == "__main__":
    main()
