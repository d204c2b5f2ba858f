"""`mediastore quota`: show and set, as an operator meets them."""

from __future__ import annotations

from mediastore.quotas import Quota

from .cli_fixtures import bot, env, lane, names, run, told  # noqa: F401 - fixtures


def test_limits_are_set_and_shown(bot, cat):
    bot.store(cat, scope="s")

    was_set = run("quota", "set", "--bytes", "1MiB", "--refs", "5", "--scope-refs", "2")
    of_scope = run("quota", "show", "--scope", "s")

    size = cat.stat().st_size
    assert was_set.exit_code == of_scope.exit_code == 0
    assert was_set.stdout.splitlines() == [
        f"bytes\t{size}\t1048576",
        "refs\t1\t5",
        "bytes of each scope\t\tno limit",
        "refs of each scope\t\t2",
    ]
    assert of_scope.stdout.splitlines() == [f"bytes\t{size}\tno limit", "refs\t1\t2"]


def test_json_has_the_fields_of_the_result(bot):
    said = told("quota", "set", "--scope", "s", "--bytes", "10")

    assert list(said) == names(Quota)
    assert said == told("quota", "show", "--scope", "s")
    assert said["max_bytes"] == 10


def test_what_is_too_much_is_refused_with_the_way_out(bot, cat):
    run("quota", "set", "--refs", "0")

    refused = run("store", str(cat), "--scope", "s")

    assert refused.exit_code == 2
    assert "the namespace holds 0 of 0 refs; 1 more are too many" in refused.stderr
    assert "mediastore quota set" in refused.stderr


def test_nothing_said_and_nonsense_are_refused(bot):
    for args in ([], ["--bytes", "much"], ["--refs", "-1"], ["--scope", "s", "--scope-refs", "1"]):
        refused = run("quota", "set", *args)

        assert refused.exit_code == 2, args
    assert bot.quota().max_bytes is None
