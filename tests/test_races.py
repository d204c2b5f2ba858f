"""Real processes on one store at the same time: what they did sums to the truth, and nothing dangles or is left."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mediastore import Media, MediaStore, Settings
from mediastore.errors import BlobMissing, FileMissing, RefGone
from mediastore.index.steps import END_BATCH

from .conftest import keys_left, names_left
from .processes import Crew
from .waiting import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    made = Crew(8)
    yield made
    made.close()


@pytest.fixture
def lane():
    return "real"


@pytest.fixture
def settings(server_url, settings):
    return Settings(
        redis_url=server_url, namespace=settings.namespace, roots=settings.roots, max_age="1h"
    )


@pytest.fixture
def parent(settings):
    """Give the test's own store."""
    with MediaStore(None, settings) as store:
        yield store


def files_in(root) -> list[str]:
    """Return what lies in the root outside our bookkeeping."""
    return sorted(
        os.path.join(directory, name)
        for directory, _, names in os.walk(root)
        for name in names
        if ".mediastore" not in directory
    )


def release(store: MediaStore, _: int, scope: str) -> Any:
    return store.release_all(scope), files_in(store.settings.roots[0])


@pytest.mark.parametrize("scopes", [["s"], ["s", "s/x", "s/x/y", "s/z", "s/z/1", "s/z/2"]])
def test_releases_of_one_scope_by_eight_processes_sum_to_the_truth(
    crew, parent, settings, media, make_file, client, scopes
):
    for number in range(150):
        path = make_file(f"{number % 7}/{number}.jpg", b"x" * (1 + number % 5))
        parent.store(path, scope=scopes[number % len(scopes)])

    answers = crew.run(release, settings, "s")

    done = [answer for answer, _ in answers]
    assert [left for _, left in answers] == [[]] * 8, done
    assert sum(one.refs for one in done) == 150
    assert sum(one.deleted for one in done) == 150
    assert sum(one.freed_bytes for one in done) == 150 * 3
    stats = parent.stats()
    assert (stats.refs, stats.blobs, stats.deleted_blobs, stats.freed_bytes) == (0, 0, 150, 450)
    assert keys_left(client, settings.namespace) == set()
    assert names_left(media) == []


def sweep(store: MediaStore, number: int) -> Any:
    return store.sweep() if number < 4 else None


