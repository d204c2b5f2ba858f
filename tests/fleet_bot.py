"""A bot that stores as fast as it can and writes down what was acknowledged; run by test_up_kills."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from mediastore import MediaStore
from mediastore.errors import Unavailable


def main() -> None:
    name, media, ledger = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with ledger.open("a") as file, MediaStore.from_env() as store:
        for number in itertools.count():
            path = media / f"{name}-{number}.jpg"
            path.write_text(path.name)
            try:
                ref = store.store(path, scope=f"chat:{name}/msg:{number % 7}", ttl="1h")
            except Unavailable:
                path.unlink(missing_ok=True)
                time.sleep(0.05)
                continue
            file.write(f"{time.time()} {ref} {path.name}\n")
            file.flush()
            time.sleep(0.01)  # the machine is for the fleet


if __name__ == "__main__":
    main()
