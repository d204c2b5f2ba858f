"""Sidecars that stay true: of further refs, of changed ones, of ended ones, whoever is stopped or late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediastore import MediaMeta, MediaStore

from .conftest import names_left
from .processes import CALLS, Once, Paused
from .sidecar_fixtures import PNG, journal, put, sharing, told  # noqa: F401 - a fixture


def says(sidecar, media):
    """Whether a sidecar says what the store says of its ref."""
    facts = (sidecar.ref, sidecar.scope, sidecar.size, sidecar.meta, sidecar.pinned)
    assert facts == (media.ref, media.scope, media.size_bytes, media.meta, media.pinned)
    expires = sidecar.expires_ms and sidecar.expires_ms / 1000
    assert expires == (media.expires_at and media.expires_at.timestamp())
    assert sidecar.stored_ms / 1000 == media.stored_at.timestamp()
    return True


# --- what is written


def test_the_ref_that_made_a_file_has_its_sidecar_at_once(store, media, client, settings):
    ref = put(store, ttl=60)

    assert says(told(media)[ref.id], store.get(ref))
    assert journal(client, settings) == []


def test_a_shared_ref_has_its_sidecar_after_a_drain(store, media, client, settings):
    ref = put(store)
    shared = store.share(ref, "t", ttl="1h")
    assert set(told(media)) == {ref.id}

    store.drain()

    assert says(told(media)[shared.id], store.get(shared))
    assert journal(client, settings) == []
    assert names_left(media) == sorted(
        [f"meta/{told(media)[ref.id].blob}", f"meta/{told(media)[ref.id].blob}/{shared.id}.meta"]
    )


@pytest.mark.parametrize("form", [PNG, "stream"])
def test_a_ref_that_joins_a_file_has_its_sidecar_at_once(sharing, media, client, settings, form):
    put(sharing, scope="a")

    joined = put(sharing, iter([PNG]) if form == "stream" else form, scope="b", ttl=600)

    assert says(told(media)[joined.id], sharing.get(joined))
    assert journal(client, settings) == []


CHANGES = {
    "touch": lambda store, ref: store.touch(ref, "2h"),
    "never": lambda store, ref: store.touch(ref, "never"),
    "pin": lambda store, ref: store.pin(ref),
    "unpin": lambda store, ref: (store.pin(ref), store.drain(), store.unpin(ref)),
    "transfer": lambda store, ref: store.transfer(ref, "u/v"),
    "promote": lambda store, ref: store.promote(ref),
    "policy": lambda store, ref: store.apply_policy(ref, "retain-2hours"),
    "named policy": lambda store, ref: (
        store.set_policy("short", "1h"), store.apply_policy(ref, "short"), store.drain(), store.set_policy("short", "3h")
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", ["first", "further"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_ref_is_in_its_sidecar_after_a_sweep(other, media, change, which):
    first = put(other, scope="s/x", ttl="30m")
    further = other.share(first, "s/y", ttl="30m")
    other.drain()
    before = told(media)
    ref = first if which == "first" else further

    CHANGES[change](other, ref)
    other.sweep()

    after = told(media)
    assert says(after[ref.id], other.get(ref))
    assert after[ref.id] != before[ref.id]
    assert after[ref.id].sha == before[ref.id].sha
    others = {first.id, further.id} - {ref.id}
    assert {name: after[name] for name in others} == {name: before[name] for name in others}


def test_a_registration_of_content_has_a_sidecar_too(store, media):
    ref = put(store)

    again = store.store(store.resolve(ref), scope="t", meta=MediaMeta(filename="dog.png"))
    store.drain()

    assert says(told(media)[again.id], store.get(again))


def test_content_by_a_named_policy_tells_the_deadline_that_it_has(other, media):
    other.set_policy("short", "1h")

    ref = put(other, meta=MediaMeta(policy="short"))
    other.drain()

    assert says(told(media)[ref.id], other.get(ref))


def test_a_policy_that_changes_while_content_comes_is_in_its_sidecar(
    other, clients, settings, media
):
    other.set_policy("short", "1h")

    def slow():
        yield b"x" * 10_000  # more than what is looked at before anything is reserved
        with MediaStore(clients(), settings) as somebody:
            somebody.set_policy("short", "2h")

    ref = put(other, slow(), meta=MediaMeta(policy="short"))
    other.drain()

    assert says(told(media)[ref.id], other.get(ref))


def test_a_change_while_a_sidecar_is_written_is_written_next(
    other, clients, settings, media, monkeypatch
):
    ref = put(other)
    other.touch(ref, "1h")
    ask = other._ask

    def between(step):
        if getattr(step, "script", "") == "inscribed":
            monkeypatch.undo()
            with MediaStore(clients(), settings) as somebody:
                somebody.transfer(ref, "t")
        return ask(step)

    monkeypatch.setattr(other, "_ask", between)
    other.drain()
    other.drain()

    assert told(media)[ref.id].scope == "t"


# --- what is removed


@pytest.mark.parametrize("which", ["first", "further"])
def test_a_ref_that_ends_while_its_file_stays_loses_its_sidecar(store, media, which):
    first = put(store)
    further = store.share(first, "t")
    store.drain()
    ends, stays = (first, further) if which == "first" else (further, first)

    store.delete_media(ends)
    store.drain()

    assert set(told(media)) == {stays.id}
    assert store.resolve(stays).exists()


def test_in_grace_a_file_has_no_sidecar(clients, settings, media):
    with MediaStore(clients(), replace(settings, grace=60)) as store:
        ref = put(store)
        put_again = store.share(ref, "s")
        store.release_all("s")

        store.drain()

        assert told(media) == {}
        assert store.resolve(store.restore(put_again)).exists()
        store.drain()
        assert len(told(media)) == 1


def test_released_content_leaves_no_sidecar(store, media, expect_empty):
    ref = put(store)
    store.share(ref, "t")
    store.drain()

    store.release_all("s")
    store.release_all("t")
    store.drain()

    assert list(media.rglob("*.meta")) == []
    expect_empty()


def test_a_file_that_was_rescued_has_no_sidecar_of_its_dead(sharing, other, media):
    dead = put(sharing, scope="a")
    put(sharing, scope="a")
    sharing.release_all("a", wait=False)

    joined = put(sharing, scope="b")
    other.drain()

    assert sharing.resolve(joined).exists()
    assert set(told(media)) == {joined.id}
    assert dead.id not in told(media)


# --- what costs nothing


def test_without_sidecars_nothing_is_noted_and_nothing_written(clients, settings, media, client):
    with MediaStore(clients(), replace(settings, sidecars=False, dedup=True)) as store:
        ref = put(store)
        put(store)
        store.touch(ref, 60)
        store.transfer(store.share(ref, "t"), "u")
        store.delete_media(ref)

        assert journal(client, settings) == []
        store.drain()
        assert names_left(media) == []


def test_of_a_registered_file_nothing_is_noted(store, cat, client, settings):
    ref = store.store(cat, scope="s")

    store.touch(ref, 60)
    store.transfer(store.share(ref, "t"), "u")
    store.delete_media(ref)

    assert journal(client, settings) == []


# --- who is late, stopped or in the way


def test_what_cannot_be_written_keeps_nothing_else_waiting(store, media, client, settings):
    blocked, fine = put(store), put(store, b"other")
    (media / ".mediastore/drafts" / told(media)[blocked.id].blob).write_text("in the way")
    store.touch(blocked, "5h")
    store.touch(fine, "5h")

    store.drain()
    assert says(told(media)[fine.id], store.get(fine))
    assert len(journal(client, settings)) == 1

    (media / ".mediastore/drafts" / told(media)[blocked.id].blob).unlink()
    store.drain()
    assert says(told(media)[blocked.id], store.get(blocked))
    assert journal(client, settings) == []


@pytest.mark.parametrize(
    "before",
    [
        lambda store, first: store.touch(first, "5h"),
        lambda store, first: store.delete_media(store.share(first, "t")),
    ],
    ids=["the first changed", "another ended"],
)
def test_the_first_sidecar_of_a_further_ref_is_written_whatever_its_file_had_before(
    store, media, client, settings, before
):
    first = put(store)
    before(store, first)
    further = store.share(first, "t")

    store.drain()

    assert set(told(media)) == {first.id, further.id}
    assert journal(client, settings) == []


@pytest.mark.parametrize("lane", ["real"], indirect=True)
@pytest.mark.parametrize("which", ["first", "further"])
@pytest.mark.parametrize("what", ["changes", "ends", "goes"])
def test_a_writer_that_stands_still_never_has_the_last_word(
    stage, clients, settings, media, what, which, client
):
    """It stops before each of its file calls; meanwhile the ref changes, ends, or its file goes, and another one writes."""
    for at in range(60):
        with MediaStore(clients(), settings) as slow, MediaStore(clients(), settings) as fast:
            first = put(fast)
            further = fast.share(first, "t")
            fast.drain()
            ref, stays = (first, further) if which == "first" else (further, first)
            fast.touch(ref, "1h")

            writer = Paused(stage, slow.drain, at)
            if what == "changes":
                fast.transfer(ref, "u/v")
            elif what == "ends":
                fast.delete_media(ref)
            else:
                fast.release_all("s")
                fast.release_all("t")
            fast.drain()
            writer.finish()
            fast.drain()
            fast.drain()

            live = {"changes": {ref.id, stays.id}, "ends": {stays.id}, "goes": set()}[what]
            assert set(told(media)) == live, at
            for each in live:
                assert says(told(media)[each], fast.get(f"media://{each}")), at
            assert journal(client, settings) == []
            fast._blobs._wall = lambda: 9e9
            for scope in ("s", "t", "u"):
                fast.release_all(scope)
            fast.sweep()
            assert names_left(media) == [], at
        if not writer.stopped:
            assert at > 5
            return
    pytest.fail("it never came to its end")


def test_a_sweep_in_which_the_index_is_emptied_removes_no_sidecar(
    stage, other, client, media, settings
):
    """Between its look at the journal and its look at the refs."""
    first = put(other)
    other.share(first, "t")
    other.drain()
    other.touch(first, "1h")
    before = set(told(media))
    emptied = Once(client.flushall, when=lambda name, _: name == "make_directory")

    with stage.during(emptied):
        other.drain()

    assert emptied.done
    assert set(told(media)) == before


def test_the_stage_sees_the_calls_of_a_writer():
    assert {"rename", "unlink", "make_directory", "remove_directory", "names"} <= set(CALLS)


def test_drafts_of_killed_writers_go_after_a_while(other, media, client):
    ref = put(other)
    blob = told(media)[ref.id].blob
    for part in ("drafts", "meta"):
        (media / ".mediastore" / part / blob).mkdir()
    draft = media / ".mediastore/drafts" / blob / f"{ref.id}.token"
    draft.touch()

    other.sweep()
    assert draft.exists()

    other._blobs._wall = lambda: 9e9
    other.sweep()
    assert names_left(media) == []
