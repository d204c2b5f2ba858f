"""Leases on files of each kind, files that are safe to read, and hand-over."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mediastore import Cleanup, MediaMeta, MediaStore, Settings
from mediastore.blobs import posix
from mediastore.errors import (
    BlobMissing,
    InvalidRequest,
    InvalidRoot,
    LeaseLost,
    WrongHost,
)

from .conftest import JPEG, names_left
from .lease_fixtures import at_server, deaf, settings
from .processes import no_link, replace as put_other_file
from .waiting import until

__all__ = ["settings"]  # a fixture

BORROWED = MediaMeta(filename="cat.jpg", cleanup=Cleanup.FORGET)


# --- files of each kind


def test_a_borrowed_file_is_leased_at_its_own_path_and_stays(store, cat):
    ref = store.store(cat, scope="s", meta=BORROWED)

    with store.lease(ref) as held:
        assert held.path == cat
        store.release_all("s")
        assert held.path.read_bytes() == JPEG

    assert cat.exists()


def test_without_hard_links_the_path_itself_is_held(store, other, cat, monkeypatch, expect_empty):
    monkeypatch.setattr(posix, "link", no_link)
    ref = store.store(cat, scope="s")

    with store.lease(ref) as held, store.open(ref) as file:
        other.release_all("s")
        other.sweep()
        assert held.path == cat
        assert held.path.read_bytes() == file.read() == JPEG

    assert not cat.exists()
    expect_empty()


def test_a_file_that_is_replaced_under_its_path_is_still_right_under_the_lease(store, cat):
    ref = store.store(cat, scope="s")
    with store.lease(ref) as held:
        put_other_file(cat, "another file")

        assert held.path.read_bytes() == JPEG
        with store.open(ref) as file:
            assert file.read() == JPEG
        assert store.resolve(ref) == held.path

    assert cat.read_text() == "another file"


@pytest.mark.parametrize("change", [put_other_file, lambda path, _: path.unlink()])
def test_a_borrowed_file_that_is_not_there_any_more_cannot_be_leased(change, store, cat):
    ref = store.store(cat, scope="s", meta=BORROWED)
    change(cat, "another file")

    with pytest.raises(BlobMissing):
        store.take_lease(ref)
    with pytest.raises(BlobMissing), store.open(ref):
        pytest.fail("the body ran")

    assert store.leases(ref) == []


def test_where_the_root_is_not_nothing_stays_taken(store, clients, settings, tmp_path, cat):
    ref = store.store(cat, scope="s")
    (tmp_path / "elsewhere").mkdir()
    away = Settings(namespace=settings.namespace, roots=(str(tmp_path / "elsewhere"),))

    with MediaStore(clients(), away) as other:
        for ask in (other.take_lease, other.open):
            with pytest.raises(WrongHost):
                ask(ref)

    assert store.leases(ref) == []


# --- open


def test_an_open_file_is_read_to_its_end_whatever_becomes_of_the_ref(
    store, other, make_file, expect_empty
):
    content = bytes(range(256)) * 4096
    path = make_file("big.bin", content)
    ref = store.store(path, scope="s")

    with store.open(ref) as file:
        start = file.read(10)
        other.release_all("s")
        other.sweep()
        assert names_left(path.parent) != []
        rest = b"".join(file)

    assert start + rest == content
    assert file.closed
    assert not path.exists()
    expect_empty()


def test_a_file_that_is_open_for_long_is_renewed(store, cat, monkeypatch):
    monkeypatch.setattr("mediastore.client.leasing._OPEN_S", 0.9)
    ref = store.store(cat, scope="s")

    with store.open(ref) as file:
        first = store.leases(ref)[0].until
        until(lambda: store.leases(ref)[0].until > first + timedelta(seconds=0.6))

        assert file.read() == JPEG


def test_an_open_file_can_be_searched(store, cat):
    buffer = bytearray(4)

    with store.open(store.store(cat, scope="s")) as file:
        assert file.seek(-2, 2) == len(JPEG) - 2
        assert file.read() == JPEG[-2:]
        assert file.read() == b""
        assert file.seek(0) == 0
        assert file.readinto(buffer) == 4
        assert file.tell() == 4
        assert str(file.name).endswith(".jpg")

    assert buffer == JPEG[:4]


def test_a_file_that_is_closed_twice_ends_its_lease_once(store, cat):
    ref = store.store(cat, scope="s")

    with store.open(ref) as file:
        assert len(store.leases(ref)) == 1
        file.close()
        assert store.leases(ref) == []
        file.close()

    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_closing_never_raises_for_the_lease(store, cat):
    with store.open(store.store(cat, scope="s")) as file:
        at_server(store, 3600)
        content = file.read()

    assert content == JPEG
    at_server(store, 0)
    with store.open(store.store(cat, scope="s")) as file:
        deaf(store)

    assert file.closed


@pytest.mark.parametrize("settings", [{"lease_max": 30}], indirect=True)
def test_a_file_is_opened_where_leases_may_last_for_less_than_it_would_ask(store, cat):
    with store.open(store.store(cat, scope="s")) as file:
        assert file.read() == JPEG


# --- hand-over


def test_a_hand_over_leaves_no_gap(store, other, cat, expect_empty):
    ref = store.store(cat, scope="s", meta=MediaMeta(filename="a cat"))
    token = json.loads(json.dumps(store.handoff(ref)))
    store.release_all("s")
    store.sweep()

    with other.accept(token) as held:
        other.sweep()
        assert held.path.read_bytes() == JPEG
        assert (held.ref, held.meta.filename) == (ref, "a cat")
        assert held.renew() >= held.expires_at

    assert not cat.exists()
    expect_empty()


def test_a_token_works_once(store, other, cat):
    token = other.handoff(other.store(cat, scope="s"))
    held = store.accept(token)

    for late in (store, other):
        with pytest.raises(LeaseLost):
            late.accept(token)

    assert held.path.exists()


def test_a_lost_message_costs_its_ttl_and_nothing_more(store, other, cat, expect_empty):
    ref = store.store(cat, scope="s")
    token = store.handoff(ref, ttl=0.9)
    store.release_all("s")

    store.sweep()
    assert cat.exists()
    until(lambda: other.sweep().deleted)

    with pytest.raises(LeaseLost):
        store.accept(token)
    expect_empty()


def test_what_is_no_token_is_refused(store):
    for token in ("", "media://" + "x" * 22, 42):
        with pytest.raises(InvalidRequest):
            store.accept(token)


def test_a_token_that_is_shown_where_the_root_is_not_stays_good(
    store, clients, settings, tmp_path, cat
):
    token = store.handoff(store.store(cat, scope="s"))
    (tmp_path / "elsewhere").mkdir()
    away = Settings(namespace=settings.namespace, roots=(str(tmp_path / "elsewhere"),))

    with MediaStore(clients(), away) as other, pytest.raises(WrongHost):
        other.accept(token)

    assert store.accept(token).path.exists()


def test_a_lease_is_renewed_although_another_root_of_the_process_was_forgotten(
    other, clients, settings, tmp_path, cat
):
    (tmp_path / "second").mkdir()
    both = Settings(namespace=settings.namespace, roots=(*settings.roots, str(tmp_path / "second")))
    with MediaStore(clients(), both) as store:
        ref = store.store(cat, scope="s")
        held = store.take_lease(ref, "1m")
        (lost,) = (info.root for info in store.roots() if info.place.endswith("second"))
        other.forget_root(lost)
        store._speech.distrust_time()  # a minute later it greets the index again, and hears of it
        with pytest.raises(InvalidRoot):
            store.touch(ref)
        before = held.expires_at

        assert held.renew("2m") >= before + timedelta(seconds=59)
        held.end()

    assert other.leases(ref) == []
