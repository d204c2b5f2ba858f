"""What the tests of the command line share: an operator's environment, and ways to run a command."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import fields

import pytest
from typer.testing import CliRunner

from mediastore import MediaStore
from mediastore.cli import command_line

UNKNOWN = "media://AAAAAAAAAAAAAAAAAAAAAA"
NOWHERE = "redis://bot:Pa55word@127.0.0.1:1/0"
#: Processes that the fixture `env` ends with the test.
SPAWNED: list[subprocess.Popen[str]] = []


@pytest.fixture
def lane():
    return "real"


@pytest.fixture(autouse=True)
def env(server_url, settings, tmp_path, monkeypatch):
    """Set the environment of an operator, in a directory without a .env."""
    for name in [name for name in os.environ if name.startswith("MEDIASTORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MEDIASTORE_REDIS_URL", server_url)
    monkeypatch.setenv("MEDIASTORE_NAMESPACE", settings.namespace)
    monkeypatch.setenv("MEDIASTORE_ROOTS", settings.roots[0])
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("mediastore")
    before = (logger.level, logger.handlers)
    # A run in the background of a shell ignores Ctrl-C, and so would every process that it starts.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, interrupt)
    logger.setLevel(before[0])
    logger.handlers = before[1]
    while SPAWNED:
        with SPAWNED.pop() as process:
            process.kill()


@pytest.fixture
def bot(env):
    """Give the store of a bot elsewhere in the fleet."""
    with MediaStore.from_env() as store:
        yield store


def run(*words):
    return CliRunner().invoke(command_line(), [str(word) for word in words])


def told(*words):
    """Run a command that must succeed; return its JSON object."""
    done = run(*words, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def spawn(*words, program=("-m", "mediastore"), **options):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, *program, *map(str, words)]
    import_path = os.pathsep.join(filter(None, sys.path))
    SPAWNED.append(
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": import_path},
            **{"text": True, **pipes, **options},
        )
    )
    return SPAWNED[-1]


def on_a_terminal(*words, answer=""):
    """Run a command on a terminal; answer its question, with text or with a signal.

    Returns its exit code and what it showed.
    """
    ours, theirs = os.openpty()
    process = spawn(*words, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so when the last program has left the terminal
        while some := os.read(ours, 4096):
            shown += some
            if answer and shown.endswith(b"[y/N] "):
                if isinstance(answer, signal.Signals):
                    process.send_signal(answer)
                else:
                    os.write(ours, answer.encode())
                answer = ""
    os.close(ours)
    return process.wait(30), shown.decode(errors="replace")


def names(result_class):
    return [field.name for field in fields(result_class)]
