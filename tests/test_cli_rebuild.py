"""`mediastore rebuild`, and what `doctor` says of an index that was emptied."""

from __future__ import annotations

import pytest

from .cli_fixtures import bot, env, lane, run, told  # noqa: F401 - fixtures
from .sidecar_fixtures import put


@pytest.fixture
def refs(bot, client):
    """Give three refs on two files, and empty the index."""
    first = put(bot, scope="s")
    found = [first, put(bot, b"other", scope="t"), bot.share(first, "u")]
    bot.drain()
    client.flushall()
    return found


def test_a_dry_run_shows_what_would_come_back(refs):
    done = run("rebuild", "--dry-run")

    assert (done.exit_code, done.stdout) == (0, "3 refs on 2 files would come back\n")
    assert all(run("resolve", ref).exit_code == 3 for ref in refs)


def test_refs_come_back(refs):
    done = run("rebuild")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "3 refs on 2 files came back\n", "")
    assert all(run("resolve", ref).exit_code == 0 for ref in refs)
    again = run("rebuild")
    assert again.stdout == "0 refs on 0 files came back\n"
    assert "3 live refs" in again.stderr


def test_as_json_the_result_is_one_object(refs, media):
    broken = media / "scopes/x.meta"
    broken.write_text("junk")
    next(path for path in media.rglob("*.txt") if path.is_file()).unlink()

    assert told("rebuild") == {
        "refs": 2, "blobs": 1, "known": 0, "dead": 0, "missing": 1, "broken": 1, "named": ["scopes/x.meta"],
    }  # fmt: skip
    assert refs


def test_what_cannot_be_read_is_named(refs, media):
    (media / "scopes/x.meta").write_text("junk")

    done = run("rebuild")

    assert done.exit_code == 0
    assert "scopes/x.meta" in done.stderr
    assert "1 sidecar cannot be read" in done.stderr


@pytest.mark.parametrize("named", ["path", "id", "other"])
def test_one_root_can_be_named(refs, media, bot, tmp_path, named):
    from mediastore import blobs

    (root,) = bot._blobs.perform(blobs.Roots())

    done = run("rebuild", "--root", {"path": f"{media}/", "id": root, "other": tmp_path}[named])

    assert done.exit_code == (2 if named == "other" else 0)
    assert ("came back" in done.stdout) == (named != "other")


def test_doctor_names_the_way_out_of_an_emptied_index(refs):
    lines = [line for line in told("doctor")["findings"] if "sidecars tell" in line["detail"]]

    assert [line["state"] for line in lines] == ["warning"]
    assert "3 refs" in lines[0]["detail"]
    assert "mediastore rebuild" in lines[0]["advice"]
    run("rebuild")
    assert not [line for line in told("doctor")["findings"] if "sidecars" in line["detail"]]
