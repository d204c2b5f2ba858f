"""Bytes of Redis per ref, everything included, ten refs to a scope; goal 490 on Valkey 9, 630 on Redis 7.

The peer is picoclaw's own figure for its maps in one process: 487 to 551 bytes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import redis

from mediastore import MediaMeta, MediaStore, Settings
from mediastore.embedded import EmbeddedServer

PICOCLAW_BYTES = 519  # the middle of what was measured for its five maps


def main() -> None:
    """Store refs and print what the server's memory grew by."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "media")
        root.mkdir()
        with EmbeddedServer(Path(directory, "server")) as server:
            client = redis.Redis.from_url(server.url)
            meta = MediaMeta(filename="cat.jpg", content_type="image/jpeg", source="telegram")
            with MediaStore(None, Settings(redis_url=server.url, roots=(str(root),))) as store:
                store.stats()
                before = client.info("memory")["used_memory"]
                for number in range(count):
                    path = root / f"{number:08}.jpg"
                    path.touch()
                    store.store(path, scope=f"telegram:42/{number // 10}", meta=meta)
                grown = client.info("memory")["used_memory"] - before
            client.close()
    each = grown / count
    print(f"{each:.0f} bytes a ref ({count} refs), {each / PICOCLAW_BYTES:.2f}x picoclaw's maps")


if __name__ == "__main__":
    main()
