"""The crash argument: a process stopped before or after any Redis or file call leaves nothing the next sweeps do not finish."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from mediastore import Cleanup, MediaMeta
from mediastore.flows import leasing, scoping
from mediastore.index import policies

from .lab import Crash, Fuse, Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mediastore.lifetimes import Taken

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


@dataclass(frozen=True)
class Scenario:
    """What is there before, what the doomed process does, and which files are nobody's to delete."""

    name: str
    before: Callable[[Lab], Any]
    act: Callable[[Lab, Any], None]
    safe: frozenset[str] = frozenset()
    #: What lies under held links only, because its owner had replaced the file before.
    hidden: tuple[str, ...] = ()
    #: A file nobody registered stays its owner's when the store did not come about.
    unregistered: tuple[str, ...] = ()


def nothing(lab: Lab) -> None:
    """Begin with an empty store."""


def one_ref(lab: Lab) -> None:
    lab.process().store(lab.file("a.jpg", "a"), scope="s")


def doomed(lab: Lab) -> None:
    one_ref(lab)
    lab.process().release_all("s", wait=False)


def half_deleted(lab: Lab) -> None:
    """Leave a claim whose sweeper died right after the path was moved away."""
    one_ref(lab)
    fuse = Fuse(at=5, after=True)
    with lab.fused(fuse) as store, pytest.raises(Crash):
        store.release_all("s")
    lab.pass_time(31)
    lab.file("a.jpg", "second life")


def replaced(lab: Lab) -> None:
    one_ref(lab)
    (lab.root / "a.jpg").unlink()
    lab.file("a.jpg", "foreign")


def tree(lab: Lab) -> None:
    store = lab.process()
    for number, scope in enumerate(["s", "s/x", "s/x/y", "s/z"]):
        store.store(lab.file(f"{number}.jpg", str(number)), scope=scope)
    store.store(lab.file("0.jpg", "0"), scope="s/x")


def mixed(lab: Lab) -> None:
    """One file shared with a scope that stays, one borrowed and one borrowed after it was adopted."""
    store = lab.process()
    shared = lab.file("shared.jpg", "shared")
    store.store(shared, scope="s")
    store.store(shared, scope="stays")
    store.store(lab.file("borrowed.jpg", "borrowed"), scope="s", meta=FORGET)
    both = lab.file("both.jpg", "both")
    store.store(both, scope="s")
    store.store(both, scope="s", meta=FORGET)


def expired(lab: Lab) -> None:
    store = lab.process()
    store.store(lab.file("a.jpg", "a"), scope="s", ttl=10)
    store.store(lab.file("b.jpg", "b"), scope="t/u", ttl=10)
    lab.pass_time(11)


def leased(lab: Lab) -> Taken:
    """Leave a lease of a file whose ref was released."""
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "a"), scope="s")
    taken = store._run(leasing.take(store._ctx, ref, 20))
    store.release_all("s")
    return taken


def waits(lab: Lab) -> None:
    """Leave a released file in its grace."""
    lab.settings = replace(lab.settings, grace=60)
    one_ref(lab)
    lab.process().release_all("s")


def the_dead(lab: Lab) -> str:
    """Return the id of the only ref that has ended."""
    [key] = lab.client.scan_iter(match=f"*{{{lab.namespace}}}:gone:*")
    return f"media://{key.decode().rpartition(':')[2]}"


def of_the_ref(name: str, *args: Any) -> Callable[[Lab, Any], None]:
    """Call a method with the only ref of scope `s/x`."""

    def act(lab: Lab, process: Any) -> None:
        getattr(process, name)(lab.process().refs("s/x")[0].ref, *args)

    return act


def in_a_tree(lab: Lab) -> None:
    lab.process().store(lab.file("a.jpg", "a"), scope="s/x", ttl=3000)


def lease_it(lab: Lab, process: Any) -> None:
    ref = lab.process().refs("s/x")[0].ref
    taken = process._run(leasing.take(process._ctx, ref, 20))
    process.release_all("s")
    process._run(leasing.renew(process._ctx, [taken]))
    process._run(leasing.end(process._ctx, taken))


def hand_it_over(lab: Lab, process: Any) -> None:
    ref = lab.process().refs("s/x")[0].ref
    token = process._run(leasing.handoff(process._ctx, ref, 20))
    process.delete_media(ref)
    taken = process._run(leasing.accept(process._ctx, token, 20))
    process._run(leasing.end(process._ctx, taken))


