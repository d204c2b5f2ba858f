"""A root that loses pieces of `.mediastore` under a running process, as what cleans /tmp by age takes them away."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import pytest

from mediastore import MediaContent
from mediastore.blobs import posix
from mediastore.blobs.homes import DRAFTS, HELD, META, NEW, PARKED, QUARANTINE, SPARE, TMP
from mediastore.errors import BlobsUnavailable, FileMissing

from .conftest import JPEG, names_left
from .lanes import mostly_real

DAY = 86_400
HOMES = (NEW, HELD, QUARANTINE, PARKED, TMP, META, DRAFTS, SPARE)


def lose(media, *names):
    """Remove those of our directories that are empty, with what is empty in them."""
    for name in names:
        for place, _, _ in os.walk(media / ".mediastore" / name, topdown=False):
            with suppress(OSError):
                os.rmdir(place)


@pytest.mark.parametrize("home", [*HOMES, "all"])
def test_whatever_directory_is_lost_everything_goes_on(store, make_file, media, home):
    lost = HOMES if home == "all" else (home,)
    path = make_file("cat.jpg")
    store.stats()

    lose(media, *lost)
    ref = store.store(path, scope="s")
    assert store.resolve(ref) == path
    lose(media, *lost)
    with store.lease(ref) as held:
        assert held.path.read_bytes() == JPEG
    lose(media, *lost)
    own = store.store_media(MediaContent(data=b"own"), scope="s")
    store.share(own, "t")
    lose(media, *lost)
    with store.writer(scope="s") as draft:
        draft.file.write(b"by hand")
    assert store.resolve(draft.ref).read_bytes() == b"by hand"
    lose(media, *lost)
    store.sweep()
    lose(media, *lost)
    done = store.release_all("s")
    store.release_all("t")
    store.sweep()

    assert (done.failed, store.stats().trash) == (0, 0)
    assert not path.exists()
    assert names_left(media) == []


@mostly_real
def test_a_file_whose_held_link_has_no_directory_any_more_is_stored(other, cat, media, monkeypatch):
    """It is lost after it was opened, and before the link: the answer must not be that the file is missing."""
    linking = posix.link
    times: list[str] = []

    def lost(source, source_at, target, target_at):
        if source == "cat.jpg" and len(times) < 2:
            times.append(source)
            lose(media, NEW)
        linking(source, source_at, target, target_at)

    monkeypatch.setattr(posix, "link", lost)

    ref = other.store(cat, scope="s")

    assert len(times) == 2
    assert other.resolve(ref) == cat
    cat.unlink()
    assert other.resolve(ref).read_bytes() == JPEG


@mostly_real
def test_one_that_is_lost_again_and_again_is_not_called_a_missing_file(
    other, cat, media, monkeypatch, expect_empty
):
    linking = posix.link

    def lost(source, *args):
        if source == "cat.jpg":
            lose(media, NEW)
        linking(source, *args)

    monkeypatch.setattr(posix, "link", lost)
    with pytest.raises(BlobsUnavailable, match="again and again"):
        other.store(cat, scope="s")
    cat.unlink()
    with pytest.raises(FileMissing):
        other.store(cat, scope="s")

    expect_empty()


@mostly_real
def test_a_reader_makes_no_directory(other, cat, media):
    ref = other.store(cat, scope="s")
    lose(media, NEW)
    cat.unlink()

    assert other.resolve(ref).read_bytes() == JPEG

    assert not (media / ".mediastore" / NEW).exists()


def age_of_the_marker(media):
    return time.time() - (media / ".mediastore" / "root").stat().st_mtime


@mostly_real
def test_a_sweep_touches_the_marker_once_a_day(other, media):
    marker = media / ".mediastore" / "root"
    other.sweep()
    for age, touched in ((DAY - 100, False), (DAY + 100, True), (30 * DAY, True)):
        os.utime(marker, times=(time.time() - age,) * 2)

        other.sweep()

        assert (age_of_the_marker(media) < 100) is touched, age
    assert other.stats().trash == 0


@mostly_real
def test_a_marker_that_may_not_be_touched_stops_no_sweep(other, media, cat, monkeypatch):
    other.store(cat, scope="s")
    os.utime(media / ".mediastore" / "root", times=(0, 0))

    def refused(*_, **__):
        raise PermissionError(1, "no")

    monkeypatch.setattr(posix, "touch", refused)
    other.sweep()

    assert other.release_all("s").deleted == 1
