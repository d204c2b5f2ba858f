"""`mediastore delete` of paths; of refs it is tested in test_cli_lifetimes."""

from __future__ import annotations

import json

from .cli_fixtures import bot, env, lane, on_a_terminal, run

__all__ = ["bot", "env", "lane"]  # fixtures


def test_the_command_takes_paths_as_well_as_refs(bot, cat, make_file):
    bot.store(cat, scope="chat:1")
    bot.store(cat, scope="chat:2")
    ref = bot.store(make_file("dog.jpg"), scope="chat:1")

    planned = run("delete", str(cat), ref, "--dry-run")
    done = run("delete", str(cat), ref, "--yes")

    assert len(planned.stdout.splitlines()) == 3
    assert (done.exit_code, done.stdout) == (0, "3 refs deleted, 2 files deleted (204 bytes)\n")
    assert not cat.exists()


def test_the_command_says_when_nothing_is_registered_at_a_path(bot, cat):
    done = run("delete", str(cat), "--yes")
    told = run("delete", str(cat), "--yes", "--json")

    assert (done.exit_code, told.exit_code) == (3, 3)
    assert f"no ref is on {cat}" in done.stderr
    [row] = json.loads(told.stdout)["refs"]
    assert (row["path"], row["refs"]) == (str(cat), 0)
    assert cat.exists()


def test_the_command_asks_on_a_terminal_and_names_every_ref_of_a_path(bot, cat):
    refs = [bot.store(cat, scope=f"chat:{n}") for n in range(2)]

    code, shown = on_a_terminal("delete", str(cat), answer="n\n")

    assert code == 1
    for number, ref in enumerate(refs):
        assert f"{ref} in chat:{number}: {cat}" in shown
    assert len(bot.refs_at(cat)) == 2


def test_a_file_removed_by_hand_is_erased_by_its_path(bot, cat):
    ref = bot.store(cat, scope="chat:1")
    cat.unlink()

    done = run("delete", str(cat), "--yes")

    assert (done.exit_code, done.stdout) == (0, "1 ref deleted, 1 file deleted (102 bytes)\n")
    assert run("show", ref).exit_code == 3