def wait_until_gone(store: MediaStore, ref: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    with suppress(RefGone):
        while time.monotonic() < deadline:
            store.resolve(ref)
        raise AssertionError("it never expired")


# Four sweepers at one trash are in the suite; here refs expire as well.
@pytest.mark.torture
def test_four_sweepers_at_once_expire_each_ref_and_delete_each_file_once(
    crew, parent, settings, make_file, media, client
):
    for number in range(300):
        last = parent.store(make_file(f"{number}.jpg"), scope=f"s/{number % 9}", ttl=0.2)
    wait_until_gone(parent, last)

    swept = [answer for answer in crew.run(sweep, settings) if answer]

    assert [sum(one.expired for one in swept), sum(one.deleted for one in swept)] == [300, 300]
    assert (files_in(media), names_left(media)) == ([], [])
    assert keys_left(client, settings.namespace) == set()


def test_four_sweepers_at_one_trash_claim_and_delete_each_file_once(
    crew, parent, settings, make_file, media, client
):
    for number in range(500):
        parent.store(make_file(f"{number}.jpg", b"x"), scope=str(number // END_BATCH))
    for scope in parent.scopes():
        parent.release_all(scope, wait=False)
    assert parent.stats().trash == 500

    swept = [answer for answer in crew.run(sweep, settings) if answer]

    assert [sum(one.deleted for one in swept), sum(one.freed_bytes for one in swept)] == [500, 500]
    assert sum(one.deleted > 0 for one in swept) > 1
    assert (files_in(media), names_left(media)) == ([], [])
    assert keys_left(client, settings.namespace) == set()


# --- stores that race a release of the same path


each_length = pytest.mark.parametrize("seconds", [1.5, pytest.param(15, marks=pytest.mark.torture)])


def write_where_absent(path: Path, text: str) -> None:
    """Give the path a file with its whole content, over nothing."""
    draft = path.with_name(f"{os.getpid()}.draft")
    draft.write_text(text)
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


def store_and_read(store: MediaStore, path: Path, scope: str) -> str:
    """Return what became of one store; a ref that lives must lead to one and the same content throughout."""
    try:
        ref = store.store(path, scope=scope)
    except FileMissing:
        return "no file"
    try:
        read = {store.resolve(ref).read_text(), store.resolve(ref).read_text()}
        store.resolve(ref)
    except RefGone:
        return "gone"
    except FileNotFoundError:
        with suppress(RefGone):
            return f"the file is gone and the ref lives: {store.resolve(ref)}"
        return "gone"
    except BlobMissing:
        return "dangles"
    return "lives" if len(read) == 1 else f"changed: {read}"


def churn(store: MediaStore, number: int, path: Path, seconds: float) -> Any:
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if number < 2:
            seen["deleted"] += store.release_all("s").deleted
        elif number < 4:
            write_where_absent(path, f"{number} {time.monotonic_ns()}")
        else:
            # In a scope that nobody else releases, a ref that dangles stays to be seen.
            scope = "s" if number < 6 else f"own/{number}"
            seen[store_and_read(store, path, scope)] += 1
            seen["deleted"] += store.release_all(scope).deleted if number >= 6 else 0
    return seen


@each_length
def test_a_store_that_races_a_release_of_its_path_never_dangles(
    crew, parent, settings, media, client, seconds
):
    seen: Counter[str] = sum(crew.run(churn, settings, media / "a.jpg", seconds), Counter())

    assert set(seen) <= {"deleted", "no file", "gone", "lives"}, seen
    assert min(seen["deleted"], seen["gone"], seen["lives"]) > 0, seen
    parent.release_all("s")
    parent.sweep()
    assert parent.stats().deleted_blobs >= seen["deleted"]
    assert names_left(media) == []
    assert keys_left(client, settings.namespace) == set()


# --- everything at once

SCOPES = ["a", "a/x", "a/x/y", "a/z", "b", "b/x"]
KEPT = "kept"


def make_and_store(store: MediaStore, dice: random.Random, number: int, count: int) -> Any:
    root = Path(store.settings.roots[0])
    shared = dice.random() < 0.3
    path = root / (f"shared{dice.randrange(5)}" if shared else f"{number}-{count}")
    write_where_absent(path, "x" * dice.randrange(1, 99))
    ttl = dice.choice([None, None, 0.05, 0.5])
    try:
        return store.store(path, scope=dice.choice([*SCOPES, KEPT]), ttl=ttl)
    except FileMissing:
        return None


def live(store: MediaStore, number: int, seconds: float) -> Any:
    """Do this and that; return the sums of what the calls said they did, and what went wrong."""
    dice, sums = random.Random(number), Counter[str]()
    refs: list[str | None] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        sums["calls"] += 1
        do = dice.random()
        if do < 0.6:
            refs.append(make_and_store(store, dice, number, sums["calls"]))
            sums["stored"] += refs[-1] is not None
        elif do < 0.9:
            try:
                store.resolve(dice.choice(refs or [None]) or "media://0000000000000000")
            except BlobMissing as error:
                sums[f"dangles: {error}"] += 1
            except KeyError:
                sums["gone"] += 1
        else:
            release = do < 0.97
            done = store.release_all(dice.choice(SCOPES)) if release else store.sweep()
            sums["released"] += done.refs if release else done.drained
            sums["deleted"] += done.deleted
            sums["freed"] += done.freed_bytes
    return sums


def all_refs(store: MediaStore) -> list[Media]:
    return [one for scope in store.scopes() for one in store.refs(scope, limit=100_000)]


def quiesce(store: MediaStore, sums: Counter[str]) -> list[Media]:
    """Sweep until nothing is due or will be soon, and every ref the index holds lives; return them."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        swept, now, refs = store.sweep(), store.stats(), all_refs(store)
        sums.update(released=swept.drained, deleted=swept.deleted, freed=swept.freed_bytes)
        soon = datetime.now(UTC) + timedelta(minutes=1)
        at_rest = not now.trash and not now.closed and now.refs == len(refs)
        if at_rest and all(one.expires_at and one.expires_at > soon for one in refs):
            return refs
    raise AssertionError(f"it never came to rest: {now}")


@each_length
def test_whatever_eight_processes_do_files_are_the_live_blobs_and_the_counters_add_up(
    crew, parent, settings, media, client, seconds
):
    sums: Counter[str] = sum(crew.run(live, settings, seconds), Counter())
    refs, now = quiesce(parent, sums), parent.stats()

    assert not [name for name in sums if name.startswith("dangles")], sums
    assert {str(parent.resolve(one.ref)) for one in refs} == set(files_in(media))
    assert (now.refs, now.blobs) == (len(refs), len(files_in(media)))
    assert now.size_bytes == sum(os.path.getsize(path) for path in files_in(media))
    assert now.stored_refs == now.refs + now.released_refs + now.expired_refs >= sums["stored"]
    assert now.released_refs == sums["released"]
    # A store helps to delete what stands in its way, and has no number to return for it.
    assert now.deleted_blobs >= sums["deleted"]
    assert min(now.released_refs, now.expired_refs, now.refs) > 0
    for scope in ("a", "b", KEPT):
        parent.release_all(scope)
    assert (files_in(media), names_left(media)) == ([], [])
    assert keys_left(client, settings.namespace) == set()


# --- one ref, many processes


def resolve(store: MediaStore, _: int, ref: str) -> str:
    return str(store.resolve(ref))


def one_releases(store: MediaStore, number: int, scope: str) -> int:
    return store.release_all(scope).deleted if number == 3 else 0


def test_a_ref_travels_as_text_and_ends_everywhere_at_once(crew, parent, settings, cat):
    ref = parent.store(cat, scope="chat:1")

    assert crew.run(resolve, settings, str(ref)) == [str(cat)] * crew.size
    assert sum(crew.run(one_releases, settings, "chat:1")) == 1
    with pytest.raises(RefGone) as gone:
        parent.resolve(ref)
    assert gone.value.reason == "released"


FORK = """
import os, sys
from pathlib import Path
from mediastore import Media, MediaStore, Settings

url, namespace, root = sys.argv[1:]
store = MediaStore(None, Settings(redis_url=url, namespace=namespace, roots=(root,)))
Path(root, "before").write_text("before")
before = store.store(Path(root, "before"), scope="before")
child = os.fork()
me = "parent" if child else "child"
for number in range(200):
    path = Path(root, f"{me}{number}")
    path.write_text(me)
    ref = store.store(path, scope=me)
    assert store.get(ref).scope == me
    assert (store.resolve(ref), store.resolve(before).name) == (path, "before")
    assert store.release_all(me).deleted == 1
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store.resolve(before).read_text() == "before"
print(store.stats().deleted_blobs)
"""


def test_a_store_is_used_on_both_sides_of_a_fork(settings, media):
    done = subprocess.run(
        [sys.executable, "-c", FORK, settings.redis_url, settings.namespace, str(media)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("400\n", 0), done.stderr


def test_a_store_is_not_sent_to_a_process_and_says_what_is(parent):
    process = multiprocessing.get_context("spawn").Process(target=print, args=(parent,))

    with pytest.raises(TypeError, match="cannot be pickled; send its refs, and make a store in"):
        process.start()
