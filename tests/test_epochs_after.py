"""After an accept, what was there before stays for a day, whatever is done meanwhile; and while it is frozen nothing is written over."""

from __future__ import annotations

import logging

import pytest

from mediastore import NEVER, MediaContent, blobs
from mediastore.errors import RefGone
from mediastore.index import lives

from .epochs_clock import DAY_MS, MINUTE_MS, clock, minutes, real, snapshot  # noqa: F401 - fixtures
from .life import inner

pytestmark = real


@pytest.fixture
def back(minutes, snapshot, clock, store):
    """Give a way to put the index back as it was, after some minutes in which more happened, and to accept it."""

    def done(happens=lambda: None, *, before=lambda: None, accept=True):
        minutes(3)
        before()
        put_back = snapshot()
        happens()
        minutes(5)
        put_back()
        clock.pass_by(DAY_MS)
        store.sweep()
        assert store.stats().frozen == ("epoch",)
        if accept:
            store.accept_epoch()

    return done


def test_a_release_from_before_is_drained_and_its_files_stay(
    store, minutes, snapshot, clock, make_file
):
    path = make_file("a.jpg")
    store.store(path, scope="s/x", ttl=NEVER)
    minutes(3)
    store.release_all("s", wait=False)
    put_back = snapshot()
    store.store(path, scope="own", ttl=NEVER)
    minutes(5)
    put_back()
    store.accept_epoch()

    swept = store.sweep()

    assert (swept.drained, swept.deleted, path.exists()) == (1, 0, True)
    clock.pass_by(DAY_MS)
    assert (store.sweep().deleted, path.exists()) == (1, False)


def test_a_deadline_that_a_scope_gets_anew_ends_nothing_older(store, back, clock, make_file):
    ref = store.store(make_file("a.jpg"), scope="s/x", ttl=NEVER)
    back()
    store._ask(lives.limit("s", 30 * MINUTE_MS, "", "op"))
    clock.pass_by(60 * MINUTE_MS)

    store.sweep()

    assert store.resolve(ref).exists()
    clock.pass_by(DAY_MS)
    store.sweep()
    with pytest.raises(RefGone):
        store.resolve(ref)


def test_a_ref_that_is_moved_keeps_its_day(store, back, clock, make_file):
    ref = store.store(make_file("a.jpg"), scope="s/x", ttl="1h")
    back()
    store.transfer(ref, "t/y")
    store.promote(ref)

    store.sweep()

    assert store.resolve(ref).exists()
    clock.pass_by(DAY_MS)
    assert store.sweep().expired == 1


def test_a_release_waits_for_nothing_that_stays(store, back, make_file, monkeypatch):
    store.store(make_file("a.jpg"), scope="s/x", ttl=NEVER)
    store.store(make_file("b.jpg"), scope="s", ttl=NEVER)
    back(before=lambda: store.release_all("s", wait=False))
    store.sweep()
    new = make_file("new.jpg")
    store.store(new, scope="s")
    monkeypatch.setattr(blobs.Pause, "__iter__", lambda _: pytest.fail("it waits"))

    assert store.release_all("s").deleted == 1
    assert not new.exists()


def test_a_commit_that_was_lost_comes_back_by_its_sidecar(store, back, minutes, snapshot, clock):
    """The snapshot lies between the reservation and the commit."""
    saved = []
    asked = inner(store)
    ask = asked._ask

    def between(step):
        if getattr(step, "script", "") == "commit":
            saved.append(snapshot())
        return ask(step)

    minutes(3)
    asked._ask = between
    ref = store.store_media(MediaContent(data=b"bytes"), scope="s", ttl=NEVER)
    asked._ask = ask
    minutes(5)
    saved[0]()
    clock.pass_by(DAY_MS)
    store.sweep()
    assert store.stats().frozen == ("epoch",)

    assert store.rebuild().refs == 1
    store.accept_epoch()
    clock.pass_by(2 * DAY_MS)
    store.sweep()

    assert store.resolve(ref).read_bytes() == b"bytes"
    assert store.stats().reserved == 0


def test_an_end_that_was_taken_back_comes_back_by_its_sidecar(store, back, clock, settings):
    """The index believes the bytes to wait for their end; a ref was made of them again, and that was lost."""
    ref = store.store_media(MediaContent(data=b"bytes"), scope="s", ttl=NEVER)
    other = store.share(ref, "t", ttl=NEVER)
    kept = []

    def happens():
        kept.append(store.share(other, "u", ttl=NEVER))
        store.drain()

    store.delete_media(ref)
    back(happens, accept=False)
    store.release_all("t")

    assert store.rebuild().refs == 1
    store.accept_epoch()
    clock.pass_by(2 * DAY_MS)
    store.sweep()
    assert store.resolve(kept[0]).read_bytes() == b"bytes"


def test_while_it_is_frozen_no_sidecar_is_written_over(store, back, media, monkeypatch):
    ref = store.store_media(MediaContent(data=b"bytes"), scope="s", ttl="2d")
    back(lambda: store.pin(ref), accept=False)
    # No look is due: who has found out remembers it.
    monkeypatch.setattr("mediastore.flows.epochs.LOOK_EVERY_S", 1e9)
    before = [path.read_text() for path in sorted(media.rglob("*.meta"))]
    store.touch(ref, "3d")

    store.drain()

    assert before
    assert [path.read_text() for path in sorted(media.rglob("*.meta"))] == before


def test_a_root_that_goes_away_tells_nothing_and_nobody_says_that_work_goes_on(
    store, back, make_file, media, caplog
):
    store.store(make_file("a.jpg"), scope="s", ttl="1h")
    back(accept=False)
    away = media.rename(media.with_name("away"))

    with caplog.at_level(logging.WARNING, "mediastore"):
        store.sweep()
    away.rename(media)

    assert "not frozen any more" not in caplog.text
    assert store.sweep().frozen == 1
