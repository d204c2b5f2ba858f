"""Where `mediastore get -o` writes: what is there is kept, and no half file has a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mediastore import MediaMeta, MediaStore

from .cli_fixtures import (  # noqa: F401 - fixtures
    bot,
    env,
    lane,
    run,
    told,
)
from .test_content import PNG


@pytest.fixture
def ref(tmp_path):
    (tmp_path / "cat.png").write_bytes(PNG)
    return run("put", "cat.png", "--session", "abc").stdout.strip()


def test_get_writes_a_file_and_prints_its_path(ref, tmp_path):
    done = run("get", ref, "-o", "got.png")
    again = told("get", ref, "-o", tmp_path / "again.png")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "got.png\n", "")
    assert (tmp_path / "got.png").read_bytes() == PNG
    assert again == {"ref": ref, "path": str(tmp_path / "again.png"), "size_bytes": len(PNG)}
    assert (tmp_path / "again.png").stat().st_mode & 0o777 == 0o666 & ~umask()
    assert not list(tmp_path.glob(".mediastore-*"))


def umask():
    now = os.umask(0)
    os.umask(now)
    return now


def test_a_file_that_is_there_is_kept_unless_it_is_to_be_replaced(ref, tmp_path):
    theirs = tmp_path / "got.png"
    theirs.write_bytes(b"theirs")

    kept = run("get", ref, "-o", theirs)
    before = theirs.read_bytes()
    replaced = run("get", ref, "-o", theirs, "--force")

    assert (kept.exit_code, replaced.exit_code) == (2, 0)
    assert "--force" in kept.stderr
    assert (before, theirs.read_bytes()) == (b"theirs", PNG)
    assert not list(tmp_path.glob(".mediastore-*"))


def test_a_place_that_is_taken_is_refused_before_anything_is_read(ref, tmp_path, monkeypatch):
    (tmp_path / "got.png").write_bytes(b"theirs")
    monkeypatch.setattr(MediaStore, "open", None)

    assert run("get", ref, "-o", "got.png").exit_code == 2


def test_a_file_that_comes_while_it_is_written_is_not_replaced(ref, tmp_path, monkeypatch):
    theirs = tmp_path / "got.png"
    link = Path.hardlink_to

    def beaten(path, draft):
        theirs.write_bytes(b"theirs")
        link(path, draft)

    monkeypatch.setattr(Path, "hardlink_to", beaten)

    done = run("get", ref, "-o", theirs)

    assert (done.exit_code, theirs.read_bytes()) == (2, b"theirs")
    assert not list(tmp_path.glob(".mediastore-*"))


def test_a_copy_that_is_broken_off_leaves_what_was_there(ref, tmp_path, monkeypatch):
    theirs = tmp_path / "got.png"
    theirs.write_bytes(b"theirs")

    def broken(_, target, __):
        target.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("mediastore.cli.destination.shutil.copyfileobj", broken)

    done = run("get", ref, "-o", theirs, "--force")

    assert (done.exit_code, theirs.read_bytes()) == (130, b"theirs")
    assert not list(tmp_path.glob(".mediastore-*"))


@pytest.mark.parametrize("code", ["EPERM", "ENOTSUP"])
def test_where_there_are_no_links_the_file_is_renamed(ref, tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(getattr(errno, code), "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)

    assert run("get", ref, "-o", "got.png").exit_code == 0
    assert (tmp_path / "got.png").read_bytes() == PNG


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cat.png", "cat.png"),
        ("My Cät.PNG", "My Cät.PNG"),
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\cat.png", "cat.png"),
        ("..", "{id}.png"),
        (".bashrc", "bashrc"),
        ("a\x1b[31m\nb\u202egnp.exe", "a_[31m_b_gnp.exe"),
        ('a<b>:"c"|?*.png', "a_b___c____.png"),
        ("???", "{id}.png"),
        ("", "{id}.png"),
        ("ä" * 300 + ".png", "ä" * 98 + ".png"),
        ("a." + "b" * 300, "a." + "b" * 198),
        ("cat.png. ", "cat.png"),
    ],
)
def test_in_a_directory_the_name_is_that_of_the_metadata_made_safe(
    name, safe, tmp_path, bot, media
):
    (media / "kept").write_bytes(PNG)
    ref = bot.store(media / "kept", scope="a", meta=MediaMeta(name, "image/png"))
    (tmp_path / "out").mkdir()

    done = run("get", ref, "-o", tmp_path / "out")

    assert done.exit_code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [safe.format(id=ref.id)]


@pytest.mark.parametrize("place", ["none/got.png", "none/", "/dev/null", "", "pipe", "x" * 300])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_place_that_takes_no_file_is_a_wrong_request(ref, place, force, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    done = run("get", ref, "-o", place, *force)

    assert (done.exit_code, done.stdout) == (2, "")
    assert "\nhint: Name a file in a directory" in done.stderr
