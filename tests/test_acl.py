"""Access rules, proven on a real server: what each role needs is allowed, and it may do nothing else."""

from __future__ import annotations

import contextlib
import inspect
import re

import pytest
import redis

from mediastore import MediaStore
from mediastore.acl import ROLES
from mediastore.cli import command_line
from mediastore.errors import IndexUnavailable

from .acl_fixtures import (  # noqa: F401 - fixtures
    Celery,
    guarded,
    leave_a_dead_workers_tick,
    running,
)
from .cli_fixtures import env, lane, run, told  # noqa: F401 - fixtures
from .life import listen
from .waiting import until

# --- a bot


def live(guarded, url, tmp_path, namespace):
    """Make every public call, with both clients."""
    for kind, awaited in (("blocking", False), ("asyncio", True)):
        guarded.admin.flushdb()  # their ids are fixed, and the same
        listen(url, tmp_path / kind, namespace, awaited=awaited)
    guarded.admin.flushdb()  # it lived in a year to come


def look(url, cat):
    """Run every command that asks a server, each of which must do what it is there for."""
    words = ("--redis-url", url, "--namespace", "bots", "--root", cat.parent)
    (ref,) = run(*words, "store", cat, "--scope", "s").stdout.split()
    token = run(*words, "handoff", ref).stdout.strip()
    done = {
        "accept": run(*words, "accept", token, "--", "true").exit_code,
        **{name: run(*words, name, ref).exit_code for name in ("resolve", "show")},
        **{
            name: run(*words, name).exit_code
            for name in ("scopes", "sweep", "stats", "doctor", "rebuild")
        },
        "ls": run(*words, "ls", "s").exit_code,
        "roots ls": run(*words, "roots", "ls").exit_code,
        "sweep --dry-run": run(*words, "sweep", "--dry-run").exit_code,
        **{name: run(*words, name, ref).exit_code for name in ("touch", "pin", "unpin", "handoff")},
        **{name: run(*words, name, ref, "-s", "t/u").exit_code for name in ("share", "transfer")},
        **{name: run(*words, name, ref).exit_code for name in ("promote", "cat", "get", "url")},
        "put": run(*words, "put", cat, "-s", "s").exit_code,
        "lease": run(*words, "lease", ref, "--", "true").exit_code,
        "deadline": run(*words, "deadline", "s", "--ttl", "1h").exit_code,
        "delete": run(*words, "delete", ref, "--yes").exit_code,
        "restore": run(*words, "restore", ref, "-s", "s").exit_code,
        "release": run(*words, "release", "s", "--yes").exit_code,
    }
    assert set(done.values()) == {0}, done


def test_a_bot_may_do_all_that_a_bot_can_do_and_needs_every_right_it_has(guarded, tmp_path, cat):
    url = guarded.grant("bot", "bots")

    live(guarded, url, tmp_path, "bots")
    look(url, cat)

    assert guarded.refused == []
    assert guarded.commands("bot") <= guarded.used


#: Which commands a bot uses, the test above asks the server; that each is needed, every eighth shows here.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if number % 8 == 0 else [pytest.mark.torture])
        for number, name in enumerate(ROLES["bot"].commands)
    ],
)
def test_a_bot_without_one_of_its_rights_is_refused(name, guarded, tmp_path, cat):
    """The server's own statistics say that each is used; here each is really taken away once."""
    if name not in guarded.commands("bot"):
        pytest.skip("this server does not know CLIENT SETINFO")
    url = guarded.grant("bot", "bots", without=name)

    with contextlib.suppress(Exception):
        listen(url, tmp_path / "media-of-a-life", "bots", awaited=False)
    with contextlib.suppress(Exception):
        guarded.admin.flushdb()
        look(url, cat)

    assert name.partition("|")[0] in {what.partition("|")[0] for _, what in guarded.refused}


def test_every_command_that_asks_a_server_is_tried_here():
    asking = {"store", "resolve", "show", "ls", "scopes", "release", "sweep", "stats", "doctor"}
    asking |= {"touch", "pin", "unpin", "deadline", "share", "transfer", "promote", "delete"}
    asking |= {"restore", "lease", "handoff", "accept", "cat", "put", "get", "url", "rebuild"}
    silent = {"config", "acl", "demo", "up", "status", "down", "health", "roots"}

    assert asking | silent >= {
        each.callback.__name__ for each in command_line().registered_commands
    }
    for name in asking:
        assert f'"{name}"' in inspect.getsource(look)


