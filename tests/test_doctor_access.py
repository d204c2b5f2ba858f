"""Whether doctor finds out that a server lets everybody in: on real servers that listen to TCP."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest
import redis

from mediastore.doctor import access, examine
from mediastore.embedded import EmbeddedServer

from .doctor_fixtures import found, lane, mine  # noqa: F401 - fixtures

SECRET = "Pa55word"


@pytest.fixture(scope="module")
def listening(server_url, tmp_path_factory):
    """Give a server that listens to TCP, and its administrator."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = {"port": str(port), "bind": "127.0.0.1"}
    with EmbeddedServer(tmp_path_factory.mktemp("tcp"), config=config) as server:
        yield server.url, port


@pytest.fixture
def admin(listening):
    """Give a client that keeps its rights, whatever becomes of the password."""
    with redis.Redis.from_url(listening[0], protocol=2, single_connection_client=True) as client:
        client.ping()
        yield client
        client.config_set("requirepass", "")
        client.config_set("protected-mode", "yes")
        client.config_set("bind", "127.0.0.1")


@pytest.fixture
def known(mine, listening):
    """Settings with the password that the default user may have."""
    return replace(mine, redis_url=f"redis://:{SECRET}@127.0.0.1:{listening[1]}/0")


@pytest.fixture
def unknown(mine, listening):
    """Settings without a password."""
    return replace(mine, redis_url=f"redis://127.0.0.1:{listening[1]}/0")


@pytest.fixture
def far(monkeypatch):
    """Let every address be one of the network."""
    monkeypatch.setattr(access, "_is_loopback", lambda _: False)


def user(admin, port):
    admin.acl_setuser(
        "bot",
        enabled=True,
        passwords=[f"+{SECRET}"],
        keys=["*"],
        commands=["+@all"],
        channels=["*"],
    )
    return f"redis://bot:{SECRET}@127.0.0.1:{port}/0"


def test_a_server_that_lets_everybody_in_over_the_network_is_a_problem(unknown, admin, far):
    finding = found(unknown, "access")

    place = unknown.redis_url.removeprefix("redis://").removesuffix("/0")
    assert finding.state == "problem"
    assert finding.detail == f"anybody who reaches {place} is let in without a password"
    assert "ACL SETUSER default off" in finding.advice
    assert "requirepass" in finding.advice


def test_a_password_of_ours_hides_no_open_door(mine, admin, listening, far):
    """The user has a password; the user default, as a server has it from the start, needs none."""
    findings = examine(replace(mine, redis_url=user(admin, listening[1])))

    assert [f.state for f in findings if f.name == "access"] == ["problem"]
    assert SECRET not in str(findings)


def test_on_this_host_that_is_a_warning(mine, admin, listening):
    finding = found(replace(mine, redis_url=user(admin, listening[1])), "access")

    assert finding.state == "warning"
    assert "though this user has one" in finding.detail


def test_a_server_that_refuses_strangers_is_well(known, admin, far):
    admin.config_set("requirepass", SECRET)

    finding = found(known, "access")

    assert finding.state == "ok"
    assert "refuses whoever has no password" in finding.detail


def test_a_local_server_without_a_password_is_not_said_to_be_closed(unknown, admin):
    finding = found(unknown, "access")

    assert finding.state == "ok"
    assert "whether others reach the server is not checked" in finding.detail


def test_a_local_server_that_listens_to_the_network_is_told(unknown, admin):
    admin.config_set("bind", "0.0.0.0")
    protected = found(unknown, "access")
    admin.config_set("protected-mode", "no")
    bare = found(unknown, "access")

    assert (protected.state, bare.state) == ("ok", "warning")
    assert "bind 0.0.0.0" in bare.detail


def test_a_socket_is_well(mine):
    assert found(mine, "access").state == "ok"


def test_a_stranger_who_hears_nothing_does_not_hold_doctor_up(monkeypatch):
    monkeypatch.setattr(access, "_PATIENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        known = {"host": "127.0.0.1", "port": silent.getsockname()[1], "socket_timeout": None}
        caught: list[Exception] = []

        def ask():
            try:
                access._lets_strangers_in(redis.Connection, known)
            except Exception as error:
                caught.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(20)

    assert [type(error).__name__ for error in caught] == ["IndexUnavailable"]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("redis.example.org", False),
        ("10.0.0.7", False),
        ("*", False),
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
    ],
)
def test_which_addresses_are_this_host(host, local):
    assert access._is_loopback(host) is local
