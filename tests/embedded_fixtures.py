"""Fixtures of the tests of the embedded server: makers, clients, engines that are not there."""

from __future__ import annotations

import os
import select
import socket
import sys

import pytest
import redis

from mediastore import embedded
from mediastore.embedded import NO_ENGINE, EmbeddedServer, find_engine

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells us of a death")


@pytest.fixture(scope="module")
def engine():
    found = find_engine()
    if found is None and os.environ.get("CI"):
        pytest.fail(NO_ENGINE)
    if found is None:
        pytest.skip(NO_ENGINE)
    return found


@pytest.fixture
def make(engine, tmp_path):
    """Make servers; whatever a test leaves running is ended."""
    made = []

    def make(directory=tmp_path / "state", **options):
        made.append(EmbeddedServer(directory, **{"engine": engine, **options}))
        return made[-1]

    yield make
    for server in made:
        server.adopted = False
        server.stop()


@pytest.fixture
def client():
    """Connect by URL; every connection is closed."""
    opened = []

    def connect(url):
        opened.append(redis.Redis.from_url(url, decode_responses=True))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def long_directory(tmp_path):
    return tmp_path / "a-directory-with-a-long-name" / ("x" * 120)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put programs of our own on the path, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(embedded, "FOLDERS", ())

    def write(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def no_wheel(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)


def say(path, command):
    """Speak to the socket without any client library."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
        raw.settimeout(5)
        raw.connect(path)
        raw.sendall(command + b"\r\n")
        return raw.recv(1024)


def ends_within(pid, seconds):
    """Wait for the death of a process that may not be our child."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], seconds)[0])
    finally:
        os.close(watch)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
