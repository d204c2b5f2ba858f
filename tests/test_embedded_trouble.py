"""The embedded server in trouble: adopted, killed, too deep, started in vain, left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mediastore import embedded
from mediastore.embedded import EmbeddedServer, Engine
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

# --- adoption


def test_a_live_server_is_adopted_and_left_running(make):
    first, second = make(), make()
    first.start()

    second.start()

    assert (second.adopted, second.pid, second.url) == (True, first.pid, first.url)
    second.stop()
    assert (second.running, second.adopted) == (False, False)
    assert first.running
    assert say(first.socket_path, b"PING") == b"+PONG\r\n"


def test_an_adopter_that_takes_charge_ends_the_server(make):
    first, second = make(), make()
    first.start()
    second.start()

    second.adopted = False
    second.stop()

    assert not first.running
    assert not (first.directory / "server.sock").exists()


def test_an_adopter_notices_the_end_of_the_server(make):
    first, second = make(), make()
    first.start()
    second.start()

    first.kill()

    assert (second.running, second.pid) == (False, None)


def test_after_a_crash_the_next_start_begins_anew(make):
    first, second = make(), make()
    first.start()
    first.kill()

    second.start()

    assert second.running
    assert not second.adopted


def test_starts_at_once_make_one_server(make):
    servers = [make() for _ in range(6)]

    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(EmbeddedServer.start, servers))

    assert len({server.pid for server in servers}) == 1
    assert [server.adopted for server in servers].count(False) == 1


def test_a_server_that_hangs_is_not_doubled(make, monkeypatch):
    monkeypatch.setattr(embedded, "START_LIMIT_S", 0.2)
    first, second = make(), make()
    first.start()
    os.kill(first.pid, signal.SIGSTOP)

    with pytest.raises(IndexUnavailable, match="does not answer"):
        second.start()

    os.kill(first.pid, signal.SIGCONT)
    assert say(first.socket_path, b"PING") == b"+PONG\r\n"


def test_a_stop_leaves_the_socket_of_the_next_server_alone(make):
    """The first one's late clearing up must not cut off the one that took its place."""
    first, second = make(), make()
    first.start()
    first.kill()
    second.start()

    first.stop()

    assert say(second.socket_path, b"PING") == b"+PONG\r\n"


# --- long directories


def test_a_long_directory_gets_its_socket_elsewhere(make, client, long_directory):
    server = make(long_directory)

    server.start()

    folder = Path(server.socket_path).parent
    assert folder != long_directory
    assert folder.stat().st_mode & 0o777 == 0o700
    assert client(server.url).ping()


def test_stop_removes_the_folder_of_a_long_directorys_socket(make, long_directory):
    server = make(long_directory)
    server.start()
    folder = Path(server.socket_path).parent

    server.stop()

    assert not folder.exists()
    assert not (long_directory / "server.sock").is_symlink()


def test_a_server_in_a_long_directory_is_adopted(make, long_directory):
    first, second = make(long_directory), make(long_directory)
    first.start()

    second.start()

    assert (second.adopted, second.pid) == (True, first.pid)


def test_a_crash_in_a_long_directory_leaves_no_folder_after_the_next_start(make, long_directory):
    server = make(long_directory)
    server.start()
    old = Path(server.socket_path).parent
    server.kill()

    server.start()

    assert not old.exists()
    assert say(server.socket_path, b"PING") == b"+PONG\r\n"


# --- starts that fail


def test_a_server_that_dies_at_its_start_is_an_error_with_its_log(make):
    server = make(config={"maxmemory-policy": "nonsense"})

    with pytest.raises(IndexUnavailable, match="maxmemory-policy"):
        server.start()

    assert not server.running


def test_the_log_in_the_error_is_of_this_start_only(make):
    with pytest.raises(IndexUnavailable):
        make(config={"maxmemory-policy": "nonsense"}).start()

    with pytest.raises(IndexUnavailable) as failure:
        make(config={"appendfsync": "nonsense"}).start()

    assert "appendfsync" in str(failure.value)
    assert "maxmemory-policy" not in str(failure.value)


@linux_only
def test_a_server_that_never_answers_is_ended(make, fake, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "START_LIMIT_S", 0.3)
    note = tmp_path / "pid"
    mute = fake("mute", f"echo $$ > {note}; exec /bin/sleep 60")
    server = make(engine=Engine(mute, "redis", (7, 0, 0), "installed"))

    with pytest.raises(IndexUnavailable, match="did not come up"):
        server.start()

    assert ends_within(int(note.read_text()), 5)
    assert not server.running


def test_a_program_that_is_gone_is_an_error(make, tmp_path):
    gone = Engine(str(tmp_path / "gone"), "redis", (7, 0, 0), "installed")

    with pytest.raises(IndexUnavailable, match="gone"):
        make(engine=gone).start()


def test_a_directory_that_cannot_be_made_is_an_error(make, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(IndexUnavailable, match="file"):
        make(tmp_path / "file" / "state").start()


# --- the end of the supervisor


@linux_only
def test_the_server_ends_when_its_supervisor_is_killed(engine, tmp_path):
    code = (
        "import sys, pathlib, mediastore.embedded as e\n"
        "server = e.EmbeddedServer(pathlib.Path(sys.argv[1]), engine=e.find_engine())\n"
        "server.start(); print(server.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert lives(pid)

        supervisor.kill()

        assert ends_within(pid, 10)


@linux_only
def test_a_server_started_by_a_thread_outlives_the_thread(make):
    """The kernel would end it with that thread; so only the main thread's servers are tied."""
    server = make()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()

    assert not ends_within(server.pid, 0.3)


def test_the_terminals_ctrl_c_does_not_reach_the_server(make):
    server = make()

    server.start()

    assert os.getsid(server.pid) == server.pid
