"""Many at once: one write, answers in order, an error in its item's place, and nothing else than one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection

from mediastore import Cleanup, MediaMeta
from mediastore.errors import (
    BlobMissing,
    FileMissing,
    InvalidPath,
    InvalidRef,
    InvalidRequest,
    InvalidScope,
    NotARegularFile,
    OutsideRoots,
    RefGone,
    RefUnknown,
)
from mediastore.flows.many import AT_ONCE
from mediastore.index.steps import END_BATCH

from .conftest import names_left
from .lifetimes import UNKNOWN, index_of, is_gone, one_lane
from .many_fixtures import codes, files, warm  # noqa: F401 - a fixture

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


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


# --- store_many


def bare(answers):
    """Whether no error among them keeps the frames of the call, and with them all that the caller has."""
    errors = [each for each in answers if isinstance(each, Exception)]
    return not any(each.__traceback__ or each.__context__ for each in errors)


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
    assert bare(answers)
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
    refs = store.store_many(paths[1:], scope="s")
    lost = store.store(paths[0], scope="s", meta=FORGET)
    expired = store.store(paths[5], scope="t", ttl=0.05)
    other.delete_media(refs[1])
    paths[0].unlink()
    while not codes(store.resolve_many([expired]))[0]:
        pass
    asked = [refs[3], refs[1], UNKNOWN, lost, "cat.jpg", refs[0], refs[3], expired, None]

    answers = store.resolve_many(asked)

    assert [answers[n] for n in (0, 5, 6)] == [paths[4], paths[1], paths[4]]
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
    assert bare(answers)


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
    assert bare(done)
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
