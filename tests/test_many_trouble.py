"""What may happen in the middle of many at once."""

from __future__ import annotations

import asyncio

import pytest

from mediastore.blobs import Check
from mediastore.errors import (
    FileMissing,
    IndexUnavailable,
    RefGone,
    StaleCommand,
    StoreFull,
)
from mediastore.index.steps import Batch, prefix

from .conftest import names_left
from .lifetimes import one_lane
from .many_fixtures import codes, files, warm  # noqa: F401 - a fixture
from .processes import replace
from .test_hostile import full, make_server, make_store  # noqa: F401 - fixtures
from .test_marks import inner


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


@pytest.mark.parametrize("call", ["store", "store_many", "release_many"])
def test_what_comes_too_late_is_said_once_more(store, make_file, call):
    paths = [make_file(f"{n}.jpg") for n in range(3)]
    store.store(make_file("r.jpg"), scope="a")
    # The server's clock has gone on by an hour, and this process has not heard of it.
    inner(store)._speech._server_ms -= 3_600_000

    if call == "release_many":
        assert [each.refs for each in store.release_many(["a", "b"])] == [1, 0]
        return
    refs = (
        store.store_many(paths, scope="s")
        if call == "store_many"
        else [store.store(path, scope="s") for path in paths]
    )

    assert store.resolve_many(refs) == paths
    assert store.stats().refs == 4


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


@one_lane
@pytest.mark.parametrize("many", [False, True])
def test_a_ref_that_ends_between_the_look_at_it_and_at_its_file_is_gone_and_not_missing(lab, many):
    store, other = lab.process(), lab.process()
    ref = store.store(lab.file("a.jpg", "x"), scope="s")
    perform = store._perform

    def late(step):
        if isinstance(step, Check):
            other.release_all("s")
        return perform(step)

    store._perform = late

    if many:
        assert codes(store.resolve_many([ref])) == ["ref_gone"]
    else:
        with pytest.raises(RefGone, match="released"):
            store.resolve(ref)


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


@one_lane
@pytest.mark.parametrize("scopes", [["first", "second"], ["second", "first"]])
def test_scopes_that_hold_versions_of_one_path_wait_for_nobody(lab, scopes):
    store = lab.process()
    for scope in ("first", "second"):
        replace(lab.root / "a.jpg", scope)
        store.store(lab.root / "a.jpg", scope=scope)
    before = lab.now_ms()

    done = store.release_many(scopes)

    assert [(each.deleted, each.pending, each.closed) for each in done] == [(1, 0, False)] * 2
    assert (lab.now_ms() - before, lab.files(), lab.leftovers()) == (0, {}, [])


@one_lane
def test_a_release_helps_what_has_the_path_before_it(lab):
    """Another process has released the newer version and was killed before it could delete it."""
    store = lab.process()
    for scope in ("first", "second"):
        replace(lab.root / "a.jpg", scope)
        store.store(lab.root / "a.jpg", scope=scope)
    store.release_all("second", wait=False)
    before = lab.now_ms()

    done = lab.process().release_all("first")

    assert (done.deleted, done.pending, done.closed) == (2, 0, False)
    assert (lab.now_ms() - before, lab.files(), lab.leftovers()) == (0, {}, [])
