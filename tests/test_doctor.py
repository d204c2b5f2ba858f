"""What doctor finds about the settings and the server; on one that is well and on ones that are not."""

from __future__ import annotations

import time
from dataclasses import replace

import fakeredis
import pytest
import redis

from mediastore import MediaStore, Settings
from mediastore.doctor import examine, human_bytes, human_span
from mediastore.embedded import EmbeddedServer
from mediastore.errors import InvalidSettings
from mediastore.index.steps import prefix

from .doctor_fixtures import NOWHERE, found, key, lane, mine, staff, states  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def careless(server_url, tmp_path_factory):
    """Give a server that forgets: it evicts, and keeps only snapshots."""
    config = {
        "maxmemory": "64mb",
        "maxmemory-policy": "allkeys-lru",
        "appendonly": "no",
        "save": "900 1",
    }
    with EmbeddedServer(tmp_path_factory.mktemp("careless"), config=config) as server:
        yield server.url


@pytest.fixture
def hands(careless):
    """Give a client of the careless server that may reconfigure it."""
    with redis.Redis.from_url(careless) as client:
        yield client
        client.config_set("save", "900 1")
        client.config_set("maxmemory", "64mb")


# --- when all is well


def test_a_fresh_index_and_an_unused_directory_are_well_and_stay_as_they_were(mine, media, client):
    findings = examine(mine)

    assert states(findings) == {"ok"}
    assert "not used yet" in findings[-1].detail
    assert list(media.iterdir()) == []
    left = {key.rpartition(b":")[2] for key in client.keys(f"{prefix(mine.namespace)}*")}
    assert left == {b"format", b"born"}


def test_a_store_in_use_is_well(mine, cat):
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="chat:1")
        root = next(iter(store.stats().roots))
    staff(mine)

    findings = examine(mine)

    assert states(findings) == {"ok"}
    assert findings[-1].detail.startswith(root)
    assert all(not finding.advice for finding in findings)


def test_every_check_has_its_line(mine):
    names = "settings server version scripts eviction memory persistence clock access journal waiting worker beat epoch breaker"

    assert [finding.name for finding in examine(mine)] == [*names.split(), f"root {mine.roots[0]}"]


def test_the_default_root_need_not_be_there_yet(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    last = found(replace(mine, roots=()))[-1]

    assert (last.state, last.detail) == ("ok", "not there yet; the first use makes it")
    assert not (tmp_path / "state").exists()


def test_switched_off_sweeping_is_mentioned(mine):
    for change in ({"cleanup_enabled": False}, {"sweep_interval": 0}):
        assert next(iter(change)) in found(replace(mine, **change))[1].detail


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (2**21, "2.0 MiB"),
        (2**42, "4.0 TiB"),
    ],
)
def test_bytes_read_as_people_say_them(size, words):
    assert human_bytes(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(90, "90 s"), (1800, "30 min"), (43200, "12 h"), (604800, "7 days")]
)
def test_spans_read_as_people_say_them(seconds, words):
    assert human_span(seconds) == words


# --- the server


