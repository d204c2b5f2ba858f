"""Every script may run twice, at any later moment; a reply that is lost changes nothing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.backoff import ExponentialBackoff
from redis.connection import AbstractConnection

from mediastore import AsyncMediaStore, MediaStore
from mediastore.index.steps import Batch, Command

from .conftest import Blocking, names_left
from .histories import HISTORIES
from .lab import Lab
from .life import told
from .test_index import NAMES, dump

#: Where the time stands in an EVALSHA: after the digest, the number of keys, the prefix and `not_after`.
NOW = 5
#: Where a script's own arguments begin.
OWN = 7


# --- L2: every script may run twice


class Witness:
    """Watches a process: keeps its changing commands, and may send all of them again after each one."""

    def __init__(self, lab, *, sends_again):
        self.lab, self.sends_again, self.sent = lab, sends_again, []
        self.process = lab.process()
        self._ask, self.process._ask = self.process._ask, self.ask

    def ask(self, step):
        if isinstance(step, Batch):
            return [self.ask(command) for command in step.commands]
        if not isinstance(step, Command) or not step.changes:
            return self._ask(step)
        words = self.process._speech.by_digest(step)
        heard = []

        def parse(reply):
            heard.append(reply)
            return step.parse(reply)

        answer = self._ask(replace(step, parse=parse))
        self.sent.append((step.script, words, heard[0]))
        if self.sends_again:
            self.send_all_again()
        return answer

    def send_all_again(self):
        """Send each kept command as it was, at the server's present time; return what was said."""
        said = []
        for script, words, first in self.sent:
            before = dump(self.lab.client, self.lab.namespace)
            try:
                answer = self.lab.client.execute_command(
                    *words[:NOW], self.lab.now_ms(), *words[NOW + 1 :]
                )
            except redis.ResponseError as error:
                answer = error
            assert dump(self.lab.client, self.lab.namespace) == before, script
            if self.sends_again and not is_late_twin(script, words, first, answer, before):
                assert answer == first, script
            said.append(str(answer))
        return said


def is_late_twin(script, words, first, again, before):
    """Whether a store, a commit or a refusal comes so late that it can only say that ref and blob have gone since.

    Of a ref that was made and ended it says "joined", so that its caller drops the file's second name;
    of one that was withdrawn it says "busy", and that caller has answered long ago.
    """
    if script not in {"store", "commit", "refuse"} or isinstance(again, Exception):
        return False
    ref, blob = words[OWN : OWN + 2]
    if f"ref:{ref}" in before or json.loads(first)["verdict"] not in {"new", "joined"}:
        return False
    verdict = json.loads(again)["verdict"]
    if before[f"gone:{ref}"][1].startswith(b"refused"):
        return verdict == "busy"
    return verdict == "joined" and f"blob:{blob}" not in before


each_history = pytest.mark.parametrize("history", HISTORIES, ids=lambda each: each.__name__)


@pytest.fixture
def watch(clients, tmp_path):
    """Give a maker of watched processes, each in a laboratory of its own."""
    numbers = count()
    return lambda **how: Witness(Lab(clients, tmp_path / str(next(numbers))), **how)


@each_history
def test_any_command_sent_again_at_any_later_moment_changes_nothing(history, watch):
    witness = watch(sends_again=True)
    began = witness.lab.now_ms()

    history(witness.lab, witness.process)

    assert len(witness.sent) >= 5
    assert witness.lab.now_ms() - began < 55_000  # else the first were refused for their age


@each_history
def test_a_command_is_refused_once_its_time_has_passed_and_changes_nothing(history, watch):
    witness = watch(sends_again=False)
    history(witness.lab, witness.process)

    witness.lab.pass_time(61)

    assert {answer.split()[0] for answer in witness.send_all_again()} == {"STALE"}