# --- a worker


@pytest.mark.slow
def test_a_worker_may_do_all_that_worker_and_beat_do_and_needs_every_right_it_has(
    guarded, tmp_path, media, cat, make_file
):
    url = guarded.grant("worker", "bots")
    live(guarded, url, tmp_path, "bots")
    look(url, cat)
    guarded.admin.flushdb()
    restored = leave_a_dead_workers_tick(guarded, url, "bots")
    with Celery(url, tmp_path, namespace="bots", roots=str(media)) as celery:
        celery.start("worker", "-l", "warning")
        celery.start("beat", "-l", "warning")
        with MediaStore.from_url(url, namespace="bots", roots=[str(media)]) as store:
            store.store(make_file("b.jpg"), scope="s")
            store.release_all("s", wait=False)
            until(lambda: not (media / "b.jpg").exists(), log=tmp_path / "log")
        until(restored, log=tmp_path / "log")
        asked = celery.ask("inspect", "ping")
        ended = celery.stop()

    assert ended == [0, 0]
    assert (asked.returncode, "pong" in asked.stdout) == (0, True)
    assert guarded.refused == []
    assert guarded.commands("worker") <= guarded.used


# --- a reader


def test_a_reader_may_look_at_everything_and_needs_every_right_it_has(guarded, tmp_path, cat):
    with MediaStore.from_url(guarded.open_url, namespace="bots", roots=[str(cat.parent)]) as store:
        ref = store.store(cat, scope="s")
        gone = store.store(cat, scope="gone")
        store.release_all("gone")
        (tmp_path / "elsewhere").mkdir()
        guarded.admin.config_resetstat()
        guarded.admin.script_flush()
        url = guarded.grant("reader", "bots", "more")
        before = guarded.contents
        # The second root is none of this fleet's: a reader is not stopped by it, and registers nothing.
        for root in (cat.parent, tmp_path / "elsewhere"):
            words = ("--redis-url", url, "--namespace", "bots", "--root", root)
            done = {
                "stats": told(*words, "stats")["refs"],
                "ls": [each["ref"] for each in told(*words, "ls", "s")["refs"]],
                "show": told(*words, "show", ref)["ref"],
                "deadline": told(*words, "deadline", "s")["due"],
                "scopes": told(*words, "scopes")["scopes"],
                "doctor": run(*words, "doctor").exit_code,
                "sweep": run(*words, "sweep", "--dry-run").exit_code,
                "gone": run(*words, "show", gone).exit_code,
                "plan": told(*words, "release", "s", "--dry-run")["refs"],
                "roots": run(*words, "roots", "ls").exit_code,
                "resolve": run(*words, "resolve", ref).exit_code,
            }
            assert done == {
                "stats": 1, "ls": [ref], "show": ref, "deadline": None, "scopes": ["s"],
                "doctor": 0, "sweep": 0, "gone": 3, "plan": 1, "roots": 0,
                "resolve": 0 if root == cat.parent else 3,
            }  # fmt: skip

    assert guarded.refused == []
    assert guarded.contents == before
    assert guarded.commands("reader") <= guarded.used


def test_a_reader_changes_nothing(guarded, cat):
    with MediaStore.from_url(guarded.open_url, namespace="bots", roots=[str(cat.parent)]) as store:
        store.store(cat, scope="s")
    url = guarded.grant("reader", "bots")
    before = guarded.contents

    with MediaStore.from_url(url, namespace="bots", roots=[str(cat.parent)]) as reader:
        with pytest.raises(IndexUnavailable, match="refuses this user"):
            reader.store(cat, scope="t")
        with pytest.raises(IndexUnavailable, match="refuses this user"):
            reader.release_all("s")

    assert guarded.contents == before
    assert cat.exists()


# --- what each must not do

