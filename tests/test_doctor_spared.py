"""What doctor says of files that were spared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .doctor_fixtures import found, lane  # noqa: F401 - a fixture
from .test_outcomes import BORROWED, appended, no_links  # noqa: F401 - a fixture


def spared_by(settings):
    """What doctor says of spared files."""
    return [each for each in found(settings) if each.name == "spared"]


def test_doctor_names_what_was_spared_and_still_stands(other, settings, server_url, cat, no_links):
    mine = dataclasses.replace(settings, redis_url=server_url)
    assert spared_by(mine) == []
    other.store(cat, scope="s")
    was = cat.stat()
    appended(cat)
    other.release_all("s")

    [told] = spared_by(mine)

    assert (told.state, "Cleanup.FORGET" in told.advice) == ("warning", True)
    assert told.detail.startswith(f"{cat} was not deleted at ")
    expected, there = told.detail.partition(": expected ")[2].split(", there is ")
    assert expected.startswith(f"a file with inode {was.st_ino}, {was.st_size} bytes, written 20")
    assert there.startswith(f"a file with inode {was.st_ino}, {was.st_size + 4} bytes, written 20")

    other.store(cat, scope="s", meta=BORROWED)
    assert spared_by(mine) == []
    other.release_all("s")
    cat.rename(cat.with_name("elsewhere.jpg"))
    assert spared_by(mine) == []


def test_doctor_names_twenty_and_counts_what_other_hosts_have(other, client, settings, server_url):
    mine = dataclasses.replace(settings, redis_url=server_url)
    [root], [place] = other.stats().roots, settings.roots
    key = f"mediastore:{{{settings.namespace}}}:spared"
    for number in range(23):
        (Path(place) / f"{number}.jpg").mkdir()
        client.rpush(key, f"1795233252411 {root} blob link:{number} directory {number}.jpg")
    client.rpush(key, "1795233252411 elsewhere blob link:7 file:1:1:1 other.jpg")

    findings = spared_by(mine)

    assert [each.state for each in findings] == ["warning"] * 21 + ["ok"]
    assert findings[0].detail.startswith(f"{place}/22.jpg was not deleted at 2026-")
    assert findings[0].detail.endswith("inode 22 and its held link, there is a directory")
    assert findings[-2].detail == "3 more files of earlier times"
    for each in Path(place).glob("*.jpg"):
        each.rmdir()
    [elsewhere] = spared_by(mine)
    assert (elsewhere.state, elsewhere.detail[:32]) == ("ok", "1 file in roots that are not her")