def test_a_dead_server_comes_first_and_the_roots_are_still_looked_at(mine, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", waited.append)
    findings = examine(replace(mine, redis_url=NOWHERE, roots=("/etc", *mine.roots)))

    assert sum(waited) < 1
    assert [(f.name, f.state) for f in findings] == [
        ("server", "problem"),
        ("settings", "ok"),
        ("root /etc", "problem"),
        (f"root {mine.roots[0]}", "ok"),
    ]
    assert "MEDIASTORE_REDIS_URL" in findings[0].advice
    assert "`mediastore up` starts one" in findings[0].advice
    assert "Pa55word" not in str(findings)


@pytest.mark.parametrize(
    "url",
    ["redis://bot:Pa55word@127.0.0.1:port/0", "redis://127.0.0.1:port/0?password=Pa55word"],
)
def test_a_url_that_cannot_be_read_is_not_repeated(url, mine):
    try:
        wrong = replace(mine, redis_url=url)
    except InvalidSettings as error:
        assert "Pa55word" not in str(error)  # noqa: PT017 - either of the two may refuse it
        return

    findings = found(wrong)

    assert (findings[0].name, findings[0].state) == ("server", "problem")
    assert "Pa55word" not in str(findings)


def test_a_wrong_password_is_told_without_it(mine, hands, careless):
    hands.acl_setuser("bot", enabled=True, passwords=["+right"], keys=["*"], commands=["+@all"])

    finding = found(replace(mine, redis_url=careless.replace("unix://", "unix://bot:Pa55word@")))[0]

    assert (finding.name, finding.state) == ("server", "problem")
    assert "refuses the user name or password" in finding.detail
    assert "`mediastore acl` makes users" in finding.advice


def test_without_a_worker_an_application_is_told_which_queue(mine, client, key):
    client.zadd(key("expiry"), {"x": time.time() * 1000})

    assert "`-Q celery,mediastore`" in found(mine, "worker").advice


def test_a_server_that_evicts_would_lose_refs(mine, careless):
    finding = found(replace(mine, redis_url=careless), "eviction")

    assert finding.state == "problem"
    assert "allkeys-lru" in finding.detail
    assert "noeviction" in finding.advice


def test_snapshots_alone_are_a_warning_and_nothing_at_all_a_problem(mine, careless, hands):
    settings = replace(mine, redis_url=careless)

    snapshots = found(settings, "persistence")
    hands.config_set("save", "")
    nothing = found(settings, "persistence")

    assert (snapshots.state, nothing.state) == ("warning", "problem")
    assert "appendonly yes" in snapshots.advice


def test_a_server_that_is_nearly_full_is_told(mine, careless, hands):
    settings = replace(mine, redis_url=careless)
    used = int(hands.info("memory")["used_memory"])

    roomy = found(settings, "memory")
    hands.config_set("maxmemory", str(used))
    full = found(settings, "memory")

    assert (roomy.state, full.state) == ("ok", "problem")
    assert "of 64.0 MiB used" in roomy.detail


def test_what_a_user_may_not_ask_cannot_be_checked_and_nothing_crashes(mine, careless, hands):
    hands.acl_setuser(
        "blind", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info", "-config"]
    )

    findings = examine(replace(mine, redis_url=careless.replace("unix://", "unix://blind:x@")))

    unknown = {f.name for f in findings if f.detail.startswith("cannot be checked: INFO ")}
    assert unknown == {"version", "eviction", "memory", "persistence"}
    assert states(findings) == {"ok", "warning"}
    assert "no permissions to run the 'info' command" in str(findings)


def test_without_config_the_snapshots_cannot_be_checked(mine, careless, hands):
    hands.acl_setuser("shy", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"])

    finding = found(
        replace(mine, redis_url=careless.replace("unix://", "unix://shy:x@")), "persistence"
    )

    assert finding.state == "warning"
    assert "cannot be checked" in finding.detail


def test_a_user_who_may_not_run_scripts_is_told_so(mine, careless, hands):
    hands.acl_setuser(
        "reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-@scripting"]
    )

    finding = found(
        replace(mine, redis_url=careless.replace("unix://", "unix://reader:x@")), "scripts"
    )

    assert finding.state == "problem"
    assert "EVALSHA" in finding.advice


@pytest.fixture
def fake():
    """Give a client that can be made to say anything of its server."""
    with fakeredis.FakeRedis() as client:
        said = {
            "redis_version": "7.0.15",
            "maxmemory": 0,
            "maxmemory_policy": "noeviction",
            "used_memory": 1,
            "aof_enabled": 1,
        }
        client.info = lambda: said
        yield client


def test_a_server_without_info_cannot_be_checked(mine):
    with fakeredis.FakeRedis() as client:
        findings = examine(mine, client)

    assert len([f for f in findings if f.detail.startswith("cannot be checked: INFO ")]) == 4
    # A fake has no password, and pretends to be at some host.
    assert {f.name for f in findings if f.state == "problem"} == {"access"}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"redis_version": "7.0.15"}, "ok"),
        ({"redis_version": "6.2.14"}, "problem"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.0.0"}, "problem"),
    ],
)
def test_old_servers_are_refused(said, state, mine, fake):
    fake.info().update(said)

    assert found(mine, "version", client=fake).state == state


def test_an_append_only_file_that_cannot_be_written_is_a_problem(mine, fake):
    assert found(mine, "persistence", client=fake).state == "ok"

    fake.info()["aof_last_write_status"] = "err"

    assert found(mine, "persistence", client=fake).state == "problem"


@pytest.mark.parametrize(("ahead_s", "words"), [(60, "behind"), (-60, "ahead of")])
def test_clocks_that_differ_are_told(ahead_s, words, mine, fake):
    fake.time = lambda: divmod(int((time.time() + ahead_s) * 1e6), 10**6)

    finding = found(mine, "clock", client=fake)

    assert finding.state == "warning"
    assert f"60 s {words} the server" in finding.detail


def test_a_clock_that_went_back_is_told(mine, fake, key):
    fake.set(key("clock"), round((time.time() + 3600) * 1000))

    finding = found(mine, "clock", client=fake)

    assert (finding.state, "went back by 60 min" in finding.detail) == ("warning", True)


def test_a_server_far_away_is_told(mine, fake, monkeypatch):
    ticks = iter([0.0, 0.2])
    monkeypatch.setattr("mediastore.doctor.server.time.perf_counter", lambda: next(ticks))

    assert found(mine, "server", client=fake).state == "warning"


def test_an_index_of_another_format_is_told(mine, client, key):
    client.set(key("format"), "99")

    finding = found(mine, "scripts")

    assert (finding.state, "format 99" in finding.detail) == ("problem", True)


def test_a_key_that_somebody_else_wrote_is_named(mine, client, key):
    client.set(key("stuck"), "x")
    client.hset(key("closed"), "x", "y")
    client.set(key("roots"), "x")

    problems = {f.name for f in examine(mine) if f.state == "problem"}

    assert problems == {"epoch", "journal", "stuck", "scripts"}


def test_settings_alone_are_enough_to_ask():
    assert examine(Settings(redis_url=NOWHERE))[0].name == "server"
