"""Many hosts on one index: release anywhere, deletion where the root is, and roots that go away in mid-work.

A host is a store with a root of its own; where the kernel allows, a process in a mount namespace of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import replace

import pytest

from mediastore import MediaStore, Settings
from mediastore.doctor import examine
from mediastore.errors import BlobsUnavailable, WrongHost

from .processes import Crew, Once
from .test_roots import at  # noqa: F401 - a fixture


@pytest.fixture
def settings(settings):
    """Wait half a second, not five, for files of a root that went away."""
    return replace(settings, timeout=0.5)


@pytest.fixture
def hosts(at, tmp_path):
    """Give two hosts, each a store with a root of its own."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return at(tmp_path / "one"), at(tmp_path / "two")


def write(store, name="cat.jpg", content="ours"):
    path = os.path.join(store.settings.roots[0], name)
    with open(path, "w") as file:
        file.write(content)
    return path


# --- release anywhere, delete where the root is


def test_a_release_elsewhere_ends_the_refs_and_leaves_the_file_to_its_host(hosts):
    one, two = hosts
    paths = [write(store) for store in hosts]
    for store, path in zip(hosts, paths, strict=True):
        store.store(path, scope="s")

    done = two.release_all("s")

    assert (done.refs, done.deleted, done.pending) == (2, 1, 1)
    assert [os.path.exists(path) for path in paths] == [True, False]
    assert (two.sweep().deleted, os.path.exists(paths[0])) == (0, True)
    assert (one.sweep().deleted, os.path.exists(paths[0])) == (1, False)


def test_a_ref_of_another_host_names_the_place_where_its_root_was_last_seen(hosts):
    one, two = hosts
    ref = one.store(write(one), scope="s")

    with pytest.raises(WrongHost) as caught:
        two.resolve(ref)

    place = f"{socket.gethostname()}:{one.settings.roots[0]}"
    assert (caught.value.root, caught.value.host) == (one.get(ref).root, place)
    assert place in str(caught.value)


def test_roots_are_listed_with_what_they_hold_and_where_they_are(hosts):
    one, two = hosts
    for name in ("a", "b", "c"):
        one.store(write(one, name), scope=name)
    two.store(write(two), scope="c")
    one.release_all("a", wait=False)
    two.release_all("c")

    listed = {info.place.rpartition("/")[2]: info for info in two.roots()}

    assert [(i.here, i.verified) for i in (listed["one"], listed["two"])] == [
        (False, False),
        (True, True),
    ]
    assert [(i.blobs, i.size_bytes, i.waiting) for i in (listed["one"], listed["two"])] == [
        (1, 4, 2),
        (0, 0, 0),
    ]
    assert listed["one"].oldest_waiting_s >= 0
    assert (listed["one"].stuck, listed["one"].lost, listed["one"].forgotten_at) == (0, 0, None)


def test_every_kind_of_store_lists_its_root(store, cat):
    ref = store.store(cat, scope="s")

    (info,) = store.roots()

    assert (info.root, info.blobs, info.verified) == (store.get(ref).root, 1, True)


def test_stuck_blobs_are_counted_for_their_root(lab, stage):
    path = lab.file("a.jpg", "ours")
    lab.process().store(path, scope="s")

    def refuse(name, _):
        if name == "unlink":
            raise PermissionError(1, "no")

    with stage.during(refuse):
        lab.process().release_all("s")

    assert [(i.stuck, i.waiting) for i in lab.process().roots()] == [(1, 1)]
    lab.pass_time(301)
    lab.process().sweep()
    assert [(i.stuck, i.waiting) for i in lab.process().roots()] == [(0, 0)]


def test_a_root_id_never_reads_as_an_option(monkeypatch, other):
    offered = iter(["-" * 22, "-h" + "x" * 20, "good" + "x" * 18])
    monkeypatch.setattr("mediastore.blobs.root.secrets.token_urlsafe", lambda _: next(offered))

    (info,) = (other.stats(), other.roots())[1]

    assert info.root.startswith("good")


# --- one root, many doors


def sweep_through(_, number, url, settings, doors):
    """Sweep a shared root through this process's own path to it; return what went."""
    mine = replace(settings, redis_url=url, roots=(doors[number % len(doors)],))
    with MediaStore(None, mine) as store:
        return store.sweep().deleted, list(store.stats().roots)


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_several_workers_on_a_shared_mount_delete_each_file_once(
    lane, server_url, settings, media, tmp_path
):
    doors = [str(media), str(tmp_path / "door")]
    (tmp_path / "door").symlink_to(media)
    mine = replace(settings, redis_url=server_url)
    with MediaStore(None, mine) as store:
        for number in range(120):
            (media / f"{number}.jpg").write_text("x")
            store.store(media / f"{number}.jpg", scope="s")
        store.release_all("s", wait=False)
    crew = Crew(3)

    answers = crew.run(sweep_through, mine, server_url, settings, doors)

    crew.close()
    assert sum(deleted for deleted, _ in answers) == 120
    assert {tuple(roots) for _, roots in answers} == {tuple(answers[0][1])}
    assert list(media.glob("*.jpg")) == []