def test_the_histories_run_every_changing_script(watch):
    seen = set()
    for history in HISTORIES:
        witness = watch(sends_again=False)
        history(witness.lab, witness.process)
        seen |= {script for script, *_ in witness.sent}

    assert seen == set(NAMES) - {"open", "list", "roots", "stats"}


# --- a lost reply


class Wire:
    """Loses the n-th reply from now on, and the connection with it."""

    def __init__(self):
        self.lose, self.seen = -1, 0

    def loses_now(self):
        self.seen += 1
        return self.seen - 1 == self.lose

    def cut_after(self, replies):
        self.lose, self.seen = replies, 0

    @property
    def lost(self):
        return 0 <= self.lose < self.seen


@pytest.fixture
def wire(monkeypatch):
    made, read, read_async = Wire(), AbstractConnection.read_response, AsyncConnection.read_response

    def read_response(self, *args, **named):
        answer = read(self, *args, **named)
        if made.loses_now():
            self.disconnect()
            raise redis.ConnectionError("the reply was lost")
        return answer

    async def read_response_async(self, *args, **named):
        answer = await read_async(self, *args, **named)
        if made.loses_now():
            await self.disconnect(nowait=True)
            raise redis.ConnectionError("the reply was lost")
        return answer

    monkeypatch.setattr(ExponentialBackoff, "compute", lambda *_: 0)
    monkeypatch.setattr(AbstractConnection, "read_response", read_response)
    monkeypatch.setattr(AsyncConnection, "read_response", read_response_async)
    return made


@pytest.fixture(params=["sync", "async"])
def fresh(request, server_url, settings, tmp_path):
    """Give a maker of stores, each with a client, a root and a namespace of its own."""
    made: list[Any] = []
    numbers = count()
    with asyncio.Runner() as runner:

        def make():
            number = next(numbers)
            root = tmp_path / f"root{number}"
            root.mkdir()
            where = {"namespace": f"{settings.namespace}n{number}", "roots": [str(root)]}
            if request.param == "sync":
                made.append(MediaStore.from_url(server_url, **where))
            else:
                store = AsyncMediaStore.from_url(server_url, **where)
                made.append(Blocking(store, runner.get_loop()))
            return made[-1], root

        yield make
        for store in made:
            store.close()


def test_a_store_makes_one_ref_whichever_reply_is_lost(fresh, wire):
    for number in count():
        store, root = fresh()
        (root / "a.jpg").write_text("a")
        wire.cut_after(number)

        ref = store.store(root / "a.jpg", scope="s")

        if not wire.lost:
            break
        assert [media.ref for media in store.refs("s")] == [ref]
        assert (store.stats().refs, store.stats().stored_refs) == (1, 1)
        assert len(names_left(root)) == 1  # its held link
    assert number >= 2


def test_a_release_counts_once_whichever_reply_is_lost(fresh, wire):
    for number in count():
        store, root = fresh()
        for name in ("a.jpg", "b.jpg"):
            (root / name).write_text("four")
            store.store(root / name, scope="s")
        wire.cut_after(number)

        done = store.release_all("s")

        if not wire.lost:
            break
        assert (done.refs, done.deleted, done.freed_bytes) == (2, 2, 8)
        assert (store.stats().released_refs, store.stats().deleted_blobs) == (2, 2)
        assert names_left(root) == []
    assert number >= 3


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("fresh", "step"),
    [
        ("sync", 3),
        # Only the way to the server differs, and it is short.
        pytest.param("async", 7, marks=pytest.mark.torture),
        pytest.param("sync", 1, marks=pytest.mark.torture),
        pytest.param("async", 1, marks=pytest.mark.torture),
    ],
    indirect=["fresh"],
)
def test_a_life_is_the_same_whichever_reply_is_lost(fresh, wire, step):
    expected = told(*fresh())

    for number in count(0, step):
        wire.cut_after(number)
        assert told(*fresh()) == expected, number
        if not wire.lost:
            break
    assert number >= 50
