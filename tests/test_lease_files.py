"""Open files and held paths: what libraries accept, what nobody can swap, and what is left when nobody closes."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
import zipfile

import pytest

from mediastore import AsyncMediaStore, Cleanup, MediaMeta, MediaStore
from mediastore.blobs import posix
from mediastore.errors import BlobMissing, BlobsUnavailable

from .conftest import JPEG
from .lab import Crash
from .lease_fixtures import until
from .processes import replace as put_other_file

BORROWED = MediaMeta(cleanup=Cleanup.FORGET)


@pytest.fixture
def url_settings(settings, server_url):
    """Give settings that name the real server, so that the store makes its own client."""
    from dataclasses import replace

    return replace(settings, redis_url=server_url)


# --- what libraries accept


def test_the_file_is_one_that_libraries_accept(other, make_file):
    path = make_file("notes.zip", b"")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "eins\nzwei\n")
    ref = other.store(path, scope="s")

    with other.open(ref) as file:
        assert isinstance(file, io.BufferedReader)
        assert os.fstat(file.fileno()).st_size == path.stat().st_size
        assert os.path.isabs(file.name)
        with zipfile.ZipFile(file) as archive, archive.open("a.txt") as inside:
            assert inside.read() == b"eins\nzwei\n"

    assert other.leases(ref) == []


def test_what_wraps_the_file_and_closes_it_ends_the_lease(other, make_file):
    ref = other.store(make_file("a.txt", b"eins\nzwei\n"), scope="s")

    with io.TextIOWrapper(other.open(ref), encoding="utf-8") as text:
        assert list(text) == ["eins\n", "zwei\n"]

    assert other.leases(ref) == []


def test_the_raw_file_is_not_given_away(other, cat):
    with other.open(other.store(cat, scope="s")) as file:
        with pytest.raises(io.UnsupportedOperation):
            file.detach()

        assert file.read() == JPEG


def test_a_file_that_is_forgotten_is_not_renewed_and_says_nothing_to_redis(other, cat, monkeypatch):
    """A finalizer may run in the middle of another call to Redis, whose locks are held."""
    ref = other.store(cat, scope="s")
    file = other.open(ref)
    asked: list[object] = []
    monkeypatch.setattr(other, "_run", asked.append)

    with pytest.warns(ResourceWarning, match="unclosed file"):
        del file

    assert asked == []
    monkeypatch.undo()
    assert len(other.leases(ref)) == 1
    other.take_lease(ref).end()
    with other._renewer._watch().wake:
        other._renewer._watch().wake.notify()
    until(lambda: not other._renewer.running)


# --- what nobody can swap


@pytest.fixture
def swap_before_opening(monkeypatch):
    """Give a way to do something between the lease and the opening of the file."""

    def arrange(act):
        opening = posix.open_file

        def swapped(name, *, at):
            act()
            return opening(name, at=at)

        monkeypatch.setattr(posix, "open_file", swapped)

    return arrange


def to_symlink(path):
    secret = path.with_name("secret")
    secret.write_text("secret")
    path.unlink()
    path.symlink_to(secret)


def to_symlink_to_itself(path):
    """The very file, but no longer inside the root."""
    moved = path.parent.parent / "moved"
    path.rename(moved)
    path.symlink_to(moved)


def to_fifo(path):
    path.unlink()
    os.mkfifo(path)


def to_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "swap",
    [
        to_symlink,
        to_symlink_to_itself,
        to_fifo,
        to_directory,
        os.unlink,
        lambda path: put_other_file(path, "other"),
    ],
    ids=["symlink", "outside", "fifo", "directory", "nothing", "another file"],
)
def test_what_comes_to_the_path_of_a_borrowed_file_is_not_opened(
    swap, store, cat, swap_before_opening
):
    ref = store.store(cat, scope="s", meta=BORROWED)
    swap_before_opening(lambda: swap(cat))

    with pytest.raises(BlobMissing), store.open(ref):
        pytest.fail("the body ran")

    assert store.leases(ref) == []


def test_a_directory_that_becomes_a_symlink_is_not_followed(
    store, make_file, tmp_path, swap_before_opening, monkeypatch
):
    path = make_file("a/b/cat.jpg")
    ref = store.store(path, scope="s", meta=BORROWED)
    elsewhere = tmp_path / "elsewhere"
    walked = posix.walked

    def swapped(root, name):
        path.parent.rename(elsewhere)
        path.parent.symlink_to(elsewhere)
        return walked(root, name)

    monkeypatch.setattr(posix, "walked", swapped)

    with pytest.raises(BlobMissing), store.open(ref):
        pytest.fail("the body ran")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_this_user_may_not_read_leaves_no_lease(other, cat):
    ref = other.store(cat, scope="s")
    cat.chmod(0)

    with pytest.raises(BlobsUnavailable):
        other.open(ref)

    assert other.leases(ref) == []


def test_the_path_of_a_lease_stays_although_the_store_was_killed_before_its_last_step(
    other, cat, media, monkeypatch
):
    """The second name is in `new/` then, and a sweep moves it to its place; not under whoever uses it."""
    rename = posix.rename

    def crash(*args):
        raise Crash

    monkeypatch.setattr(posix, "rename", crash)
    with pytest.raises(Crash):
        other.store(cat, scope="s")
    monkeypatch.setattr(posix, "rename", rename)
    (found,) = other.refs("s")
    assert list((media / ".mediastore" / "new").iterdir())

    with other.lease(found.ref) as held:
        path = held.path
        other._blobs._wall = lambda: time.time() + 3600
        other.sweep()
        other.release_all("s")

        assert path.read_bytes() == JPEG

    assert not cat.exists()


# --- asyncio


def test_the_loop_goes_on_while_a_file_is_read(url_settings, cat, monkeypatch):
    ticks: list[bool] = []
    go_on = threading.Event()
    read = io.BufferedReader.read

    class Slow(io.BufferedReader):
        def read(self, size=-1, /):
            assert go_on.wait(10)
            return read(self, size)

    monkeypatch.setattr("mediastore.client.files.io.BufferedReader", Slow)

    async def main():
        async with AsyncMediaStore(None, url_settings) as store:
            ref = await store.store(cat, scope="s")
            async with store.open(ref) as file:
                reading = asyncio.create_task(file.read())
                while len(ticks) < 5:
                    ticks.append(reading.done())
                    await asyncio.sleep(0)
                go_on.set()
                return await reading

    assert asyncio.run(main()) == JPEG
    assert ticks == [False] * 5


def test_a_file_whose_reader_is_cancelled_is_closed_and_its_lease_ended(url_settings, cat):
    async def main():
        async with AsyncMediaStore(None, url_settings) as store:
            ref = await store.store(cat, scope="s")
            opened = asyncio.Event()
            kept = []

            async def use():
                async with store.open(ref) as file:
                    kept.append(file)
                    opened.set()
                    await asyncio.sleep(60)

            task = asyncio.create_task(use())
            await opened.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            return kept[0].closed, await store.leases(ref)

    assert asyncio.run(main()) == (True, [])


def test_two_clients_give_files_with_the_same_methods(other):
    from mediastore.client.files import AsyncLeasedFile, LeasedFile

    theirs = {name for name in dir(AsyncLeasedFile) if not name.startswith("_")}

    assert theirs == {"read", "readinto", "seek", "tell", "close", "closed", "name"}
    assert theirs <= set(dir(LeasedFile))
    assert isinstance(other, MediaStore)
