"""The scripts keep their headers' word, numbers have bounds, key names are exact, every client reads the same."""

from __future__ import annotations

import inspect
import itertools
import re
from pathlib import Path

import pytest
from redis.crc import key_slot

import mediastore
from mediastore import MediaStore
from mediastore.errors import Corrupt
from mediastore.index.steps import Command, prefix, source
from mediastore.model import decode_scope, encode_scope

from .lanes import mostly_real
from .life import crowds, hands, holds, life, listen, moves, rules
from .script_arguments import BOUNDS, DEAD, DRAFT, GOOD, LIVE

LUA = sorted((Path(mediastore.__file__).parent / "lua").glob("*.lua"))
SCRIPTS = [path for path in LUA if not path.name.startswith("_")]
NAMES = [path.stem for path in SCRIPTS]
#: The prelude's arguments come before a script's own.
PRELUDE = {1, 2, 3}
each_file = pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)


def dump(client, namespace):
    """Return every key of a namespace with its type and value, whatever its time to live."""
    start = prefix(namespace)
    keys = sorted(client.scan_iter(match=f"{start}*", count=1000))
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
        kinds = [kind.decode() for kind in pipe.execute()]
        readers = {
            "string": pipe.get,
            "hash": pipe.hgetall,
            "set": pipe.smembers,
            "zset": lambda key: pipe.zrange(key, 0, -1, withscores=True),
            "list": lambda key: pipe.lrange(key, 0, -1),
        }
        for key, kind in zip(keys, kinds, strict=True):
            readers[kind](key)
        values = zip(kinds, pipe.execute(), strict=True)
    return {
        key.decode(errors="backslashreplace").removeprefix(start): value
        for key, value in zip(keys, values, strict=True)
    }


def code(path):
    """Return a script's lines without comments and without what is written in strings."""
    text = re.sub(r'"[^"]*"', '""', path.read_text())
    return re.sub(r"--.*", "", text)


def documented(path, what):
    """Return the numbers of the documented arguments, and where the open end begins."""
    found = re.findall(rf"^-- {what}\[(\d+)(\.\.)?\] +\S", path.read_text(), re.MULTILINE)
    return {int(n) for n, dots in found if not dots}, {int(n) for n, dots in found if dots}


def used(path, what):
    """Return the same of the arguments that the body uses."""
    body = code(path)
    open_ends = rf"unpack\({what}, (\d+)\)|for \w+ = (\d+), #{what}"
    single = {int(n) for n in re.findall(rf"{what}\[(\d+)\]", body)}
    return single, {int(a or b) for a, b in re.findall(open_ends, body)}


# --- the header is the contract


@each_script
def test_a_script_uses_exactly_the_arguments_that_its_header_names(path):
    assert documented(path, "KEYS") == ({1}, set())
    assert documented(path, "ARGV") == used(path, "ARGV")
    assert "KEYS" not in code(path)  # the prelude calls it P
    assert not documented(path, "ARGV")[0] & PRELUDE


def test_the_prelude_uses_exactly_the_arguments_that_its_header_names():
    path = next(path for path in LUA if path.stem == "_prelude")

    assert documented(path, "KEYS") == used(path, "KEYS") == ({1}, set())
    assert documented(path, "ARGV") == used(path, "ARGV") == (PRELUDE, set())


@each_file
def test_a_script_says_its_name_first(path):
    assert path.read_text().startswith(f"-- {path.stem.removeprefix('_prelude') or 'prelude'}: ")


@pytest.mark.parametrize(
    "path", [p for p in LUA if p.stem.startswith("_") and p.stem != "_prelude"]
)
def test_a_shared_part_takes_no_arguments(path):
    assert not re.search("ARGV|KEYS", path.read_text())


@each_script
@pytest.mark.parametrize("word", ["Returns {", "Cost: O("])
def test_a_script_says_what_it_returns_and_what_it_costs(path, word):
    header = path.read_text().partition("\n\n")[0]

    assert word in header


@each_file
def test_a_script_is_short_and_indented_by_two_spaces(path):
    lines = path.read_text().splitlines()
    deep = [len(line) - len(line.lstrip()) for line in lines if line]

    assert len(lines) <= 80
    assert "\t" not in path.read_text()
    assert all(after % 2 == 0 and after - before <= 2 for before, after in itertools.pairwise(deep))


