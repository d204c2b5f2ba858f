"""Sidecars that somebody else wrote, or that contradict each other: what is good comes back, and nothing else happens."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from mediastore import MediaStore
from mediastore.model import Ref
from mediastore.naming import safe_id

from .sidecar_fixtures import PNG, known, put, sharing, told, told_blob, tree  # noqa: F401 - a fixture

META = ".mediastore/meta"


def family(media, sidecar, *numbers):
    """Write further sidecars like this one, each of a ref of its own; returns the refs."""
    refs = [Ref(f"media://{n:022}") for n in numbers]
    directory = media / META / sidecar.blob
    directory.mkdir(exist_ok=True)
    for ref in refs:
        (directory / f"{ref.id}.meta").write_text(replace(sidecar, ref=ref).to_text())
    return refs


# --- several families that name one file


@pytest.mark.parametrize("own_family", [False, True])
@pytest.mark.parametrize("beside", [True, False])
def test_families_that_name_one_file_make_one_blob(store, client, media, own_family, beside):
    first = put(store)
    path = store.resolve(first)
    said = told(media)[first.id]
    refs = [first] if beside else []
    refs += family(media, said, 1, 2) if own_family else []
    refs += family(media, replace(said, blob="A" * 22, scope="a"), 3)
    refs += family(media, replace(said, blob="z" * 22, scope="z"), 4, 5)
    if not beside:
        path.with_name(path.name + ".meta").unlink()
    client.flushall()
    dry = store.rebuild(dry_run=True)

    done = store.rebuild()

    assert (done.refs, done.blobs, done.known, done.dead) == (len(refs), 1, 0, 0)
    assert dry == done
    assert {each.blob for s in store.scopes() for each in store.refs(s)} == {
        said.blob if beside else store.get(refs[-1]).blob
    }
    for scope in store.scopes():
        assert path.read_bytes() == PNG
        store.release_all(scope)
    assert not path.exists()


@pytest.mark.parametrize("lives", ["beside", "family"])
def test_no_file_goes_for_refs_of_another_family_that_have_not_come_back_yet(lab, client, lives):
    """The refs of one family have ended when those of the other are still to come; a sweeper is at work in between."""
    process = lab.process()
    ref = put(process, ttl="never" if lives == "beside" else 10)
    media = lab.process().resolve(ref).parents[2]
    said = told(media)[ref.id]
    other = replace(said, blob="A" * 22, expires_ms=said.stored_ms + 10_000)
    others = family(media, other, *range(24))
    if lives == "family":
        others += family(media, replace(other, expires_ms=None), 24)
    lab.pass_time(20)
    client.flushall()
    rebuilding, sweeping = lab.process(), lab.process()
    ask, seen = rebuilding._ask, []

    def busy(step):
        answer = ask(step)
        if getattr(step, "script", "") == "revive":
            seen.append(sweeping.sweep().expired)
        return answer

    rebuilding._ask = busy
    done = rebuilding.rebuild()

    assert (done.refs, done.blobs, sum(seen) > 0) == (1 + len(others), 1, True)
    lab.settle()
    kept = ref if lives == "beside" else others[-1]
    assert lab.process().resolve(kept).read_bytes() == PNG
    assert lab.process().stats().refs == 1


def test_one_sidecar_that_names_another_place_does_not_bar_its_family(store, client, media):
    first, victim = put(store), put(store, b"victim")
    shared = [store.share(first, "t") for _ in range(2)]
    store.drain()
    blob = told_blob(media, shared[0])
    wrong = replace(told(media)[victim.id], ref=Ref("media://" + "0" * 22), blob=blob)
    (media / META / blob / f"{'0' * 22}.meta").write_text(wrong.to_text())
    before = known(store, [first, victim, *shared])
    path = store.resolve(first)
    path.with_name(path.name + ".meta").unlink()
    client.flushall()

    done = store.rebuild()

    assert (done.refs, done.broken, done.named) == (3, 1, (f"{META}/{blob}/{'0' * 22}.meta",))
    assert known(store, [victim, *shared]) == before[1:]
