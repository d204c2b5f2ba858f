"""Access rules as text, and the command that prints them."""

from __future__ import annotations

import hashlib
import re

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mediastore import Settings
from mediastore.acl import PLACEHOLDER, ROLES, queue_prefix, rules
from mediastore.celery import make_app
from mediastore.embedded import EmbeddedServer
from mediastore.errors import InvalidRequest

from .acl_fixtures import PASSWORD, guarded, running  # noqa: F401 - fixtures
from .cli_fixtures import env, lane, run, told  # noqa: F401 - fixtures

# --- the rules as text and as a command


def test_a_bot_has_a_user_for_each_namespace_and_the_others_one_for_all():
    bots, workers, readers = (rules(role, ["a", "b"]) for role in ROLES)

    assert [rule.user for rule in bots] == ["mediastore-bot-a", "mediastore-bot-b"]
    assert [rule.namespaces for rule in bots] == [("a",), ("b",)]
    assert [rule.user for rule in (*workers, *readers)] == [
        "mediastore-worker",
        "mediastore-reader",
    ]
    assert "mediastore:{b}:" not in bots[0].words
    assert all(f"mediastore:{{{name}}}:" in workers[0].words for name in "ab")


def test_a_worker_of_several_namespaces_has_the_queue_of_that_list():
    (worker,) = rules("worker", ["b", "a"])
    (crowd,) = rules("worker", [f"tenant-{number:03}" for number in range(100)])

    assert "~mediastore:celery:a,b:* &mediastore:celery:a,b:*" in worker.words
    assert re.search(r"~mediastore:celery:100,[0-9a-f]{16}:\*", crowd.words)


@pytest.mark.parametrize("names", [("a",), ("b", "a"), tuple(f"tenant-{n}" for n in range(50))])
def test_the_queue_is_where_workers_have_it(names):
    """Two rooms spell it: rules must be printed where Celery is not installed."""
    several = {"namespaces": names, "roots": ["/srv/{namespace}"]} if len(names) > 1 else {}
    settings = Settings.build(namespace=names[0], **several)

    options = make_app(settings).conf.broker_transport_options

    assert options["global_keyprefix"] == queue_prefix(names)


@pytest.mark.parametrize("user", ["a b", "", "a\n>x", "-x", "x" * 200])
def test_a_name_that_would_change_the_rules_is_refused(user):
    with pytest.raises(InvalidRequest):
        rules("bot", ["a"], user=user)


def test_one_name_is_not_given_to_the_bots_of_two_namespaces():
    with pytest.raises(InvalidRequest, match="of its own"):
        rules("bot", ["a", "b"], user="bots")


def test_the_placeholder_is_no_password(guarded):
    (rule,) = rules("bot", ["bots"], server=guarded.version)

    with pytest.raises(redis.exceptions.ResponseError, match="hash"):
        guarded.admin.execute_command(*rule.command.split())


def test_the_command_prints_rules_that_a_server_takes(guarded, monkeypatch):
    monkeypatch.setenv("SECRET", PASSWORD)
    version = ("--server", ".".join(map(str, guarded.version)))
    words = ("--password-from-env", "SECRET", "--namespace", "a", "--namespace", "b", *version)

    done = run("acl", *words)

    assert (done.exit_code, done.stderr) == (0, "")
    assert PASSWORD not in done.stdout
    assert hashlib.sha256(PASSWORD.encode()).hexdigest() in done.stdout
    assert done.stdout.count("ACL SETUSER") == 4
    for line in done.stdout.splitlines():
        assert guarded.admin.execute_command(*line.split()) in (True, b"OK")
    rows = told("acl", *words)["rules"]
    assert [row["role"] for row in rows] == ["bot", "bot", "worker", "reader"]


def file_of_users(path, guarded, *words):
    version = ("--server", ".".join(map(str, guarded.version)))
    done = run("acl", "--acl-file", "--password-from-env", "SECRET", *words, *version)
    assert done.exit_code == 0
    path.write_text(done.stdout)
    return {"aclfile": str(path), "requirepass": "of-no-effect"}, done


@pytest.mark.parametrize(
    "admin", [pytest.param((), marks=pytest.mark.torture), ("--admin-password-from-env", "ADMIN")]
)
def test_a_server_with_the_printed_acl_file_lets_in_its_users_and_nobody_else(
    admin, guarded, settings, tmp_path, monkeypatch
):
    namespace = settings.namespace
    monkeypatch.setenv("SECRET", PASSWORD)
    monkeypatch.setenv("ADMIN", "the admin's")
    config, done = file_of_users(tmp_path / "users.acl", guarded, *admin)

    assert "the user default" in done.stderr
    assert "the admin's" not in done.output
    with EmbeddedServer(tmp_path / "server", config=config) as server:

        def knock(**login):
            path, once = server.socket_path, Retry(NoBackoff(), 0)
            with redis.Redis(unix_socket_path=path, protocol=2, retry=once, **login) as client:
                return client.ping()

        with pytest.raises(redis.exceptions.AuthenticationError, match="required"):
            knock()
        with pytest.raises(redis.exceptions.AuthenticationError):
            knock(password="of-no-effect")
        for role in ROLES:
            user = f"mediastore-{role}" + (f"-{namespace}" if role == "bot" else "")
            assert knock(username=user, password=PASSWORD)
        if admin:
            with redis.Redis(unix_socket_path=server.socket_path, password="the admin's") as client:
                assert client.acl_whoami() in {b"default", "default"}
                assert client.acl_load()


def test_an_administrator_is_for_an_acl_file(monkeypatch):
    monkeypatch.setenv("ADMIN", "the admin's")

    for words in ((), ("--acl-file", "--json")):
        done = run("acl", *words, "--admin-password-from-env", "ADMIN")
        assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize(
    "url",
    ["redis://h/3", "redis://h/0?db=3", "unix:///run/s.sock?db=3", "rediss://u:p@h:1/3"],
)
def test_the_database_of_the_channels_is_the_one_of_the_queue(url):
    rows = told("--redis-url", url, "acl", "worker")["rules"]

    assert "/3.celery.pidbox" in rows[0]["words"]


def test_a_server_before_7_2_is_not_told_of_a_command_it_does_not_know():
    assert "client|setinfo" in run("acl", "bot").stdout
    assert "client|setinfo" not in run("acl", "bot", "--server", "7.0.15").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("boss",),
        ("bot", "--namespace", "A"),
        ("bot", "--password-from-env", "NOT_SET_ANYWHERE"),
        ("--user", "x"),
        ("--acl-file", "--admin-password-from-env", "NOT_SET_ANYWHERE"),
        ("bot", "--server", "6.2"),
        ("bot", "--server", "new"),
    ],
    ids=" ".join,
)
def test_a_wrong_request_prints_no_rule(words):
    done = run("acl", *words)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_without_a_password_the_placeholder_is_printed_and_explained():
    done = run("acl", "bot")

    assert PLACEHOLDER in done.stdout
    assert done.stderr.startswith("hint: ")
