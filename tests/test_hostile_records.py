"""One record that cannot be true is Corrupt, names its key, and keeps nothing else waiting, however many there are."""

from __future__ import annotations

import json
import re

import pytest

from mediastore import NEVER, MediaMeta
from mediastore.doctor import examine
from mediastore.errors import Corrupt, InvalidPath, RefGone
from mediastore.index import changes
from mediastore.index.steps import BATCH, END_BATCH, Command, prefix

from .lanes import mostly_real
from .life import inner
from .script_arguments import BLOB, GOOD, ID, TOLD
from .test_index import SCRIPTS

BAD_PATHS = (
    "",
    ".",
    "..",
    "../a",
    "a/../b",
    "/etc/passwd",
    "a//b",
    "a/",
    "./a",
    ".mediastore/root",
    "a\0b",
)
LATER_MS = 1_900_000_000_000


@pytest.fixture
def key(settings):
    return lambda name: prefix(settings.namespace) + name


@pytest.fixture
def at(store):
    """Give a way to set the time of the store."""

    def set_to(ms):
        inner(store)._speech.now = lambda: ms

    set_to(LATER_MS)
    return set_to


def several(store, make_file, scope, count, **options):
    names = [f"{scope.replace('/', '-')}{n}" for n in range(count)]
    return [store.store(make_file(name), scope=scope, **options) for name in names]


def corrupt_keys(settings, client):
    """Return what doctor says of keys that cannot be true."""
    return " ".join(f.detail for f in examine(settings, client) if f.name == "stuck")


# --- paths and ids


def ask(store, script, *args):
    return store._ask(Command(script, args, lambda reply: reply))


@mostly_real
@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("script", ["store", "reserve", "revive"])
def test_a_script_takes_no_path_that_leads_elsewhere(other, client, script, path):
    args = list(GOOD[script])
    if script == "revive":
        args[-1] = TOLD.replace('"scopes/s/x"', json.dumps(path))
    else:
        args[4] = path
    other.stats()
    before = sorted(client.keys())

    with pytest.raises(InvalidPath):
        ask(other, script, *args)

    assert sorted(client.keys()) == before


IDS = [
    (path.stem, int(number))
    for path in SCRIPTS
    for number in re.findall(r"^-- ARGV\[(\d+)\] +\w+ +id\b", path.read_text(), re.MULTILINE)
]


@mostly_real
@pytest.mark.parametrize(("script", "number"), IDS)
def test_a_script_takes_no_id_that_is_none(other, client, script, number):
    args = list(GOOD.get(script, (ID, BLOB)))
    args[number - 4] = "../x"
    other.stats()
    before = sorted(client.keys())

    with pytest.raises(Corrupt, match="BADARG"):
        ask(other, script, *args)

    assert sorted(client.keys()) == before


@pytest.mark.parametrize("path", [*BAD_PATHS, b"\xff"])
def test_a_ref_whose_path_leads_elsewhere_is_corrupt_and_named(store, client, key, cat, path):
    ref = store.store(cat, scope="s")
    client.hset(key(f"ref:{ref.id}"), "path", path)

    for call in (store.resolve, store.get, store.take_lease, store.touch, store.get_url):
        with pytest.raises(Corrupt, match=f"ref:{ref.id}"):
            call(ref)

    assert store.release_all("s").deleted == 1
    assert not cat.exists()


@pytest.mark.parametrize("field", ["state", "custody"])
def test_no_caller_is_told_a_state_or_a_custody_that_there_is_not(store, client, key, cat, field):
    ref = store.store(cat, scope="s")
    client.hset(key(f"blob:{store.get(ref).blob}"), field, "/outside/secret")

    for call in (lambda: store.get(ref), lambda: list(store.refs("s"))):
        with pytest.raises(Corrupt, match=r"blob:|ref:"):
            call()
    assert store.resolve(ref) == cat


def test_in_a_list_it_is_an_error_in_its_own_place(store, client, key, make_file):
    bad, good = several(store, make_file, "s", 2)
    client.hset(key(f"ref:{bad.id}"), "stored_at", "1" + "0" * 30)

    wrong, path = store.resolve_many([bad, good])

    assert isinstance(wrong, Corrupt)
    assert path.name == "s1"


# --- nothing waits for it


@pytest.mark.parametrize("field", ["scope", "seq", "blob", "expires_at"])
def test_refs_that_cannot_be_true_keep_no_other_from_expiring(
    store, client, key, make_file, settings, at, field
):
    wrong = several(store, make_file, "wrong", END_BATCH + 1, ttl=1)
    [due] = several(store, make_file, "s", 1, ttl=2)
    for ref in wrong:
        client.hset(key(f"ref:{ref.id}"), field, "no such thing")
    at(LATER_MS + 10_000)

    assert store.sweep(budget=NEVER).expired == 1

    with pytest.raises(RefGone):
        store.resolve(due)
    assert f"ref:{wrong[0].id}" in corrupt_keys(settings, client)


@pytest.mark.parametrize(
    ("field", "value"), [("path", "../x"), ("custody", "x"), ("identity", ""), ("state", "x")]
)
def test_blobs_that_cannot_be_true_keep_no_other_from_going(
    store, client, key, make_file, settings, at, field, value
):
    refs = several(store, make_file, "s/wrong", BATCH + 1)
    blobs = [store.get(ref).blob for ref in refs]
    [last] = several(store, make_file, "s/right", 1)
    name = store.resolve(last)
    store.release_all("s", wait=False)
    while not store._ask(changes.drain("s", "", changes.Terms(60_000))).done:
        pass
    for blob in blobs:
        client.hset(key(f"blob:{blob}"), field, value)
    at(LATER_MS + 1_000)

    assert store.sweep(budget=NEVER).deleted == 1

    assert not name.exists()
    assert sorted(path.name for path in name.parent.glob("s-*")) == sorted(
        f"s-wrong{n}" for n in range(BATCH + 1)
    )
    assert any(f"blob:{blob}" in corrupt_keys(settings, client) for blob in blobs)


