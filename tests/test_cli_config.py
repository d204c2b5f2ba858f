"""`mediastore config`: every setting, its value without secrets, and who said it."""

from __future__ import annotations

import json
import logging
import socket

import pytest

from mediastore import Settings
from mediastore.reference import described
from mediastore.settings import names
from mediastore.state import Running, state_directory

from .cli_fixtures import NOWHERE, env, lane, run, told  # noqa: F401 - fixtures


def rows(*words):
    return {each["name"]: each for each in told(*words)["settings"]}


def test_every_setting_is_shown_with_its_value_and_origin(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIASTORE_MAX_AGE", "90m")
    monkeypatch.delenv("MEDIASTORE_NAMESPACE")
    (tmp_path / ".env").write_text("MEDIASTORE_NAMESPACE=filed\nMEDIASTORE_MAX_AGE=1h\n")

    shown = rows("--root", tmp_path, "config")

    assert list(shown) == list(names())
    assert (shown["max_age"]["value"], shown["max_age"]["origin"]) == ("90m", "MEDIASTORE_MAX_AGE")
    assert (shown["namespace"]["value"], shown["namespace"]["origin"]) == ("filed", ".env")
    assert (shown["roots"]["value"], shown["roots"]["origin"]) == (str(tmp_path), "--root")
    assert (shown["claim"]["value"], shown["claim"]["origin"]) == ("30s", "default")


def test_settings_of_a_running_fleet_say_so(monkeypatch):
    monkeypatch.delenv("MEDIASTORE_REDIS_URL")
    state_directory().mkdir(parents=True, exist_ok=True)
    Running(pid=1, settings={"redis_url": "redis://u:Pa55word@h/0"}).write(state_directory())
    try:
        shown = rows("config")
    finally:
        Running.remove(state_directory())

    assert shown["redis_url"]["origin"] == "mediastore up"
    assert shown["redis_url"]["value"] == "redis://u:***@h/0"


@pytest.mark.parametrize("words", [(), ("--json",), ("--changed",)], ids=" ".join)
@pytest.mark.parametrize("broken", [False, True])
def test_no_password_is_shown_whatever_else_is_wrong(words, broken, monkeypatch):
    monkeypatch.setenv("MEDIASTORE_BROKER_URL", "amqp://me:Pa55word@broker//")
    if broken:
        monkeypatch.setenv("MEDIASTORE_CLAIM", "never")

    done = run("--redis-url", f"{NOWHERE}?password=Pa55word", "config", *words)

    assert done.exit_code == (2 if broken else 0)
    assert "Pa55word" not in done.output
    assert "amqp://me:***@broker//" in done.stdout


def test_a_value_that_cannot_be_used_is_shown_and_told(monkeypatch):
    monkeypatch.setenv("MEDIASTORE_CLAIM", "never")

    done, as_json = run("config"), run("config", "--json")

    assert done.exit_code == as_json.exit_code == 2
    assert "claim\tnever\tMEDIASTORE_CLAIM\n" in done.stdout
    assert done.stderr.startswith("error: claim cannot be never\nhint: ")
    assert json.loads(as_json.stdout)["error"]["code"] == "invalid_settings"


def test_an_unknown_variable_is_told_once_with_the_nearest_name(monkeypatch):
    monkeypatch.setenv("MEDIASTORE_ROOT", "/srv/media")

    done = run("config")

    assert done.stderr == (
        "warning: MEDIASTORE_ROOT is not a setting; did you mean 'roots'?; ignored\n"
    )
    assert told("config")["warnings"] == [done.stderr.removeprefix("warning: ").rstrip()]


def test_only_what_was_said_can_be_asked_for():
    assert set(rows("config", "--changed")) == {"redis_url", "namespace", "roots"}


def test_nothing_is_connected_and_no_root_is_looked_at(monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert rows("--root", tmp_path / "none", "config")["roots"]["value"] == str(tmp_path / "none")


def test_the_logging_of_the_process_is_as_before():
    logger = logging.getLogger("mediastore")
    before = (list(logger.handlers), logger.level)

    run("config")

    assert (list(logger.handlers), logger.level) == before


def test_the_default_as_text_is_the_default(monkeypatch):
    """What the reference calls the default must be it, read back as a variable."""
    for each in described():
        if each.default:
            assert Settings.from_env({each.variable: each.default}) == Settings(), each
