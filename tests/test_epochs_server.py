"""A real server that is restarted, with its own snapshot of the day before, or by another in its place."""

from __future__ import annotations

import json
import shutil

import pytest
import redis

from mediastore import NEVER, Swept
from mediastore.epochs import Accepted, Epoch
from mediastore.index.steps import prefix

from .cli_fixtures import bot, env, lane, names, run, told  # noqa: F401 - fixtures
from .epochs_clock import DAY_MS, MINUTE_MS, Clock
from .life import inner
from .test_hostile import make_server, make_store  # noqa: F401 - fixtures

PAUSE_MS = 90_000


@pytest.fixture
def clock(monkeypatch):
    """Give a clock that is moved by hand, for every store that it is given to."""
    monkeypatch.setattr("mediastore.flows.epochs.LOOK_EVERY_S", 0.0)
    return Clock()


@pytest.fixture
def open_store(make_store, clock):
    """Give a maker of stores that read that clock."""

    def make(server):
        store = make_store(server.url)
        inner(store)._speech.now = lambda: clock.ms
        return store

    return make


def test_after_a_restart_nothing_goes_until_every_host_has_looked(
    make_server, open_store, clock, make_file
):
    server = make_server()
    store = open_store(server)
    due, held = make_file("due.jpg"), make_file("held.jpg")
    store.store(due, scope="due", ttl="1m")
    store.store(held, scope="s", ttl=NEVER)
    store.sweep()
    server.stop()
    server.start()
    clock.pass_by(MINUTE_MS)

    assert store.sweep() == Swept(frozen=1)
    done = store.release_all("s")
    assert (done.refs, done.deleted, done.pending) == (1, 0, 1)
    assert (due.exists(), held.exists(), store.stats().frozen) == (True, True, ())

    clock.pass_by(PAUSE_MS)
    swept = store.sweep()
    assert (swept.expired, swept.deleted, swept.frozen) == (1, 2, 0)


def test_a_first_server_and_one_that_was_emptied_make_nobody_wait(
    make_server, open_store, clock, make_file
):
    server = make_server()
    store = open_store(server)
    store.store(make_file("a.jpg"), scope="s")

    assert store.release_all("s").deleted == 1
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    store.store(make_file("b.jpg"), scope="s")
    assert store.release_all("s").deleted == 1


def test_a_server_that_was_started_from_an_older_snapshot_is_found_out_within_the_pause(
    make_server, open_store, clock, make_file, tmp_path
):
    server = make_server(appendonly="no")
    store = open_store(server)
    pinned = make_file("pinned.jpg")
    ref = store.store(pinned, scope="s", ttl="1h")
    for _ in range(5):
        clock.pass_by(MINUTE_MS)
        store.sweep()
    with redis.Redis.from_url(server.url) as client:
        client.save()
        rdb = next((tmp_path / "server0").rglob("*.rdb"))
        shutil.copy(rdb, tmp_path / "yesterday.rdb")
    store.pin(ref)
    for _ in range(5):
        clock.pass_by(MINUTE_MS)
        store.sweep()
    server.stop()
    shutil.copy(tmp_path / "yesterday.rdb", rdb)
    server.start()
    clock.pass_by(DAY_MS)

    assert store.sweep() == Swept(frozen=1)
    assert store.stats().frozen == ("epoch",)
    clock.pass_by(DAY_MS)
    assert store.sweep() == Swept(frozen=1)
    assert store.resolve(ref) == pinned


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_ten_thousand_that_are_due_cost_a_frozen_namespace_no_more_than_one(
    bot, client, settings, make_file
):
    bot.store(make_file("a.jpg"), scope="s")
    start = prefix(settings.namespace)
    client.zadd(f"{start}expiry", {f"{n:022}": 1 for n in range(10_000)})
    client.hset(f"{start}frozen", "epoch", f"1 {'r' * 22} 1.2.x")
    before = client.info("commandstats")["cmdstat_evalsha"]["calls"]

    swept = bot.sweep()

    assert (swept.frozen, swept.expired) == (10_000, 0)
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 6


# --- the command line


def freeze(bot, media):
    bot.sweep()
    (media / ".mediastore/epoch").write_text("1.1900000000000.another\n")
    bot._ctx.looked.clear()  # it looks every twenty seconds
    bot.sweep()


def test_the_command_line_says_why_and_lets_it_go_on(bot, media, cat):
    bot.store(cat, scope="s")
    freeze(bot, media)

    shown, swept = run("epoch", "show"), run("sweep")
    listed = run("stats").stdout
    accepted = run("epoch", "accept", "--yes")

    assert "frozen since" in shown.stdout
    assert "shows 1.1900000000000.another, which the index does not know" in shown.stdout
    assert "\tunknown\t" in shown.stdout
    assert (swept.exit_code, "frozen" in listed) == (0, True)
    assert accepted.exit_code == 0
    assert "nothing ends by itself that was there" in accepted.stdout
    assert run("epoch", "show").stdout.startswith("not frozen")


def test_doctor_names_it_with_the_way_out(bot, media, cat):
    bot.store(cat, scope="s")
    freeze(bot, media)

    told = json.loads(run("doctor", "--json").stdout)
    lines = [each for each in told["findings"] if each["name"] == "epoch"]

    assert [line["state"] for line in lines] == ["problem"]
    assert "mediastore epoch accept" in lines[0]["advice"]


def test_json_has_the_fields_of_the_results(bot, media, cat):
    bot.store(cat, scope="s")
    freeze(bot, media)

    assert list(told("epoch", "show")) == names(Epoch)
    assert list(told("epoch", "accept", "--yes", "--let-go")) == names(Accepted)


def test_nobody_to_ask_is_told_and_nothing_is_changed(bot, media, cat):
    bot.store(cat, scope="s")
    freeze(bot, media)

    refused = run("epoch", "accept")

    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert bot.epoch().frozen is not None
