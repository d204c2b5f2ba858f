"""Quotas: what the namespace, each scope or one scope may hold, whoever stores."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from mediastore import MediaContent, MediaMeta, MediaStore
from mediastore.errors import (
    Corrupt,
    InvalidRequest,
    InvalidScope,
    MediaStoreError,
    QuotaExceeded,
)

from .test_content import files

NUMBERS = count()


def content(size, **named):
    return MediaContent(data=b"x" * size, **named)


def stream(*sizes):
    return MediaContent(data=iter([b"x" * size for size in sizes]))


def register(store, make_file, size, scope="s"):
    return store.store(make_file(f"{next(NUMBERS)}.bin", b"x" * size), scope=scope)


def hand_over(store, make_file, size, scope="s"):
    return store.store_media(content(size), scope=scope)


def pour(store, make_file, size, scope="s"):
    content = stream(size // 2, size - size // 2)
    # An iterator that gives nothing is an empty file only if that is said.
    return store.store_media(content if size else replace(content, size_bytes=0), scope=scope)


each_way = pytest.mark.parametrize("add", [register, hand_over, pour])


@each_way
def test_the_bytes_of_the_namespace_are_exact_and_come_back(store, other, make_file, media, add):
    other.set_quota(max_bytes=100)
    first = add(store, make_file, 60)
    add(store, make_file, 40, scope="t")

    with pytest.raises(QuotaExceeded) as caught:
        add(store, make_file, 1)
    store.delete_media(first)
    add(store, make_file, 60)

    assert (caught.value.what, caught.value.scope, caught.value.limit) == ("bytes", "", 100)
    assert (caught.value.used, caught.value.more) == (100, 1)
    assert store.quota().used_bytes == 100


@each_way
def test_the_refs_of_the_namespace_are_exact_and_come_back(store, other, make_file, add):
    other.set_quota(max_refs=2)
    add(store, make_file, 1)
    add(store, make_file, 1, scope="t")

    with pytest.raises(QuotaExceeded, match="the namespace holds 2 of 2 refs"):
        add(store, make_file, 1)
    store.release_all("t")
    add(store, make_file, 1)

    assert store.quota().used_refs == 2


@each_way
def test_each_scope_has_its_own_bytes_and_refs(store, other, make_file, add):
    other.set_quota(scope_max_bytes=10, scope_max_refs=2)
    add(store, make_file, 6)

    with pytest.raises(QuotaExceeded, match="scope 's' holds 6 of 10 bytes; 5 more"):
        add(store, make_file, 5)
    add(store, make_file, 4)
    with pytest.raises(QuotaExceeded, match="scope 's' holds 2 of 2 refs; 1 more"):
        add(store, make_file, 0)
    add(store, make_file, 10, scope="s/below")

    quota = store.quota("s")
    assert (quota.max_bytes, quota.max_refs, quota.used_bytes, quota.used_refs) == (10, 2, 10, 2)
    store.release_all("s")
    assert (store.quota("s").used_bytes, store.quota("s").used_refs) == (0, 0)


def test_a_scope_with_limits_of_its_own_keeps_to_those(store, make_file):
    store.set_quota(scope_max_refs=1)
    store.set_quota("big one/ä", max_refs=2)

    for _ in range(2):
        register(store, make_file, 1, "big one/ä")
    register(store, make_file, 1)

    with pytest.raises(QuotaExceeded, match="'big one/ä' holds 2 of 2"):
        register(store, make_file, 1, "big one/ä")
    with pytest.raises(QuotaExceeded, match="'s' holds 1 of 1"):
        register(store, make_file, 1)


def test_what_is_refused_leaves_nothing(store, make_file, media, client, settings, expect_empty):
    store.set_quota(max_bytes=10)
    cat = make_file("cat.jpg", b"x" * 11)
    for refused in (
        lambda: store.store(cat, scope="s"),
        lambda: store.store_media(content(11), scope="s"),
        lambda: store.store_media(stream(9, 9), scope="s"),
        lambda: store.store(cat, scope="s", move=True),
    ):
        with pytest.raises(QuotaExceeded):
            refused()

    assert files(media) == ["cat.jpg"]
    client.unlink(f"mediastore:{{{settings.namespace}}}:quotas")
    expect_empty()


def test_a_stream_reserves_before_its_bytes_are_written(store, other):
    store.set_quota(max_bytes=3 << 20)
    seen = []

    def pieces():
        for _ in range(3):
            yield b"x" * (1 << 20)
            seen.append(other.quota().used_bytes)

    store.store_media(MediaContent(data=pieces()), scope="s")

    assert seen == sorted(seen)
    assert max(seen) >= 2 << 20
    assert store.quota().used_bytes == 3 << 20


def test_a_reservation_counts_until_its_writer_dies(lab):
    store = lab.process()
    store.set_quota(max_bytes=10)
    writer = store.store_media
    draft = store.writer(scope="s")
    draft.__enter__()
    assert lab.process().quota().used_refs == 1

    del draft, writer
    lab.pass_time(31)
    lab.process().sweep()

    assert lab.process().quota().used_refs == 0
    assert lab.process().quota("s").used_refs == 0


def test_what_was_reserved_in_a_root_that_is_forgotten_has_room_again(lab):
    store, operator = lab.process(), lab.process()
    store.set_quota(max_bytes=4 << 20)
    (root,) = store.stats().roots
    reserved = []

    def pieces():
        yield b"x" * (1 << 20)
        reserved.append(operator.quota("s").used_bytes)
        operator.forget_root(root, even_here=True)

    with pytest.raises(MediaStoreError):
        store.store_media(MediaContent(data=pieces()), scope="s")

    assert reserved[0] >= 1 << 20
    for quota in (operator.quota(), operator.quota("s")):
        assert (quota.used_refs, quota.used_bytes) == (0, 0)


def test_equal_content_costs_the_namespace_once_and_each_scope_its_share(
    store, settings, clients, other
):
    with MediaStore(clients(), replace(settings, dedup=True)) as once:
        once.set_quota(max_bytes=10, scope_max_bytes=15)
        once.store_media(content(10), scope="s")
        once.store_media(content(10), scope="t")
        with pytest.raises(QuotaExceeded, match="scope 's'"):
            once.store_media(content(10), scope="s")

        assert once.quota().used_bytes == 10
        assert once.quota("t").used_bytes == 10


def test_a_file_that_is_registered_twice_costs_the_namespace_once(store, make_file):
    cat = make_file("cat.jpg", b"x" * 10)
    store.set_quota(max_bytes=10)

    store.store(cat, scope="s")
    store.store(cat, scope="t")

    assert store.quota().used_bytes == 10


def test_share_transfer_and_restore_keep_to_the_scope_they_come_to(clients, settings, make_file):
    with MediaStore(clients(), replace(settings, grace=60)) as store:
        ref = register(store, make_file, 10)
        dead = register(store, make_file, 10)
        store.delete_media(dead)
        store.set_quota("full", max_bytes=9)
        before = store.get(ref)

        for act in (
            lambda: store.share(ref, "full"),
            lambda: store.transfer(ref, "full"),
            lambda: store.restore(dead, "full"),
        ):
            with pytest.raises(QuotaExceeded, match="scope 'full' holds 0 of 9"):
                act()

        assert store.get(ref) == before
        store.set_quota("full", max_bytes="never", max_refs=2)
        store.share(ref, "full")
        store.transfer(ref, "full")
        store.transfer(ref, "full")
        with pytest.raises(QuotaExceeded, match="2 of 2 refs"):
            store.restore(dead, "full")
        assert store.quota("full").used_bytes == 20
        assert store.quota("s").used_bytes == 0


def test_share_and_restore_keep_to_what_the_namespace_may_hold(clients, settings, make_file):
    with MediaStore(clients(), replace(settings, grace=60)) as store:
        ref = register(store, make_file, 10)
        dead = register(store, make_file, 10)
        store.delete_media(dead)

        store.set_quota(max_refs=1)
        with pytest.raises(QuotaExceeded, match="namespace holds 1 of 1 refs"):
            store.share(ref, "t")
        with pytest.raises(QuotaExceeded, match="namespace holds 1 of 1 refs"):
            store.restore(dead, "t")

        store.set_quota(max_bytes=10, max_refs="never")
        store.share(ref, "t")
        with pytest.raises(QuotaExceeded, match="namespace holds 10 of 10 bytes"):
            store.restore(dead, "t")


def test_a_released_scope_has_room_before_it_is_drained(store, make_file):
    store.set_quota(scope_max_refs=12)
    for _ in range(12):
        register(store, make_file, 1)
    store.release_all("s", wait=False)
    assert store.quota("s").used_refs == 0

    register(store, make_file, 1)
    assert store.quota("s").used_refs == 1


def test_a_scope_has_room_when_one_above_it_was_released(store, make_file):
    store.set_quota(scope_max_refs=2)
    for scope in ("a/b", "a/b", "a/c"):
        register(store, make_file, 1, scope)
    with pytest.raises(QuotaExceeded):
        register(store, make_file, 1, "a/b")
    store.release_all("a", wait=False)

    assert store.quota("a/b").used_refs == 0
    register(store, make_file, 1, "a/b")
    assert store.quota("a/b").used_refs == 1


def test_limits_are_taken_away_and_told(store):
    assert store.set_quota(max_bytes="1KiB", max_refs=5).max_bytes == 1024
    store.set_quota(max_bytes="never")
    quota = store.set_quota(scope_max_bytes="2 MB")

    assert (quota.max_bytes, quota.max_refs, quota.scope_max_bytes) == (None, 5, 2_000_000)
    assert store.quota("any").max_bytes == 2_000_000


@pytest.mark.parametrize(
    ("scope", "named", "error"),
    [
        (None, {}, InvalidRequest),
        (None, {"max_bytes": -1}, InvalidRequest),
        (None, {"max_refs": "many"}, InvalidRequest),
        (None, {"max_refs": True}, InvalidRequest),
        (None, {"max_refs": "1KiB"}, InvalidRequest),
        (None, {"scope_max_refs": 1.5}, InvalidRequest),
        ("s", {"scope_max_refs": 1}, InvalidRequest),
        ("s//t", {"max_refs": 1}, InvalidScope),
        ("", {"max_refs": 1}, InvalidScope),
    ],
)
def test_a_limit_that_is_none_is_refused(store, scope, named, error):
    with pytest.raises(error):
        store.set_quota(scope, **named)

    assert store.quota().max_refs is None


def test_a_scope_whose_deadline_counts_as_no_ref(store, make_file):
    store.set_quota(scope_max_refs=1)
    with store.scope("s", ttl="1h") as scope:
        scope.store(make_file(), meta=MediaMeta())

        with pytest.raises(QuotaExceeded, match="1 of 1"):
            scope.store(make_file("b.jpg"))
        assert store.quota("s").used_refs == 1


def test_a_quota_that_comes_while_content_is_written_is_kept_to(store, other, media):
    def pieces():
        yield b"x" * 10_000  # more than is looked at before anything is reserved
        other.set_quota(max_bytes=10)

    with pytest.raises(QuotaExceeded, match="of 10 bytes"):
        store.store_media(MediaContent(data=pieces()), scope="s")

    assert files(media) == []
    assert store.quota().used_bytes == 0


JUNK = ("junk", "", "1.5", "-5", "nan", "inf", "1e3", "0x10", "9" * 17)


def quotas_of(client, settings):
    return f"mediastore:{{{settings.namespace}}}:", client.hgetall(
        f"mediastore:{{{settings.namespace}}}:quotas"
    )


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("scope", [None, "s"])
def test_a_limit_beside_one_that_is_no_number_is_refused_before_it_is_written(
    store, client, settings, scope, junk
):
    store.set_quota(scope, max_bytes=5)
    prefix, _ = quotas_of(client, settings)
    other = "refs s" if scope else "scope_refs"
    client.hset(f"{prefix}quotas", other, junk)
    _, before = quotas_of(client, settings)

    with pytest.raises(Corrupt, match=f"quotas: {other} is no whole number"):
        store.set_quota(scope, max_bytes=7)

    assert quotas_of(client, settings)[1] == before
    mended = {"max_refs" if scope else "scope_max_refs": "never"}
    assert store.set_quota(scope, max_bytes=7, **mended).max_bytes == 7


@pytest.mark.parametrize("key", ["stats size_bytes", "stats reserved", "usage s", "writing s", "usage", "writing", "scope:s", "closed", "stats"])  # fmt: skip
def test_a_limit_whose_count_is_no_number_is_refused_before_it_is_written(
    store, client, settings, key
):
    store.set_quota("s", max_bytes=5)
    prefix, before = quotas_of(client, settings)
    name, _, field = key.partition(" ")
    client.delete(prefix + name)
    if field:
        client.hset(prefix + name, field, "junk")
    else:
        client.set(prefix + name, "junk")

    with pytest.raises(Corrupt):
        store.set_quota("s", max_bytes=7, max_refs=3)

    assert quotas_of(client, settings)[1] == before


@pytest.mark.parametrize("junk", JUNK)
def test_a_limit_that_is_no_number_refuses_what_it_would_limit(
    store, client, settings, media, junk
):
    prefix, _ = quotas_of(client, settings)
    client.hset(f"{prefix}quotas", "bytes", junk)

    with pytest.raises(Corrupt, match="quotas: bytes is no whole number"):
        store.store_media(content(1), scope="s")

    assert files(media) == []
    assert store.set_quota(max_bytes=1).max_bytes == 1
    store.store_media(content(1), scope="s")


@pytest.mark.parametrize(
    "limit", ["9" * 400 + "TB", "9" * 5000, 1e999, float("nan"), True, [], b"5", ""]
)
def test_a_limit_that_no_number_can_hold_is_refused(store, limit):
    with pytest.raises(InvalidRequest, match="scope_max_bytes"):
        store.set_quota(max_bytes=1, scope_max_bytes=limit)

    assert store.quota().max_bytes is None