FOREIGN = "mediastore:{foreign}:seq"
OWN = "mediastore:{bots}:seq"
NOBODYS = [
    ("GET", FOREIGN),
    ("SET", FOREIGN, "1"),
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", FOREIGN),
    ("EVAL", f"return redis.call('GET', '{FOREIGN}')", "0"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"),
    ("LPUSH", "mediastore:celery:foreign:mediastore", "tick"),
    ("PUBLISH", "mediastore:celery:foreign:/1.celery.pidbox", "shutdown"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "appendonly", "no"),
    ("CONFIG", "GET", "requirepass"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "me", "on", "nopass", "+@all"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "LOAD", "#!lua name=x"),
    ("FUNCTION", "FLUSH"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "ID", "1"),
    ("MONITOR",),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "NO", "ONE"),
    ("SAVE",),
    ("RENAME", OWN, f"{OWN}2"),
    ("EXPIRE", OWN, "1"),
]
#: Beyond those, what only workers may.
NOT_A_BOTS = [
    ("DEL", OWN),
    ("LPUSH", "mediastore:celery:bots:mediastore", "tick"),
    ("PUBLISH", "mediastore:celery:bots:/1.celery.pidbox", "shutdown"),
    ("MULTI",),
]
NOT_A_READERS = [
    ("SET", OWN, "1"),
    ("UNLINK", OWN),
    ("ZADD", "mediastore:{bots}:expiry", "1", "x"),
    ("HSET", "mediastore:{bots}:stats", "refs", "0"),
    ("EVAL", f"return redis.call('SET', '{OWN}', '1')", "0"),
    ("EVAL", "return redis.call('SET', KEYS[1], '1')", "1", "mediastore:{bots}:"),
    ("EVAL", "return 1", "1", OWN),
]


@pytest.mark.parametrize(
    ("role", "denied"),
    [
        ("bot", [*NOBODYS, *NOT_A_BOTS]),
        ("worker", NOBODYS),
        ("reader", [*NOBODYS, *NOT_A_BOTS, *NOT_A_READERS]),
    ],
    ids=["bot", "worker", "reader"],
)
def test_a_role_is_denied_everything_else(role, denied, guarded):
    guarded.admin.set(OWN, "1")
    guarded.admin.set(FOREIGN, "1")
    before = guarded.contents

    with redis.Redis.from_url(guarded.grant(role, "bots"), protocol=2) as client:
        for words in denied:
            with pytest.raises(redis.exceptions.ResponseError) as refused:
                client.execute_command(*words)
            assert re.search(
                "NOPERM|permission|ACL failure|The user executing the script can't",
                str(refused.value),
            ), words

    assert guarded.contents == before
    assert len(guarded.refused) > 0


@pytest.mark.parametrize("role", ["bot", "worker"])
def test_a_root_is_forgotten_and_adopted_with_the_rights_of_a_role(role, guarded, cat):
    url = guarded.grant(role, "bots")
    words = ("--redis-url", url, "--namespace", "bots", "--root", cat.parent)
    assert run(*words, "store", cat, "--scope", "s").exit_code == 0
    (root,) = [each["root"] for each in told(*words, "roots", "ls")["roots"]]

    forgotten = run(*words, "roots", "forget", root, "--yes")
    adopted = run(*words, "roots", "adopt", cat.parent, "--yes")

    assert (forgotten.exit_code, adopted.exit_code) == (0, 0), forgotten.output + adopted.output
    assert guarded.refused == []


@pytest.mark.parametrize("role", ["bot", "worker"])
def test_a_policy_is_set_changed_and_removed_with_the_rights_of_a_role(role, guarded, cat):
    url = guarded.grant(role, "bots")
    words = ("--redis-url", url, "--namespace", "bots", "--root", cat.parent)

    codes = [
        run(*words, "policy", "set", "p", "1h").exit_code,
        run(*words, "store", cat, "--scope", "s", "--policy", "p").exit_code,
        run(*words, "policy", "set", "p", "2h").exit_code,
        run(*words, "policy", "rm", "p", "--force").exit_code,
    ]

    assert codes == [0, 0, 0, 0]
    assert guarded.refused == []


def test_a_reader_lists_policies_and_changes_none(guarded, cat):
    with MediaStore.from_url(guarded.open_url, namespace="bots", roots=[str(cat.parent)]) as store:
        store.set_policy("p", "1h")
    url = guarded.grant("reader", "bots")
    words = ("--redis-url", url, "--namespace", "bots", "--root", cat.parent)

    assert [each["name"] for each in told(*words, "policy", "ls")["policies"]] == ["p"]
    assert guarded.refused == []
    assert run(*words, "policy", "set", "p", "2h").exit_code == 4
