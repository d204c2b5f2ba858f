"""What stands where in the model of epochs: in the index, on the disks, in the hands of writers, and in truth."""

from __future__ import annotations

from typing import Any, NamedTuple


class Entry(NamedTuple):
    """When it was made (counted, over all servers), and its number in its chain. In a removed file: number 0."""

    born: int
    n: int


class Root(NamedTuple):
    """What an index knows of a root; `mark`: since when any older entry may be shown once, 0 for none."""

    notes: tuple[Entry, ...] = ()
    seen: bool = False
    blobs: bool = True
    mark: int = 0


class Index(NamedTuple):
    roots: tuple[Root, ...]
    chain: tuple[Entry, ...] = ()
    #: What may be deleted: "due", "doomed" or "reserved"; "kept" once a change saved it, "none" where nothing is known of it.
    item: str = "due"
    #: Somebody released it by name, after accept if accept was said.
    released: bool = False
    bound: bool = False
    frozen: bool = False
    #: When it was made or emptied.
    born: int = 0


class Writer(NamedTuple):
    """A slow one: how many of its steps are done (-1: all but the last), what it was shown, what it was told to write and when."""

    root: int
    server: int
    done: int = 0
    shown: Entry | None = None
    answer: Entry | None = None
    asked: int = 0


class Copy(NamedTuple):
    """A snapshot or a replica that lags: how many entries were pushed since, and whether a second may not have passed."""

    data: Index
    made: int
    pushed: int = 0
    soon: bool = True


class Left(NamedTuple):
    """How often each may still happen."""

    pushes: int = 0
    restores: int = 0
    forks: int = 0
    flushes: int = 0
    changes: int = 0
    kills: int = 0
    slow: int = 0
    absences: int = 0
    removals: int = 0
    accepts: int = 0
    stores: int = 0
    releases: int = 0


class World(NamedTuple):
    #: Two after a fork.
    servers: tuple[Index, ...]
    #: By root; None: there never was a file.
    disk: tuple[Entry | None, ...]
    left: Left
    copy: Copy | None = None
    #: When the change was made that saved the item; 0: nothing saved it.
    kept: int = 0
    #: The roots that could tell that this change was lost, and those of them that were away at some time since.
    proof: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    accepted: bool = False
    #: By server: whether there is cause to freeze.
    may_freeze: tuple[bool, ...] = (False,)
    #: The roots that nobody looked at since the last restart.
    unseen: frozenset[int] = frozenset()
    away: frozenset[int] = frozenset()
    writers: tuple[Writer, ...] = ()
    #: When the snapshot of the second server was made, and whether an entry made since has reached a disk.
    forked: int = 0
    spoken: bool = False
    now: int = 1

    def spend(self, what: str) -> World:
        return self._replace(left=self.left._replace(**{what: getattr(self.left, what) - 1}))

    def with_index(self, k: int, index: Index) -> World:
        return self._replace(servers=put(self.servers, k, index))

    def read(self, r: int) -> Entry | None:
        file = self.disk[r]
        return file if file and file.n else None

    def with_file(self, r: int, entry: Entry | None) -> World:
        return self._replace(disk=put(self.disk, r, entry))


def put(items: tuple[Any, ...], n: int, item: object) -> tuple[Any, ...]:
    return (*items[:n], item, *items[n + 1 :])


def with_root(index: Index, r: int, root: Root) -> Index:
    return index._replace(roots=put(index.roots, r, root))


def restored(**left: int) -> World:
    """As `running`, but just restored: the second root has an entry of the life that was lost, made after the item was saved."""
    world = running(2, "due", **left).with_file(1, Entry(4, 4))
    everybody = frozenset(range(2))
    world = world._replace(kept=4, proof=frozenset({1}), unseen=everybody, may_freeze=(True,))
    return world._replace(now=5)


def empty(roots: int = 2, **left: int) -> World:
    """Nothing was ever stored."""
    index = Index((Root(blobs=False),) * roots, item="none")
    return World((index,), (None,) * roots, Left(**left))


def running(roots: int = 2, item: str = "due", **left: int) -> World:
    """Three entries were pushed, every root has the second and was shown with it."""
    chain = tuple(Entry(n, n) for n in (1, 2, 3))
    index = Index((Root(notes=chain[1:], seen=True),) * roots, chain, item)
    return World((index,), (chain[1],) * roots, Left(**left), now=4)


