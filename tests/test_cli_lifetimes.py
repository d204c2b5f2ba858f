"""The commands on lifetimes, and what waits: what each prints, its JSON, its exit code."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from mediastore import MediaMeta, MediaStore, Tombstone

from .cli_fixtures import (  # noqa: F401 - fixtures
    UNKNOWN,
    bot,
    env,
    lane,
    names,
    on_a_terminal,
    run,
    told,
)
from .doctor_fixtures import staff
from .waiting import until


@pytest.fixture
def graceful(env, monkeypatch):
    """Give the store of a bot in a fleet with an hour of grace."""
    monkeypatch.setenv("MEDIASTORE_GRACE", "1h")
    with MediaStore.from_env() as store:
        yield store


def away_s(text):
    """How far a time in a result lies ahead."""
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


# --- touch, pin, unpin


def test_touch_prints_the_new_deadline_of_each_ref(make_file, bot):
    refs = [bot.store(make_file(name), scope="chat:1", ttl="1m") for name in ("a", "b")]

    done = run("touch", *refs, "--ttl", "2h")

    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert (done.exit_code, [row[0] for row in rows]) == (0, refs)
    assert all(7000 < away_s(row[1]) <= 7200 for row in rows)
    assert bot.get(refs[1]).expires_at == datetime.fromisoformat(rows[1][1])


def test_touch_goes_on_after_a_dead_ref(cat, bot):
    ref = bot.store(cat, scope="chat:1", ttl="1m")

    done = run("touch", UNKNOWN, ref, "--json")

    missing, touched = json.loads(done.stdout)["refs"]
    assert done.exit_code == 3
    assert (missing["ref"], missing["error"]["code"]) == (UNKNOWN, "ref_unknown")
    assert (touched["ref"], 50 < away_s(touched["expires_at"]) <= 60) == (ref, True)
    assert json.loads(done.stderr) == {"error": missing["error"]}


def test_a_pinned_ref_never_expires_until_it_is_unpinned(cat, bot):
    ref = bot.store(cat, scope="chat:1", ttl="1h")

    pinned, shown = run("pin", ref), told("show", ref)
    unpinned = told("unpin", ref)["refs"]

    assert pinned.stdout == f"{ref}\tnever\n"
    assert (shown["pinned"], shown["expires_at"]) == (True, None)
    assert (unpinned[0]["pinned"], 3500 < away_s(unpinned[0]["expires_at"]) <= 3600) == (
        False,
        True,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("touch", "{ref}", "nonsense"),
        ("touch", "{ref}", "--ttl", "soon"),
        ("pin", "{ref}", "nonsense"),
        ("share", "{ref}", "--scope", "a//b"),
        ("share", "{ref}"),
        ("transfer", "{ref}", "--scope", "a//b"),
        ("transfer", "{ref}", "chat:2"),
        ("restore", "{ref}", "--ttl", "0"),
        ("delete", "{ref}", "nonsense", "--yes"),
        ("deadline", "a//b", "--ttl", "1h"),
        ("deadline", "chat:1", "--idle", "soon"),
    ],
)
def test_a_wrong_request_changes_nothing(words, cat, bot):
    ref = bot.store(cat, scope="chat:1")
    before = bot.get(ref)

    done = run(*(word.format(ref=ref) for word in words))

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "\nhint: " in done.stderr
    assert bot.get(ref) == before
    assert bot.stats().refs == 1


# --- transfer, promote, share


def test_a_ref_is_moved_to_another_scope_and_to_its_parent(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    moved = run("transfer", ref, "--scope", "chat:2/msg:1")
    promoted = told("promote", ref)["refs"]
    at_the_top = run("promote", ref)

    assert moved.stdout == f"{ref}\tchat:2/msg:1\n"
    assert promoted == [{"ref": ref, "scope": "chat:2"}]
    assert (at_the_top.exit_code, bot.get(ref).scope) == (2, "chat:2")
    assert "no parent" in at_the_top.stderr


def test_share_prints_a_new_ref_that_outlives_the_old_one(cat, bot):
    ref = bot.store(cat, scope="chat:1", meta=MediaMeta("c.jpg"))

    new = run("share", ref, "--scope", "run:1", "--ttl", "7d").stdout.strip()
    bot.release_all("chat:1")

    assert bot.resolve(new) == cat
    assert bot.get(new).meta.filename == "c.jpg"
    assert told("share", new, "-s", "run:2")["refs"][0]["ref"] == new


# --- delete, restore


def test_delete_ends_refs_and_their_files(make_file, bot):
    paths = [make_file("a"), make_file("b")]
    refs = [bot.store(path, scope="chat:1") for path in paths]

    plan = run("delete", *refs, "--dry-run")
    done = run("delete", *refs, refs[0], "--yes")

    assert [line.split("\t")[0] for line in plan.stdout.splitlines()] == refs
    assert (done.exit_code, done.stdout) == (0, "2 refs deleted, 2 files deleted (204 bytes)\n")
    assert not any(path.exists() for path in paths)


def test_delete_goes_on_after_a_dead_ref_and_tells_of_each_in_json(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    bot.share(ref, "chat:2")

    done = run("delete", UNKNOWN, ref, "--yes", "--json")

    missing, deleted = json.loads(done.stdout)["refs"]
    assert done.exit_code == 3
    assert missing["error"]["code"] == "ref_unknown"
    assert (deleted["ref"], deleted["deleted"], deleted["kept"]) == (ref, 0, 1)
    assert cat.exists()


def test_delete_without_a_terminal_wants_to_be_told_yes(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    done = run("delete", ref)

    assert (done.exit_code, "--yes" in done.stderr) == (2, True)
    assert bot.resolve(ref) == cat


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_delete_asks_on_a_terminal(answer, code, cat, bot):
    ref = bot.store(cat, scope="chat:1")

    exit_code, shown = on_a_terminal("delete", ref, answer=answer)

    assert exit_code == code
    assert f"{ref} in chat:1: {cat}" in shown
    assert cat.exists() is (code != 0)


def test_restore_makes_a_new_ref_of_a_deleted_one_in_grace(cat, graceful):
    ref = graceful.store(cat, scope="chat:1")

    deleted = run("delete", ref, "--yes")
    restored = run("restore", ref, "--ttl", "2h")

    new = restored.stdout.strip()
    assert deleted.stdout == "1 ref deleted, 0 files deleted (0 bytes), 1 left for a sweep\n"
    assert deleted.stderr.startswith(f"the file of {ref} stays in grace until ")
    assert (graceful.get(new).scope, graceful.resolve(new)) == ("chat:1", cat)
    assert run("resolve", ref).exit_code == 3


def test_restore_tells_of_what_it_cannot_and_goes_on(make_file, graceful):
    living, dead = (graceful.store(make_file(name), scope="chat:1") for name in ("a", "b"))
    graceful.delete_media(dead)

    done = run("restore", UNKNOWN, living, dead, "--scope", "chat:2", "--json")

    unknown, alive, back = json.loads(done.stdout)["refs"]
    assert done.exit_code == 3
    assert (unknown["error"]["code"], alive["error"]["code"]) == ("ref_unknown", "invalid_request")
    assert graceful.get(back["new_ref"]).scope == "chat:2"


# --- deadline


def test_deadline_gives_a_scope_its_end_and_shows_those_above(cat, bot):
    ref = bot.store(cat, scope="chat:1/msg:1")

    told("deadline", "chat:1", "--idle", "30m")
    found = told("deadline", "chat:1/msg:1", "--ttl", "1h")
    words = run("deadline", "chat:1/msg:1").stdout.splitlines()
    shown = dict(line.split("  ", 1) for line in run("show", ref).stdout.splitlines())

    nearest, own = found["deadlines"]
    assert (nearest["scope"], nearest["idle_s"], nearest["ends_at"]) == ("chat:1", 1800, None)
    assert (own["scope"], own["idle_s"], own["ends_at"]) == ("chat:1/msg:1", None, own["due"])
    assert found["due"] == nearest["due"]
    assert 1790 < away_s(nearest["due"]) <= 1800
    assert words[0].endswith("(in 30 min), 30 min after the last activity")
    assert words[1].startswith("chat:1/msg:1  ")
    assert shown["end of chat:1"].strip() == words[0].split("  ")[-1].strip()


def test_a_released_scope_has_no_deadline_any_more(make_file, bot):
    for scope in ("chat:1", "chat:1/msg:1"):
        bot.store(make_file(), scope=scope)
    told("deadline", "chat:1/msg:1", "--ttl", "1h")

    bot.release_all("chat:1", wait=False)

    assert bot.stats().closed == 1
    assert told("deadline", "chat:1/msg:1")["deadlines"] == []
    assert "nor a scope above it has a deadline" in run("deadline", "chat:1/msg:1").stderr


# --- what waits


def test_ls_tells_what_waits_apart_from_live_refs(make_file, graceful):
    ended = graceful.store(make_file("a"), scope="chat:1")
    graceful.delete_media(ended)
    living = graceful.store(make_file("b"), scope="chat:1")

    listed, waiting = run("ls", "chat:1"), run("ls", "chat:1", "--waiting")
    in_json = told("ls", "chat:1")

    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == [living]
    assert listed.stderr.startswith("1 file stays (102 bytes) in grace until ")
    (row,) = [line.split("\t") for line in waiting.stdout.splitlines()]
    assert (row[0], row[2], row[3].endswith("/a")) == ("grace", "102", True)
    assert 3500 < away_s(row[1]) <= 3600
    assert [each["ref"] for each in in_json["refs"]] == [living]
    assert [each["size_bytes"] for each in in_json["waiting"]] == [102]


def test_ls_on_a_terminal_shows_two_tables(make_file, graceful):
    graceful.delete_media(graceful.store(make_file("a"), scope="chat:1"))
    living = graceful.store(make_file("b"), scope="chat:1")

    code, shown = on_a_terminal("ls", "chat:1")

    assert code == 0
    assert shown.index(living) < shown.index("waiting: the refs have ended") < shown.index("grace")


def test_ls_of_a_released_child_names_the_scope_that_lists_what_waits(make_file, graceful):
    for name, scope in (("a", "chat:1"), ("b", "chat:1/msg:1")):
        graceful.store(make_file(name), scope=scope)

    released = run("release", "chat:1", "--yes")
    said = run("ls", "chat:1/msg:1").stderr

    assert "2 files stay (204 bytes) in grace until" in released.stderr
    assert "`mediastore ls chat:1 --waiting`" in released.stderr
    assert "`mediastore ls chat:1 --waiting`" in said
    assert len(told("ls", "chat:1")["waiting"]) == 2


def test_show_tells_who_holds_what(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    with bot.take_lease(ref, "1h") as held:
        shown, found = run("show", ref).stdout, told("show", ref)
        bot.release_all("chat:1")
        (row,) = (line.split("\t") for line in run("ls", "chat:1", "--waiting").stdout.splitlines())

    (lease,) = found["leases"]
    assert lease["until"] == held.expires_at.isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )
    assert f"\nlease of {lease['holder']}  until {lease['until']} (in 60 min), since " in shown
    assert (row[0], row[5]) == ("lease", lease["holder"])


def test_show_of_a_dead_ref_prints_its_tombstone_and_how_to_restore_it(cat, graceful):
    ref = graceful.store(cat, scope="chat:1", meta=MediaMeta("c.jpg"))
    graceful.release_all("chat:1")

    done, in_json = run("show", ref), run("show", ref, "--json")

    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    known = json.loads(in_json.stdout)
    assert (done.exit_code, in_json.exit_code) == (3, 3)
    assert (lines["reason"], lines["scope"], lines["filename"]) == ("released", "chat:1", "c.jpg")
    assert lines["by"].startswith("release_all('chat:1') of ")
    assert lines["bytes"].startswith("in grace until ")
    assert done.stderr.endswith(f"hint: `mediastore restore {ref}` makes a new ref of its bytes.\n")
    assert list(known) == names(Tombstone)
    assert json.loads(in_json.stderr)["error"]["code"] == "ref_gone"


def test_show_says_that_the_bytes_of_a_dead_ref_are_gone(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    bot.release_all("chat:1")

    done = run("show", ref)

    assert "\nbytes   gone, or about to be deleted\n" in done.stdout
    assert "restore" not in done.output


def test_what_waits_is_counted_and_is_no_problem(make_file, graceful):
    graceful.store(make_file("a"), scope="chat:1")
    graceful.release_all("chat:1")
    staff(graceful.settings)

    stats = dict(line.split(maxsplit=1) for line in run("stats").stdout.splitlines())
    doctor = run("doctor")
    plan = told("sweep", "--dry-run")

    assert stats["waiting"].startswith("1 (of the trash: ")
    assert stats["waiting_bytes"] == "102 bytes"
    assert (doctor.exit_code, doctor.stderr) == (0, "0 problems, 0 warnings\n")
    assert "\nok       journal: nothing is due\n" in doctor.stdout
    assert "waiting: 1 file of ended refs, 102 bytes, stays for grace or a lease" in doctor.stdout
    assert (plan["deleted"], plan["waiting"], plan["waiting_bytes"]) == (0, 1, 102)
    assert run("sweep", "--dry-run").stdout.endswith(
        "\nnot due: 1 file of ended refs, 102 bytes, in grace or under a lease\n"
    )


def test_a_release_that_does_not_wait_asks_for_nothing_that_stays(make_file, graceful):
    graceful.store(make_file("a"), scope="chat:1")

    done = run("release", "chat:1", "--yes", "--no-wait")

    assert (done.exit_code, done.stderr) == (0, "")


def test_a_file_whose_grace_is_over_is_due_and_waits_no_more(cat, env, monkeypatch):
    monkeypatch.setenv("MEDIASTORE_GRACE", "0.001s")
    with MediaStore.from_env() as store:
        store.store(cat, scope="chat:1")
        store.release_all("chat:1", wait=False)

    plan = until(lambda: (found := told("sweep", "--dry-run"))["deleted"] and found)

    assert (plan["deleted"], plan["waiting"], plan["waiting_bytes"]) == (1, 0, 0)
    assert told("ls", "chat:1")["waiting"] == []


def test_a_scope_past_its_deadline_is_due(cat, bot):
    bot.store(cat, scope="chat:1")
    bot.scope("chat:1", ttl=0.001).open()

    plan = until(lambda: (found := told("sweep", "--dry-run"))["lapsed"] and found)
    words = run("sweep", "--dry-run").stdout
    run("sweep")

    assert (plan["lapsed"], plan["expired"]) == (1, 0)
    assert ", 1 scope past a deadline, " in words
    assert not cat.exists()
