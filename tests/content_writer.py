"""A process that hands content over, shares and deletes it, until somebody kills it."""

from __future__ import annotations

import json
import random
import sys
from itertools import count
from typing import TYPE_CHECKING

from mediastore import MediaContent, MediaMeta, MediaStore, Settings
from mediastore.model import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator


def content_of(number: int) -> bytes:
    """Return content that tells from its number what it must be; some of it is larger than one piece."""
    size = 5_000 + 300_000 * (number % 6)
    return (f"{number} " * (size // (len(str(number)) + 1))).encode()


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def hand_over(store: MediaStore, number: int, scope: str) -> Ref:
    """Hand content over in one of several ways."""
    data, meta = content_of(number), MediaMeta(filename=f"{number}.txt")
    if number % 3 == 0:
        with store.writer(scope=scope, meta=meta) as draft:
            draft.path.write_bytes(data)
        return draft.ref
    handed = data if number % 3 == 1 else pieces(data)
    return store.store_media(MediaContent(data=handed), scope=scope, meta=meta)


def go_on(settings: Settings, seed: int) -> None:
    """Act at random, for ever."""
    chance, refs = random.Random(seed), list[Ref]()
    with MediaStore(None, settings) as store:
        for turn in count():
            scope = f"s{turn % 5}"
            refs.append(hand_over(store, chance.randrange(30), scope))
            if turn % 3 == 1:
                refs.append(store.share(chance.choice(refs), scope))
            if turn % 3 == 2:
                store.delete_media(refs.pop(chance.randrange(len(refs))))
            if turn == 0:
                sys.stdout.write("at work\n")
                sys.stdout.flush()


if __name__ == "__main__":
    go_on(Settings(**json.loads(sys.argv[1])), int(sys.argv[2]))