def test_a_blob_that_is_put_right_goes_with_a_later_sweep(store, client, key, cat, at):
    ref = store.store(cat, scope="s")
    blob = store.get(ref).blob
    client.hset(key(f"blob:{blob}"), "path", "../cat.jpg")
    assert store.release_all("s").deleted == 0
    client.hset(key(f"blob:{blob}"), "path", "cat.jpg")
    at(LATER_MS + 2 * 3_600_000)

    assert store.sweep().deleted == 1

    assert not cat.exists()
    assert store.stats().stuck == 0


def test_marks_of_what_is_no_scope_keep_no_other_from_draining(store, client, key, make_file):
    client.zadd(key("closed"), {f"%FF{n}".encode() + b"\xff": n for n in range(1, 20)})
    [ref] = several(store, make_file, "s/x", 1)
    store.release_all("s", wait=False)

    assert store.sweep(budget=NEVER).drained == 1

    with pytest.raises(RefGone):
        store.resolve(ref)
    assert client.zcard(key("closed")) == 0


def test_a_mark_that_is_none_hides_no_later_release(store, client, key, make_file):
    under, released = several(store, make_file, "odd", 1)[0], several(store, make_file, "s/x", 1)[0]
    client.zadd(key("closed"), {"odd": float("inf")})
    with pytest.raises(Corrupt, match="closed"):
        store.resolve(under)

    store.release_all("s", wait=False)

    with pytest.raises(RefGone):
        store.resolve(released)


def test_a_scope_that_is_its_own_child_does_not_go_round(store, client, key, make_file):
    several(store, make_file, "s/x", 1)
    client.zadd(key("children:s"), {"s": 1, "elsewhere": 1})

    assert store.release_all("s").deleted == 1


def test_deadlines_that_cannot_be_read_keep_no_other_scope_from_lapsing(
    store, client, key, make_file, settings, at
):
    for n in range(END_BATCH + 1):
        client.hset(key("lifetimes"), f"odd{n}", "x")
        client.zadd(key("deadlines"), {f"odd{n}": 1})
    store.scope("s", ttl=1).open()
    several(store, make_file, "s", 1)
    at(LATER_MS + 10_000)

    assert store.sweep(budget=NEVER).refs == 1

    assert "scope:odd0" in corrupt_keys(settings, client)
    assert client.hget(key("lifetimes"), "odd0") == b"x"


def test_a_change_of_a_policy_that_cannot_be_read_ends_no_sweep(store, client, key, make_file):
    client.hset(key("changing"), "odd", "x")
    several(store, make_file, "s/x", 1)
    store.release_all("s", wait=False)

    assert store.sweep(budget=NEVER).drained == 1


def test_a_claim_that_was_lost_does_not_keep_its_root(store, client, key, make_file, at):
    refs = several(store, make_file, "s", 2)
    root, blob = store.get(refs[0]).root, store.get(refs[0]).blob
    store._ask(changes.delete(refs[0].id, "", changes.Terms(60_000)))
    store._ask(changes.claim(root, "t" * 22, "", 1_000, [blob]))
    client.unlink(key("claim:" + "t" * 22))
    store.release_all("s", wait=False)
    at(LATER_MS + 10_000)

    assert store.sweep(budget=NEVER).deleted == 2


def test_a_claim_takes_no_blob_that_is_not_its_own(store, client, key, make_file, at):
    refs = several(store, make_file, "s", 1)
    [live] = several(store, make_file, "t", 1)
    root, blob = store.get(refs[0]).root, store.get(refs[0]).blob
    store._ask(changes.delete(refs[0].id, "", changes.Terms(60_000)))
    store._ask(changes.claim(root, "t" * 22, "", 1_000, [blob]))
    client.hset(key("claim:" + "t" * 22), f"blob:{store.get(live).blob}", "")
    at(LATER_MS + 10_000)

    assert store.sweep(budget=NEVER).deleted == 1

    assert store.resolve(live).exists()


# --- counters, and numbers of all


@pytest.mark.parametrize("counter", ["refs", "size_bytes", "released_bytes", "deleted_blobs"])
def test_a_counter_that_is_no_number_stops_no_release(store, client, key, make_file, counter):
    several(store, make_file, "s", 2)
    client.hset(key("stats"), counter, "x")

    assert store.release_all("s").deleted == 2

    assert int(client.hget(key("stats"), counter)) >= 0


@pytest.mark.parametrize("name", ["clock", "seq"])
@pytest.mark.parametrize("value", ["1e999", "-1", "nan", "x", "1" + "0" * 30])
def test_a_clock_or_a_seq_that_is_none_is_begun_anew(store, client, key, make_file, name, value):
    client.set(key(name), value)

    [ref] = several(store, make_file, "s", 1)

    assert store.resolve(ref).exists()
    assert store.release_all("s").deleted == 1


def test_what_was_said_of_an_end_cannot_be_true_either(store, client, key, cat):
    ref = store.store(cat, scope="s", meta=MediaMeta(filename="a"))
    store.release_all("s")
    client.set(key(f"gone:{ref.id}"), "released 1e999 s . me b [")

    for call in (store.resolve, store.tombstone, store.restore):
        with pytest.raises(Corrupt, match=f"gone:{ref.id}"):
            call(ref)