@each_file
def test_a_script_names_commands_in_capitals_and_none_that_waits_or_scans(path):
    commands = set(re.findall(r'(?:redis\.p?call|later)\("([^"]+)"', path.read_text()))

    assert {name.upper() for name in commands} == commands
    assert not commands & {"KEYS", "SCAN", "DEL", "FLUSHDB", "FLUSHALL", "BLPOP", "WAIT"}


@pytest.mark.parametrize("name", NAMES)
def test_a_script_sets_no_global(name):
    text = re.sub(r"--.*", "", re.sub(r'"[^"]*"', '""', source(name, shebang=False)))
    names = r"[A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*"
    local = re.findall(rf"\blocal ({names})|\bfor ({names})\b|function[ \w]*\(([^)]*)\)", text)
    declared = set(re.findall(r"\w+", " ".join(" ".join(found) for found in local)))
    declared |= set(re.findall(r"local function (\w+)", text))
    while "{" in text:
        text = re.sub(r"\{[^{}]*\}", "", text)  # the fields of a table are not assignments
    assigned = re.findall(rf"(?<![\w.\]])({names})\s*=(?!=)", text)

    assert set(re.findall(r"\w+", " ".join(assigned))) - {"local"} <= declared
    assert not re.findall(r"(?<!local )\bfunction \w", text)


# --- what the prelude refuses


def run(store, script, *args, op=""):
    return store._ask(Command(script, args, lambda reply: reply, op))


@pytest.fixture
def busy(other, client, settings, make_file):
    """Give a store whose index has work for every script."""
    other.store(make_file("a.jpg"), scope="s")
    other.store(make_file("b.jpg"), scope="due", ttl=0.001)
    for name in ("c.jpg", "d.jpg"):
        other.store(make_file(name), scope=f"closed/{name}")
    other.release_all("closed", wait=False)
    start = prefix(settings.namespace)
    client.hset(f"{start}blob:blob", mapping={"state": "deleting", "token": "token0", "path": "p"})
    client.hset(f"{start}claim:token0", mapping={"root": "root", "deadline": 1, "blob:blob": ""})
    client.hset(f"{start}blob:trash", mapping={"state": "doomed", "root": "root", "path": "t"})
    client.zadd(f"{start}trash:root", {"trash": 1, "blob": 1})
    for name in ("trash", "blob"):
        client.hset(
            f"{start}blob:{name}", mapping={"custody": "adopted", "size": 1, "identity": "link:1"}
        )
    whole = {"state": "live", "root": "root", "identity": "link:1"}
    client.hset(f"{start}blob:whole", mapping=whole)
    client.hset(f"{start}roots", "root", "host:/old")
    draft = {
        "state": "reserved",
        "refs": 0,
        "ever": 0,
        "root": "root",
        "path": "w",
        "draft": 1,
        "scope": "s",
    }
    client.hset(
        f"{start}blob:{DRAFT}",
        mapping={**draft, "size": 1, "custody": "owned", "identity": "owned:1"},
    )
    live_for_ever(client, start)
    return other


def live_for_ever(client, start):
    """Plant a ref in an idling scope, whose blob is leased and was another ref's, too."""
    facts = {"root": "root", "path": "l", "size": 1, "identity": "link:1"}
    ref = {"scope": "idling", "seq": 1, "blob": "leased", "stored_at": 1, "policy": "short"}
    client.hset(f"{start}ref:{LIVE}", mapping={**ref, **facts})
    client.zadd(f"{start}scope:idling", {LIVE: 1})
    blob = {"state": "live", "refs": 1, "ever": 0, "custody": "adopted", **facts}
    client.hset(f"{start}blob:leased", mapping=blob)
    client.zadd(f"{start}lease:leased", {"token0": 9e12})
    client.hset(f"{start}holders:leased", "token0", "9000000000000 1 me")
    client.set(f"{start}gone:{DEAD}", "released 1 idling . me leased")
    client.hset(f"{start}policies", "short", "1000")
    client.hset(f"{start}changing", "short", "5 0")
    client.zadd(f"{start}under:short", {LIVE: 1})
    client.zadd(f"{start}meta:root", {"r b": 5})
    client.hset(f"{start}lifetimes", "idling", "0 1000 1 1")
    client.zadd(f"{start}deadlines", {"idling": 1001})


