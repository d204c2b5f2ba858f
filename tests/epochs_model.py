"""Every order in which roots are looked at, entries are noted and written, and an index goes back in time.

A model of epochs: what tells an index that lost changes from one that did not. Each step is one script or one file call.
All states within the bounds of a `Left` are visited, the nearest first, so that a `Trap` tells the shortest way to it:
- *deleted*: something is claimed or expired although a change had saved it that the index lost, and a root that is there
  has an entry younger than that change; or, after accept, before the bound ends;
- *frozen*: the namespace is frozen although nothing was lost, or only the last second, or all (FLUSHALL), or what was
  accepted, and no file was removed, and no second server is there;
- *both*: two servers of one snapshot go on at one root after one of them has written there.

Time is told by entries: one is pushed only if the newest is older than a minute. That a root is new, and that an entry is
unknown, is said after a second reading of the file. Nobody claims until every root that is there was looked at after a
restart: in the product a pause sees to it. Two kinds of roots cannot tell what was lost: one that is away, and one of which
a restored index has noted nothing, if what it shows was made before that index.
"""

from __future__ import annotations

import argparse

from tests.epochs_scripts import RULES, Scripts
from tests.epochs_world import (
    LARGER,
    WORLDS,
    Copy,
    Entry,
    Index,
    Root,
    World,
    Writer,
    put,
    with_root,
)

Step = tuple[str, World]


class Trap(AssertionError):
    pass


