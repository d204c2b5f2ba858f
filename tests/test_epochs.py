"""An index that came back older than its roots know it deletes nothing, whatever it believes; any other one goes on."""

from __future__ import annotations

import logging
import shutil
import threading
from dataclasses import replace

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore, Swept
from mediastore.blobs import epochs as files
from mediastore.errors import RefGone
from mediastore.index import changes, lives
from mediastore.index.steps import prefix

from .epochs_clock import DAY_MS, MINUTE_MS, clock, minutes, real, snapshot  # noqa: F401 - fixtures
from .life import inner

pytestmark = real


def later(store, make_file, name, **options):
    return store.store(make_file(name), scope="s", **options)


@pytest.fixture
def went_back(store, clock, minutes, snapshot, make_file):
    """Give refs of which a pin, a touch and a change of custody were lost with a snapshot that was put back, a day ago."""
    paths = [make_file(f"{n}.jpg") for n in range(3)]
    refs = [store.store(path, scope="s", ttl="1h") for path in paths]
    minutes(3)
    put_back = snapshot()
    minutes(5)
    store.pin(refs[0])
    store.touch(refs[1], "7d")
    store.store(paths[2], scope="own", meta=MediaMeta(cleanup=Cleanup.FORGET))
    put_back()
    clock.pass_by(DAY_MS)
    return refs, paths


def test_what_was_saved_since_a_snapshot_that_is_put_back_is_not_deleted(store, went_back):
    refs, paths = went_back

    assert store.sweep() == Swept(frozen=3)
    assert store.drain() == Swept()
    assert all(path.exists() for path in paths)
    assert store.resolve_many(refs) == [store.resolve(ref) for ref in refs] == paths
    assert [media.ref for media in store.refs("s")] == refs
    assert store.stats().frozen == ("epoch",)


def test_a_frozen_namespace_stores_and_releases_and_nobody_waits_for_the_files(
    store, went_back, make_file
):
    _, paths = went_back
    store.sweep()
    more = later(store, make_file, "more.jpg")

    done = store.release_all("s")

    assert (done.refs, done.deleted, done.pending, done.closed) == (4, 0, 4, False)
    assert all(path.exists() for path in [*paths, store.resolve(later(store, make_file, "x.jpg"))])
    with pytest.raises(RefGone):
        store.resolve(more)


def test_a_release_alone_finds_out_and_deletes_nothing(store, went_back, make_file):
    _, paths = went_back

    done = store.release_all("s")

    assert (done.deleted, done.pending) == (0, 3)
    assert all(path.exists() for path in paths)
    assert store.epoch().frozen.reason == "epoch"


def test_after_accept_nothing_that_was_there_ends_by_itself_for_a_day(
    store, went_back, clock, make_file
):
    refs, paths = went_back
    store.sweep()

    accepted = store.accept_epoch()

    assert store.epoch().frozen is None
    assert round(accepted.until.timestamp() * 1000) == clock.ms + DAY_MS
    assert store.sweep() == Swept()
    assert store.resolve_many(refs) == paths
    new = later(store, make_file, "new.jpg", ttl="1m")
    store.delete_media(refs[0])
    clock.pass_by(MINUTE_MS)
    assert store.sweep().expired == 1
    assert [path.exists() for path in paths] == [False, True, True]
    with pytest.raises(RefGone):
        store.resolve(new)
    clock.pass_by(DAY_MS)
    assert store.sweep().expired == 2


def test_after_accept_a_scope_stays_and_so_does_what_waited_to_be_deleted(
    store, clock, minutes, snapshot, make_file
):
    kept, doomed = later(store, make_file, "kept.jpg", ttl=NEVER), make_file("doomed.jpg")
    store._ask(lives.limit("s", 10 * MINUTE_MS, "", "op"))
    ref = store.store(doomed, scope="d", ttl=NEVER)
    store._ask(changes.delete(ref.id, "op2", changes.Terms(DAY_MS, grace_ms=20 * MINUTE_MS)))
    minutes(3)
    put_back = snapshot()
    minutes(3)
    put_back()
    clock.pass_by(DAY_MS)
    assert store.sweep().frozen == 2

    store.accept_epoch()

    assert (store.sweep().refs, store.resolve(kept).exists(), doomed.exists()) == (0, True, True)
    clock.pass_by(DAY_MS)
    store.sweep()
    assert not doomed.exists()
    with pytest.raises(RefGone):
        store.resolve(kept)


