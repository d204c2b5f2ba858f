"""Content and SIGKILL: whoever hands it over is killed at random, and a sweep finds nothing but whole refs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mediastore import MediaStore, Settings
from mediastore.blobs.local import LocalBlobs

from .conftest import keys_left, names_left
from .content_writer import content_of
from .lab import STRAY_S
from .sidecar_fixtures import told
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent.parent


@pytest.fixture
def lane() -> str:
    return "real"


@pytest.fixture(params=[False, True], ids=["apart", "dedup"])
def settings(request, server_url, settings) -> Settings:
    """Give settings by which a reservation lapses soon."""
    return Settings(
        redis_url=server_url, namespace=settings.namespace, roots=settings.roots,
        dedup=request.param, claim="1s", durable=False, max_age="1h",
    )  # fmt: skip


@pytest.fixture
def sweeper(settings) -> Iterator[MediaStore]:
    """Give a store to which every stray is old."""
    with MediaStore(None, settings) as store:
        store._blobs = LocalBlobs(
            settings.roots, settings.namespace, wall=lambda: time.time() + STRAY_S
        )
        yield store


def life_and_death(settings: Settings, seed: int) -> None:
    """Start a writer, and kill it when it has been at work for a moment."""
    said = {name: value for name, value in asdict(settings).items() if value is not None}
    command = [sys.executable, "-m", "tests.content_writer", json.dumps(said), str(seed)]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "at work\n"
        time.sleep(random.Random(seed).uniform(0, 0.2))
        writer.kill()


def check(store: MediaStore, media: Path) -> None:
    """Check that every ref has its whole file, each file its ref, and the counters are right."""
    found = [each for scope in store.scopes() for each in store.refs(scope, limit=10_000)]
    paths = {store.resolve(each.ref): int(each.meta.filename[:-4]) for each in found}
    for path, number in paths.items():
        assert path.read_bytes() == content_of(number)
    there = {path for path in media.rglob("*") if ".mediastore" not in path.parts}
    files = {path for path in there if path.is_file()}
    beside = files - set(paths)
    assert files >= set(paths)
    assert beside <= {path.with_name(f"{path.name}.meta") for path in paths}
    # Whichever ref of a file came first, and whether that lives.
    assert set(told(media)) == {each.ref.id for each in found}
    assert all(any(path.iterdir()) for path in there if path.is_dir())
    stats = store.stats()
    assert (stats.refs, stats.blobs, stats.trash) == (len(found), len(paths), 0)
    assert stats.size_bytes == sum(path.stat().st_size for path in paths)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("deaths", [3, pytest.param(60, marks=pytest.mark.torture)])
def test_a_writer_killed_at_any_moment_leaves_whole_refs_and_nothing_else(
    deaths, settings, sweeper, client, media
):
    for seed in range(deaths):
        life_and_death(settings, seed)

    def swept() -> bool:
        sweeper.sweep()
        return bool(sweeper.stats().trash == 0)

    until(swept)
    check(sweeper, media)
    for scope in sweeper.scopes():
        sweeper.release_all(scope)
    until(swept)
    assert keys_left(client, settings.namespace) == set()
    assert names_left(media) == []
    assert [path.name for path in media.iterdir()] == [".mediastore"]
