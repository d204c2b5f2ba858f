"""`rebuild` that is stopped, doubled, or at work beside a fleet; and drains that are stopped."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count

import pytest

from mediastore import MediaStore
from mediastore.index import sidecars as index

from .lab import Crash, Fuse
from .lanes import mostly_real
from .sidecar_fixtures import PNG, known, many_lives, planted, put, sharing, told, told_blob, tree  # noqa: F401 - a fixture


@mostly_real
def test_a_rebuild_that_is_stopped_anywhere_comes_to_the_same_when_it_is_called_again(labs):
    """Before and after each call, with sweeps and time in between."""
    points = 0
    for number in count():
        for after in (False, True):
            lab = next(labs)
            process = lab.process()
            refs = [put(process, bytes([n]), scope=f"s/{n}", ttl="2h") for n in range(4)]
            refs += [process.share(refs[0], "t", ttl="2h") for _ in range(12)]
            process.drain()
            before = known(process, refs)
            lab.client.flushall()
            crashed = False
            with lab.fused(Fuse(at=number, after=after)) as doomed:
                try:
                    doomed.rebuild()
                except Crash:
                    crashed = True
            lab.settle()
            done = lab.process().rebuild()

            assert done.refs + done.known == len(refs), number
            assert known(lab.process(), refs) == before
            stats = lab.process().stats()
            assert (stats.refs, stats.blobs, stats.stored_refs) == (len(refs), 4, len(refs))
            points += 1
            if not crashed:
                assert points > 6
                return
            for scope in ("s", "t"):
                lab.process().release_all(scope)
            lab.pass_time(61)
            lab.settle()
            assert lab.files() == {}
            assert lab.leftovers() == []


@mostly_real
def test_a_drain_that_is_stopped_anywhere_is_finished_by_the_next(labs):
    for number in count():
        for after in (False, True):
            lab = next(labs)
            process = lab.process()
            refs = [put(process, bytes([n]), scope=f"s/{n}", ttl="2h") for n in range(2)]
            refs.append(process.share(refs[0], "t", ttl="2h"))
            process.drain()
            process.touch(refs[2], "3h")
            process.transfer(refs[1], "u")
            process.delete_media(refs[0])
            crashed = False
            with lab.fused(Fuse(at=number, after=after)) as doomed:
                try:
                    doomed.drain()
                except Crash:
                    crashed = True
            lab.settle()
            before = known(lab.process(), refs[1:])
            assert set(told(lab.root)) == {ref.id for ref in refs[1:]}
            lab.client.flushall()

            assert lab.process().rebuild().refs == 2
            assert known(lab.process(), refs[1:]) == before
            for scope in ("t", "u"):
                lab.process().release_all(scope)
            lab.settle()
            assert (lab.files(), lab.leftovers()) == ({}, [])
            if not crashed:
                assert number > 5
                return


def test_two_rebuilders_make_each_ref_once(clients, settings, client):
    with MediaStore(clients(), settings) as store:
        first = [put(store, str(n).encode(), scope=f"s/{n}") for n in range(30)]
        refs = first + [store.share(ref, "t") for ref in first]
        store.drain()
        client.flushall()
        done = []

        def work():
            with MediaStore(clients(), settings) as mine:
                done.append(mine.rebuild())

        crew = [threading.Thread(target=work) for _ in range(3)]
        for each in crew:
            each.start()
        for each in crew:
            each.join(60)

        assert sum(each.refs for each in done) == len(refs)
        assert sum(each.blobs for each in done) == 30
        assert all(each.refs + each.known == len(refs) for each in done)
        stats = store.stats()
        assert (stats.refs, stats.blobs, stats.stored_refs) == (len(refs), 30, len(refs))


class Bot(threading.Thread):
    """Stores, shares and releases equal content until it is over; `trouble` is what it met."""

    def __init__(self, store, number, over):
        super().__init__()
        self.store, self.number, self.over, self.trouble = store, number, over, None

    def run(self):
        with self.store as mine:
            for n in count():
                if self.over.is_set() or self.trouble:
                    return
                try:
                    self.live(mine, n)
                except Exception as error:
                    self.trouble = error

    def live(self, mine, n):
        scope = f"bot/{self.number}/{n}"
        ref = put(mine, str(n % 7).encode(), scope=scope)
        assert mine.resolve(ref).read_bytes() == str(n % 7).encode()
        mine.touch(mine.share(ref, scope), "1h")
        mine.release_all(scope)
        mine.drain()


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_a_fleet_that_works_on_loses_nothing_and_keeps_nothing(
    clients, settings, client, media, expect_empty
):
    settings = replace(settings, dedup=True)
    over = threading.Event()
    with MediaStore(clients(), settings) as store:
        refs = [put(store, b"kept" + str(n).encode(), scope=f"kept/{n}") for n in range(60)]
        refs += [put(store, str(n).encode(), scope="kept") for n in range(7)]
        refs += [store.share(ref, "kept/more") for ref in refs]
        store.drain()
        before = known(store, refs)
        client.flushall()
        crew = [Bot(MediaStore(clients(), settings), n, over) for n in range(3)]
        for each in crew:
            each.start()
        done = store.rebuild()
        over.set()
        for each in crew:
            each.join(60)

        assert [each.trouble for each in crew] == [None] * 3
        assert done.refs + done.known >= len(refs)
        assert known(store, refs) == before
        assert all(store.resolve(ref).exists() for ref in refs)
        assert store.stats().refs == len(refs)
        store.release_all("kept")
        store.sweep()
        assert [path.name for path in media.iterdir()] == [".mediastore"]
        expect_empty()


def test_a_large_root_is_walked_in_bounded_batches(other, client, monkeypatch):
    refs = [put(other, str(n).encode(), scope=f"s/{n % 3}") for n in range(45)]
    client.flushall()
    sizes = []
    revive = index.revive

    def counting(root, told, *args):
        sizes.append(len(told))
        return revive(root, told, *args)

    monkeypatch.setattr(index, "revive", counting)

    assert other.rebuild().refs == len(refs)

    assert max(sizes) <= 10
    assert len(sizes) == 5
