"""Files that wait, lose their path to another file, and come back to it: each is one blob, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from mediastore import NEVER, Cleanup, MediaMeta
from mediastore.index.steps import prefix

from .grace_fixtures import lab  # noqa: F401 - fixtures
from .lifetimes import HOUR, numbers, with_grace

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


def away_and_back(lab, store, path):
    """Let another file have the path for a while, and be registered there; returns its ref."""
    aside = path.rename(path.with_name("aside"))
    path.write_text("another")
    other = store.store(path, scope="another", ttl=NEVER)
    path.unlink()
    aside.rename(path)
    return other


def test_a_file_that_waits_and_comes_back_to_its_path_is_the_blob_it_was(lab):
    store, path = lab.process(), lab.file("a", "ours")
    dead = store.store(path, scope="s")
    store.release_all("s")
    away_and_back(lab, store, path)

    new = store.store(path, scope="t")

    ref = store.restore(dead, ttl=NEVER)
    assert store.get(ref).blob == store.get(new).blob
    store.release_all("t")
    lab.pass_time(HOUR)
    lab.process().sweep()
    assert store.resolve(ref).read_text() == "ours"
    assert store.release_all("s").pending == 1
    store.release_all("another")
    lab.pass_time(HOUR)
    lab.process().sweep()
    assert (lab.files(), lab.leftovers(), numbers(store)) == ({}, [], (0, 0))


def test_a_file_that_waits_and_is_lent_when_it_comes_back_is_never_deleted(lab):
    store, path = lab.process(), lab.file("a", "ours")
    store.store(path, scope="s")
    store.release_all("s")
    away_and_back(lab, store, path)

    store.store(path, scope="lent", meta=FORGET)

    store.release_all("lent")
    store.release_all("another")
    lab.pass_time(HOUR)
    lab.process().sweep()
    lab.settle()
    assert (lab.files(), lab.leftovers()) == ({"a": "ours"}, [])


@pytest.mark.parametrize("end", ["swept", "restored", "forgotten"])
def test_nothing_stays_of_a_blob_that_lost_its_path_while_it_waited(lab, end):
    store, path = lab.process(), lab.file("a", "ours")
    dead = store.store(path, scope="s")
    root = store.get(dead).root
    store.release_all("s")
    away_and_back(lab, store, path)
    older = f"{prefix(lab.namespace)}older:{root}"
    before = lab.client.hlen(older)

    if end == "forgotten":
        store.forget_root(root, even_here=True)
    elif end == "restored":
        with_grace(lab, 0).process().release_all("another")
        assert store.resolve(store.restore(dead)) == path
    else:
        lab.pass_time(HOUR)
        lab.process().sweep()

    assert (before, lab.client.hlen(older)) == (1, 0)
