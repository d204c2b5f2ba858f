"""A root below a directory that something else cleans: its files go before their refs end."""

from __future__ import annotations

import pytest

from mediastore.doctor import aging, examine

from .lanes import mostly_real

pytestmark = mostly_real


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Give a way to write what systemd-tmpfiles is told, in the first or the second of its places."""
    places = [tmp_path / "etc", tmp_path / "usr"]
    monkeypatch.setattr(aging, "PLACES", tuple(map(str, places)))

    def write(text, *, name="a.conf", place=1):
        places[place].mkdir(exist_ok=True)
        (places[place] / name).write_text(text)

    return write


@pytest.fixture
def warnings(settings, client):
    """Give what doctor warns of, of the root."""

    def look():
        found = examine(settings, client)
        return [each for each in found if each.name.startswith("root") and each.state == "warning"]

    return look


@pytest.mark.parametrize("used", [False, True])
def test_a_root_in_tmp_is_warned_of_before_and_after_its_first_use(
    other, warnings, media, monkeypatch, used
):
    monkeypatch.setattr(aging, "CLEANED", (str(media.parent),))
    if used:
        other.stats()

    [found] = warnings()

    assert f"below {media.parent}, which most systems clean" in found.detail
    assert f"`x {media}`" in found.advice
    assert (media / ".mediastore").exists() is used


def test_one_elsewhere_is_well(other, warnings, media, monkeypatch, told):
    monkeypatch.setattr(aging, "CLEANED", (f"{media.parent}x", str(media.parent / "med")))
    told(f"d {media.parent}/other 1777 root root 10d\nD {media.parent} 1777 root root -\n")
    other.stats()

    assert warnings() == []


@pytest.mark.parametrize(
    "line", ["d {above} 1777 root root 10d", "e! {above}/med* - - - 12h", 'q "{above}" - - - ~5d -'],
    ids=lambda line: line.split()[0],
)  # fmt: skip
def test_what_systemd_tmpfiles_is_told_counts(warnings, told, media, line):
    told(f"# a comment\n\n{line.format(above=media.parent)}\nnonsense\n")

    [found] = warnings()

    age = line.split()[5].rstrip("-")
    assert f"older than {age} (" in found.detail
    assert "usr/a.conf" in found.detail


@pytest.mark.parametrize("keep", ["x {media}", "x! {above}", "x {above}/med*"])
def test_a_root_that_is_excepted_is_well(warnings, told, media, monkeypatch, keep):
    monkeypatch.setattr(aging, "CLEANED", (str(media.parent),))
    told(f"d {media.parent} 1777 root root 10d\n")
    told(keep.format(media=media, above=media.parent), name="mine.conf", place=0)

    assert warnings() == []


def test_one_of_which_only_the_directory_is_excepted_is_not(warnings, told, media):
    told(f"d {media.parent} 1777 root root 10d\nX {media}\n")

    assert len(warnings()) == 1


def test_a_file_in_the_first_place_hides_one_of_its_name_in_the_next(warnings, told, media):
    told(f"d {media.parent} 1777 root root 10d\n")
    assert len(warnings()) == 1

    told("", place=0)

    assert warnings() == []


def test_a_configuration_that_cannot_be_read_is_passed_by(warnings, told, media, tmp_path):
    told(f"d {media.parent} - - - 10d\n")
    (tmp_path / "usr" / "b.conf").mkdir()
    (tmp_path / "usr" / "c.conf").write_bytes(b"\xff\xfe d /x - - - 1d")

    assert len(warnings()) == 1