def accepted(**left: int) -> World:
    """As `running`, but the second root was not looked at since accept; its entry is of the life that was lost."""
    world = running(2, "due", **left)
    index = with_root(world.servers[0], 1, Root(mark=1))
    return world.with_index(0, index).with_file(1, Entry(0, 4))


def growing(**left: int) -> World:
    """As `running`, but the second root is new: there is no file, and the index knows nothing of it."""
    world = running(2, "due", **left)
    index = with_root(world.servers[0], 1, Root(blobs=False))
    return world.with_index(0, index).with_file(1, None)


def saved(world: World) -> World:
    """The same world after a snapshot and a change that saved the item."""
    index = world.servers[0]
    world = world.with_index(0, index._replace(item="kept"))
    return world._replace(copy=Copy(index, world.now), kept=world.now)


def overtaken(**left: int) -> World:
    """A slow writer is about to rename an entry made after the item was saved; the snapshot is older than that."""
    world = running(1, "due", **left)
    older, mine = world.servers[0], world.disk[0]
    chain = tuple(Entry(n, n) for n in (2, 3, 4, 5, 6))
    copy = Copy(older._replace(chain=chain[:3]), made=5, pushed=2, soon=False)
    index = with_root(older, 0, Root(notes=(*chain[:4],), seen=True))
    index = index._replace(chain=chain[-3:], item="kept")
    writer = Writer(0, 0, done=-1, shown=mine, answer=chain[3])
    return world._replace(servers=(index,), copy=copy, kept=5, writers=(writer,), now=7)


#: What the suite explores, and what the torture lane does.
WORLDS = {
    "a restore": running(1, pushes=4, restores=1, changes=1),
    "a restore with two roots": running(pushes=2, restores=1, changes=1),
    "just restored": restored(pushes=4, absences=1),
    "a removed file": running(1, pushes=3, restores=1, changes=1, removals=1),
    "killed writers": running(1, pushes=5, restores=1, kills=4),
    "a root that was away": running(pushes=4, kills=1, absences=1),
    "a flush": empty(pushes=3, flushes=1, stores=1),
    "a new index": empty(pushes=2, restores=1, changes=1, stores=1),
    "a new root": saved(growing(pushes=3, restores=1, stores=1)),
    "slow writers": running(1, pushes=2, restores=1, changes=1, slow=2),
    "slow writers and a flush": empty(1, pushes=3, flushes=1, stores=1, slow=2),
    "a slow writer and accept": running(1, pushes=3, restores=1, accepts=1, slow=1),
    "an overtaken writer": overtaken(pushes=1, restores=1, slow=1),
    "a fork": running(1, pushes=3, forks=1, slow=1),
    "a fork that grows": running(1, pushes=6, forks=1),
    "accept": running(pushes=3, restores=1, accepts=1),
    "accept of what is due": running(
        1, "due", pushes=3, restores=1, changes=1, accepts=1, releases=1
    ),
    "accept of what is in grace": running(
        1, "doomed", pushes=3, restores=1, changes=1, accepts=1, releases=1
    ),
    "accept of what is reserved": running(
        1, "reserved", pushes=3, restores=1, changes=1, accepts=1
    ),
    "after accept": saved(accepted(pushes=3, restores=1)),
    "after accept, and a failover": accepted(pushes=2, restores=1),
    "a writer that is late": running(1, pushes=4, slow=1),
}
LARGER = {
    "a restore": running(pushes=3, restores=1, changes=1),
    "a restore, and a root away": running(pushes=3, restores=1, changes=1, absences=1),
    "killed writers": running(pushes=4, restores=1, kills=3),
    "a new root": growing(pushes=2, restores=1, changes=1, stores=1),
    "a flush and a restore": empty(pushes=2, restores=1, changes=1, stores=1, flushes=1),
    "slow writers": running(1, pushes=3, restores=1, changes=1, slow=2),
    "slow writers of two roots and accept": running(pushes=3, restores=1, accepts=1, slow=1),
    "a fork": running(1, pushes=4, forks=1, slow=2),
    "accept": running(pushes=3, restores=1, changes=1, accepts=1, releases=1),
}
