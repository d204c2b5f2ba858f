"""Leases between real processes: a holder that reads on, is killed, stopped, forked; and one that hands over.

The other process does what it is told, one expression at a time, and answers with what came of it: a value, or the
name of what was raised.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from mediastore import MediaStore
from mediastore.errors import LeaseLost, RefGone

from .conftest import JPEG, keys_left, names_left
from .lease_fixtures import until

TTL_S = 1.2

PROCESS = """
import asyncio, json, os, subprocess, sys, time
from mediastore import AsyncMediaStore, MediaStore, Settings

kind, url, namespace, root = sys.argv[1:]
settings = Settings(redis_url=url, namespace=namespace, roots=(root,))
runner = asyncio.Runner()
store = (AsyncMediaStore if kind == "async" else MediaStore)(None, settings)


def wait(value):
    async def awaited():
        return await value

    return runner.run(awaited()) if kind == "async" else value


def enter(manager):
    return wait(manager.__aenter__() if kind == "async" else manager.__enter__())


def leave(manager):
    return wait((manager.__aexit__ if kind == "async" else manager.__exit__)(None, None, None))


def attempt(expression):
    try:
        return eval(expression, globals())
    except Exception as error:
        return type(error).__name__


def in_child(*expressions):
    # Evaluates in a forked child, which ends as every program does; returns what it saw.
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps([attempt(each) for each in expressions], default=str).encode())
        raise SystemExit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        seen = json.loads(answers.read())
    assert os.waitpid(child, 0)[1] == 0
    return seen


for line in sys.stdin:
    print(json.dumps(attempt(line), default=str), flush=True)
"""


class Process:
    """Another process with a store of its own."""

    def __init__(self, kind, settings):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROCESS,
             kind, settings.redis_url, settings.namespace, settings.roots[0]],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._process.pid

    def ask(self, expression):
        """Return what came of an expression there."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(expression.strip().replace("\n", " ") + "\n")
        self._process.stdin.flush()
        assert select.select([self._process.stdout], [], [], 20)[0], "no answer"
        return json.loads(self._process.stdout.readline())

    def hold(self, ref):
        """Take a lease there that is renewed."""
        taken = f"[manager := store.lease({ref!r}, ttl={TTL_S}), held := enter(manager)]"
        assert "of media://" in str(self.ask(taken))

    def signal(self, number):
        os.kill(self.pid, number)

    def end(self):
        """Let it come to its end; returns what it complained about, but for a lease that it was told it lost."""
        if not self._process.stdin.closed:
            try:
                self._complaints = self._process.communicate(timeout=10)[1].splitlines()
            except subprocess.TimeoutExpired:
                self._process.kill()
                pytest.fail("the process does not end")
        return [line for line in self._complaints if not line.startswith("a lease was lost: ")]


@pytest.fixture
def settings(settings, server_url):
    """Give settings that lead to the real server, in every process."""
    return replace(settings, redis_url=server_url)


@pytest.fixture
def here(settings):
    """Give this process's store."""
    with MediaStore(None, settings) as store:
        yield store


@pytest.fixture
def start(settings):
    """Give a maker of processes; what they complain about fails the test."""
    made = []

    def start(kind="sync"):
        made.append(Process(kind, settings))
        return made[-1]

    yield start
    assert [process.end() for process in made] == [[]] * len(made)


@pytest.fixture
def holder(start, kind):
    """Give another process of either kind."""
    return start(kind)


@pytest.fixture(params=["sync", "async"])
def kind(request):
    """Give a blocking and an asyncio process."""
    return request.param


@pytest.fixture
def all_gone(server_url, settings, media):
    """Give a check that nothing is left of anything."""

    def check():
        with redis.Redis.from_url(server_url) as client:
            assert keys_left(client, settings.namespace) == set()
        assert names_left(media) == []
        assert [path for path in media.iterdir() if path.is_file()] == []

    return check


def by_release(here, ref):
    done = here.release_all("s")
    assert (done.refs, done.deleted) == (1, 0)


def by_expiry(here, ref):
    until(here.clean_expired)


def by_hand(here, ref):
    assert here.delete_media(ref).deleted == 0


CONTENT = "held.path.read_bytes().hex()"


# --- a holder that lives


@pytest.mark.parametrize(
    ("kind", "end"),
    [("async", by_release), ("sync", by_expiry), ("sync", by_hand)],
    indirect=["kind"],
)
def test_a_holder_in_another_process_keeps_reading(end, here, holder, cat, all_gone):
    assert holder.ask("store is not None")
    ref = here.store(cat, scope="s", ttl=1.0)
    holder.hold(ref)
    (info,) = here.leases(ref)

    end(here, ref)
    first = holder.ask("held.expires_at.timestamp()")
    until(lambda: not here.sweep().deleted and holder.ask("time.time()") > first + TTL_S)

    assert info.holder.endswith(f":{holder.pid}")
    assert holder.ask(CONTENT) == JPEG.hex()
    assert holder.ask("subprocess.check_output(['cat', held.path]).hex()") == JPEG.hex()
    assert holder.ask("leave(manager)") is None
    assert not cat.exists()
    here.sweep()
    all_gone()


def test_a_process_that_ends_without_a_word_is_not_held_up_and_its_lease_lapses(
    here, start, kind, cat
):
    ref = here.store(cat, scope="s")
    holder = start(kind)
    holder.hold(ref)
    here.release_all("s")

    assert holder.end() == []

    assert cat.exists()
    until(lambda: here.sweep().deleted)


