"""The commands about media: what each prints, its JSON, its exit code."""

from __future__ import annotations

import json
import re

import pytest

from mediastore import Cleanup, Media, MediaMeta

from .cli_fixtures import (  # noqa: F401 - fixtures
    NOWHERE,
    UNKNOWN,
    bot,
    env,
    lane,
    names,
    run,
    told,
)

# --- store


def test_store_prints_a_ref_that_resolves_to_the_file(cat):
    stored = run("store", cat, "--scope", "chat:1")
    resolved = run("resolve", stored.stdout.strip())

    assert (stored.exit_code, stored.stderr) == (0, "")
    assert resolved.stdout == f"{cat}\n"


def test_store_takes_what_is_known_of_the_file(cat, bot):
    meta = ("--filename", "c.jpg", "--content-type", "image/jpeg", "--source", "telegram")
    (one,) = told("store", cat, "--scope", "chat:1", *meta, "--forget", "--ttl", "never")["refs"]

    known = bot.get(one["ref"])

    assert known.meta == MediaMeta("c.jpg", "image/jpeg", "telegram", Cleanup.FORGET)
    assert known.expires_at is None
    assert one == {"ref": known.ref, "path": str(cat)}


def test_store_goes_on_after_a_file_that_cannot_be_registered(cat, media, bot):
    (media / "album").mkdir()

    done = run("store", media / "none.jpg", cat, media / "album", "-s", "chat:1")

    assert done.exit_code == 2
    assert [media_of.ref for media_of in bot.refs("chat:1")] == done.stdout.split()
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no such file" in errors[0]
    assert "is a directory" in errors[1]


def test_store_says_in_json_which_file_failed(cat, media):
    done = run("store", media / "none.jpg", cat, "--scope", "chat:1", "--json")

    failed, stored = json.loads(done.stdout)["refs"]
    assert done.exit_code == 2
    assert (failed["path"], failed["error"]["code"]) == (str(media / "none.jpg"), "file_missing")
    assert stored["ref"].startswith("media://")
    assert json.loads(done.stderr) == {"error": failed["error"]}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--scope", "a//b"),
        ("--scope", "a", "--ttl", "soon"),
        ("--scope", "a", "--ttl", "-5"),
        ("--scope", "a", "--content-type", "x" * 2000),
        (),
    ],
)
def test_store_refuses_a_wrong_request_before_it_touches_anything(cat, media, wrong):
    done = run("store", cat, *wrong)

    assert done.exit_code == 2
    assert re.match(r"error: .+\nhint: .+\n$", done.stderr)
    assert list(media.iterdir()) == [cat]


def test_one_filename_is_not_given_to_two_files(cat, make_file):
    done = run("store", cat, make_file("b.jpg"), "--scope", "a", "--filename", "c.jpg")

    assert done.exit_code == 2
    assert "--filename" in done.stderr


# --- resolve, show, ls, scopes


def test_resolve_goes_on_after_a_ref_that_is_not_there(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    done = run("resolve", UNKNOWN, ref)

    assert (done.exit_code, done.stdout) == (3, f"{cat}\n")
    assert done.stderr.startswith(f"error: {UNKNOWN} is unknown\nhint: ")


def test_resolve_tells_in_json_of_each_ref(cat, bot):
    ref = bot.store(cat, scope="chat:1", meta=MediaMeta("c.jpg"))

    done = run("resolve", ref, UNKNOWN, "--json")

    found, missing = json.loads(done.stdout)["refs"]
    assert done.exit_code == 3
    assert (found["ref"], found["path"], found["meta"]["filename"]) == (ref, str(cat), "c.jpg")
    assert (missing["ref"], missing["error"]["code"]) == (UNKNOWN, "ref_unknown")
    assert json.loads(done.stderr) == {"error": missing["error"]}


def test_resolve_stops_when_the_server_does_not_answer():
    done = run("--redis-url", NOWHERE, "resolve", UNKNOWN, UNKNOWN, "--json")

    assert done.exit_code == 4
    assert len(json.loads(done.stdout)["refs"]) == 1


@pytest.mark.parametrize("command", ["resolve", "show"])
def test_a_released_ref_is_told_from_an_unknown_one(command, cat, bot):
    ref = bot.store(cat, scope="chat:1")
    bot.release_all("chat:1")

    done = run(command, ref)

    assert (done.exit_code, bool(done.stdout)) == (3, command == "show")
    assert re.search(
        f"^error: {ref} is gone: released at .* by release_all\\('chat:1'\\) of ", done.stderr
    )


@pytest.mark.parametrize("command", ["resolve", "show"])
def test_text_that_is_no_ref_is_a_wrong_request(command):
    done = run(command, "nonsense")

    assert done.exit_code == 2
    assert "not a ref: 'nonsense'" in done.stderr


def test_show_prints_what_is_known_of_a_ref(cat, bot):
    cat.write_bytes(b"x" * 2048)
    ref = bot.store(cat, scope="chat:1", meta=MediaMeta(source="telegram"), ttl="30m")

    lines = dict(line.split(maxsplit=1) for line in run("show", ref).stdout.splitlines())

    assert (lines["ref"], lines["path"], lines["source"]) == (ref, str(cat), "telegram")
    assert lines["expires_at"].endswith("(in 30 min)")
    assert lines["stored_at"].endswith(" s ago)")
    assert lines["size_bytes"] == "2048 (2.0 KiB)"


def test_show_has_the_fields_of_media_in_json_and_times_in_utc(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    known = told("show", ref)

    assert list(known) == [*names(Media), "leases", "deadlines"]
    assert list(known["meta"]) == names(MediaMeta)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", known["stored_at"])


def test_ls_prints_a_line_for_each_ref_in_store_order(make_file, bot):
    stored = [bot.store(make_file(name), scope="chat:1", ttl="never") for name in ("b", "a")]

    done = run("ls", "chat:1")

    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == stored
    assert done.stdout.splitlines()[0].split("\t")[4].endswith("/b")
    assert told("ls", "chat:1")["refs"][1]["ref"] == stored[1]


def test_ls_gives_pages(make_file, bot):
    first, second = (bot.store(make_file(name), scope="chat:1") for name in ("a", "b"))

    page = run("ls", "chat:1", "--limit", 1)
    rest = told("ls", "chat:1", "--after", first)["refs"]

    assert page.stderr == f"there may be more: --after {first}\n"
    assert [each["ref"] for each in rest] == [second]


def test_an_empty_answer_is_not_an_error():
    assert told("ls", "chat:1") == {"refs": [], "waiting": []}
    assert told("scopes") == {"scopes": []}
    said = run("ls", "chat:1").stderr
    assert said.splitlines()[0] == "no live refs in chat:1 itself"
    assert "`mediastore scopes chat:1/`" in said
    assert run("scopes", "chat").stderr == "no scope holds live refs and starts with chat\n"


def test_scopes_lists_those_that_hold_refs(make_file, bot):
    for scope in ("chat:2", "chat:1/msg:7", "run:1"):
        bot.store(make_file(), scope=scope)

    assert run("scopes").stdout.split() == ["chat:1/msg:7", "chat:2", "run:1"]
    assert told("scopes", "chat:") == {"scopes": ["chat:1/msg:7", "chat:2"]}


def test_a_name_cannot_steer_the_terminal_or_forge_a_line(cat, bot):
    ref = bot.store(cat, scope="chat:1", meta=MediaMeta("a\x1b[31m\nb\tc"))

    for done in (run("ls", "chat:1"), run("show", ref)):
        assert r"a\x1b[31m\nb\tc" in done.stdout
        assert "\x1b" not in done.stdout