def test_a_second_name_that_the_index_has_forgotten_is_let_go(
    store, clock, minutes, snapshot, make_file, media
):
    store.store(make_file("old.jpg"), scope="s", ttl="30d")
    minutes(3)
    put_back = snapshot()
    minutes(5)
    forgotten, alone = make_file("forgotten.jpg"), make_file("alone.jpg")
    store.store_many([forgotten, alone], scope="s")
    alone.unlink()
    put_back()
    store.sweep()
    assert store.epoch().unknown == 2

    accepted = store.accept_epoch(let_go=True)

    assert (accepted.removed, accepted.parked) == (1, 1)
    assert forgotten.exists()
    assert store.epoch().unknown == 0
    assert len(list((media / ".mediastore/held").iterdir())) == 1


# --- what freezes nothing


def goes_on(store, clock, make_file):
    """Whether a ref that is due now goes with the next sweep."""
    later(store, make_file, "due.jpg", ttl="1m")
    clock.pass_by(MINUTE_MS)
    swept = store.sweep()
    return (swept.expired, swept.frozen, store.stats().frozen) == (1, 0, ())


def test_an_index_that_was_emptied_goes_on(store, clock, minutes, client, make_file):
    later(store, make_file, "lost.jpg")
    minutes(5)
    client.flushall()
    # A bot that is connected stores before anybody looks.
    later(store, make_file, "first.jpg")

    minutes(5)

    assert goes_on(store, clock, make_file)


