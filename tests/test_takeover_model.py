"""Every order in which workers, one late behind the other, and a user can act on one claimed file.

A model of `mediastore/blobs/claimed.py` and `deleting.py`: a state is what stands where, each step is one file call or one
script. The file 1 is registered and released; 2 and 3 are the user's. All states that can be reached are visited: a
foreign file is never destroyed, and when everybody is done nothing of file 1 is left. To show that it sees the traps,
each rule that keeps from them is taken away once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

NOWHERE, QUARANTINE, REMOVED = "-", "Q", "X"


@dataclass(frozen=True)
class Place:
    """The directory of a claim: where it is (inside that of another: its number), and its two entries."""

    at: str | int = NOWHERE
    held: bool = False
    file: int = 0

    @property
    def empty(self) -> bool:
        return not self.held and not self.file


@dataclass(frozen=True)
class World:
    path: int = 1
    held: bool = True
    dirs: tuple[Place, ...] = ()
    parked: frozenset[int] = frozenset()
    #: What each worker does next, and the tokens that its claim went through.
    workers: tuple[tuple[str, ...], ...] = ()
    chains: tuple[tuple[int, ...] | None, ...] = ()
    token: int = -1
    acked: bool = False
    crashes: int = 1
    losses: int = 0
    written: int = 1

    def place(self, n: int, **changes: object) -> World:
        dirs = list(self.dirs)
        dirs[n] = replace(dirs[n], **changes)  # type: ignore[arg-type]
        return replace(self, dirs=tuple(dirs))

    def go(self, n: int, *then: str) -> World:
        workers = list(self.workers)
        workers[n] = then
        return replace(self, workers=tuple(workers))

    def names_of(self, file: int) -> int:
        there = [self.path, *(d.file for d in self.dirs), *self.parked]
        links = self.held + sum(d.held for d in self.dirs) if file == 1 else 0
        return there.count(file) + links


class Trap(AssertionError):
    pass


class Model:
    """The steps; `without` names a rule that is left out."""

    def __init__(self, without: str = "") -> None:
        self.without = without

    def steps(self, w: World) -> list[tuple[str, World]]:
        found = [step for n in range(len(w.workers)) for step in self.of_worker(w, n)]
        return found + self.of_user(w)

    def of_user(self, w: World) -> list[tuple[str, World]]:
        """He writes another file over whatever is at the path, or removes it."""
        if w.written >= 3:
            return []
        new = w.written + 1
        return [(f"user writes {new}", replace(w, path=new, written=new))]

    def of_worker(self, w: World, n: int) -> list[tuple[str, World]]:
        doing = w.workers[n]
        if doing[0] in {"done", "stopped", "dead"}:
            return []
        found = [(f"w{n} {' '.join(doing)}", each) for each in self.act(w, n, *doing)]
        if w.crashes and doing[0] != "make":
            found.append((f"w{n} dies", replace(w.go(n, "dead"), crashes=w.crashes - 1)))
        return found

    def act(self, w: World, n: int, what: str, *rest: str) -> list[World]:
        found: list[World] = getattr(self, what)(w, n, *rest)
        return found

    def make(self, w: World, n: int) -> list[World]:
        if n and w.chains[n - 1] is None:
            return []  # one after the other: which of them is first makes no difference
        return [w.place(n, at=QUARANTINE).go(n, "claim")]

    def claim(self, w: World, n: int) -> list[World]:
        if w.acked:
            return [w.place(n, at=REMOVED).go(n, "done")]
        chain = () if w.token < 0 else (*(w.chains[w.token] or ()), w.token)
        chains = list(w.chains)
        found = []
        for known, losses in ((chain, w.losses), ((), w.losses - 1)):
            if losses >= 0 and (known == chain or chain):
                chains[n] = known
                first = ("fence", str(len(known) - 1)) if known else ("check", "take")
                found.append(replace(w, chains=tuple(chains), token=n, losses=losses).go(n, *first))
        return found

    def fence(self, w: World, n: int, i: str) -> list[World]:
        old = (w.chains[n] or ())[int(i)]
        if w.dirs[old].at == QUARANTINE and w.dirs[n].at != REMOVED:
            w = w.place(old, at=n)
        then = ("fence", str(int(i) - 1)) if int(i) else ("check", "empty")
        return [w.go(n, *then)]

    def check(self, w: World, n: int, *then: str) -> list[World]:
        return [w.go(n, *then) if w.dirs[n].at == QUARANTINE else w.go(n, "stopped")]

    def inside(self, w: World, n: int) -> int | None:
        """The innermost directory that lies in this one."""
        for m, place in enumerate(w.dirs):
            if place.at == n:
                deeper = self.inside(w, m)
                return m if deeper is None else deeper
        return None

    def empty(self, w: World, n: int) -> list[World]:
        old = self.inside(w, n)
        return [w.go(n, "take") if old is None else w.go(n, "look_into", str(old))]

    def look_into(self, w: World, n: int, old: str) -> list[World]:
        place = w.dirs[int(old)]
        order = ["held", "file"] if self.without != "held first" else ["file", "held"]
        seen = [each for each in order if getattr(place, each)]
        return [w.go(n, "bring", old, *seen)]

    def bring(self, w: World, n: int, old: str, *seen: str) -> list[World]:
        o = int(old)
        if not seen:
            if self.without == "removing the directory":
                return [w.place(o, at=QUARANTINE + "!").go(n, "take")]
            if not w.dirs[o].empty or any(d.at == o for d in w.dirs):
                return [w.go(n, "empty")]
            return [w.place(o, at=REMOVED).go(n, "empty")]
        if w.dirs[n].at == REMOVED:
            return [w.go(n, "stopped")]
        if seen[0] == "held" and w.dirs[o].held:
            w = w.place(o, held=False).place(n, held=True)
        if seen[0] == "file" and w.dirs[o].file:
            if w.dirs[n].file:
                w = replace(w, parked=w.parked | {w.dirs[o].file}).place(o, file=0)
            else:
                w = w.place(n, file=w.dirs[o].file).place(o, file=0)
        return [w.go(n, "bring", old, *seen[1:])]

    def take(self, w: World, n: int) -> list[World]:
        if w.dirs[n].held:
            return [w.go(n, "settle", "path")]
        if not w.held:
            return self.check(w, n, "find")
        if w.dirs[n].at == REMOVED:
            return [w.go(n, "stopped")]
        return [replace(w, held=False).place(n, held=True).go(n, "settle", "path")]

    def find(self, w: World, n: int) -> list[World]:
        """Look in the directories of others for what a claim that was lost has left."""
        for m, place in enumerate(w.dirs):
            if m != n and place.at == QUARANTINE and place.held and w.dirs[n].at != REMOVED:
                return [w.place(m, held=False).place(n, held=True).go(n, "find_file", str(m))]
        return [w.go(n, "ack")]

    def find_file(self, w: World, n: int, m: str) -> list[World]:
        free = not w.dirs[n].file or self.without == "over nothing"
        if w.dirs[int(m)].file and free and w.dirs[n].at != REMOVED:
            w = w.place(n, file=w.dirs[int(m)].file).place(int(m), file=0)
        return [w.go(n, "settle", "path")]

    def settle(self, w: World, n: int, then: str) -> list[World]:
        """Look at what was taken, then compare it with the held link."""
        seen = w.dirs[n].file
        return [w.go(n, then) if not seen else w.go(n, "compare", str(seen), then)]

    def compare(self, w: World, n: int, seen: str, then: str) -> list[World]:
        if not w.dirs[n].held:
            if self.without == "stop without held link":
                return [w.go(n, "back", then)]
            return self.check(w, n, "back", then)
        return [w.go(n, "unlink" if seen == "1" else "back", then)]

    def unlink(self, w: World, n: int, then: str) -> list[World]:
        file = w.dirs[n].file
        if not file:
            return [w.go(n, "stopped")]
        if file != 1:
            raise Trap(f"file {file} is destroyed")
        return [w.place(n, file=0).go(n, then)]

    def back(self, w: World, n: int, then: str) -> list[World]:
        file = w.dirs[n].file
        if not file:
            return [w.go(n, "stopped")]
        if w.path in {0, file}:
            return [replace(w, path=file).go(n, "unname", then)]
        return [replace(w, parked=w.parked | {file}).place(n, file=0).go(n, then)]

    def unname(self, w: World, n: int, then: str) -> list[World]:
        if not w.dirs[n].file:
            return [w.go(n, "stopped")]
        return [w.place(n, file=0).go(n, then)]

    def path(self, w: World, n: int) -> list[World]:
        if w.path != 1:
            return self.check(w, n, "settle_again")
        return [w.go(n, "rename")] if w.dirs[n].held else self.check(w, n, "settle_again")

    def rename(self, w: World, n: int) -> list[World]:
        if w.path and w.dirs[n].at != REMOVED:
            if w.dirs[n].file:
                raise Trap(f"file {w.dirs[n].file} is overwritten")
            w = replace(w, path=0).place(n, file=w.path)
        return self.check(w, n, "settle_again")

    def settle_again(self, w: World, n: int) -> list[World]:
        return self.settle(w, n, "let_go")

    def let_go(self, w: World, n: int) -> list[World]:
        if not w.dirs[n].held:
            return [w.go(n, "stopped")]
        return [w.place(n, held=False).go(n, "ack")]

    def ack(self, w: World, n: int) -> list[World]:
        if w.token == n:
            w = replace(w, acked=True)
        if w.dirs[n].at == QUARANTINE and w.dirs[n].empty and not any(d.at == n for d in w.dirs):
            w = w.place(n, at=REMOVED)
        return [w.go(n, "done")]


def explore(model: Model, workers: int = 2, crashes: int = 1, losses: int = 0) -> int:
    """Visit every state; raises a Trap with the shortest way to it."""
    start = World(
        dirs=(Place(),) * workers,
        workers=(("make",),) * workers,
        chains=(None,) * workers,
        crashes=crashes,
        losses=losses,
    )
    came: dict[World, tuple[World | None, str]] = {start: (None, "")}
    queue = [start]
    for world in queue:
        try:
            found = model.steps(world)
            if not [step for step in found if not step[0].startswith("user")]:
                at_the_end(model, world)
        except Trap as trap:
            raise Trap(f"{trap}: {way(came, world)}") from None
        for name, then in found:
            if then not in came:
                came[then] = (world, name)
                queue.append(then)
    return len(came)


def way(came, world) -> str:
    steps = []
    while came[world][0] is not None:
        world, name = came[world]
        steps.append(name)
    return " > ".join(reversed(steps))


def at_the_end(model: Model, world: World) -> None:
    """Let one more worker finish what is left, with nobody beside it; then look."""
    lost = world.losses < 1 and any(chain == () for chain in world.chains[1:])
    if not world.acked:
        n = len(world.dirs)
        world = replace(
            world,
            dirs=(*world.dirs, Place()),
            workers=(*world.workers, ("make",)),
            chains=(*(chain if chain is not None else () for chain in world.chains), None),
            crashes=0,
            losses=0,
        )
        while True:
            steps = model.of_worker(world, n)
            if not steps:
                break
            [(_, world)] = steps
    left = world.names_of(1)
    if left and not lost:
        raise Trap(f"file 1 has {left} names: {world}")
    if world.written > 1 and not world.names_of(world.written):
        raise Trap(f"file {world.written} is gone")


@pytest.mark.parametrize(
    ("workers", "crashes"), [(2, 2), pytest.param(3, 1, marks=pytest.mark.torture)]
)
def test_late_workers_and_a_user_destroy_nothing_foreign_and_leave_nothing(workers, crashes):
    assert explore(Model(), workers, crashes) > 1000


def test_a_claim_that_a_failover_lost_destroys_nothing_foreign():
    assert explore(Model(), 2, 1, losses=1) > 1000


@pytest.mark.parametrize(
    "rule",
    ["held first", "removing the directory", "stop without held link", "over nothing"],
)
def test_the_model_sees_each_trap(rule):
    with pytest.raises(Trap):
        explore(Model(without=rule), 2, 2, losses=1)
