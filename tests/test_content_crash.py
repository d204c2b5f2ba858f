"""The crash argument for content: a process stopped before or after any Redis or file call leaves a whole ref or nothing."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from mediastore import MediaContent, MediaMeta
from mediastore.errors import BlobMissing, BlobsUnavailable, TooLarge

from .lab import Crash, Fuse, Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mediastore.model import Ref

DATA = b"\x89PNG\r\n\x1a\n" + b"content" * 9
#: More than one piece, so that half of it can be on the disk.
LARGE = DATA * 20_000
META = MediaMeta(session_id="42", filename="cat.png")


def pieces(data: bytes) -> Iterator[bytes]:
    yield data[:5]
    yield data[5:]


def broken() -> Iterator[bytes]:
    yield LARGE
    raise RuntimeError("the network is gone")


@dataclass(frozen=True)
class Scenario:
    """What is there before, what the doomed process hands over, and by which settings; `raises` if it gets to the end."""

    name: str
    act: Callable[[Lab, Any], None]
    before: Callable[[Lab], None] = lambda _: None
    settings: Any = None
    raises: type[Exception] | None = None
    #: What its owner finds at the name of a file that was to be moved, if no ref has it.
    moved: bool = False
    #: Refs of a file that somebody had removed by hand: nobody was told of them.
    missing: int = 0


def hand_over(data: Any, **named: Any) -> Callable[[Lab, Any], None]:
    """Hand content over; an iterator is made anew each time."""

    def act(_: Lab, process: Any) -> None:
        content = MediaContent(data=data() if callable(data) else data)
        process.store_media(content, meta=META, **named)

    return act


def from_path(lab: Lab, process: Any, *, move: bool = False) -> None:
    process.store_media(MediaContent(file_path=outside(lab)), meta=META, move=move)


def move_it(lab: Lab, process: Any) -> None:
    from_path(lab, process, move=True)


def outside(lab: Lab) -> Path:
    """Return a file that lies beside the root."""
    path = lab.root.with_name(f"{lab.root.name}-cat.png")
    if not path.exists():
        path.write_bytes(LARGE)
    return path


def write_it(_: Lab, process: Any) -> None:
    # Its extension is known at the exit: the temporary name changes before the path is said anew.
    with process.writer(meta=replace(META, filename="")) as draft:
        draft.path.write_bytes(LARGE)


def same_before(lab: Lab) -> None:
    """Leave a ref of the same content."""
    lab.process().store_media(MediaContent(data=DATA), scope="before")


def same_in_grace(lab: Lab) -> None:
    """Leave the same content without a ref, in its grace."""
    lab.settings = replace(lab.settings, grace=60)
    same_before(lab)
    lab.process().release_all("before")


def same_vanished(lab: Lab) -> None:
    """Leave the same content in its grace, and remove its file by hand."""
    lab.settings = replace(lab.settings, grace=60)
    same_before(lab)
    store = lab.process()
    store.resolve(store.refs("before")[0].ref).unlink()
    store.release_all("before")


def joins_at_the_commit(lab: Lab, process: Any) -> None:
    """Another process commits the same content right before this one does."""
    ask, rival = process._ask, lab.process()

    def beaten(step: Any) -> Any:
        if getattr(step, "script", "") == "commit":
            process._ask = ask
            with process.fuse.sleeping():
                rival.store_media(MediaContent(data=DATA), scope="rival")
        return ask(step)

    process._ask = beaten
    hand_over(lambda: pieces(DATA))(lab, process)


def release_it(_: Lab, process: Any) -> None:
    process.release_all("before")


def lose_a_race_to_a_sweep(lab: Lab, process: Any) -> None:
    """Stand still until another process has swept the reservation away, then go on."""

    def slow() -> Iterator[bytes]:
        yield LARGE
        with process.fuse.sleeping():
            lab.pass_time(31)
            lab.process().sweep()
        yield DATA

    process._guard = lambda _: type("Idle", (), {"over": False})()
    process.store_media(MediaContent(data=slow()), meta=META)


DEDUP = {"dedup": True}
BARE = {"sidecars": False, "durable": False}
SCENARIOS = [
    Scenario("bytes", hand_over(DATA)),
    Scenario("stream", hand_over(lambda: pieces(LARGE))),
    Scenario("path", from_path),
    Scenario("with a lifetime", hand_over(DATA, ttl=900)),
    Scenario("move", move_it, moved=True),
    Scenario("writer", write_it),
    Scenario("no sidecar", hand_over(DATA), settings={"sidecars": False}),
    Scenario("not durable", hand_over(DATA), settings={"durable": False}),
    Scenario("neither", hand_over(DATA), settings=BARE),
    Scenario(
        "too large a stream",
        hand_over(lambda: pieces(DATA)),
        settings={"max_file_size": 30},
        raises=TooLarge,
    ),
    Scenario("a source that raises", hand_over(broken), raises=RuntimeError),
    Scenario("dedup, new bytes", hand_over(DATA), settings=DEDUP),
    Scenario("dedup, new stream", hand_over(lambda: pieces(DATA)), settings=DEDUP),
    Scenario("dedup, joined", hand_over(DATA), same_before, DEDUP),
    Scenario("dedup, stream joined", hand_over(lambda: pieces(DATA)), same_before, DEDUP),
    Scenario("dedup, joined in grace", hand_over(DATA), same_in_grace, DEDUP),
    Scenario("dedup, joined at the commit", joins_at_the_commit, settings=DEDUP),
    Scenario("dedup, its file vanished", hand_over(DATA), same_vanished, DEDUP, missing=1),
    Scenario("dedup, move", move_it, settings=DEDUP, moved=True),
    Scenario("release", release_it, same_before, DEDUP),
    Scenario("too slow", lose_a_race_to_a_sweep, raises=BlobsUnavailable),
]


@pytest.fixture
def make_lab(clients: Any, tmp_path: Path) -> Callable[[Scenario], Lab]:
    """Give a maker of laboratories with a root of their own."""
    numbers = count()

    def make(scenario: Scenario) -> Lab:
        lab = Lab(clients, tmp_path / str(next(numbers)))
        lab.settings = replace(lab.settings, **(scenario.settings or {}))
        scenario.before(lab)
        return lab

    return make


def crashes(scenario: Scenario, make_lab: Callable[[Scenario], Lab]) -> Iterator[tuple[Lab, str]]:
    """Run the scenario again and again, each time stopped one call later; the last run comes to its end."""
    for number in count():
        for after in (False, True):
            lab = make_lab(scenario)
            with lab.fused(Fuse(at=number, after=after)) as process:
                try:
                    scenario.act(lab, process)
                except Crash as crash:
                    yield lab, str(crash)
                    continue
                except Exception as error:
                    if not isinstance(error, scenario.raises or ()):
                        raise
            assert number > 3, "the scenario made no calls"
            verdict(lab, scenario, "not stopped")
            return


def names(lab: Lab) -> set[str]:
    """Return everything in the root that is not our bookkeeping, directories too."""
    found = (path.relative_to(lab.root) for path in lab.root.rglob("*"))
    return {str(path) for path in found if path.parts[0] != ".mediastore"}


def told(lab: Lab) -> int:
    """Return how many sidecars there are."""
    home = lab.root / ".mediastore"
    beside = [path for path in lab.root.rglob("*.meta") if home not in path.parents]
    return len(beside) + len(list(home.glob("meta/*/*.meta")))


def with_parents(paths: set[str]) -> set[str]:
    return paths | {
        "/".join(path.split("/")[:n]) for path in paths for n in range(1, path.count("/") + 1)
    }


def counters(lab: Lab) -> tuple[int, ...]:
    """Return what the index counts as there: refs, blobs, and what is being written."""
    found = lab.client.hgetall(f"mediastore:{{{lab.namespace}}}:stats")
    wanted = (b"refs", b"blobs", b"size_bytes", b"reserved", b"reserved_bytes", b"waiting")
    return tuple(int(found.get(name, 0)) for name in wanted)


def verdict(lab: Lab, scenario: Scenario, crash: str) -> int:
    """Check what must hold after any crash; return how many refs there are then."""
    lab.pass_time(1)
    lab.process().sweep()
    assert all(path.read_bytes() in {DATA, LARGE} for path in live(lab).values()), crash
    lab.settle()
    paths, sizes = live(lab), registered(lab)
    there = {str(path.relative_to(lab.root)) for path in paths.values()}
    sidecars = {f"{path}.meta" for path in sizes} if lab.settings.sidecars else set()
    assert with_parents(there) <= names(lab) <= with_parents(there | sidecars), crash
    refs = sum(map(len, sizes.values()))
    least, most = (len(paths), refs) if lab.settings.sidecars else (0, 0)
    assert least <= told(lab) <= most, crash
    assert refs - len(paths) <= scenario.missing, crash
    assert counters(lab) == (refs, len(sizes), sum(map(max, sizes.values())), 0, 0, 0), crash
    lab.end()
    assert names(lab) == set(), crash
    assert lab.leftovers() == [], crash
    assert counters(lab) == (0,) * 6, crash
    return refs


def live(lab: Lab) -> dict[Ref, Path]:
    """Return where the file of each ref is that has one."""
    store, found = lab.process(), {}
    for scope in store.scopes():
        for media in store.refs(scope):
            with suppress(BlobMissing):
                found[media.ref] = store.resolve(media.ref)
    return found


def registered(lab: Lab) -> dict[str, list[int]]:
    """Return what the index says: the sizes of the refs of each file."""
    store, found = lab.process(), defaultdict(list)
    for scope in store.scopes():
        for media in store.refs(scope):
            found[os.path.relpath(lab.root / media.path, lab.root)].append(media.size_bytes)
    return found


#: How many points each scenario has at least: before and after each of its calls.
POINTS = {
    "bytes": 32,
    "stream": 34,
    "path": 34,
    "with a lifetime": 32,
    "move": 38,
    "writer": 32,
    "no sidecar": 22,
    "not durable": 20,
    "neither": 14,
    "too large a stream": 11,
    "a source that raises": 13,
    "dedup, new bytes": 32,
    "dedup, new stream": 34,
    "dedup, joined": 10,
    "dedup, stream joined": 17,
    "dedup, joined in grace": 10,
    "dedup, joined at the commit": 43,
    "dedup, its file vanished": 32,
    "dedup, move": 38,
    "release": 18,
    "too slow": 13,
}
#: Every scenario on a real server; some show that fakeredis behaves as it does.
LANES = [
    (s, lane)
    for s in SCENARIOS
    for lane in ("fake", "real")
    if lane == "real" or s.name in {"bytes", "dedup, joined at the commit"}
]


@pytest.mark.parametrize(
    ("scenario", "lane"), LANES, indirect=["lane"], ids=lambda value: getattr(value, "name", value)
)
def test_a_crash_at_any_call_leaves_a_whole_ref_or_nothing(
    scenario: Scenario, make_lab: Callable[[Scenario], Lab]
) -> None:
    points, more = 0, set()
    for lab, crash in crashes(scenario, make_lab):
        if scenario.moved and not live(lab):
            assert outside(lab).read_bytes() == LARGE, crash
        more.add(verdict(lab, scenario, crash))
        points += 1

    assert points >= POINTS[scenario.name]
    assert (len(more) == 1) == (scenario.raises is not None)  # else without the ref, and with it


def test_there_are_more_than_five_hundred_points() -> None:
    assert set(POINTS) == {scenario.name for scenario in SCENARIOS}
    assert sum(POINTS.values()) >= 500
