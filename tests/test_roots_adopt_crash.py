"""Adopting what was stopped halfway: deletions before the copy was made, and the adoption itself."""

from __future__ import annotations

from itertools import count

import pytest

from mediastore import MediaMeta
from mediastore.errors import Corrupt
from mediastore.index import changes, roots
from mediastore.index.steps import prefix
from mediastore.journal import Bound, Held

from .conftest import keys_left, names_left
from .lab import CLAIM_S, Crash, Fuse, Lab
from .lanes import mostly_real
from .processes import Once, replace
from .test_roots_adopt import FORGET, copied_plainly, copied_with_links, each_copy, restored

# --- what waited to be deleted


@each_copy
def test_what_waited_in_the_trash_goes_and_what_replaced_it_stays(lab, copy):
    process = lab.process()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        process.store(lab.file(name, "ours"), scope="s")
    process.release_all("s", wait=False)
    restored(lab.root, copy)
    (lab.root / "b.jpg").unlink()
    lab.file("b.jpg", "theirs")
    (lab.root / "c.jpg").unlink()

    lab.newcomer().adopt_root(lab.root)
    lab.settle()

    assert lab.files() == {"b.jpg": "theirs"}
    assert lab.leftovers() == []
    assert (lab.process().stats().trash, lab.process().stats().stuck) == (0, 0)


@each_copy
@mostly_real
def test_a_deletion_that_was_cut_short_before_the_copy_ends_and_never_takes_a_foreign_file(
    labs, copy
):
    for number, lab in enumerate(labs):
        lab.process().store(lab.file("a.jpg", "ours"), scope="s")
        with lab.fused(Fuse(at=number, after=True)) as process:
            try:
                process.release_all("s")
            except Crash:
                pass
            else:
                assert number > 5
                return
        restored(lab.root, copy)
        there = lab.root / "a.jpg"
        there.unlink(missing_ok=True)
        there.write_text("theirs")
        lab.pass_time(CLAIM_S + 1)

        lab.newcomer().adopt_root(lab.root)
        lab.settle()
        lab.end()

        assert there.read_text() == "theirs", number
        assert lab.process().stats().trash == 0, number
        assert keys_left(lab.client, lab.namespace) == set(), number
        left = [name for name in names_left(lab.root) if not name.startswith("parked/")]
        assert left == [], number


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("copy", [None, copied_plainly, copied_with_links])
@mostly_real
def test_what_a_dead_worker_of_a_forgotten_root_was_deleting_is_nobodys_and_not_hidden(
    labs, copy, after
):
    for number, lab in enumerate(labs):
        worker = lab.process()
        worker.store(lab.file("a.jpg", "ours"), scope="s")
        (root,) = worker._blobs.roots()
        with lab.fused(Fuse(at=number, after=after)) as process:
            try:
                process.release_all("s")
            except Crash as crash:
                stopped = str(crash)
            else:
                assert number > 8
                return
        names = [each for each in lab.root.rglob("*") if each.is_file()]
        there = any(each.read_text() == "ours" for each in names)
        worker.forget_root(root, even_here=True)
        if copy:
            restored(lab.root, copy)

        done = lab.newcomer().adopt_root(lab.root)
        lab.settle()

        parked = [path.read_text() for path in lab.process()._blobs.parked()]
        assert len(parked) == done.parked, stopped
        assert {*parked, *lab.files().values()} == ({"ours"} if there else set()), stopped
        lab.process().release_all("s")
        lab.settle()
        assert [n for n in names_left(lab.root) if not n.startswith("parked/")] == [], stopped
        assert keys_left(lab.client, lab.namespace) == set(), stopped


def test_what_stood_at_a_path_and_was_claimed_is_parked_with_all_that_is_in_it(lab):
    process = lab.process()
    process.stats()
    claim = lab.root / ".mediastore" / "quarantine" / ("t" * 22)
    (claim / ("b" * 22) / "album").mkdir(parents=True)
    (claim / ("b" * 22) / "album" / "theirs.jpg").write_text("theirs")
    (claim / ("u" * 22)).mkdir()
    (claim / ("u" * 22) / ("c" * 22 + ".held")).write_text("last name")
    restored(lab.root)

    done = lab.newcomer().adopt_root(lab.root)

    assert (done.removed, done.parked) == (0, 2)
    parked = lab.root / ".mediastore" / "parked"
    assert (parked / ("b" * 22) / "album" / "theirs.jpg").read_text() == "theirs"
    assert (parked / ("c" * 22 + ".held")).read_text() == "last name"
    assert not claim.exists()


