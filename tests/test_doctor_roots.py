"""What doctor finds about the journal and the roots; looking changes nothing in them."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from typing import NamedTuple

import pytest

from mediastore import MediaStore
from mediastore.doctor import examine

from .doctor_fixtures import NOWHERE, found, key, lane, mine  # noqa: F401 - fixtures
from .waiting import until


class Room(NamedTuple):
    """What statvfs says of a file system."""

    f_bavail: int
    f_blocks: int
    f_favail: int
    f_files: int
    f_frsize: int


# --- the journal


@pytest.mark.parametrize("queue", ["expiry", "deadlines", "closed", "trash"])
def test_work_that_nobody_does_is_a_problem(queue, mine, client, key, cat):
    with MediaStore.from_settings(mine) as store:
        root = next(iter(store.stats().roots))
    hour_ago_ms = (time.time() - 3600) * 1000
    score = hour_ago_ms * 1000 if queue == "closed" else hour_ago_ms
    client.zadd(key(f"trash:{root}" if queue == "trash" else queue), {"x": score})

    finding = found(mine, "journal")

    assert finding.state == "problem"
    assert "60 min" in finding.detail
    assert "nobody sweeps" in finding.detail
    assert "mediastore sweep --watch" in finding.advice


def test_work_on_its_way_is_well(mine, client, key, make_file):
    with MediaStore.from_settings(mine) as store:
        store.store(make_file(), scope="chat:1")
        store.release_all("chat:1", wait=False)

    assert found(mine, "journal").detail == "0 released scopes and 1 file on their way out"


def test_a_file_whose_grace_is_over_is_on_its_way_and_stays_no_more(mine, cat):
    with MediaStore.from_settings(replace(mine, grace="0.001s")) as store:
        store.store(cat, scope="chat:1")
        store.release_all("chat:1", wait=False)
        until(lambda: "no bytes" in found(mine, "waiting").detail)

    assert found(mine, "journal").detail == "0 released scopes and 1 file on their way out"


def test_the_patience_is_three_sweeps(mine, client, key):
    client.zadd(key("expiry"), {"x": (time.time() - 45) * 1000})

    assert found(mine, "journal").state == "ok"
    assert found(replace(mine, sweep_interval=10), "journal").state == "problem"
    assert found(replace(mine, sweep_interval=0), "journal").state == "ok"


@pytest.mark.parametrize(
    ("errno", "advice"), [("EACCES", "write access"), ("EROFS", "for writing"), ("EIO", "its disk")]
)
def test_a_stuck_blob_is_named_with_what_to_do(errno, advice, mine, client, key):
    client.hset(key("roots"), "r00t", "host7:/srv/media")
    client.hset(key("stuck"), "bl0b", f"{errno} r00t chat 1/cat.jpg")

    finding = found(mine, "stuck")

    assert finding.state == "problem"
    assert finding.detail == f"chat 1/cat.jpg in root r00t (host7:/srv/media): {errno}, blob bl0b"
    assert advice in finding.advice


def test_at_most_twenty_stuck_blobs_are_named(mine, client, key):
    client.hset(key("stuck"), mapping={f"b{n}": "EIO r00t cat.jpg" for n in range(25)})

    stuck = [finding for finding in examine(mine) if finding.name == "stuck"]

    assert len(stuck) == 21
    assert stuck[-1].detail == "5 more blobs cannot be deleted"


def test_a_stuck_entry_that_nobody_here_writes_is_told(mine, client, key):
    client.hset(key("stuck"), "b", "nonsense")

    assert "nonsense" in found(mine, "stuck").detail


# --- the roots


def test_a_directory_that_cannot_be_a_root_is_told_and_not_touched(mine, media, tmp_path):
    (media / "inner").mkdir()
    (tmp_path / "file").touch()
    wrong = ("/etc", str(tmp_path / "none"), str(tmp_path / "file"), str(media / "inner"))

    findings = [f for f in found(replace(mine, roots=(*wrong, str(media)))) if f.state == "problem"]

    assert [f.name.removeprefix("root ") for f in findings] == list(wrong)
    assert "belongs to the system" in findings[0].detail
    assert "no such directory" in findings[1].detail
    assert "not a directory" in findings[2].detail
    assert "roots do not nest" in findings[3].detail
    own = "A root is a directory of its own, such as /srv/media."
    assert [findings[0].advice, findings[2].advice] == [own, own]
    assert [path.name for path in media.rglob("*")] == ["inner"]


def test_a_root_of_another_namespace_is_told(mine):
    with MediaStore.from_settings(replace(mine, namespace=f"{mine.namespace}-b")) as other:
        other.stats()

    finding = found(mine)[-1]

    assert finding.state == "problem"
    assert f"belongs to namespace '{mine.namespace}-b'" in finding.detail
    assert "adopt" not in finding.advice


def test_a_copied_root_is_told(mine, cat, media, tmp_path):
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="chat:1")
    shutil.copytree(media, tmp_path / "copy")

    finding = found(replace(mine, roots=(str(tmp_path / "copy"),)))[-1]

    assert finding.state == "problem"
    assert "this is a copy" in finding.detail
    assert "mediastore roots adopt" in finding.advice


def test_a_root_that_is_not_mounted_is_noticed_and_not_marked(mine, cat, media):
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="chat:1")
    media.rename(media.parent / "unmounted")
    media.mkdir()

    finding = found(mine)[-1]

    assert finding.state == "problem"
    assert "is something not mounted?" in finding.detail
    assert list(media.iterdir()) == []


def test_a_new_root_in_the_place_of_one_in_use_is_noticed(mine, cat, media):
    for step in ("first", "second"):
        with MediaStore.from_settings(mine) as store:
            store.store(cat, scope=f"chat:{step}")
        if step == "first":
            media.rename(media.parent / "unmounted")
            media.mkdir()
            cat.write_bytes(b"x")

    assert "now it is root" in found(mine)[-1].detail


def test_an_empty_root_that_was_replaced_is_forgotten(mine, cat, media):
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="chat:1")
        store.release_all("chat:1")
    shutil.rmtree(media)
    media.mkdir()

    assert found(mine)[-1].state == "ok"


def test_a_root_this_user_cannot_write_is_told(mine, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert "this user cannot write in it" in found(mine)[-1].detail


def test_a_root_that_takes_no_bytes_is_told(mine, monkeypatch):
    def refuse(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("mediastore.doctor.roots.tempfile.TemporaryFile", refuse)

    finding = found(mine)[-1]

    assert (finding.state, finding.detail) == (
        "problem",
        "nothing can be written in it: Read-only file system",
    )


def test_little_room_is_a_warning(mine, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: Room(4, 100, 30, 1000, 4096))

    scarce = [(f.state, f.detail) for f in examine(mine) if f.name.startswith("root")]

    assert scarce == [("warning", "4.0% of its space free"), ("warning", "3.0% of its inodes free")]


def test_a_file_system_that_counts_no_inodes_is_well(mine, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: Room(50, 100, 0, 0, 4096))

    assert found(mine)[-1].state == "ok"


def test_parked_files_are_named(mine, media):
    with MediaStore.from_settings(mine) as store:
        store.stats()
    for number in range(25):
        (media / f".mediastore/parked/b{number:02}.jpg").write_bytes(b"x")

    finding = found(mine)[-1]

    assert finding.state == "warning"
    assert finding.detail.startswith(f"25 parked files in {media}/.mediastore/parked: b00.jpg, ")
    assert finding.detail.endswith("b19.jpg ...")


def test_a_root_whose_disk_fails_is_told(mine, media, monkeypatch):
    with MediaStore.from_settings(mine) as store:
        store.stats()

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "statvfs", fail)

    finding = found(mine)[-1]

    assert (finding.state, "Input/output error" in finding.detail) == ("problem", True)


def test_files_that_an_emptied_index_does_not_know_are_told(
    mine, make_file, client, key, monkeypatch
):
    monkeypatch.setattr("mediastore.doctor.roots._HELD_S", -60.0)
    with MediaStore.from_settings(mine) as store:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            store.store(make_file(name), scope="chat:1")
    words = "held that the index does not know"
    known = found(mine)[-1].detail
    client.delete(*client.keys(key("*")))

    finding = found(mine)[-1]
    monkeypatch.setattr("mediastore.doctor.roots._COUNTED", 2)
    bounded = found(mine)[-1]
    monkeypatch.setattr("mediastore.doctor.roots._HELD_S", 3600.0)
    fresh = found(mine)[-1]

    assert (finding.state, finding.detail) == (
        "warning",
        f"3 files are {words} (was it emptied or restored?)",
    )
    assert "Restore the index" in finding.advice
    assert bounded.detail.startswith("2 files or more are held")
    assert words not in known + fresh.detail


def test_an_index_that_does_not_answer_is_not_taken_for_an_empty_one(mine, cat, monkeypatch):
    monkeypatch.setattr("mediastore.doctor.roots._HELD_S", -60.0)
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="chat:1")

    assert found(replace(mine, redis_url=NOWHERE))[-1].state == "ok"
