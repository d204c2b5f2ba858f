"""Redis was lost: nothing is deleted, and `rebuild` brings back what sidecars tell of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mediastore import MediaMeta, MediaStore
from mediastore.errors import RefGone, RefUnknown

from .sidecar_fixtures import PNG, known, many_lives, planted, put, sharing, told, told_blob, tree  # noqa: F401 - a fixture
from .test_index import dump

# --- nothing is deleted


def test_sweeps_delete_nothing_that_an_emptied_index_does_not_know(store, client, media):
    put(store)
    alone = put(store, b"other")
    store.share(alone, "t")
    store.drain()
    path = store.resolve(alone)
    path.with_name(path.name + ".meta").unlink()
    before = tree(media)

    client.flushall()
    getattr(store, "_store", store)._blobs._wall = lambda: 9e9
    for _ in range(2):
        store.sweep()
        store.drain()

    assert tree(media) == before


# --- everything comes back


@pytest.mark.parametrize("dedup", [False, True])
def test_every_ref_comes_back_as_it_was(clients, settings, client, media, dedup):
    with MediaStore(clients(), replace(settings, dedup=dedup)) as store:
        refs, dead = many_lives(store)
        before, stats, files = known(store, refs), store.stats(), tree(media)

        client.flushall()
        with MediaStore(clients(), settings) as other:
            done = other.rebuild()

        assert (done.refs, done.blobs) == (stats.refs, stats.blobs) == (len(refs), stats.blobs)
        assert (done.known, done.dead, done.missing, done.broken) == (0, 0, 0, 0)
        assert known(store, refs) == before
        assert [store.resolve(ref) for ref in refs] == [each.path for each in before]
        after = store.stats()
        assert (after.refs, after.blobs, after.size_bytes) == (
            stats.refs,
            stats.blobs,
            stats.size_bytes,
        )
        assert after.stored_refs == len(refs)
        for ref in dead:
            with pytest.raises(RefUnknown):
                store.resolve(ref)
        assert tree(media) == files


def test_the_index_is_the_one_it_was_but_for_the_order(sharing, client, settings):
    def facts():
        found = dump(client, settings.namespace)
        for name in [*found]:
            kind, value = found[name]
            # An emptied index begins a line of life of its own.
            life = {"born", "epochs", "noted", "server"}
            if name.startswith(("op:", "gone:")) or name in {
                "seq",
                "stats",
                "graves",
                "clock",
                *life,
            }:
                del found[name]
            elif kind == "hash":
                found[name] = {field: v for field, v in value.items() if field != b"seq"}
            elif kind == "zset" and name != "expiry":
                found[name] = {member for member, _ in value}
        return found

    many_lives(sharing)
    before = facts()

    client.flushall()
    sharing.rebuild()

    after = facts()
    # The ref whose sidecar is beside the file has ended; until now the blob remembered its name.
    # The times of a file are in no sidecar: whoever joins it has its bytes looked at.
    for name in [name for name in before if name.startswith("blob:")]:
        del before[name][b"stamp"]
        if after[name][b"meta"] == b".":
            before[name][b"meta"] = b"."
    assert after == before


def test_what_came_back_lives_on(store, client, media, expect_empty):
    first = put(store, ttl="30m")
    second = store.share(first, "t", ttl="30m")
    store.drain()
    client.flushall()

    assert store.rebuild().refs == 2

    store.touch(second, "2h")
    store.transfer(second, "u")
    store.drain()
    assert told(media)[second.id].scope == "u"
    assert store.release_all("s").kept == 1
    assert store.release_all("u").deleted == 1
    store.drain()
    assert [path.name for path in media.iterdir()] == [".mediastore"]
    expect_empty()


def test_equal_content_joins_a_file_that_came_back(sharing, client):
    first = put(sharing, scope="a")
    client.flushall()
    sharing.rebuild()

    second = put(sharing, scope="b")

    assert sharing.resolve(second) == sharing.resolve(first)
    assert sharing.stats().blobs == 1


def test_content_of_an_organized_directory_is_not_joined_after_it_came_back(store, sharing, client):
    first = put(store)
    client.flushall()
    sharing.rebuild()

    second = put(sharing)

    assert sharing.resolve(second) != sharing.resolve(first)


def test_a_ref_lives_by_its_policy_again_where_that_was_made_again(other, client):
    other.set_policy("short", "1h")
    ref = put(other, meta=MediaMeta(policy="short"))
    before = other.get(ref).expires_at
    client.flushall()
    other.set_policy("short", "2h")

    other.rebuild()

    assert other.get(ref).expires_at == before
    other.set_policy("short", "3h")
    assert (other.get(ref).expires_at - other.get(ref).stored_at).total_seconds() == 3 * 3600


def test_a_pinned_ref_gets_its_length_back_when_it_is_unpinned(store, client):
    ref = put(store, ttl=600)
    store.pin(ref)
    store.drain()
    client.flushall()
    store.rebuild()

    due = store.unpin(ref)

    assert 500 < due.timestamp() - store.get(ref).stored_at.timestamp() < 700


# --- deadlines


def test_an_expired_ref_comes_back_expired_and_the_next_sweep_ends_it(lab, client):
    process = lab.process()
    ref = put(process, b"one", ttl=10)
    other = put(process, b"other", ttl=1000)
    lab.pass_time(20)
    client.flushall()

    done = lab.process().rebuild()

    assert done.refs == 2
    with pytest.raises(RefGone):
        lab.process().resolve(ref)
    assert len(lab.files()) == 4
    assert lab.process().sweep().expired == 1
    assert len(lab.files()) == 2
    assert lab.process().resolve(other).exists()


@pytest.mark.parametrize("lives", [0, 24])
def test_no_file_goes_for_refs_that_have_not_come_back_yet(lab, client, lives):
    """Of 25 refs of a file one lives; sweepers are at work between the scripts."""
    process = lab.process()
    refs = [put(process, ttl="never" if lives == 0 else 10)]
    refs += [process.share(refs[0], "t", ttl="never" if n == lives else 10) for n in range(1, 25)]
    process.drain()
    lab.pass_time(20)
    client.flushall()
    rebuilding, sweeping = lab.process(), lab.process()
    ask, seen = rebuilding._ask, []

    def busy(step):
        answer = ask(step)
        if getattr(step, "script", "") == "revive":
            seen.append(sweeping.sweep().expired)
        return answer

    rebuilding._ask = busy
    done = rebuilding.rebuild()

    assert (done.refs, done.blobs, len(seen)) == (25, 1, 3)
    lab.settle()
    assert lab.process().resolve(refs[lives]).read_bytes() == PNG
    assert lab.process().stats().refs == 1
    assert not list(client.scan_iter(match="*lease:*"))


def test_while_refs_are_missing_a_release_of_the_others_does_not_take_their_file(lab, client):
    """All live; the first that are back are released before the rest are."""
    process = lab.process()
    refs = [put(process, scope="s")]
    refs += [process.share(refs[0], "s", ttl="never") for _ in range(24)]
    process.drain()
    client.flushall()
    rebuilding = lab.process()
    ask = rebuilding._ask
    released: list[Any] = []

    def busy(step):
        answer = ask(step)
        if getattr(step, "script", "") == "revive" and not released:
            released.append(lab.process().release_all("s"))
            lab.process().sweep()
        return answer

    rebuilding._ask = busy
    rebuilding.rebuild()

    assert released[0].refs == 10
    live = [media.ref for media in lab.process().refs("s")]
    assert len(live) == 15
    assert all(lab.process().resolve(ref).exists() for ref in live)