# --- a holder that dies, or sleeps for too long


def test_the_bytes_of_a_killed_holder_go_when_its_lease_has_lapsed(here, holder, cat, all_gone):
    ref = here.store(cat, scope="s")
    holder.hold(ref)
    here.release_all("s")

    holder.signal(signal.SIGKILL)
    here.sweep()
    assert cat.exists()
    until(lambda: here.sweep().deleted)

    all_gone()


def test_a_holder_that_was_stopped_past_its_deadline_is_told_and_brings_nothing_back(
    here, holder, cat, all_gone
):
    ref = here.store(cat, scope="s")
    holder.hold(ref)
    here.release_all("s")

    holder.signal(signal.SIGSTOP)
    until(lambda: here.sweep().deleted)
    holder.signal(signal.SIGCONT)

    assert holder.ask("held.path") == "LeaseLost"
    assert holder.ask("wait(held.renew())") == "LeaseLost"
    assert holder.ask("leave(manager)") == "LeaseLost"
    assert holder.ask(f"wait(store.take_lease({ref!r}))") == "RefGone"
    with pytest.raises(RefGone):
        here.resolve(ref)
    holder.ask(f"time.sleep({TTL_S})")
    here.sweep()
    all_gone()


def test_a_holder_that_was_stopped_for_less_goes_on(here, holder, cat):
    ref = here.store(cat, scope="s")
    holder.hold(ref)
    here.release_all("s")

    holder.signal(signal.SIGSTOP)
    here.sweep()
    holder.signal(signal.SIGCONT)
    first = holder.ask("held.expires_at.timestamp()")
    until(lambda: holder.ask("time.time()") > first + TTL_S)

    assert holder.ask(CONTENT) == JPEG.hex()
    here.sweep()
    assert cat.exists()


def test_a_blocked_event_loop_in_another_process_loses_no_lease(here, start, cat):
    holder = start("async")
    ref = here.store(cat, scope="s")
    holder.hold(ref)
    here.release_all("s")

    blocked = f"""
        wait((lambda: asyncio.sleep(0, [time.sleep({2 * TTL_S}), {CONTENT}]))())[1]
    """

    assert holder.ask(blocked) == JPEG.hex()
    assert here.sweep().deleted == 0
    assert holder.ask("leave(manager)") is None


# --- forks


def test_a_forked_child_neither_renews_nor_ends_what_its_parent_holds(here, start, cat):
    holder = start()
    ref = here.store(cat, scope="s")
    holder.hold(ref)

    seen = holder.ask("""in_child(
        "store._renewer.running", "held.path.exists()", "held.renew('1h') == held.expires_at",
        "held.end()", "leave(manager)", "store.close()")""")

    assert seen == [False, True, True, None, None, None]
    (info,) = here.leases(ref)
    assert info.until - info.since < timedelta(minutes=1)
    here.release_all("s")
    first = holder.ask("held.expires_at.timestamp()")
    until(lambda: holder.ask("time.time()") > first + TTL_S)
    assert holder.ask(CONTENT) == JPEG.hex()


def test_a_child_that_outlives_its_parent_keeps_nothing_of_it(here, start, cat, all_gone):
    holder = start()
    ref = here.store(cat, scope="s")
    holder.hold(ref)
    here.release_all("s")
    child = holder.ask("(lambda pid: pid or (time.sleep(60), os._exit(0)))(os.fork())")

    try:
        holder.signal(signal.SIGKILL)
        until(lambda: here.sweep().deleted)
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)

    all_gone()


def test_a_child_holds_leases_of_its_own(here, start, cat):
    holder = start()
    ref = here.store(cat, scope="s")
    holder.hold(ref)

    seen = holder.ask(f"""in_child(
        "bool([mine := store.lease({ref!r}, ttl={TTL_S}), own := enter(mine)])",
        "[time.sleep({1.5 * TTL_S}), own.path.exists()][1]",
        "len({{info.holder for info in store.leases({ref!r})}})",
        "leave(mine)")""")

    assert seen == [True, True, 2, None]
    assert [info.holder.endswith(f":{holder.pid}") for info in here.leases(ref)] == [True]


def test_an_open_file_is_read_on_both_sides_of_a_fork(here, start, cat):
    holder = start()
    ref = here.store(cat, scope="s")
    opened = holder.ask(f"(file := store.open({ref!r})).read(2).hex()")

    seen = holder.ask('in_child("file.close()", "file.closed")')

    assert opened == JPEG[:2].hex()
    assert seen == [None, True]
    assert len(here.leases(ref)) == 1
    assert holder.ask("file.read().hex()") == JPEG[2:].hex()
    assert holder.ask("file.close()") is None
    assert here.leases(ref) == []


# --- hand-over


def test_bytes_go_from_process_to_process_without_a_gap(here, start, kind, cat, all_gone):
    sender, receiver = start(kind), start("sync")
    ref = here.store(cat, scope="s")
    message = json.dumps({"media": sender.ask(f"wait(store.handoff({ref!r}))")})
    here.release_all("s")
    sender.signal(signal.SIGKILL)
    here.sweep()

    token = json.loads(message)["media"]
    assert "of media://" in receiver.ask(f"str(held := store.accept({token!r}))")

    here.sweep()
    assert receiver.ask(CONTENT) == JPEG.hex()
    with pytest.raises(LeaseLost):
        here.accept(token)
    assert receiver.ask("held.end()") is None
    all_gone()