def test_what_a_claim_that_is_known_was_deleting_is_left_to_a_sweeper(lab):
    lab.process().store(lab.file("a.jpg", "ours"), scope="s")
    with lab.fused(Fuse(at=4, after=True)) as worker, pytest.raises(Crash):
        worker.release_all("s")
    before = names_left(lab.root)
    assert any(name.endswith(".held") for name in before)

    assert lab.newcomer().adopt_root(lab.root).removed == 0

    assert names_left(lab.root) == before
    lab.settle()
    assert (lab.files(), lab.leftovers()) == ({}, [])


# --- stopped halfway


def furnished(lab):
    """Leave a bit of everything in the root; return the live refs by file name."""
    process = lab.process()
    refs = {
        name: process.store(lab.file(name, name), scope="s", meta=meta)
        for name, meta in (("a.jpg", None), ("b.jpg", None), ("borrowed.jpg", FORGET))
    }
    process.store(lab.file("doomed.jpg", "doomed"), scope="t")
    process.release_all("t", wait=False)
    (lab.root / ".mediastore" / "held" / ("n" * 22)).write_text("nobody's")
    return refs


@each_copy
@mostly_real
def test_an_adoption_that_was_stopped_anywhere_is_finished_by_the_next(labs, copy):
    for number in count():
        for after in (False, True):
            lab: Lab = next(labs)
            refs = furnished(lab)
            restored(lab.root, copy)
            before = lab.files()
            fuse = Fuse(at=number, after=after)
            with lab.fused(fuse, newcomer=True) as process:
                try:
                    process.adopt_root(lab.root)
                except Crash as crash:
                    stopped = str(crash)
                else:
                    assert number >= 8
                    return
            assert lab.files() == before, stopped

            lab.newcomer().adopt_root(lab.root)

            assert lab.files() == before, stopped
            process = lab.process()
            for name, ref in refs.items():
                assert process.resolve(ref).read_text() == name, stopped
            lab.settle()
            lab.end()
            assert lab.files() == {"borrowed.jpg": "borrowed.jpg"}, stopped
            assert [p.read_text() for p in process._blobs.parked()] == ["nobody's"], stopped
            assert len(lab.leftovers()) == 1, stopped


# --- what changes in the middle


def test_a_file_that_is_replaced_in_the_middle_is_not_taken_for_ours(lab, stage):
    ref = lab.process().store(lab.file("a.jpg", "ours"), scope="s")
    restored(lab.root)
    swap = Once(
        lambda: replace(lab.root / "a.jpg", "four"),
        when=lambda name, args: name == "link" and args[0] == "a.jpg",
    )

    with stage.during(swap):
        done = lab.newcomer().adopt_root(lab.root)

    assert (swap.done, done.rebound, done.hidden) == (True, 0, ("a.jpg",))
    assert lab.process().resolve(ref).read_text() == "ours"
    lab.process().release_all("s")
    assert lab.files() == {"a.jpg": "four"}
    assert lab.leftovers() == []


def test_a_blob_gets_an_identity_only_from_whoever_has_seen_its_present_one(lab):
    held = Held("root", "a.jpg", 1, "link:1", "1:1:1", "adopted")
    ref, blob, token = ("r" * 22, "b" * 22, "t" * 22)
    process = lab.process()
    lab.client.hset(f"{prefix(lab.namespace)}roots", "root", "host:/media")
    process._ask(changes.store(ref, blob, "s", held, None, MediaMeta()))

    def bound(before, *, place="host:/media", root="root"):
        again = Bound(blob, "a.jpg", before, "link:2")
        return process._ask(roots.rebind(root, place, process._ctx.new_id(), [again])).bound

    assert (bound("link:7"), bound("link:1", place="host:/other")) == (0, 0)
    lab.client.hset(f"{prefix(lab.namespace)}roots", "other", "host:/media")
    assert (bound("link:1", root="other"), bound("link:1")) == (0, 1)
    process.release_all("s", wait=False)
    assert bound("link:2") == 1
    process._ask(changes.claim("root", token, "claim", 30_000))
    assert bound("link:2") == 0
    lab.client.hset(f"{prefix(lab.namespace)}blob:{blob}", "state", "doomed")  # `ever` tells
    assert bound("link:2") == 0


def test_more_blobs_than_a_script_may_touch_are_refused(lab):
    process = lab.process()
    many = [Bound("b" * 22, "a.jpg", "link:1", "link:2")] * 65

    with pytest.raises(Corrupt, match="BADARG"):
        process._ask(roots.rebind("root", "host:/media", "op", many))
