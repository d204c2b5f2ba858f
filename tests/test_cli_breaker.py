"""`mediastore breaker` and what `doctor` says of it, as an operator meets them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from mediastore import Breaker, MediaMeta, MediaStore, Tripped
from mediastore.doctor import examine
from mediastore.index.steps import prefix

from .cli_fixtures import bot, env, lane, names, run, told  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def wary(env, monkeypatch):
    """Have the breaker trip on more than one ref; what waits for a few milliseconds waits long."""
    monkeypatch.setenv("MEDIASTORE_SWEEP_INTERVAL", "0.001")
    monkeypatch.setenv("MEDIASTORE_BREAKER_MIN", "1")


@pytest.fixture
def tripped(bot, make_file):
    """Give the files of refs whose policy was shortened to nothing by mistake, after a sweep."""
    bot.set_policy("voice", "30d")
    paths = [make_file(f"{number}.jpg") for number in range(3)]
    bot.store_many(paths, scope="s", meta=MediaMeta(policy="voice"))
    bot.set_policy("voice", 0.001)
    assert bot.sweep().frozen == 3
    return paths


def of_doctor(bot, name):
    (one,) = [each for each in examine(bot.settings) if each.name == name]
    return one


def test_it_is_shown_told_by_doctor_and_let_through(bot, tripped):
    problem, journal = of_doctor(bot, "breaker"), of_doctor(bot, "journal")
    shown, swept = run("breaker", "show"), run("sweep")
    allowed = run("breaker", "allow", "--until", "1h")

    assert (problem.state, "3 of 3 refs are past the deadline" in problem.detail) == (
        "problem",
        True,
    )
    assert "breaker allow" in problem.advice
    assert (journal.state, journal.detail) == ("ok", "what is past its deadline waits")
    assert shown.stdout.startswith("tripped since ")
    assert "3 of 3 refs were past the deadline, and hardly any in an hour lately" in shown.stdout
    assert "mediastore breaker show" in swept.stderr
    assert (allowed.exit_code, allowed.stdout.startswith("not tripped\n")) == (0, True)
    assert "all may end until " in allowed.stdout
    assert of_doctor(bot, "breaker").detail.startswith("all may end by itself until ")
    assert run("sweep").exit_code == 0
    assert not any(path.exists() for path in tripped)


def test_json_has_the_fields_of_the_results(bot, tripped):
    shown, allowed = told("breaker", "show"), told("breaker", "allow", "--until", "1h")

    assert list(shown) == list(allowed) == names(Breaker)
    assert list(shown["tripped"]) == [field.name for field in fields(Tripped)]
    assert (allowed["tripped"], allowed["due"]) == (None, 3)


@pytest.mark.parametrize("until", ["soon", "8d", "never"])
def test_it_is_allowed_for_a_while_only(bot, until):
    refused = run("breaker", "allow", "--until", until)

    assert refused.exit_code == 2
    assert bot.breaker().allowed_until is None


def test_where_all_is_well_it_says_so(bot, monkeypatch):
    assert run("breaker", "show").stdout.startswith("not tripped\n")
    assert of_doctor(bot, "breaker").state == "ok"
    monkeypatch.setenv("MEDIASTORE_BREAKER_MIN", "0")
    with MediaStore.from_env() as off:
        assert "switched off" in of_doctor(off, "breaker").detail


def test_what_cannot_be_true_of_it_is_corrupt_and_keeps_no_ref_waiting(
    bot, client, settings, make_file
):
    bot.store(make_file(), scope="s", ttl=0.001)
    start = prefix(settings.namespace)
    client.hset(f"{start}frozen", "breaker", "1 x")
    client.hset(f"{start}breaker", mapping={"0": "x", "allowed": "y", "z": "\xff"})

    assert of_doctor(bot, "breaker").state == "problem"
    assert bot.sweep().expired == 1
    assert bot.stats().frozen == ()