def test_a_failover_that_loses_the_last_entry_and_its_note_freezes_nothing(
    store, clock, minutes, snapshot, make_file
):
    minutes(3)
    for _ in range(8):
        clock.pass_by(MINUTE_MS // 4)
        put_back = snapshot()
        store.sweep()
        put_back()

    assert goes_on(store, clock, make_file)


def test_an_idle_month_and_more_epochs_than_are_kept_freeze_nothing(
    store, clock, minutes, make_file
):
    minutes(5)
    clock.pass_by(30 * DAY_MS)
    minutes(70)

    assert goes_on(store, clock, make_file)


def test_a_root_that_was_away_while_others_went_on_is_known(
    store, clock, minutes, clients, settings, tmp_path, make_file
):
    later(store, make_file, "here.jpg", ttl="30d")
    minutes(5)
    (tmp_path / "far").mkdir()
    with MediaStore(clients(), replace(settings, roots=(str(tmp_path / "far"),))) as far:
        far._speech.now = lambda: clock.ms
        for _ in range(70):
            clock.pass_by(MINUTE_MS)
            far.sweep()

    assert goes_on(store, clock, make_file)


def test_a_root_that_cannot_be_written_for_long_is_known_when_it_can(
    store, clock, minutes, make_file, monkeypatch
):
    minutes(5)
    with monkeypatch.context() as full:
        full.setattr(files, "show", lambda *_: False)
        minutes(70)

    assert goes_on(store, clock, make_file)
    before = files_shown(store)
    minutes(5)
    assert files_shown(store) != before


def files_shown(store):
    return [each.shown for each in store.epoch().roots]


def test_a_root_that_was_adopted_with_an_old_entry_is_taken(
    store, clock, minutes, media, make_file, tmp_path
):
    """It is a copy, and as old as that."""
    later(store, make_file, "old.jpg", ttl="30d")
    minutes(5)
    shutil.copytree(media, tmp_path / "backup")
    minutes(70)
    shutil.rmtree(media)
    shutil.copytree(tmp_path / "backup", media)
    store.adopt_root(media)

    assert goes_on(store, clock, make_file)


@pytest.mark.parametrize("copied", [False, True])
def test_adopting_a_root_hides_nothing(
    store, clock, minutes, snapshot, make_file, media, tmp_path, copied
):
    """The index first, the files later, as a backup is made: the copy is newer than the index."""
    pinned = later(store, make_file, "pinned.jpg", ttl="1h")
    minutes(3)
    put_back = snapshot()
    store.pin(pinned)
    minutes(10)
    put_back()
    if copied:
        shutil.copytree(media, tmp_path / "backup")
        shutil.rmtree(media)
        shutil.copytree(tmp_path / "backup", media)
    store.adopt_root(media)
    clock.pass_by(DAY_MS)

    assert store.sweep().frozen == 1
    assert store.resolve(pinned).exists()


# --- what freezes


@pytest.mark.parametrize("said", ["", "1.2.another\n", "nonsense", "\xff" * 300, None])
def test_a_root_that_shows_what_nobody_wrote_freezes_the_namespace(
    store, clock, minutes, media, make_file, said
):
    due = later(store, make_file, "due.jpg", ttl="10m")
    minutes(5)
    shown = media / ".mediastore/epoch"
    if said is None:
        shown.unlink()
    else:
        shown.write_text(said)
    clock.pass_by(DAY_MS)

    assert store.sweep().frozen == 1
    assert store.resolve(due).exists()
    # Nobody makes it anew: that would hide that it was lost.
    assert shown.exists() == (said is not None)
    store.accept_epoch()
    minutes(5)
    assert goes_on(store, clock, make_file)


def test_of_two_indexes_that_were_one_at_most_one_goes_on_in_a_root(
    store, clock, minutes, client, settings, clients, make_file
):
    later(store, make_file, "shared.jpg", ttl="1d")
    minutes(3)
    twin = replace(settings, namespace=settings.namespace)
    copied = prefix("copied")
    for key in client.scan_iter(f"{prefix(settings.namespace)}*"):
        client.restore(
            key.replace(prefix(settings.namespace).encode(), copied.encode()), 0, client.dump(key)
        )
    with MediaStore(clients(), twin) as other:
        other._speech.prefix = copied
        other._speech.now = lambda: clock.ms
        swept = []
        for _ in range(5):
            clock.pass_by(MINUTE_MS)
            swept = [store.sweep(), other.sweep()]
        clock.pass_by(DAY_MS)
        swept = [store.sweep().frozen, other.sweep().frozen]

    assert sorted(swept) in ([0, 1], [1, 1])


def test_a_root_that_was_added_after_the_snapshot_speaks_as_well(
    store, clock, minutes, snapshot, clients, settings, tmp_path, make_file
):
    """The others were not swept since: only the new one can tell that something was lost."""
    pinned = later(store, make_file, "pinned.jpg", ttl="1h")
    minutes(3)
    put_back = snapshot()
    store.pin(pinned)
    (tmp_path / "new").mkdir()
    with MediaStore(clients(), replace(settings, roots=(str(tmp_path / "new"),))) as new:
        new._speech.now = lambda: clock.ms
        for _ in range(5):
            clock.pass_by(MINUTE_MS)
            new.sweep()
        put_back()
        clock.pass_by(DAY_MS)
        new.sweep()

        assert store.sweep().frozen == 1
    assert store.resolve(pinned).exists()


# --- at the same time


def test_a_late_writer_puts_back_nothing(store, clock, minutes, media, make_file, monkeypatch):
    minutes(3)
    alone = files.alone
    overtaken: list[str] = []

    def slow(there, mine=""):
        shown = alone(there, mine)
        if not overtaken:
            overtaken.append(mine)
            for _ in range(5):
                clock.pass_by(MINUTE_MS)
                worker = threading.Thread(target=inner_sweep, args=(store,))
                worker.start()
                worker.join()
        return shown

    monkeypatch.setattr(files, "alone", slow)
    minutes(4)

    assert overtaken
    assert not list((media / ".mediastore").glob("epoch.*"))
    assert goes_on(store, clock, make_file)


def inner_sweep(store):
    """Sweep with a store of this thread's own."""
    mine = inner(store)
    with MediaStore.from_url(
        url_of(mine), namespace=mine.settings.namespace, roots=mine.settings.roots
    ) as other:
        other._speech.now = mine._speech.now
        other.sweep()


def url_of(store):
    known = store._client.connection_pool.connection_kwargs
    return f"unix://{known['path']}"


def test_it_is_told_once_and_so_is_its_end(store, went_back, clock, caplog):
    with caplog.at_level(logging.WARNING, "mediastore"):
        for _ in range(3):
            store.sweep()
        store.accept_epoch()
        for _ in range(3):
            store.sweep()

    told = [record.getMessage() for record in caplog.records if "frozen" in record.getMessage()]
    assert ["is frozen (epoch)" in told[0], "not frozen any more" in told[1], len(told)] == [
        True,
        True,
        2,
    ]