class Model(Scripts):
    """The steps of sweepers, slow writers, people and servers."""

    def steps(self, w: World) -> list[Step]:
        if len(w.servers) == 1 and w.servers[0].frozen and not w.left.accepts:
            return []
        found: list[Step] = []
        for k, index in enumerate(w.servers):
            for r in range(len(w.disk)):
                if not index.frozen and r not in w.away:
                    found += self.of_root(w, k, r)
        return [*found, *self.of_writers(w), *self.of_people(w), *self.of_servers(w)]

    def of_root(self, w: World, k: int, r: int) -> list[Step]:
        by = f"r{r}" if len(w.servers) == 1 else f"r{r} by server {'AB'[k]}"
        looked = self.look(w, k, r, w.read(r))
        if looked is None:
            w = w._replace(unseen=w.unseen - {r})
            return [(f"look {by}, frozen", self.freeze(w, k, r))]
        self.claim(looked, k, r)
        found = [(f"look {by}", looked)]
        for push in (True, False)[not w.left.pushes :]:
            then, answer = self.tick(w, k, r, w.read(r), push=push) or (w, None)
            name = f"{'push' if push else 'tick'} {by}"
            wrote = self.write(then, r, answer)
            found.append((f"{name}{f', file {answer.born}' if answer else ''}", wrote))
            if w.left.kills and wrote != then:
                found.append((f"{name}, killed before the file", then.spend("kills")))
        if w.left.slow:
            writers = (*w.writers, Writer(r, k))
            found.append((f"a writer of {by} begins", w._replace(writers=writers).spend("slow")))
        return found

    def freeze(self, w: World, k: int, r: int) -> World:
        if not w.may_freeze[k]:
            raise Trap(f"frozen by a look at r{r}")
        if not self.rule("whole"):
            return w
        return w.with_index(k, w.servers[k]._replace(frozen=True))

    def claim(self, w: World, k: int, r: int) -> None:
        """What a sweep may do now that its look at the root has passed."""
        paused = w.unseen - w.away and self.rule("pause")
        if paused or not w.kept or not self.claimable(w.servers[k]):
            return
        if (w.accepted and w.servers[k].bound) or r in w.proof or w.proof - w.late:
            raise Trap(f"deleted by a claim in r{r}")

    def one_goes_on(self, w: World) -> None:
        on = [each for each in w.servers if not each.frozen and self.known(each, 0, w.read(0))]
        if w.spoken and len(on) > 1:
            raise Trap("both go on")

    # Writers

    def write(self, w: World, r: int, answer: Entry | None) -> World:
        """All that a quick one does."""
        if answer is None or answer == w.read(r):
            return w
        there = [each for each in w.writers if each.root == r and self.has_temp(each)]
        if not self.rule("announce") and any(o.answer.n == answer.n for o in there if o.answer):
            return w  # the temporary file of this number exists
        if self.rule("clear"):
            w = w._replace(writers=self.cleared(w.writers, r, answer))
        return self.rename(w, r, answer)

    def rename(self, w: World, r: int, answer: Entry) -> World:
        spoken = w.spoken or bool(w.forked and answer.born >= w.forked)
        return w._replace(spoken=spoken).with_file(r, answer)

    def of_writers(self, w: World) -> list[Step]:
        found = []
        for i, each in enumerate(w.writers):
            if each.root in w.away or w.servers[each.server].frozen:
                continue
            rest = w._replace(writers=put(w.writers, i, each._replace(root=-1)))
            for name, then, writer in self.of_writer(rest, each):
                kept = [writer if o.root < 0 else o for o in then.writers]
                writers = tuple(o for o in kept if o is not None)
                found.append((f"writer {i + 1} {name}", then._replace(writers=writers)))
        return found

    def of_writer(self, w: World, each: Writer) -> list[tuple[str, World, Writer | None]]:
        r, what, go = each.root, self.order[each.done], each._replace(done=each.done + 1)
        if what == "temp":
            return [("makes its temporary file", w, go)]
        if what == "read":
            return [(f"reads r{r}", w, go._replace(shown=w.read(r)))]
        if what == "tick":
            return self.slow_tick(w, each, go)
        if what == "clear":
            if not self.rule("announce") and w.now - each.asked >= 2:
                return []  # more than 30 s since the answer
            kept = self.cleared(w.writers, r, each.answer) if self.rule("clear") else w.writers
            return [("removes the others'", w._replace(writers=kept), go)]
        if what == "compare":
            return [("reads again", w, go if w.read(r) == each.shown else None)]
        assert each.answer is not None
        return [(f"renames {each.answer.born}", self.rename(w, r, each.answer), None)]

    def slow_tick(
        self, w: World, each: Writer, go: Writer
    ) -> list[tuple[str, World, Writer | None]]:
        r, k, found = each.root, each.server, []
        if not w.servers[k].roots[r].notes and self.rule("clear first"):
            go = go._replace(shown=w.read(r))
        for push in (True, False)[not w.left.pushes :]:
            done = self.tick(w, k, r, go.shown, push=push)
            if done is None:
                if go.shown != w.read(r) and self.rule("twice"):
                    return [("shows what has changed since", w, None)]
                return [("shows what is not known", self.freeze(w, k, r), None)]
            then, answer = done
            writer = go._replace(answer=answer, asked=then.now)
            idle = answer is None or answer == go.shown
            name = "ticks and pushes" if push else "ticks"
            found.append((name, then, None if idle else writer))
        return found

    # People

    def of_people(self, w: World) -> list[Step]:
        found, left, index = [], w.left, w.servers[0]
        if left.changes and index.item not in {"kept", "none"} and not w.kept:
            then = w.with_index(0, index._replace(item="kept", released=False)).spend("changes")
            found.append(("a change saves it", then._replace(kept=w.now)))
        if left.releases and index.item != "none":
            then = w.with_index(0, index._replace(item="doomed", released=True)).spend("releases")
            found.append(("release", then._replace(kept=0, proof=frozenset())))
        if index.bound:
            then = w.with_index(0, index._replace(bound=False))
            found.append(("a day passes", then._replace(kept=0, proof=frozenset())))
        if index.frozen and left.accepts and 0 not in w.away:
            found.append(("accept", self.accept(w)))
        for r in range(len(w.disk)):
            found += self.of_disk(w, r)
        return found

    def of_disk(self, w: World, r: int) -> list[Step]:
        found, root = [], w.servers[0].roots[r]
        if r in w.away:
            return [(f"r{r} comes back", w._replace(away=w.away - {r}))]
        if w.left.absences:
            then = w._replace(away=w.away | {r}, late=w.late | {r}).spend("absences")
            found.append((f"r{r} goes away", then))
        if w.left.stores and not root.blobs and r not in w.unseen:
            found.append((f"store in r{r}", self.store(w, r)))
        file = w.read(r)
        if w.left.removals and file:
            proof = w.proof if root.seen else w.proof - {r}
            then = w.with_file(r, file._replace(n=0)).spend("removals")
            then = then._replace(proof=proof, may_freeze=(True,))
            found.append((f"the file of r{r} is removed", then))
        return found

    def store(self, w: World, r: int) -> World:
        index = w.servers[0]
        root = index.roots[r]._replace(blobs=True)
        item = "due" if index.item == "none" else index.item
        w = w.with_index(0, with_root(index, r, root)._replace(item=item)).spend("stores")
        return w._replace(now=w.now + 1)

    def accept(self, w: World) -> World:
        """Said at the host of the first root."""
        index, roots = w.servers[0], []
        for root in index.roots:
            known = root.notes or root.blobs or root.mark
            roots.append(Root(blobs=root.blobs, mark=w.now) if known else root)
        index = Index(tuple(roots), index.chain, index.item, bound=True, born=index.born)
        w = w.with_index(0, index).spend("accepts")
        w = w._replace(proof=frozenset(), accepted=True, may_freeze=(False,))
        looked = self.look(w, 0, 0, w.read(0))
        assert looked is not None
        return looked

    # Servers

    def of_servers(self, w: World) -> list[Step]:
        found, left, index = [], w.left, w.servers[0]
        if w.copy is None and left.restores + left.forks and not index.frozen:
            found.append(("snapshot", w._replace(copy=Copy(index, w.now))))
        if w.copy and left.restores:
            words = "failover" if w.copy.soon else "restore"
            found.append((words, self.restore(w, w.copy).spend("restores")))
        if w.copy and left.forks:
            then = w._replace(servers=(index, w.copy.data), copy=None, forked=w.copy.made)
            found.append(("fork", then._replace(may_freeze=(True, True)).spend("forks")))
        if left.flushes:
            index = Index((Root(blobs=False),) * len(w.disk), item="none", born=w.now)
            found.append(("FLUSHALL", w.with_index(0, index).spend("flushes")))
        return found

    def restore(self, w: World, copy: Copy) -> World:
        index, kept, roots = copy.data, w.kept, range(len(w.disk))
        proof = frozenset(r for r in roots if self.proves(index, r, w.disk[r], kept))
        if index.item == "kept" or not proof:
            proof, kept = frozenset(), kept if index.item == "kept" else 0
        may = w.may_freeze[0] or not copy.soon
        w = w._replace(servers=(index,), copy=None, kept=kept, proof=proof, late=w.away)
        return w._replace(unseen=frozenset(roots), may_freeze=(may,), accepted=False)

    def proves(self, index: Index, r: int, file: Entry | None, kept: int) -> bool:
        """Whether the root can tell that a change made at `kept` was lost."""
        root = index.roots[r]
        if file is None or file.born < kept:
            return False
        if not file.n:
            return root.seen
        return file.born >= index.born or bool(root.notes)


