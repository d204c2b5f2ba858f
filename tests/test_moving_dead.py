"""A dead ref moves nowhere and nothing changes; a move that races a release came first or found it dead."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

import pytest

from mediastore import NEVER, MediaStore
from mediastore.errors import InvalidRef, RefGone, RefUnknown
from mediastore.index.steps import END_BATCH

from .lifetimes import UNKNOWN, fill, index_of, is_gone, one_lane

# --- the dead


MOVES = {
    "touch": lambda store, ref: store.touch(ref),
    "touch for ever": lambda store, ref: store.touch(ref, NEVER),
    "pin": lambda store, ref: store.pin(ref),
    "unpin": lambda store, ref: store.unpin(ref),
    "transfer": lambda store, ref: store.transfer(ref, "new/scope"),
    "promote": lambda store, ref: store.promote(ref),
    "share": lambda store, ref: store.share(ref, "new/scope"),
    "delete_media": lambda store, ref: store.delete_media(ref),
}


def released(lab, store, ref):
    store.release_all("s/x")


def closed(lab, store, ref):
    store.store(lab.file("below", "b"), scope="s/x/below")
    store.release_all("s", wait=False)


def expired(lab, store, ref):
    lab.pass_time(10)


def expired_and_swept(lab, store, ref):
    lab.pass_time(10)
    lab.process().sweep()


def deleted(lab, store, ref):
    store.delete_media(ref)


ENDS = [
    (released, "released"),
    (closed, "released"),
    (expired, "expired"),
    (expired_and_swept, "expired"),
    (deleted, "deleted"),
]


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize(("end", "reason"), ENDS, ids=lambda each: getattr(each, "__name__", ""))
@one_lane
def test_a_dead_ref_is_refused_by_all_and_nothing_changes(lab, end, reason, pinned):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s/x", ttl=10)
    store.share(ref, "elsewhere", ttl="1h")
    if pinned and reason != "expired":
        store.pin(ref)
    end(lab, store, ref)
    before = index_of(lab.client, lab.settings)

    for move in MOVES.values():
        for process in (store, lab.process()):
            with pytest.raises(RefGone) as caught:
                move(process, ref)
            assert (caught.value.reason, caught.value.ref) == (reason, ref)

    assert index_of(lab.client, lab.settings) == before


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_ref_that_nobody_knows_is_refused(store, move, client, settings, expect_empty):
    with pytest.raises(RefUnknown):
        move(store, UNKNOWN)
    for text in ("media://short", "cat.jpg", None):
        with pytest.raises(InvalidRef):
            move(store, text)

    expect_empty()


# --- races


RACES = {
    "transfer": lambda store, ref: store.transfer(ref, "safe"),
    "promote": lambda store, ref: store.promote(ref),
    "share": lambda store, ref: store.share(ref, "safe"),
    "touch": lambda store, ref: store.touch(ref, "2h"),
    "delete_media": lambda store, ref: store.delete_media(ref),
}
each_race = pytest.mark.parametrize("verb", RACES)
each_size = pytest.mark.parametrize("size", [1, END_BATCH + 1], ids=["inline", "by a mark"])


def judge(store, verb, ref, moved, path, done, size):
    """Check that a move came before a release of the ref's scope, or found the ref dead; say whether it came before."""
    came_first = not isinstance(moved, RefGone)
    if came_first and verb in {"transfer", "promote", "share"}:
        mine = moved if verb == "share" else ref
        assert store.resolve(mine) == path
        assert [media.ref for media in store.refs("safe")] == [mine]
        assert done.refs == (size if verb == "share" else size - 1)
    else:
        assert is_gone(store, ref)
        assert store.refs("safe") == []
        assert done.refs == (size - 1 if came_first and verb == "delete_media" else size)
    if verb == "share":
        assert is_gone(store, ref)
    store.release_all("safe")
    assert (store.stats().refs, store.stats().blobs, path.exists()) == (0, 0, False)
    return came_first


@one_lane
@each_size
@each_race
def test_a_release_between_any_two_steps_of_a_move_came_first_or_later(lab, verb, size):
    seen = []
    for at in count():
        store, other, steps = lab.process(), lab.process(), count()
        path = lab.file("safe/cat", "cat")
        refs = [store.store(lab.file(f"{n}", "x"), scope="safe/s") for n in range(size - 1)]
        ref = store.store(path, scope="safe/s")
        done: list[Any] = []
        ask = store._ask

        def asked(step, at=at, steps=steps, done=done, other=other, ask=ask):
            if next(steps) == at:
                done.append(other.release_all("safe/s"))
            return ask(step)

        store._ask = asked
        try:
            moved = RACES[verb](store, ref)
        except RefGone as error:
            moved = error
        last = not done
        released = other.release_all("safe/s") if last else done[0]
        seen.append(judge(other, verb, ref, moved, path, released, size))
        assert all(is_gone(other, each) for each in refs)
        if last:
            break

    assert {False, True} == set(seen)
    assert lab.leftovers() == []


def race(*acts):
    """Do all of them at one moment; return what each answered or raised."""
    start, answers = threading.Barrier(len(acts)), list[Any]([None] * len(acts))

    def run(number, act):
        start.wait(10)
        try:
            answers[number] = act()
        except RefGone as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return answers


@pytest.fixture
def pair(settings, server_url):
    """Give two processes' stores on a real server."""
    where = {"namespace": settings.namespace, "roots": settings.roots}
    stores = [MediaStore.from_url(server_url, **where) for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


@each_size
@each_race
def test_a_move_that_races_a_release_came_before_it_or_found_the_ref_dead(
    pair, make_file, verb, size
):
    one, two = pair
    for number in range(30 if size == 1 else 10):
        fill(one, make_file, "safe/s", size - 1)
        path = make_file(f"{number}/cat.jpg")
        ref = one.store(path, scope="safe/s")

        done, moved = race(lambda: one.release_all("safe/s"), lambda ref=ref: RACES[verb](two, ref))

        judge(two, verb, ref, moved, path, done, size)