def limited(lab: Lab) -> None:
    """Leave a scope whose deadline has passed."""
    in_a_tree(lab)
    store = lab.process()
    store._run(scoping.open_scope(store._ctx, "s", 10, None))
    lab.pass_time(11)


def open_it(_: Lab, process: Any) -> None:
    process._run(scoping.open_scope(process._ctx, "s/x", 100, 50))


def policed(lab: Lab) -> None:
    """Leave more refs that live by a policy than one script moves, one of them pinned."""
    store = lab.process()
    store.set_policy("short", 3000)
    meta, cat = MediaMeta(policy="short"), lab.file("a.jpg", "a")
    for _ in range(12):
        ref = store.store(cat, scope="s/x", meta=meta)
    store.pin(ref)


def half_changed(lab: Lab) -> None:
    """Leave a policy whose change to less than its refs have lived was stopped after the first step."""
    policed(lab)
    lab.pass_time(20)
    store = lab.process()
    store._ask(policies.set_policy("short", 10_000, "the change"))
    store._ask(policies.move_policy("short", "the first step"))


def store_by_it(lab: Lab, process: Any) -> None:
    process.store(lab.root / "a.jpg", scope="t", meta=MediaMeta(policy="short"))


def two_files(lab: Lab) -> None:
    lab.file("a.jpg", "a")
    lab.file("b.jpg", "b")


def store_many(lab: Lab, process: Any) -> None:
    """Store two files at once, one of them twice."""
    process.store_many([lab.root / name for name in ("a.jpg", "b.jpg", "a.jpg")], scope="t")


def store_it(lab: Lab, process: Any) -> None:
    process.store(lab.root / "a.jpg", scope="t")


def sweep_later(lab: Lab, process: Any) -> None:
    lab.pass_time(61)
    process.sweep()


SCENARIOS = [
    Scenario("store", lambda lab: lab.file("a.jpg", "a"), store_it, unregistered=("a.jpg",)),
    Scenario("store once more", one_ref, store_it),
    Scenario("store what is doomed", doomed, store_it),
    Scenario("store what is half deleted", half_deleted, store_it, unregistered=("a.jpg",)),
    Scenario("store what was replaced", replaced, store_it, hidden=("a",), unregistered=("a.jpg",)),
    Scenario(
        "store borrowed",
        lambda lab: lab.file("a.jpg", "a"),
        lambda lab, process: process.store(lab.root / "a.jpg", scope="t", meta=FORGET),
        frozenset({"a.jpg"}),
    ),
    Scenario("release", one_ref, lambda _, process: process.release_all("s")),
    Scenario("release a tree", tree, lambda _, process: process.release_all("s")),
    Scenario(
        "release what is shared and borrowed",
        mixed,
        lambda _, process: process.release_all("s"),
        frozenset({"borrowed.jpg", "both.jpg"}),
    ),
    Scenario(
        "release what was replaced",
        replaced,
        lambda _, process: process.release_all("s"),
        frozenset({"a.jpg"}),
        hidden=("a",),
    ),
    Scenario("touch", in_a_tree, of_the_ref("touch", 50)),
    Scenario("pin", in_a_tree, of_the_ref("pin")),
    Scenario("transfer", in_a_tree, of_the_ref("transfer", "t/u")),
    Scenario("promote", in_a_tree, of_the_ref("promote")),
    Scenario("share", in_a_tree, of_the_ref("share", "t/u")),
    Scenario("delete", in_a_tree, of_the_ref("delete_media")),
    Scenario("restore", waits, lambda lab, process: process.restore(the_dead(lab), "t")),
    Scenario("lease, release, renew, end", in_a_tree, lease_it),
    Scenario("hand over, delete, accept, end", in_a_tree, hand_it_over),
    Scenario("sweep what was leased", leased, lambda _, process: process.sweep()),
    Scenario("sweep what was in grace", waits, sweep_later),
    Scenario("open a scope", in_a_tree, open_it),
    Scenario("sweep a scope that is due", limited, lambda _, process: process.sweep()),
    Scenario("store by a policy", policed, store_by_it),
    Scenario("change a policy", policed, lambda _, process: process.set_policy("short", 100)),
    Scenario(
        "remove a policy",
        policed,
        lambda _, process: process.remove_policy("short", force=True),
    ),
    Scenario("apply a policy", policed, of_the_ref("apply_policy", "delete-after-10min")),
    Scenario("sweep a changed policy", half_changed, lambda _, process: process.sweep()),
    Scenario("store many", two_files, store_many, unregistered=("a.jpg", "b.jpg")),
    Scenario("release many", tree, lambda _, process: process.release_many(["s/z", "s"])),
    Scenario("sweep what has expired", expired, lambda _, process: process.sweep()),
    Scenario("sweep what was released", doomed, lambda _, process: process.sweep()),
    Scenario(
        "sweep what is half deleted",
        half_deleted,
        lambda _, process: process.sweep(),
        frozenset({"a.jpg"}),
    ),
]