def explore(model: Model, first: World) -> dict[World, tuple[World | None, str]]:
    """Every state, and how it was come to. Raises a Trap with the shortest way to it."""
    came: dict[World, tuple[World | None, str]] = {first: (None, "")}
    queue = [first]
    for world in queue:
        try:
            model.one_goes_on(world)
            found = model.steps(world)
        except Trap as trap:
            raise Trap(f"{trap}: {way(came, world)}") from None
        for name, then in found:
            if then not in came:
                came[then] = (world, name)
                queue.append(then)
    return came


def way(came: dict[World, tuple[World | None, str]], world: World) -> str:
    steps = []
    before, name = came[world]
    while before is not None:
        steps.append(name)
        before, name = came[before]
    return " > ".join(reversed(steps))


def main() -> None:
    """Explore, as a script: `python -m tests.epochs_model --larger --without compare "a fork"`."""
    parser = argparse.ArgumentParser(description="Explore the model of epochs.")
    parser.add_argument("worlds", nargs="*", help="which worlds; all if none is named")
    parser.add_argument("--larger", action="store_true", help="those of the torture lane")
    parser.add_argument("--without", nargs="+", default=[], choices=RULES, metavar="RULE")
    asked = parser.parse_args()
    for name, world in (LARGER if asked.larger else WORLDS).items():
        if asked.worlds and name not in asked.worlds:
            continue
        try:
            print(f"{name}: {len(explore(Model(*asked.without), world))} states", flush=True)
        except Trap as trap:
            print(f"{name}: {trap}", flush=True)


if __name__ == "__main__":
    main()
