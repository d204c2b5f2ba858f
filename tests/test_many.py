"""Many at once: one write, answers in order, an error in its item's place, and nothing else than one by one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection

from mediastore import Cleanup, MediaMeta
from mediastore.errors import (
    BlobMissing,
    FileMissing,
    IndexUnavailable,
    InvalidPath,
    InvalidRef,
    InvalidRequest,
    InvalidScope,
    MediaStoreError,
    NotARegularFile,
    OutsideRoots,
    RefGone,
    RefUnknown,
    StaleCommand,
    StoreFull,
)
from mediastore.flows.many import AT_ONCE
from mediastore.index.steps import END_BATCH, Batch, prefix

from .conftest import names_left
from .life import inner
from .test_hostile import full, make_server, make_store  # noqa: F401 - fixtures
from .test_moving import index_of, is_gone, one_lane

FORGET = MediaMeta(cleanup=Cleanup.FORGET)
UNKNOWN = "media://" + "u" * 22


@pytest.fixture
def writes(monkeypatch):
    """Give a list that fills with what leaves for the server, a write each."""
    sent = []
    for kind in (AbstractConnection, AsyncConnection):
        send = kind.send_packed_command

        def spy(self, command, *args, _send=send, **named):
            sent.append(command if isinstance(command, bytes) else b"".join(command))
            return _send(self, command, *args, **named)

        monkeypatch.setattr(kind, "send_packed_command", spy)
    return sent


@pytest.fixture
def files(make_file):
    """Give a maker of so many files."""
    return lambda number: [make_file(f"{n}.jpg", b"x" * (n + 1)) for n in range(number)]


def codes(answers):
    return [each.code if isinstance(each, MediaStoreError) else "" for each in answers]


def warm(store, path):
    """Greet the index and load the scripts, so that a later call's own writes are what counts."""
    store.store_many([path], scope="warm")
    store.release_many(["warm"])


# --- store_many


def test_files_are_stored_in_order_under_one_scope(store, files):
    paths = files(5)

    refs = store.store_many(paths, scope="s", ttl="10m")

    assert [store.resolve(ref) for ref in refs] == paths
    assert [media.ref for media in store.refs("s")] == refs
    assert len({media.expires_at for media in store.refs("s")}) <= 5
    assert store.release_all("s").deleted == 5


def test_each_item_brings_its_metadata_or_gets_the_common_one(store, files):
    one, two, three = files(3)
    common, own = MediaMeta(source="common"), MediaMeta(source="own", policy="retain-12hours")

    refs = store.store_many([one, (str(two), own), (three, FORGET)], scope="s", meta=common)

    assert [store.get(ref).meta for ref in refs] == [common, own, FORGET]
    assert store.get(refs[2]).custody == "borrowed"
    first, second, _ = [store.get(ref) for ref in refs]
    assert (second.expires_at - first.expires_at).total_seconds() > 11 * 3600


def test_an_error_takes_its_items_place_and_the_others_are_stored(
    store, files, media, tmp_path, expect_empty
):
    one, two = files(2)
    (media / "dir").mkdir()
    outside = tmp_path / "outside"
    outside.write_text("x")
    kept = MediaMeta(policy="retain-1days")
    items = [media / "missing", one, media / "dir", outside, (two, kept), media / "a\0b"]

    answers = store.store_many(items, scope="s", ttl="1h")

    assert [type(answers[n]) for n in (0, 2, 3, 5)] == [
        FileMissing,
        NotARegularFile,
        OutsideRoots,
        InvalidPath,
    ]
    # A ttl and a policy together contradict each other, of this item alone.
    assert isinstance(answers[4], InvalidRequest)
    assert store.resolve(answers[1]) == one
    assert [media.ref for media in store.refs("s")] == [answers[1]]
    store.release_all("s")
    expect_empty()


def test_the_same_file_twice_is_one_blob_and_two_refs(store, cat, media):
    door = media / "door"
    door.symlink_to(media)

    refs = store.store_many([cat, door / "cat.jpg", str(cat), cat], scope="s")

    assert len(set(refs)) == 4
    assert (store.stats().refs, store.stats().blobs) == (4, 1)
    assert len(names_left(media)) == 1
    assert [store.release_all("s").deleted, cat.exists()] == [1, False]


def test_a_file_lent_once_in_a_batch_is_borrowed(store, cat, media):
    refs = store.store_many([cat, (cat, FORGET), cat], scope="s")

    assert {store.get(ref).custody for ref in refs} == {"borrowed"}
    assert (store.release_all("s").deleted, cat.exists()) == (0, True)
    assert names_left(media) == []


