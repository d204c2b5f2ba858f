"""The note by which processes find a running fleet."""

from __future__ import annotations

import os
import stat

import pytest

from mediastore import Settings
from mediastore.settings import gather
from mediastore.state import Process, Running, state_directory


@pytest.fixture
def environ(tmp_path):
    (tmp_path / "mediastore").mkdir()
    return {"XDG_STATE_HOME": str(tmp_path)}


def test_settings_without_a_url_are_those_of_the_running_fleet(environ):
    told = {"redis_url": "unix:///run/x.sock", "namespace": "bots", "roots": "/srv/a:/srv/b"}
    Running(pid=1, settings=told).write(state_directory(environ))

    settings = Settings.from_env({**environ, "MEDIASTORE_NAMESPACE": "mine"})

    assert settings.redis_url == "unix:///run/x.sock"
    assert settings.roots == ("/srv/a", "/srv/b")
    assert settings.namespace == "mine"


def test_a_url_that_was_given_leaves_the_running_fleet_alone(environ):
    Running(pid=1, settings={"namespace": "bots"}).write(state_directory(environ))

    settings = Settings.from_env({**environ, "MEDIASTORE_REDIS_URL": "redis://elsewhere"})

    assert (settings.redis_url, settings.namespace) == ("redis://elsewhere", "default")


def test_each_setting_says_where_it_comes_from(environ, tmp_path):
    Running(pid=1, settings={"max_age": "2h"}).write(state_directory(environ))
    (tmp_path / "some.env").write_text("MEDIASTORE_RETRIES=5\nMEDIASTORE_TIMEOUT=1s\n")

    said = gather({**environ, "MEDIASTORE_TIMEOUT": "2s"}, tmp_path / "some.env")

    assert {name: (each.text, each.origin) for name, each in said.items()} == {
        "retries": ("5", str(tmp_path / "some.env")),
        "timeout": ("2s", "MEDIASTORE_TIMEOUT"),
        "max_age": ("2h", "mediastore up"),
    }


def test_the_note_may_hold_a_password_and_is_its_owners_alone(tmp_path):
    Running(pid=1, settings={"redis_url": "redis://:secret@h"}).write(tmp_path)

    assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "words",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"pid": "x", "settings": {}}',
        '{"pid": 1}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"pid": 1e999, "settings": {}}',
        '{"pid": -1, "settings": {}}',
        '{"pid": 0, "settings": {}}',
        '{"pid": true, "settings": {}}',
        '{"pid": 1, "pid": 1, "settings": {}}',
        '{"pid": 1, "settings": []}',
        '{"pid": 1, "settings": {"redis_url": ["x"]}}',
        '{"pid": 1, "settings": {"redis_url": "\\ud800"}}',
        '{"pid": 1, "settings": {}, "since": NaN}',
        '{"pid": 1, "settings": {}, "since": 1e300}',
        '{"pid": 1, "settings": {}, "processes": 1}',
        '{"pid": 1, "settings": {}, "processes": ["x"]}',
        '{"pid": 1, "settings": {}, "processes": [{"name": "w", "state": "up", "pid": 2, "since": "x", "restarts": 0}]}',
        '{"pid": 1, "settings": {}, "processes": [{"name": "w", "state": "up", "pid": -1, "since": 0, "restarts": 0}]}',
    ],
)
def test_a_note_that_cannot_be_read_is_none(tmp_path, words):
    (tmp_path / "up.json").write_text(words)

    assert Running.read(tmp_path) is None


def test_a_note_that_is_no_file_is_none_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "up.json")

    assert Running.read(tmp_path) is None


def test_a_note_is_read_as_it_was_written(tmp_path):
    processes = (
        Process(name="worker", state="up", pid=7, since=1.5, restarts=2),
        Process(name="beat", state="down", pid=None, since=0.0, restarts=0),
    )
    note = Running(pid=1, since=2.5, settings={"namespace": "é"}, processes=processes)

    note.write(tmp_path)

    assert Running.read(tmp_path) == note


def test_a_note_that_was_taken_away_is_none(tmp_path):
    Running(pid=1).write(tmp_path)
    Running.remove(tmp_path)
    Running.remove(tmp_path)

    assert Running.read(tmp_path) is None


def test_the_state_directory_is_at_home_by_default(tmp_path):
    assert state_directory({"HOME": str(tmp_path)}) == tmp_path / ".local/state/mediastore"
