"""`mediastore policy`: set, ls, rm, as an operator meets them."""

from __future__ import annotations

import pytest

from mediastore import Policy, PolicyChange

from .cli_fixtures import bot, env, lane, names, on_a_terminal, run, told  # noqa: F401 - fixtures
from .policy_fixtures import by, known, length, life


def test_a_policy_is_set_listed_and_removed(bot):
    was_set = run("policy", "set", "thumbnails", "retain-2hours")
    listed = run("policy", "ls")
    removed = run("policy", "rm", "thumbnails")

    assert [each.exit_code for each in (was_set, listed, removed)] == [0, 0, 0]
    assert was_set.stdout == "policy thumbnails is 2h\n"
    assert listed.stdout == "thumbnails\t2h\tindex\t0\tset\n"
    assert removed.stdout == "policy thumbnails is removed\n"
    assert bot.policies() == []


def test_json_has_the_fields_of_the_results(bot, cat):
    changed = told("policy", "set", "p", "1h")
    ref = bot.store(cat, scope="s", meta=by("p"))
    listed = told("policy", "ls")["policies"]
    moved = told("policy", "set", "p", "2h")
    removed = told("policy", "rm", "p", "--force")

    assert list(changed) == list(moved) == names(PolicyChange)
    assert [list(each) for each in listed] == [names(Policy)]
    assert (listed[0]["lifetime_s"], listed[0]["refs"]) == (3600, 1)
    assert (moved["moved"], removed["left"]) == (1, 1)
    assert life(bot, ref) == ("", 7200)


def test_the_policies_of_the_settings_are_listed_too(monkeypatch, bot):
    monkeypatch.setenv("MEDIASTORE_POLICIES", "voice=10m,thumbnails=1h,kept=never")
    bot.set_policy("thumbnails", "2h")

    rows = [line.split("\t") for line in run("policy", "ls").stdout.splitlines()]

    assert [row[:3] for row in rows] == [
        ["kept", "never", "settings"],
        ["thumbnails", "2h", "index"],
        ["voice", "10m", "settings"],
    ]
    shown = run("config", "--changed").stdout
    assert "voice=10m,thumbnails=1h,kept=never" in shown


def test_a_longer_lifetime_is_set_without_a_question(bot, cat):
    bot.set_policy("p", "1h")
    ref = bot.store(cat, scope="s", meta=by("p"))

    done = run("policy", "set", "p", "never")

    assert (done.exit_code, done.stdout) == (0, "policy p is never; 1 ref got its length\n")
    assert length(bot, ref) is None


@pytest.mark.parametrize("before", ["2h", "never"])
def test_a_shorter_lifetime_is_asked_about_where_refs_live_by_it(bot, cat, before):
    bot.set_policy("p", before)
    ref = bot.store(cat, scope="s", meta=by("p"))
    was = life(bot, ref)

    unasked = run("policy", "set", "p", "1h")
    code, shown = on_a_terminal("policy", "set", "p", "1h", answer="n\n")
    assert (unasked.exit_code, code) == (2, 1)
    assert f"1 ref under p, which is {before}" in unasked.stderr
    assert "nothing was changed" in shown
    assert life(bot, ref) == was

    code, shown = on_a_terminal("policy", "set", "p", "1h", answer="y\n")

    assert code == 0
    assert "1 ref got its length" in shown
    assert life(bot, ref) == ("p", 3600)


def test_a_shorter_lifetime_that_nobody_lives_by_or_with_yes_is_set_at_once(bot, cat):
    bot.set_policy("p", "2h")
    assert run("policy", "set", "p", "1h").exit_code == 0
    ref = bot.store(cat, scope="s", meta=by("p"))

    done = run("policy", "set", "p", "30m", "--yes")

    assert done.exit_code == 0
    assert length(bot, ref) == 1800


def test_a_policy_in_use_is_removed_only_by_force(bot, cat):
    bot.set_policy("p", "1h")
    ref = bot.store(cat, scope="s", meta=by("p"))

    refused = run("policy", "rm", "p")
    forced = run("policy", "rm", "p", "--force")

    assert (refused.exit_code, forced.exit_code) == (2, 0)
    assert "1 ref lives by policy 'p'" in refused.stderr
    assert forced.stdout == "policy p is removed; 1 ref left it\n"
    assert life(bot, ref) == ("", 3600)


@pytest.mark.parametrize(
    "words",
    [
        ("set", "Upper", "1h"),
        ("set", "retain-1days", "1h"),
        ("set", "p", "soon"),
        ("set", "p", "retain-0days"),
        ("set", "p", "0"),
        ("rm", "nobodys"),
    ],
)
def test_what_cannot_be_right_is_told_and_changes_nothing(words, bot):
    bot.set_policy("other", "1h")

    done = run("policy", *words)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert known(bot) == {"other": (3600, 0)}


def test_files_are_stored_by_a_policy_and_show_tells_it(bot, cat):
    bot.set_policy("p", "1h")

    ref = run("store", cat, "--scope", "s", "--policy", "p").stdout.strip()
    refused = run("store", cat, "--scope", "s", "--policy", "pp")

    assert life(bot, ref) == ("p", 3600)
    assert any(line.split() == ["policy", "p"] for line in run("show", ref).stdout.splitlines())
    assert refused.exit_code == 2
    assert "did you mean 'p'" in refused.stderr