@pytest.mark.parametrize("call", ["store_many", "resolve_many", "release_many"])
def test_nothing_is_nothing(store, call, writes, client, settings):
    store.stats()
    before, known = len(writes), index_of(client, settings)

    answers = (
        store.store_many((), scope="s") if call == "store_many" else getattr(store, call)(iter([]))
    )

    assert answers == []
    assert len([w for w in writes[before:] if b"EVAL" in w]) == 0
    assert index_of(client, settings) == known


@pytest.mark.parametrize("call", ["store_many", "resolve_many", "release_many"])
@pytest.mark.parametrize("what", ["abc", b"abc", 7, None])
def test_a_text_alone_is_no_list(store, call, what, expect_empty):
    with pytest.raises(InvalidRequest, match="is a list"):
        (store.store_many(what, scope="s") if call == "store_many" else getattr(store, call)(what))

    expect_empty()


def test_a_call_that_cannot_be_right_stores_nothing(store, cat, media, expect_empty):
    for items, words in [
        ([cat, 7], {}),
        ([cat, (cat, "meta")], {}),
        ([cat, (cat, MediaMeta(), 1)], {}),
        ([cat], {"meta": "meta"}),
        ([cat], {"scope": "a//b"}),
    ]:
        with pytest.raises(InvalidRequest):
            store.store_many(items, **{"scope": "s", **words})
    [answer] = store.store_many([cat], scope="s", ttl="soon")

    assert isinstance(answer, InvalidRequest)
    expect_empty()


# --- resolve_many


def test_refs_are_resolved_in_order_with_why_some_are_dead(store, other, files, media):
    paths = files(6)
    refs = store.store_many(paths, scope="s")
    expired = store.store(paths[5], scope="t", ttl=0.05)
    other.delete_media(refs[1])
    paths[2].unlink()
    while not codes(store.resolve_many([expired]))[0]:
        pass
    asked = [refs[3], refs[1], UNKNOWN, refs[2], "cat.jpg", refs[0], refs[3], expired, None]

    answers = store.resolve_many(asked)

    assert [answers[n] for n in (0, 5, 6)] == [paths[3], paths[0], paths[3]]
    assert [type(answers[n]) for n in (1, 2, 3, 4, 7, 8)] == [
        RefGone,
        RefUnknown,
        BlobMissing,
        InvalidRef,
        RefGone,
        InvalidRef,
    ]
    assert [(answers[1].reason, answers[1].ref), answers[7].reason] == [
        ("deleted", refs[1]),
        "expired",
    ]


def test_many_are_dead_by_a_mark_as_one_is(store, other, files):
    refs = store.store_many(files(END_BATCH + 1), scope="s")
    other.release_all("s", wait=False)

    answers = store.resolve_many(refs)

    assert {each.reason for each in answers} == {"released"}


@one_lane
def test_many_of_a_root_that_is_not_here_are_each_told_so(lab, tmp_path):
    store = lab.process()
    refs = store.store_many([lab.file("a", "a"), lab.file("b", "b")], scope="s")
    (tmp_path / "other").mkdir()
    lab.settings = replace(lab.settings, roots=(str(tmp_path / "other"),))

    assert codes(lab.process().resolve_many(refs)) == ["wrong_host"] * 2


# --- release_many


def test_scopes_are_released_in_order_and_sum_to_the_truth(store, files, media, expect_empty):
    paths = files(6)
    for path, scope in zip(paths, ["a", "a/x", "b", "b", "c", "d"], strict=True):
        store.store(path, scope=scope)

    done = store.release_many(["b", "a", "nobody", "c"])

    assert [(each.refs, each.deleted, each.closed) for each in done] == [
        (2, 2, False),
        (2, 2, False),
        (0, 0, False),
        (1, 1, False),
    ]
    assert sum(each.freed_bytes for each in done) == 1 + 2 + 3 + 4 + 5
    assert list(media.glob("*.jpg")) == [paths[5]]
    store.release_all("d")
    expect_empty()


@pytest.mark.parametrize(
    "scopes", [["a", "a/x", "a/x/y"], ["a/x/y", "a/x", "a"], ["a", "a", "a/x"]]
)
def test_scopes_that_overlap_end_each_ref_once(store, files, scopes, expect_empty):
    refs = []
    for number, path in enumerate(files(9)):
        refs.append(store.store(path, scope=["a", "a/x", "a/x/y"][number % 3]))

    done = store.release_many(scopes)

    assert sum(each.refs for each in done) == 9
    assert sum(each.deleted for each in done) == 9
    assert all(is_gone(store, ref) for ref in refs)
    assert store.stats().released_refs == 9
    expect_empty()


