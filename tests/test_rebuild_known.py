"""What the index knows, `rebuild` does not change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediastore import MediaStore
from mediastore.errors import RefGone
from mediastore.index.steps import prefix
from mediastore.model import Ref

from .conftest import names_left
from .sidecar_fixtures import PNG, known, many_lives, planted, put, sharing, told, told_blob, tree  # noqa: F401 - a fixture
from .test_index import dump


def test_a_second_rebuild_changes_nothing(sharing, client, settings):
    many_lives(sharing)
    client.flushall()
    first = sharing.rebuild()
    before = dump(client, settings.namespace)

    again = sharing.rebuild()

    after = {
        name: v
        for name, v in dump(client, settings.namespace).items()
        if not name.startswith("op:")
    }
    assert after == {name: v for name, v in before.items() if not name.startswith("op:")}
    assert (again.refs, again.blobs, again.known) == (0, 0, first.refs)


def test_a_dry_run_says_the_same_and_changes_nothing(sharing, client, settings):
    refs, _ = many_lives(sharing)
    shared = [sharing.share(refs[0], "many") for _ in range(25)]
    sharing.drain()
    client.flushall()
    sharing.stats()
    before = dump(client, settings.namespace)

    dry = sharing.rebuild(dry_run=True)

    assert dump(client, settings.namespace) == before
    assert dry == sharing.rebuild()
    assert dry.refs == len(refs) + len(shared)


def test_on_a_whole_index_nothing_is_changed(store, client, settings):
    ref = put(store)
    store.share(ref, "t")
    store.touch(ref, "2h")  # not in its sidecar yet

    done = store.rebuild()

    assert (done.refs, done.known, done.dead) == (0, 1, 0)
    assert abs((store.get(ref).expires_at - store.get(ref).stored_at).total_seconds() - 7200) < 5


def test_a_ref_with_a_tombstone_stays_dead(store, client, media):
    first = put(store)
    second = store.share(first, "t")
    store.drain()
    put_back = planted(media, second)
    store.delete_media(second)
    store.drain()
    put_back()

    done = store.rebuild()

    assert (done.refs, done.known, done.dead) == (0, 1, 1)
    with pytest.raises(RefGone):
        store.resolve(second)


def test_a_ref_whose_end_is_not_on_the_disk_yet_stays_dead_without_its_tombstone(
    store, client, settings
):
    first = put(store)
    second = store.share(first, "t")
    store.drain()
    store.delete_media(second)
    client.unlink(f"{prefix(settings.namespace)}gone:{second.id}")

    done = store.rebuild()

    assert (done.refs, done.known, done.dead) == (0, 1, 1)


def test_a_file_on_its_way_out_stays_dead(clients, settings, client, media):
    with MediaStore(clients(), replace(settings, grace=60)) as store:
        ref = put(store)
        put_back = planted(media, ref)
        store.release_all("s")
        store.drain()
        put_back()
        client.unlink(f"{prefix(settings.namespace)}gone:{ref.id}")

        done = store.rebuild()

        assert (done.refs, done.dead) == (0, 1)
        assert store.stats().refs == 0


def test_content_that_is_just_being_written_is_its_writers(monkeypatch, clients, settings):
    """Its file and its sidecar are there, and its ref is not."""
    with MediaStore(clients(), settings) as writing, MediaStore(clients(), settings) as other:
        other.stats()
        answers = []
        ask = writing._ask

        def between(step):
            if getattr(step, "script", "") == "commit":
                answers.append(other.rebuild())
            return ask(step)

        monkeypatch.setattr(writing, "_ask", between)
        ref = put(writing)

        assert [(done.refs, done.known) for done in answers] == [(0, 1)]
        assert (other.stats().refs, other.stats().blobs) == (1, 1)
        assert other.resolve(ref).read_bytes() == PNG


def test_a_ref_joins_what_was_registered_at_its_path_since(store, client, media):
    ref = put(store)
    path = store.resolve(ref)
    client.flushall()
    newer = store.store(path, scope="new")

    done = store.rebuild()

    assert (done.refs, done.blobs) == (1, 0)
    assert store.resolve(ref) == store.resolve(newer) == path
    assert store.release_all("new").kept == 1
    assert path.exists()
    assert store.release_all("s").deleted == 1
    assert not path.exists()


def test_refs_of_what_was_registered_since_get_no_sidecars(store, client, media):
    """It is no content of the store's own: nobody would take them away."""
    ref = put(store)
    path = store.resolve(ref)
    client.flushall()
    store.store(path, scope="s")
    store.rebuild()

    store.share(ref, "s")
    store.sweep()
    assert store.release_all("s").deleted == 1
    store.sweep()

    assert names_left(media) == []


def test_a_sidecar_that_gives_a_file_to_another_blob_is_not_believed(other, media):
    first, second = put(other, b"first!"), put(other, b"second")
    both = told(media)
    wrong = replace(both[second.id], ref=Ref("media://" + "0" * 22), blob=both[first.id].blob)
    directory = media / ".mediastore/meta" / wrong.blob
    directory.mkdir()
    (directory / f"{'0' * 22}.meta").write_text(wrong.to_text())

    done = other.rebuild()

    assert (done.refs, done.dead) == (0, 1)
