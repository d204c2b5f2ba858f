"""Refs that move: their deadlines, their scopes, one more of them, their end by hand; a dead one is refused and left."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore, Settings
from mediastore.errors import (
    InvalidPolicy,
    InvalidRef,
    InvalidRequest,
    InvalidScope,
    RefGone,
    RefUnknown,
)
from mediastore.index.steps import END_BATCH, prefix

from .test_index import dump

FORGET = MediaMeta(cleanup=Cleanup.FORGET)
#: For what the kind of server makes no difference to.
one_lane = pytest.mark.parametrize("lane", ["real"], indirect=True)
UNKNOWN = "media://" + "u" * 22


def seconds_left(media_or_time):
    """Return how long it is until a deadline."""
    due = getattr(media_or_time, "expires_at", media_or_time)
    return (due - datetime.now(UTC)).total_seconds()


def index_of(client, settings):
    """Return what the index holds, without the records of answers and the time."""
    found = dump(client, settings.namespace)
    return {k: v for k, v in found.items() if not k.startswith("op:") and k != "clock"}


@pytest.fixture
def children(client, settings):
    """Give a look at the scopes directly below one."""
    key = f"{prefix(settings.namespace)}children:"
    return lambda scope: [name.decode() for name in client.zrange(key + scope, 0, -1)]


# --- touch


@one_lane
def test_touch_gives_the_same_length_again_from_now(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=100)
    lab.pass_time(90)

    due = store.touch(ref)

    assert due == store.get(ref).expires_at
    assert round(due.timestamp() * 1000) == lab.now_ms() + 100_000
    lab.pass_time(99)
    assert store.resolve(ref)
    lab.pass_time(1)
    with pytest.raises(RefGone, match="expired"):
        store.resolve(ref)


@one_lane
def test_touch_gives_a_length_that_later_touches_give_again(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=100)
    lab.pass_time(50)

    longer = store.touch(ref, "10m")
    lab.pass_time(550)
    again = store.touch(ref)
    shorter = store.touch(ref, 10)

    assert (longer.timestamp(), again - longer) == (
        pytest.approx(lab.base_ms / 1000 + 650),
        timedelta(seconds=550),
    )
    assert shorter - again == timedelta(seconds=-590)
    lab.pass_time(10)
    lab.process().sweep()
    with pytest.raises(RefGone, match="expired"):
        store.resolve(ref)
    assert lab.files() == {}


@pytest.mark.parametrize("never", [NEVER, "never"])
def test_touch_can_take_the_deadline_away_for_good_and_give_one_again(store, other, cat, never):
    ref = store.store(cat, scope="s", ttl=0.2)

    assert store.touch(ref, never) is None

    assert store.get(ref).expires_at is None
    assert store.touch(ref) is None
    assert 59 < seconds_left(store.touch(ref, "1m")) <= 60
    assert other.stats().refs == 1


@one_lane
def test_an_old_deadline_in_the_index_does_not_end_a_touched_ref(lab, client):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    store.touch(ref, 1000)
    lab.client.zadd(f"{prefix(lab.namespace)}expiry", {ref.id: lab.now_ms() + 1})
    lab.pass_time(20)

    swept = lab.process().sweep()

    assert (swept.expired, store.resolve(ref).read_text()) == (0, "a")
    lab.pass_time(990)
    assert lab.process().sweep().expired == 1


@pytest.mark.parametrize("ttl", [0, -1, "soon", True])
def test_touch_refuses_what_is_no_lifetime(other, cat, ttl):
    ref = other.store(cat, scope="s")
    before = other.get(ref)

    with pytest.raises(InvalidRequest):
        other.touch(ref, ttl)

    assert other.get(ref) == before


# --- pin and unpin


@one_lane
def test_a_pinned_ref_survives_its_deadline(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)

    store.pin(ref)

    lab.pass_time(10_000)
    assert lab.process().sweep().expired == 0
    media = store.get(ref)
    assert (media.pinned, media.expires_at, store.refs("s")) == (True, None, [media])


@one_lane
def test_unpin_gives_the_length_from_now(lab):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    lab.pass_time(9)
    store.pin(ref)
    store.pin(ref)
    lab.pass_time(10_000)

    due = store.unpin(ref)

    assert round(due.timestamp() * 1000) == lab.now_ms() + 10_000
    assert (store.get(ref).pinned, store.get(ref).expires_at) == (False, due)
    lab.pass_time(10)
    assert lab.process().sweep().expired == 1


@pytest.mark.parametrize(("ttl", "then"), [(70, 70), (None, 10), (NEVER, None)])
@one_lane
def test_touch_of_a_pinned_ref_changes_only_the_length_for_later(lab, ttl, then):
    store = lab.process()
    ref = store.store(lab.file("a", "a"), scope="s", ttl=10)
    store.pin(ref)

    assert store.touch(ref, ttl) is None

    lab.pass_time(10_000)
    assert lab.process().sweep().expired == 0
    assert store.get(ref).pinned
    due = store.unpin(ref)
    assert (due and round(due.timestamp() * 1000) - lab.now_ms()) == (then and then * 1000)


def test_a_ref_without_a_deadline_has_none_after_unpinning(store, cat):
    ref = store.store(cat, scope="s", ttl=NEVER)
    store.pin(ref)

    assert store.unpin(ref) is None

    assert (store.get(ref).expires_at, store.get(ref).pinned) == (None, False)


@pytest.mark.parametrize("end", ["release_all", "delete_media", "release of the parent"])
def test_a_pin_does_not_outlive_a_release_or_a_deletion(store, cat, end, expect_empty):
    ref = store.store(cat, scope="a/x")
    store.pin(ref)

    done = (
        store.delete_media(ref)
        if end == "delete_media"
        else store.release_all("a" if "parent" in end else "a/x")
    )

    assert (done.refs, done.deleted) == (1, 1)
    with pytest.raises(RefGone):
        store.unpin(ref)
    expect_empty()


# --- transfer


def test_a_transferred_ref_keeps_its_id_and_deadline_and_comes_last_in_its_new_scope(
    store, make_file
):
    first = store.store(make_file("1.jpg"), scope="a", ttl="10m")
    rest = [store.store(make_file(f"{n}.jpg"), scope="b") for n in (2, 3)]
    before = store.get(first)

    store.transfer(first, "b")

    after = store.get(first)
    assert (after.scope, after.ref, after.path) == ("b", first, before.path)
    assert after.expires_at == before.expires_at
    assert after.seq > before.seq
    assert [media.ref for media in store.refs("b")] == [*rest, first]
    assert store.refs("a") == []
    assert store.scopes() == ["b"]
    assert store.touch(first) - before.expires_at < timedelta(seconds=5)


def test_a_transfer_to_its_own_scope_puts_a_ref_last(store, make_file):
    one, two = (store.store(make_file(f"{n}.jpg"), scope="a/x") for n in (1, 2))

    store.transfer(one, "a/x")

    assert [media.ref for media in store.refs("a/x")] == [two, one]
    assert store.release_all("a").refs == 2


def test_only_the_scope_a_ref_is_in_now_ends_it(store, cat, make_file, expect_empty):
    moved, stays = store.store(cat, scope="a/x"), store.store(make_file("b.jpg"), scope="a/y")

    store.transfer(moved, "b/z")

    assert store.release_all("a").refs == 1
    assert store.resolve(moved) == cat
    with pytest.raises(RefGone):
        store.resolve(stays)
    assert store.release_all("b").refs == 1
    assert not cat.exists()
    expect_empty()


def fill(store, make_file, scope, number=END_BATCH + 1):
    """Store so many refs that a release closes the scope instead of ending them one by one."""
    return [store.store(make_file(f"{scope}-{n}.jpg"), scope=scope) for n in range(number)]


@pytest.mark.parametrize("verb", ["transfer", "share"])
@pytest.mark.parametrize("target", ["b", "b/below"])
def test_an_earlier_release_of_the_new_scope_does_not_end_a_ref_that_comes_later(
    store, cat, make_file, verb, target
):
    fill(store, make_file, "b")
    store.release_all("b", wait=False)
    ref = store.store(cat, scope="a")

    came = getattr(store, verb)(ref, target) or ref

    assert store.resolve(came) == cat
    assert store.sweep().drained == END_BATCH + 1
    assert store.resolve(came) == cat
    assert store.release_all("b").refs == 1


@pytest.mark.parametrize("verb", ["transfer", "share"])
def test_a_ref_below_a_pending_mark_is_dead_and_moves_nowhere(
    store, make_file, verb, client, settings
):
    refs = fill(store, make_file, "a")
    store.release_all("a", wait=False)
    before = index_of(client, settings)

    with pytest.raises(RefGone, match="released"):
        getattr(store, verb)(refs[3], "b")

    assert index_of(client, settings) == before


def test_a_scope_that_a_transfer_empties_leaves_the_tree(store, cat, children):
    ref = store.store(cat, scope="a/x/y")
    assert (children("a"), children("a/x")) == (["a/x"], ["a/x/y"])

    store.transfer(ref, "b/z")

    assert (children("a"), children("a/x"), children("b")) == ([], [], ["b/z"])
    assert store.plan_release("a").refs == 0


def test_a_scope_that_a_transfer_empties_stays_for_its_children(store, cat, make_file, children):
    ref, below = store.store(cat, scope="a/x"), store.store(make_file("b.jpg"), scope="a/x/y")

    store.transfer(ref, "b")

    assert (children("a"), children("a/x")) == (["a/x"], ["a/x/y"])
    assert store.release_all("a").refs == 1
    with pytest.raises(RefGone):
        store.resolve(below)


def test_a_transfer_out_of_a_scope_that_drains_leaves_the_drain_right(store, make_file):
    dead = fill(store, make_file, "a/x")
    store.release_all("a", wait=False)
    live = store.store(make_file("late.jpg"), scope="a/x")

    store.transfer(live, "a/y")
    store.sweep()

    assert store.resolve(live).name == "late.jpg"
    assert store.stats().refs == 1
    assert all(is_gone(store, ref) for ref in dead)
    assert store.release_all("a").refs == 1


def is_gone(store, ref):
    with pytest.raises(RefGone):
        store.resolve(ref)
    return True


@pytest.mark.parametrize("scope", ["", "a//b", "/a", 7])
def test_a_malformed_scope_is_refused(store, cat, scope, client, settings):
    ref = store.store(cat, scope="s")
    before = index_of(client, settings)

    for move in (store.transfer, store.share):
        with pytest.raises(InvalidScope):
            move(ref, scope)

    assert index_of(client, settings) == before


def test_odd_scope_names_survive_a_move(store, cat):
    ref = store.store(cat, scope="räume *?[1]/% {x}")

    assert store.promote(ref) == "räume *?[1]"
    store.transfer(ref, "b/日 本")

    assert store.get(ref).scope == "b/日 本"
    assert store.promote(ref) == "b"
    assert store.release_all("b").refs == 1


# --- promote


def test_promote_moves_a_ref_to_the_parent_and_says_where(store, cat):
    ref = store.store(cat, scope="a/x/y")

    assert [store.promote(ref), store.promote(ref)] == ["a/x", "a"]

    assert store.release_all("a/x").refs == 0
    assert store.get(ref).scope == "a"


def test_promote_at_the_top_is_refused(store, cat, client, settings):
    ref = store.store(cat, scope="a")
    before = index_of(client, settings)

    with pytest.raises(InvalidRequest, match="'a'"):
        store.promote(ref)

    assert index_of(client, settings) == before


# --- share


def test_a_shared_ref_has_a_copy_of_the_metadata_and_a_life_of_its_own(store, cat):
    meta = MediaMeta(filename="cat.jpg", source="x[y] z", message_idx=3)
    ref = store.store(cat, scope="a", meta=meta, ttl="10m")
    store.touch(ref, "2h")
    store.pin(ref)

    twin = store.share(ref, "b")

    one, two = store.get(ref), store.get(twin)
    assert (two.meta, two.scope, two.path, two.blob) == (meta, "b", cat, one.blob)
    assert two.seq > one.seq
    assert two.stored_at >= one.stored_at
    assert (two.pinned, two.ref == ref) == (False, False)
    # The setting's half hour, not what was said of the first one; and again at the next touch.
    assert 1790 < seconds_left(two) <= 1800
    assert 1790 < seconds_left(store.touch(twin)) <= 1800


@pytest.mark.parametrize(("ttl", "seconds"), [(None, 12 * 3600), ("1m", 60), (NEVER, None)])
def test_a_shared_ref_lives_as_its_metadata_or_the_call_says(store, cat, ttl, seconds):
    ref = store.store(cat, scope="a", meta=MediaMeta(policy="retain-12hours"))

    twin = store.share(ref, "b", ttl)

    found = store.get(twin)
    assert found.meta.policy == "retain-12hours"
    if seconds is None:
        assert found.expires_at is None
    else:
        assert seconds - 10 < seconds_left(found) <= seconds


def test_shared_bytes_stay_until_the_last_ref_ends(store, cat, expect_empty):
    first = store.store(cat, scope="a")
    refs = [first, store.share(first, "b"), store.share(first, "a/x")]
    size = cat.stat().st_size
    stats = store.stats()
    assert (stats.refs, stats.blobs, stats.size_bytes) == (3, 1, size)
    assert (stats.stored_refs, stats.stored_bytes) == (3, 3 * size)

    assert (store.release_all("a/x").kept, store.release_all("b").kept) == (1, 1)
    assert store.resolve(refs[0]) == cat
    assert store.delete_media(refs[0]).deleted == 1

    stats = store.stats()
    assert (stats.refs, stats.blobs, stats.size_bytes, stats.deleted_blobs) == (0, 0, 0, 1)
    assert (stats.released_refs, stats.deleted_refs, stats.freed_bytes) == (2, 1, size)
    expect_empty()


def test_a_borrowed_file_is_shared_and_never_deleted(store, cat, expect_empty):
    ref = store.store(cat, scope="a", meta=FORGET)
    twin = store.share(ref, "b")
    assert store.get(twin).custody == "borrowed"

    store.release_all("a")
    done = store.release_all("b")

    assert (done.refs, done.deleted, done.kept, cat.exists()) == (1, 0, 1, True)
    expect_empty()


def test_a_ref_shared_after_its_file_was_replaced_shares_the_old_file(store, cat):
    old = store.store(cat, scope="a")
    cat.unlink()
    cat.write_text("new")
    new = store.store(cat, scope="a")

    twin = store.share(old, "b")

    assert store.get(twin).blob == store.get(old).blob != store.get(new).blob
    assert store.release_all("b").kept == 1
    assert store.resolve(new).read_text() == "new"


# --- delete_media


def test_delete_media_ends_only_that_ref(store, cat, make_file):
    gone, stays = store.store(cat, scope="a"), store.store(make_file("b.jpg"), scope="a")

    done = store.delete_media(gone)

    assert (done.refs, done.deleted, done.freed_bytes) == (1, 1, 102)
    assert (done.kept, done.pending, done.failed, done.closed) == (0, 0, 0, False)
    assert not cat.exists()
    assert [media.ref for media in store.refs("a")] == [stays]
    with pytest.raises(RefGone, match=r"deleted .* by delete_media\(\) of"):
        store.resolve(gone)
    stats = store.stats()
    assert (stats.deleted_refs, stats.deleted_bytes, stats.released_refs) == (1, 102, 0)


def test_delete_media_keeps_bytes_that_another_ref_holds(store, cat, expect_empty):
    one = store.store(cat, scope="a")
    two = store.share(one, "a")

    done = store.delete_media(one)

    assert (done.refs, done.deleted, done.kept) == (1, 0, 1)
    assert store.resolve(two) == cat
    assert store.delete_media(two).deleted == 1
    expect_empty()


def test_delete_media_leaves_bytes_of_another_root_pending(at, make_file, media, tmp_path, cat):
    (tmp_path / "far").mkdir()
    far, near = at(tmp_path / "far"), at(media)
    (tmp_path / "far" / "a").write_text("a")
    ref = far.store(tmp_path / "far" / "a", scope="s")

    done = near.delete_media(ref)

    assert (done.refs, done.deleted, done.pending) == (1, 0, 1)
    assert far.sweep().deleted == 1


@pytest.fixture
def at(clients, settings):
    """Give a maker of stores with other roots of the same namespace."""
    with_roots = []

    def make(*roots):
        store = MediaStore(
            clients(), Settings(namespace=settings.namespace, roots=tuple(map(str, roots)))
        )
        with_roots.append(store)
        return store

    yield make
    for store in with_roots:
        store.close()


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


def test_a_deadline_that_a_touch_took_away_cannot_be_moved_by_its_metadata(other, cat):
    with pytest.raises(InvalidPolicy):
        MediaMeta(policy="retain-0days")
    ref = other.store(cat, scope="s", meta=MediaMeta(policy="delete-after-10min"))

    assert 3590 < seconds_left(other.touch(ref, "1h")) <= 3600
    assert 3590 < seconds_left(other.touch(ref)) <= 3600


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