def test_a_malformed_scope_takes_its_place_and_the_others_are_released(store, files, expect_empty):
    refs = store.store_many(files(2), scope="s")

    done = store.release_many(["a//b", "s", None, "t" * 600])

    assert [type(done[n]) for n in (0, 2, 3)] == [InvalidScope] * 3
    assert (done[1].refs, done[1].deleted) == (2, 2)
    assert codes(store.resolve_many(refs)) == ["ref_gone"] * 2
    expect_empty()


def test_without_waiting_all_cuts_are_made_and_nothing_else(store, other, files, media):
    paths = files(2 * END_BATCH + 4)
    small = store.store_many(paths[:2], scope="small")
    large = store.store_many(paths[2:], scope="large")

    done = store.release_many(["large", "small"], wait=False)

    assert [(each.refs, each.deleted, each.closed) for each in done] == [
        (0, 0, True),
        (2, 0, False),
    ]
    assert set(codes(other.resolve_many([*small, *large]))) == {"ref_gone"}
    assert all(path.exists() for path in paths)
    assert other.sweep().deleted == len(paths)


# --- one write


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_a_batch_is_one_write(store, files, writes):
    paths = files(AT_ONCE)
    warm(store, paths[0])
    paths = files(AT_ONCE)
    scopes = [f"s{n}" for n in range(AT_ONCE)]
    writes.clear()

    refs = store.store_many(paths, scope="s")
    stored = len(writes)
    store.resolve_many(refs)
    resolved = len(writes)
    store.release_many(scopes, wait=False)
    released = len(writes)

    assert (stored, resolved - stored, released - resolved) == (1, 1, 1)
    assert writes[0].count(b"EVALSHA") == writes[2].count(b"EVALSHA") == AT_ONCE
    assert b"MULTI" not in b"".join(writes)


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_more_than_a_batch_is_one_write_for_each(store, make_file, files, writes, media):
    number = 2 * AT_ONCE + 3
    paths = files(number)
    warm(store, make_file("warm"))
    writes.clear()

    refs = store.store_many((path for path in paths), scope="s")
    assert len(writes) == 3
    assert store.resolve_many(refs) == paths
    assert len(writes) == 6

    assert len(set(refs)) == number
    assert [media.ref for media in store.refs("s", limit=1000)] == refs
    [done] = store.release_many(["s"])
    assert (done.refs, done.deleted) == (number, number)
    assert len(store.release_many([f"x{n}" for n in range(number)])) == number
    assert names_left(media) == []


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_the_marks_are_asked_for_once_in_each_write(store, files, writes):
    refs = store.store_many(files(20), scope="s")
    writes.clear()

    store.resolve_many(refs)

    [look] = writes
    assert (look.count(b"ZRANGE"), look.count(b"HGETALL"), look.count(b"TIME\r")) == (1, 20, 1)


# --- what may happen in the middle


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_scripts_that_the_server_forgot_are_sent_again_and_done_once(
    store, files, client, monkeypatch
):
    paths = files(30)
    store.store_many(paths[:1], scope="warm")
    speech = inner(store)._speech
    words = speech.words

    def flush(*args):
        client.script_flush()
        return words(*args)

    monkeypatch.setattr(speech, "words", flush)

    refs = store.store_many(paths, scope="s")
    assert store.resolve_many(refs) == paths
    done = store.release_many(["s", "nobody", "warm"])

    assert [media.ref for media in store.refs("s")] == []
    assert [each.refs for each in done] == [30, 0, 1]
    assert sum(each.deleted for each in done) == 30
    assert store.stats().stored_refs == 31


@one_lane
def test_one_script_in_the_middle_that_is_unknown_keeps_the_order_of_the_answers(lab):
    store = lab.process()
    warm(store, lab.file("warm", "x"))
    paths = [lab.file(str(n), "x") for n in range(5)]
    say = store._link._say
    unknown: list[Exception] = []

    def forgetful(connection, commands):
        if len(commands) == 5 and not unknown:
            commands[2] = (commands[2][0], "0" * 40, *commands[2][2:])
            replies = say(connection, commands)
            unknown.extend(reply for reply in replies if isinstance(reply, Exception))
            return replies
        return say(connection, commands)

    store._link._say = forgetful

    refs = store.store_many(paths, scope="s")

    assert [type(each).__name__ for each in unknown] == ["NoScriptError"]
    assert store.resolve_many(refs) == paths
    assert store.stats().refs == 5


