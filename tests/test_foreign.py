"""A key of a foreign type, foreign bytes, a foreign format: a typed error, and nothing has changed."""

from __future__ import annotations

import re

import pytest

from mediastore import MediaStore
from mediastore.errors import Corrupt, IndexVersion, StoreFull
from mediastore.index import __doc__ as documentation
from mediastore.index.steps import FORMAT, Command, prefix

from .conftest import names_left
from .foreign_keys import LOOKS_AT
from .foreign_steps import FOREIGN, STEPS, Index, key_of
from .life import CALLS
from .test_index import dump

# --- keys of a foreign type

#: The type of each kind of key, as the documentation of the index has it.
TYPES = {
    name: kind
    for names, kind in re.findall(r"^    (\S.{15}) (\w+) ", documentation, re.MULTILINE)
    for name in re.sub("<.*?>|:", "", names).split()
}


@pytest.fixture
def index(client, settings):
    return Index(client, settings.namespace)


#: Every step on a real server; some show that fakeredis behaves as it does.
LANES = [*((name, "real") for name in STEPS), ("store", "fake"), ("drain", "fake"), ("due", "fake")]


#: What a script that changes something asks the type of, so that its error names the key. A plain read that
#: meets a foreign key first says only that there is one.
NAMED = {
    *("borrowed", "cuts", "dedup", "graves", "older", "path"),
    *("seq", "stats", "trash", "usage", "writing"),
}
#: Scripts that go through many records, and those that they pass by if their key is of a foreign type.
PASSED_BY = {
    *(("claim", key) for key in ("blob", "claim", "barred")),
    *(
        (script, key)
        for script in ("release", "drain", "withdraw", "delete")
        for key in ("ref", "blob")
    ),
    *(("expire", key) for key in ("ref", "blob")),
    *(
        (f"{script} warily", key)
        for script in ("expire", "lapse")
        for key in ("under", "scope", "children")
    ),
}
CHANGING = {name for name, step in STEPS.items() if isinstance(step, Command)} - {"roots", "stats"}


#: Every foreign type of each key takes a minute: otherwise the keys take turns with them.
@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.torture)])
@pytest.mark.parametrize(("name", "lane"), LANES, indirect=["lane"])
def test_a_key_of_a_foreign_type_is_met_before_anything_is_written(name, index, thorough):
    state = index.fill()

    for number, key in enumerate(key_of(word, state) for word in LOOKS_AT[name].split()):
        kinds = sorted(set(FOREIGN) - {TYPES[key.partition(":")[0]]})
        for kind in kinds if thorough else kinds[number % len(kinds) :][:1]:
            before = {**state, key: FOREIGN[kind]}
            index.load(before)

            try:
                index.do(STEPS[name])
            except Corrupt as error:
                said = str(error)
                assert index.dump() == before, (key, kind)
            else:
                # It keeps no other record waiting, and stays as it is.
                kind_of_key = key.partition(":")[0]
                assert {(name.split()[0], kind_of_key), (name, kind_of_key)} & PASSED_BY, key
                assert index.dump()[key] == before[key]
                continue
            assert "WRONGTYPE" in said
            if name in CHANGING and key.partition(":")[0] in NAMED:
                assert said.endswith(f":{key} is a {kind}")


def test_a_first_greeting_that_meets_a_foreign_key_leaves_nothing(index):
    before = {"roots": FOREIGN["zset"]}
    index.load(before)

    with pytest.raises(Corrupt, match="WRONGTYPE"):
        index.do(STEPS["open"])

    assert index.dump() == before


@pytest.mark.parametrize(("name", "lane"), LANES, indirect=["lane"])
def test_a_step_looks_at_no_other_key(name, index):
    state = index.fill()
    index.do(STEPS[name])
    clean = index.dump()
    looked_at = {key_of(word, state) for word in LOOKS_AT[name].split()}

    for kind, value in FOREIGN.items():
        others = dict.fromkeys(set(state) - looked_at, value)
        index.load({**state, **others})

        index.do(STEPS[name])

        assert index.dump() == {**clean, **others}, kind


#: What gives memory back, or what is held, and what must run before it.
FREEING = (
    *("open", "release", "drain", "expire", "lapse", "delete", "withdraw", "refuse", "abandon"),
    *("claim", "acknowledge", "forget", "adopt", "rebind", "renew", "end_lease"),
    *("move_policy", "inscribed", "epoch", "accept_epoch", "clock", "allow_breaker"),
)


@pytest.mark.parametrize("lane", ["real"], indirect=True)
def test_what_gives_memory_back_is_done_where_there_is_none(index, client):
    state = index.fill()

    for name in FREEING:
        index.load(state)
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreFull):
                index.do(STEPS["store"])
            index.do(STEPS[name])
        finally:
            client.config_set("maxmemory", 0)


def test_every_key_has_the_type_that_is_documented(index):
    found = {key.partition(":")[0]: kind for key, (kind, _) in index.fill().items()}

    assert found == TYPES


# --- foreign values


@pytest.fixture(params=[False, True], ids=["bytes", "decoded"])
def decoding(request, clients, settings):
    """Give a store over a client that decodes, or not."""
    with MediaStore(clients(decode_responses=request.param), settings) as store:
        yield store


def test_text_that_is_no_utf8_is_corrupt_and_the_next_call_is_right(
    decoding, client, settings, make_file
):
    broken, fine = (decoding.store(make_file(name), scope="s") for name in ("1", "2"))
    client.hset(f"{prefix(settings.namespace)}ref:{broken.id}", "filename", b"\xff\xfe")

    for _ in range(2):
        with pytest.raises(Corrupt):
            decoding.resolve(broken)
        with pytest.raises(Corrupt):
            decoding.refs("s")
        assert decoding.resolve(fine).name == "2"


@pytest.mark.parametrize("field", ["scope", "seq", "root", "path", "size", "blob", "stored_at"])
def test_a_ref_without_one_of_its_fields_is_corrupt(store, client, settings, cat, field):
    ref = store.store(cat, scope="s")
    client.hdel(f"{prefix(settings.namespace)}ref:{ref.id}", field)

    with pytest.raises(Corrupt):
        store.resolve(ref)


@pytest.mark.parametrize("call", CALLS)
def test_another_format_is_refused_by_every_call_and_nothing_changes(
    store, client, settings, cat, media, call
):
    client.set(f"{prefix(settings.namespace)}format", "2")
    before = dump(client, settings.namespace)

    with pytest.raises(IndexVersion) as caught:
        CALLS[call](store, cat)

    assert (caught.value.found, caught.value.supported) == ("2", FORMAT)
    assert dump(client, settings.namespace) == before
    assert names_left(media) == []
