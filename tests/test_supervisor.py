"""Parts of the supervisor that need no fleet to be seen."""

from __future__ import annotations

import fcntl
import os

import pytest

from mediastore.supervisor.children import BackOff
from mediastore.supervisor.fleet import Fleet
from mediastore.supervisor.up import Log


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    for fd in (reading, writing):
        os.close(fd)


class Out:
    """What `sys.stdout` is for a log: a descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd


def test_lines_that_nobody_reads_are_counted_and_nobody_waits(pipe, monkeypatch):
    monkeypatch.setattr("sys.stdout", Out(pipe[1]))
    log = Log()
    for number in range(5000):
        log(f"line {number} {'x' * 80}")
    read = b""
    while len(some := _some(pipe[0])) > 0:
        read += some
    log("read again")

    lines = read.decode().splitlines()
    assert lines
    assert [int(line.split()[1]) for line in lines] == list(range(len(lines)))
    missing, last = _some(pipe[0]).decode().splitlines()
    assert missing == f"up     | {5000 - len(lines)} lines were not read and are lost"
    assert last == "read again"


def _some(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""


def test_a_reader_that_has_gone_stops_nothing(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr("sys.stdout", Out(writing))
    log = Log()

    for _ in range(3):
        log("to nobody")
    os.close(writing)


def test_short_lives_are_started_again_ever_more_slowly_and_a_long_one_at_once():
    back_off = BackOff()

    pauses = [back_off.after(0.5) for _ in range(8)]

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert back_off.after(3600) == 1


@pytest.mark.parametrize("text", ["-1", "0", "", "x", "9" * 30, "9" * 5000, "1.5"])
def test_a_lock_that_names_no_process_names_no_supervisor(tmp_path, text):
    """A signal to 0 or -1 would be one to everybody."""
    with (tmp_path / "up.lock").open("w") as lock:
        lock.write(text)
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert Fleet(tmp_path).supervisor is None


def test_the_log_shows_no_line_that_misleads(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr("sys.stdout", Out(writing))

    Log()("worker | a\tcat\u202egpj.exe\x1b[31m\r")
    os.close(writing)

    with os.fdopen(reading) as shown:
        assert shown.read() == "worker | a\tcat\\u202egpj.exe\\x1b[31m\\r\n"
