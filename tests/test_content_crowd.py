"""Many processes with the same content at the same time: one blob for each, right counts, and nothing left."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mediastore import MediaContent, MediaMeta, MediaStore, Settings

from .conftest import keys_left, names_left
from .content_writer import pieces
from .processes import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediastore import Ref

CONTENTS = 50
LIMIT_S = 150


@pytest.fixture
def lane() -> str:
    return "real"


@pytest.fixture
def settings(server_url, settings) -> Settings:
    return Settings(
        redis_url=server_url, namespace=settings.namespace, roots=settings.roots,
        dedup=True, durable=False, max_age="1h",
    )  # fmt: skip


@pytest.fixture
def parent(settings) -> Iterator[MediaStore]:
    """Give the test's own store."""
    with MediaStore(None, settings) as store:
        yield store


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((6, 3.0), id="6 processes"),
        pytest.param((24, 30.0), id="24 processes", marks=pytest.mark.torture),
    ],
)
def crowd(request) -> Iterator[tuple[Crew, float]]:
    """Give a crew, and for how long it is to work."""
    size, seconds = request.param
    crew = Crew(size)
    yield crew, seconds
    crew.close()


def content(number: int) -> bytes:
    return f"content {number} ".encode() * (100 + 17 * number)


def hand_over(store: MediaStore, number: int, way: int, scope: str) -> Ref:
    data = content(number)
    handed = MediaContent(data=data if way else pieces(data))
    return store.store_media(handed, scope=scope, meta=MediaMeta(filename=str(number)))


def mingle(store: MediaStore, number: int, seconds: float) -> dict[str, int]:
    """Store, share and delete until the time is up; return which ref has which content."""
    chance, end = random.Random(number), time.monotonic() + seconds
    mine: dict[str, int] = {}
    while time.monotonic() < end:
        which = chance.randrange(CONTENTS)
        mine[hand_over(store, which, which % 2, f"p{number}")] = which
        ref = chance.choice([*mine])
        assert store.resolve(ref).read_bytes() == content(mine[ref])
        if chance.random() < 0.3:
            mine[store.share(ref, f"p{number}/shared")] = mine[ref]
        while mine and chance.random() < 0.7:
            ref = chance.choice([*mine])
            store.delete_media(ref)
            del mine[ref]
    return {str(ref): which for ref, which in mine.items()}


def release(store: MediaStore, number: int, crew: int) -> None:
    """Release the scopes of all; everybody does."""
    for other in range(crew):
        store.release_all(f"p{(other + number) % crew}")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_crowd_with_the_same_contents_keeps_each_once_and_loses_none(
    crowd, settings, parent, client, media
):
    crew, seconds = crowd

    mine = crew.run(mingle, settings, seconds, limit_s=LIMIT_S)

    refs = {ref: which for each in mine for ref, which in each.items()}
    paths = {ref: parent.resolve(ref) for ref in refs}
    assert all(path.read_bytes() == content(refs[ref]) for ref, path in paths.items())
    assert len(set(paths.values())) == len(set(refs.values()))
    there = {path for path in media.rglob("*") if ".mediastore" not in path.parts}
    assert {path for path in there if path.is_file() and path.suffix != ".meta"} == {
        *paths.values()
    }
    assert all(any(path.iterdir()) for path in there if path.is_dir())
    stats = parent.stats()
    assert (stats.refs, stats.blobs, stats.trash) == (len(refs), len(set(refs.values())), 0)
    assert stats.size_bytes == sum(len(content(which)) for which in set(refs.values()))

    crew.run(release, settings, crew.size, limit_s=LIMIT_S)

    parent.sweep()
    ended = parent.stats()
    assert (ended.refs, ended.blobs, ended.size_bytes, ended.trash) == (0, 0, 0, 0)
    assert keys_left(client, settings.namespace) == set()
    assert names_left(media) == []
    assert [path.name for path in media.iterdir()] == [".mediastore"]


def come_and_go(store: MediaStore, number: int, seconds: float) -> int:
    """Store into one directory, and delete at once, so that somebody always prunes it."""
    end, turns = time.monotonic() + seconds / 2, 0
    while time.monotonic() < end:
        data = b"%d %d" % (number, turns)
        meta = MediaMeta(session_id="one")
        ref = store.store_media(MediaContent(data=data), scope=f"p{number}", meta=meta)
        assert store.resolve(ref).read_bytes() == data
        store.delete_media(ref)
        turns += 1
    return turns


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_store_fails_because_others_prune_its_directory(crowd, settings, media):
    crew, seconds = crowd
    apart = replace(settings, dedup=False)

    turns = crew.run(come_and_go, apart, seconds, limit_s=LIMIT_S)

    assert min(turns) > 0
    assert [path.name for path in media.iterdir()] == [".mediastore"]