def crashes(
    scenario: Scenario, make_lab: Callable[[], Lab], kinds: tuple[bool, ...] = (False, True)
) -> Iterator[tuple[Lab, str]]:
    """Run the scenario again and again, each time stopped one call later; end when none is left to stop at."""
    for number in count():
        for after in kinds:
            lab = make_lab()
            scenario.before(lab)
            fuse = Fuse(at=number, after=after)
            with lab.fused(fuse) as process:
                try:
                    scenario.act(lab, process)
                except Crash as crash:
                    yield lab, str(crash)
                    continue
            assert number > 0, "the scenario made no calls"
            return


@pytest.fixture
def make_lab(clients: Any, tmp_path: Path) -> Callable[[], Lab]:
    """Give a maker of laboratories with a root of their own."""
    numbers = count()
    return lambda: Lab(clients, tmp_path / str(next(numbers)))


def verdict(lab: Lab, scenario: Scenario, crash: str) -> None:
    """Check what must hold after any crash: no dangling ref, nothing foreign deleted, nothing left over."""
    safe = {name: text for name, text in lab.files().items() if name in scenario.safe}
    written = lab.files()
    lab.pass_time(61)  # the longest lease and the longest grace of a scenario
    lab.settle()
    live, hidden = lab.live()
    files = lab.files()
    assert set(hidden) <= set(scenario.hidden), crash
    for name, text in live.items():
        assert files[name] == text, f"{crash}: {name} dangles"
    safe |= {name: str(written.get(name)) for name in scenario.unregistered if name not in live}
    unpin(lab)
    lab.end()
    assert lab.live() == ({}, []), crash
    assert lab.leftovers() == [], crash
    assert lab.files() == safe, crash


def unpin(lab: Lab) -> None:
    """Let pinned refs expire: nothing else ends them here."""
    store = lab.process()
    for scope in store.scopes():
        for media in store.refs(scope):
            if media.pinned:
                store.unpin(media.ref)


#: Every scenario on a real server; some show that fakeredis behaves as it does.
ON_BOTH = {"store", "release", "restore", "sweep what is half deleted"}
LANES = [
    (s, lane) for s in SCENARIOS for lane in ("fake", "real") if lane == "real" or s.name in ON_BOTH
]


@pytest.mark.parametrize(
    ("scenario", "lane"), LANES, indirect=["lane"], ids=lambda value: getattr(value, "name", value)
)
def test_a_crash_at_any_call_leaves_nothing_after_the_sweeps(
    scenario: Scenario, make_lab: Callable[[], Lab]
) -> None:
    points = 0
    for lab, crash in crashes(scenario, make_lab):
        verdict(lab, scenario, crash)
        points += 1
    assert points >= 2


#: The two others of the same kind take ten seconds more.
LONG = {"release a tree", "sweep what has expired"}
TWICE = [
    pytest.param(s, id=s.name, marks=[pytest.mark.torture] if s.name in LONG else [])
    for s in SCENARIOS
    if s.name in {"release", *LONG}
]


@pytest.mark.parametrize("lane", ["real"], indirect=True)
@pytest.mark.parametrize("scenario", TWICE)
def test_a_second_crash_in_the_sweep_that_takes_over_leaves_nothing_either(
    scenario: Scenario, make_lab: Callable[[], Lab]
) -> None:
    sweep = Scenario("sweep", nothing, lambda _, process: process.sweep())
    for number in count():
        second = 0
        finished = False
        for second in count():
            lab = make_lab()
            scenario.before(lab)
            with lab.fused(Fuse(at=number, after=True)) as process:
                try:
                    scenario.act(lab, process)
                    finished = True
                except Crash as crash:
                    first = str(crash)
            if finished:
                break
            lab.pass_time(31)
            with lab.fused(Fuse(at=second, after=True)) as process:
                try:
                    sweep.act(lab, process)
                except Crash as crash:
                    verdict(lab, scenario, f"{first}, then {crash}")
                    continue
            break
        if finished:
            assert number > 3
            return
