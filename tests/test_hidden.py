"""What lives only under held links is counted: somebody who removed a file to make room must see why there is none."""

from __future__ import annotations

import pytest

from mediastore import Cleanup, MediaContent, MediaMeta
from mediastore.blobs import hidden
from mediastore.doctor import examine
from mediastore.index.steps import prefix

from .conftest import JPEG
from .lanes import mostly_real
from .processes import replace as put_other_file
from .test_roots import at

__all__ = ["at"]  # a fixture


def counted(store):
    store.sweep()
    stats = store.stats()
    return stats.hidden, stats.hidden_bytes


def test_a_file_that_is_removed_or_replaced_by_hand_counts_until_its_refs_end(store, make_file):
    paths = [make_file(name) for name in ("there", "removed", "replaced")]
    store.store_many(paths, scope="s")
    store.store_media(MediaContent(data=b"own"), scope="s")
    lent = make_file("lent")
    store.store(lent, scope="s", meta=MediaMeta(cleanup=Cleanup.FORGET))

    before = counted(store)
    paths[1].unlink()
    put_other_file(paths[2], "another's")
    lent.unlink()
    after = counted(store)
    store.delete_path(paths[1])

    assert (before, after) == ((0, 0), (2, 2 * len(JPEG)))
    assert counted(store) == (1, len(JPEG))
    store.release_all("s")
    assert counted(store) == (0, 0)


def test_every_sweeper_sees_what_another_has_counted(store, other, cat):
    store.store(cat, scope="s")
    cat.unlink()
    assert counted(store) == (1, len(JPEG))
    store.release_all("s")

    assert counted(other) == (0, 0)


def test_roots_are_counted_together_and_a_forgotten_one_no_more(at, tmp_path):
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        root.mkdir()
        (root / "a.jpg").write_bytes(JPEG)
    both = at(*roots)
    for root in roots:
        both.store(root / "a.jpg", scope="s")
        (root / "a.jpg").unlink()
    assert counted(both) == (2, 2 * len(JPEG))

    [first] = [root for root, place in both.stats().roots.items() if place.endswith("/one")]
    near = at(roots[1])
    near.sweep()
    near.forget_root(first)

    assert counted(near) == (1, len(JPEG))


@mostly_real
def test_a_large_root_is_counted_in_parts(other, make_file, monkeypatch):
    monkeypatch.setattr(hidden, "_FIRST", 3)
    monkeypatch.setattr(hidden, "_PART_S", 0)  # each part takes too long for a wider one
    monkeypatch.setattr(hidden, "monotonic", lambda: 0.0)
    paths = [make_file(f"{number}.jpg") for number in range(20)]
    other.store_many(paths, scope="s")
    for path in paths[:7]:
        path.unlink()

    parts = [(0, 0)]
    while parts[-1] == (0, 0):
        parts.append(counted(other))

    assert parts[-1] == (7, 7 * len(JPEG))
    assert 3 < len(parts) < 15  # never less at once than at first: it comes to an end


@mostly_real
@pytest.mark.parametrize("noted", ["5", "much"])
def test_a_note_that_is_wrong_is_made_anew(other, client, settings, cat, noted):
    other.store(cat, scope="s")
    [root] = other.stats().roots
    other.sweep()
    client.hset(f"{prefix(settings.namespace)}stats", f"hidden:{root}", noted)

    assert counted(other) == (0, 0)


@mostly_real
def test_the_usual_sweep_asks_nothing_more_for_it(other, cat, monkeypatch):
    """It is one round trip where nothing is due, whatever is hidden."""
    other.store(cat, scope="s")
    cat.unlink()
    other.sweep()
    asked: list[object] = []
    link = type(other._link)
    performed = link.perform

    def perform(*args, **named):
        asked.append(args[1])
        return performed(*args, **named)

    monkeypatch.setattr(link, "perform", perform)

    other.sweep()

    assert len(asked) == 1


@mostly_real
def test_doctor_counts_it_itself_and_says_what_ends_it(other, client, settings, make_file):
    paths = [make_file(name) for name in "abc"]
    other.store_many(paths, scope="s")
    for path in paths[:2]:
        path.unlink()

    [said] = [each for each in examine(settings, client) if "held link" in each.detail]

    assert (said.state, said.name) == ("ok", f"root {settings.roots[0]}")
    assert "2 files (204 bytes) live only under held links" in said.detail
    assert "`mediastore delete PATH`" in said.detail