@pytest.mark.parametrize("script", GOOD)
def test_the_good_arguments_do_change_something(script, busy, client, settings):
    before = dump(client, settings.namespace)

    run(busy, script, *GOOD[script])

    assert (dump(client, settings.namespace) != before) == (script != "list")


@pytest.mark.parametrize(
    ("script", "number", "value"),
    [(*place, value) for place, values in BOUNDS.items() for value in values],
)
@mostly_real
def test_a_number_out_of_bounds_is_refused_and_nothing_changes(
    script, number, value, busy, client, settings
):
    args = list(GOOD[script])
    args[number - 4] = value
    before = dump(client, settings.namespace)

    with pytest.raises(Corrupt, match="BADARG"):
        run(busy, script, *args, op="an-op")

    assert dump(client, settings.namespace) == before


def test_every_number_that_a_script_takes_was_tried():
    number = r"(?:int|agree|wanted|lifetime|tripped)\(ARGV\[(\d+)"
    found = {(p.stem, int(n)) for p in SCRIPTS for n in re.findall(number, code(p))}

    assert found | {("acknowledge", 9), ("acknowledge", 10), ("renew", 7), ("extend", 6)} == set(
        BOUNDS
    )


def test_a_clock_that_is_none_is_refused(busy, client, settings):
    before = dump(client, settings.namespace)
    busy._speech.now = lambda: -1

    with pytest.raises(Corrupt, match="BADARG"):
        run(busy, "expire", 64, "1000 10 0 me", "0 0", 0)

    assert dump(client, settings.namespace) == before


# --- key names

ODD = ["{x}", "}{", "*", "?", "[a-c]", "\\", "%", "%2F", "a b", "a%20b", "a+b", "é", "e\u0301", "日本",
       "😀", ":", "chat:1", "s:chat", '"', "'", "#", "a/b", "a%2Fb", "{x}/{y}", "a/b:c", "~", "A"]  # fmt: skip


@pytest.mark.parametrize("scope", ODD)
def test_a_scope_is_read_back_from_its_key_name_as_it_was(scope):
    name = encode_scope(scope)

    assert decode_scope(name) == scope
    assert re.fullmatch(r"[!-~]+", name)
    assert not set(name) & set(r"{}*?[]\ ")


def test_odd_scopes_never_meet_and_keep_every_key_in_one_slot(store, cat, client, settings):
    refs = {scope: store.store(cat, scope=scope) for scope in ODD}
    store.release_all("a", wait=False)  # the parent of a/b, so that it is closed

    assert store.scopes() == sorted(set(ODD) - {"a/b", "a/b:c"}, key=encode_scope)
    assert {s: [m.ref for m in store.refs(s)] for s in store.scopes()} == {
        scope: [ref] for scope, ref in refs.items() if not scope.startswith("a/")
    }
    keys = {key for key in client.scan_iter() if settings.namespace.encode() in key}
    assert len({key_slot(key) for key in keys}) == 1
    assert all(key.decode().startswith(prefix(settings.namespace)) for key in keys)


@pytest.mark.parametrize("start", ["a", "é", "e", "%", "{", "日", "a/"])
def test_scopes_are_listed_by_the_start_of_their_own_name(start, other, cat):
    for scope in ODD:
        other.store(cat, scope=scope)

    assert other.scopes(start) == sorted((s for s in ODD if s.startswith(start)), key=encode_scope)


# --- every kind of client reads the same


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("decoded", [False, True], ids=["bytes", "decoded"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_every_kind_of_client_gives_the_same_answers(
    server_url, tmp_path, settings, protocol, decoded, awaited
):
    first = listen(server_url, tmp_path / "1", f"{settings.namespace}1", awaited=False, protocol=2)

    answers = listen(
        server_url, tmp_path / "2", f"{settings.namespace}2", awaited=awaited,
        protocol=protocol, decode_responses=decoded,
    )  # fmt: skip

    assert answers == first


def test_a_life_calls_every_public_method():
    constructors = {name for name in dir(MediaStore) if name.startswith("from_")}
    public = {name for name in dir(MediaStore) if not name.startswith("_")}
    sources = "".join(map(inspect.getsource, (life, hands, holds, moves, crowds, rules)))

    assert public - constructors - {"start", "stop", "close"} == {
        name for name in public if f"store.{name}(" in sources
    }
