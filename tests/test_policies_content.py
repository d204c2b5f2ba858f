"""Content that is handed over lives by policies as registered files do; its sidecar says the deadline it got."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from mediastore import MediaContent, MediaMeta
from mediastore.errors import InvalidPolicy
from mediastore.sidecars import ENDING, Sidecar

from .lifetimes import index_of
from .policy_fixtures import by, known, life

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + b"\x00" * 64


def sidecar_of(store, ref):
    path = store.resolve(ref)
    return Sidecar.parse(path.with_name(path.name + ENDING).read_text())


def hand_over(store, form, policy="p"):
    """Store content whose size is known, or is not; or by a writer."""
    if form == "writer":
        with store.writer(scope="s", meta=by(policy)) as writer:
            writer.path.write_bytes(PNG)
        return writer.ref
    data = PNG if form == "bytes" else iter([PNG])
    return store.store_media(MediaContent(data=data), scope="s", meta=by(policy))


@pytest.mark.parametrize("said", ["content", "meta", "default"])
def test_content_lives_by_a_policy(labs, said):
    lab = next(labs)
    lab.settings = replace(lab.settings, default_policy="p" if said == "default" else "")
    store = lab.process()
    store.set_policy("p", 600)
    content = MediaContent(data=PNG, policy="p" if said == "content" else "")

    ref = store.store_media(content, scope="s", meta=by("p") if said == "meta" else MediaMeta())

    assert life(store, ref) == ("p", 600)
    assert store.retrieve_media(ref).policy == "p"
    assert round(store.get(ref).expires_at.timestamp() * 1000) == sidecar_of(store, ref).expires_ms
    store.set_policy("p", 900)
    assert life(store, ref) == ("p", 900)


def test_a_sidecar_has_the_length_that_the_policy_got_while_a_writer_wrote(lab):
    store = lab.process()
    store.set_policy("p", 600)

    with store.writer(scope="s", meta=by("p")) as writer:
        writer.path.write_bytes(PNG)
        lab.process().set_policy("p", 6000)

    due_ms = round(store.get(writer.ref).expires_at.timestamp() * 1000)
    assert life(store, writer.ref) == ("p", 6000)
    assert sidecar_of(store, writer.ref).expires_ms == due_ms


@pytest.mark.parametrize("form", ["bytes", "stream", "writer"])
def test_content_for_a_policy_that_nobody_knows_leaves_nothing(lab, form):
    store = lab.process()
    store.set_policy("p", 600)
    before = index_of(lab.client, lab)

    with pytest.raises(InvalidPolicy, match="did you mean 'p'"):
        hand_over(store, form, "pp")

    assert index_of(lab.client, lab) == before
    assert lab.files() == {}
    lab.process().drain()  # the journal of sidecars tells of files that are gone
    assert lab.leftovers() == []


def at_each_exchange(labs, dedup, form, between):
    """Hand content over again and again; before each exchange of it in turn, somebody else comes in between."""
    for number in count():
        lab = next(labs)
        lab.settings = replace(lab.settings, dedup=dedup)
        lab.process().set_policy("p", 3000)
        if dedup:
            lab.process().store_media(MediaContent(data=PNG), scope="t")
        process, calls = lab.process(), count()
        perform = process._ask
        came: list[Any] = []

        def ask(step, *, lab=lab, calls=calls, perform=perform, came=came, number=number):
            if next(calls) == number:
                came.append(between(lab))
            return perform(step)

        process._ask = ask
        found: Any
        try:
            found = hand_over(process, form)
        except InvalidPolicy as error:
            found = error
        if not came:
            assert number >= 1
            return
        yield lab, found


@pytest.mark.parametrize("dedup", [False, True])
@pytest.mark.parametrize("form", ["bytes", "stream", "writer"])
def test_content_that_is_stored_while_its_policy_changes_is_never_missed(labs, form, dedup):
    for lab, ref in at_each_exchange(
        labs, dedup, form, lambda lab: lab.process().set_policy("p", 6000)
    ):
        assert life(lab.process(), ref) == ("p", 6000)


@pytest.mark.parametrize("dedup", [False, True])
@pytest.mark.parametrize("form", ["bytes", "stream", "writer"])
def test_content_whose_policy_is_removed_meanwhile_is_refused_and_leaves_nothing(labs, form, dedup):
    def remove(lab):
        lab.process().remove_policy("p", force=True)

    for lab, found in at_each_exchange(labs, dedup, form, remove):
        lab.settle()

        store = lab.process()
        if not isinstance(found, InvalidPolicy):  # it had its ref by then, which left the policy
            assert life(store, found) == ("", 3000)
            store.delete_media(found)
        assert known(store) == {}
        store.release_all("t")
        assert lab.files() == {}
        lab.process().drain()  # the journal of sidecars tells of files that are gone
        assert lab.leftovers() == []