@one_lane
@pytest.mark.parametrize("call", ["store_many", "release_many"])
def test_a_batch_that_comes_too_late_is_said_once_more(lab, call):
    store = lab.process()
    paths = [lab.file(str(n), "x") for n in range(3)]
    store.store(lab.file("r", "r"), scope="a")
    speech = store._speech
    # The server's clock has gone on by an hour, and this process has not heard of it.
    now, speech.now = speech.now, None
    speech._server_ms -= 3_600_000

    answers = (
        store.store_many(paths, scope="s")
        if call == "store_many"
        else store.release_many(["a", "b"])
    )

    speech.now = now
    if call == "store_many":
        assert store.resolve_many(answers) == paths
        assert store.stats().refs == 4
    else:
        assert [each.refs for each in answers] == [1, 0]


@one_lane
@pytest.mark.parametrize("call", ["store_many", "release_many"])
def test_a_batch_that_is_always_too_late_says_so_of_each_item(lab, call, monkeypatch):
    store = lab.process()
    path = lab.file("a", "a")
    monkeypatch.setattr(
        store._speech, "_not_after", lambda command: "" if command.script == "open" else "1"
    )

    answers = (
        store.store_many([path, path], scope="s")
        if call == "store_many"
        else store.release_many(["a", "b"])
    )

    assert [type(each) for each in answers] == [StaleCommand] * 2
    monkeypatch.undo()
    assert lab.process().stats().refs == 0
    lab.settle()
    assert (lab.leftovers(), lab.files()) == ([], {"a": "a"})


@one_lane
def test_a_path_that_is_being_deleted_is_waited_for_and_the_others_are_stored(lab):
    store = lab.process()
    busy, free = lab.file("busy", "old"), lab.file("free", "x")
    store.store(busy, scope="old")
    stuck = lab.process()
    perform = stuck._perform

    def die(step):
        if type(step).__name__ == "Destroy":
            raise InterruptedError
        return perform(step)

    stuck._perform = die
    with pytest.raises(InterruptedError):
        stuck.release_all("old")
    assert store.stats().trash == 1

    answers = store.store_many([free, busy, free], scope="s")

    # Its deletion was helped to its end once the dead worker's claim had lapsed, and took the file with it.
    assert [type(answers[1]), busy.exists()] == [FileMissing, False]
    assert store.resolve_many([answers[0], answers[2]]) == [free, free]
    store.release_all("s")
    assert lab.leftovers() == []


def test_a_server_without_memory_refuses_each_and_nothing_is_left(full, make_file, media):
    paths = [make_file(f"new{n}.jpg") for n in range(3)]
    names = names_left(media)

    answers = full.store.store_many([*paths, media / "missing"], scope="s")

    assert [type(each) for each in answers] == [StoreFull] * 3 + [FileMissing]
    assert names_left(media) == names
    assert all(path.exists() for path in paths)
    done = full.store.release_many(["s/0", "s/1", "s/2"])
    assert [each.refs for each in done] == [100] * 3
    assert full.store.resolve_many(full.store.store_many(paths, scope="s")) == paths


@one_lane
def test_a_server_that_is_gone_raises_and_what_was_begun_is_swept(lab, monkeypatch):
    store = lab.process()
    paths = [lab.file(str(n), "x") for n in range(3)]
    ask = store._ask

    def down(step):
        if isinstance(step, Batch):
            raise IndexUnavailable("Redis does not answer")
        return ask(step)

    store._ask = down

    for call in (lambda: store.store_many(paths, scope="s"), lambda: store.release_many(["s"])):
        with pytest.raises(IndexUnavailable):
            call()

    store._ask = ask
    assert store.stats().refs == 0
    lab.settle()
    assert (lab.leftovers(), len(lab.files())) == ([], 3)


@one_lane
def test_a_key_that_is_not_ours_stops_one_scope_and_not_the_others(lab):
    store = lab.process()
    store.store(lab.file("a", "a"), scope="a")
    lab.client.set(f"{prefix(lab.namespace)}scope:b", "foreign")

    done = store.release_many(["b", "a"])

    assert codes(done) == ["corrupt", ""]
    assert done[1].refs == 1


def test_batches_of_several_threads_do_not_mix(other, files):
    paths = files(40)

    async def both():
        return await asyncio.gather(
            *(asyncio.to_thread(other.store_many, paths[n::4], scope=f"s{n}") for n in range(4))
        )

    answers = asyncio.run(both())

    for number, refs in enumerate(answers):
        assert other.resolve_many(refs) == paths[number::4]
        assert {media.ref for media in other.refs(f"s{number}")} == set(refs)