# --- roots that go away


def nothing(root):
    """Leave no directory."""


def an_empty_directory(root):
    root.mkdir()
    (root / "cat.jpg").write_text("not ours")


def another_root(root):
    """Put a root of the same namespace there, with a marker in order."""
    words = json.loads((root.parent / "away" / ".mediastore" / "root").read_text())
    an_empty_directory(root)
    (root / ".mediastore").mkdir()
    marker = root / ".mediastore" / "root"
    marker.touch()
    marker.write_text(json.dumps({**words, "root": "another", "inode": marker.stat().st_ino}))


AWAY = pytest.mark.parametrize("instead", [nothing, an_empty_directory, another_root])


@AWAY
def test_a_root_that_goes_away_is_told_once_stops_there_and_goes_on_when_back(
    store, cat, media, tmp_path, caplog, instead
):
    refs = [store.store(cat, scope=scope) for scope in ("s", "t")]
    media.rename(tmp_path / "away")
    instead(media)

    with pytest.raises(BlobsUnavailable):
        store.resolve(refs[1])
    done = [store.release_all("s"), store.release_all("t"), store.sweep(), store.drain()]

    assert [each.deleted for each in done] == [0, 0, 0, 0]
    assert (done[1].pending, done[3].pending) == (1, 1)
    assert [r.levelname for r in caplog.records if "until it is back" in r.message] == ["ERROR"]
    assert [(i.here, i.verified) for i in store.roots()] == [(False, False)]
    assert (tmp_path / "away" / "cat.jpg").exists()
    if instead is not nothing:
        assert cat.read_text() == "not ours"
        shutil.rmtree(media)
    (tmp_path / "away").rename(media)
    assert store.sweep().deleted == 1
    store.drain()
    assert [r.levelname for r in caplog.records if "is back;" in r.message] == ["WARNING"]
    assert not cat.exists()


@AWAY
def test_a_root_that_goes_away_hurts_no_other(at, tmp_path, instead):
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
        (root / "a.jpg").write_text("x")
    store = at(*roots)
    for root in roots:
        store.store(root / "a.jpg", scope="s")
    roots[0].rename(tmp_path / "away")
    instead(roots[0])

    done = store.release_all("s")

    assert (done.refs, done.deleted, done.pending) == (2, 1, 1)
    (roots[1] / "b.jpg").write_text("x")
    ref = store.store(roots[1] / "b.jpg", scope="t")
    assert store.resolve(ref) == roots[1] / "b.jpg"


def test_a_root_replaced_in_the_middle_of_a_batch_keeps_what_came_to_its_place(
    lab, stage, tmp_path
):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        lab.process().store(lab.file(name, "ours"), scope="s")

    def swap():
        lab.root.rename(tmp_path / "away")
        lab.root.mkdir()
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            lab.file(name, "theirs")

    swapped = Once(swap, when=lambda name, args: name == "unlink" and "quarantine" in args[0])
    with stage.during(swapped):
        lab.process().release_all("s")

    assert swapped.done
    assert lab.files() == dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), "theirs")
    assert list((tmp_path / "away").glob("*.jpg")) == []


def test_doctor_tells_of_a_root_that_went_away(server_url, settings, cat, media, tmp_path):
    mine = replace(settings, redis_url=server_url)
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="s")
    media.rename(tmp_path / "away")
    media.mkdir()

    problems = [f.detail for f in examine(mine) if f.state == "problem"]

    assert any("is something not mounted?" in detail for detail in problems)


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_doctor_names_what_waits_on_another_host_and_both_ways_out(
    lane, server_url, settings, client, tmp_path, monkeypatch
):
    mine = replace(settings, redis_url=server_url)
    far = tmp_path / "far"
    far.mkdir()
    (far / "cat.jpg").write_text("x")
    with MediaStore.from_settings(replace(mine, roots=(str(far),))) as store:
        monkeypatch.setattr(socket, "gethostname", lambda: "web-2")
        store.store(far / "cat.jpg", scope="s")
        store.release_all("s", wait=False)
        (root,) = store.stats().roots
    client.zadd(f"mediastore:{{{settings.namespace}}}:trash:{root}", {"waits": 1000})

    (finding,) = [f for f in examine(mine) if f.name == "journal"]

    assert finding.state == "problem"
    assert finding.detail.startswith(f"root {root} at web-2:{far} has 2 files to delete")
    assert "Start a worker there" in finding.advice
    assert f"mediastore roots forget {root}" in finding.advice


def test_a_store_without_roots_of_its_own_still_releases(clients, settings, hosts, tmp_path):
    one, _ = hosts
    path = write(one)
    one.store(path, scope="s")
    (tmp_path / "bot").mkdir()
    with MediaStore(
        clients(), Settings(namespace=settings.namespace, roots=(str(tmp_path / "bot"),))
    ) as bot:
        assert bot.release_all("s").pending == 1
    assert one.drain().deleted == 1
