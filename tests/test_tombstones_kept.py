"""For how long ended refs are remembered, and how many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediastore import NEVER, MediaStore, Settings
from mediastore.errors import InvalidSettings, RefUnknown
from mediastore.index.steps import END_BATCH, prefix
from mediastore.model import Ref

from .lifetimes import fill, one_lane

TWO_MINUTES = 120


def gone_key(settings, ref):
    return f"{prefix(settings.namespace)}gone:{Ref.parse(ref).id}"


@one_lane
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, 86_400),
        ({"tombstone_ttl": "1h"}, 3600),
        # A command may be sent again for that long.
        ({"tombstone_ttl": "1s"}, TWO_MINUTES),
        ({"tombstone_ttl": "1h", "grace": "2h"}, 7200),
    ],
    ids=str,
)
def test_a_tombstone_stays_for_its_time(client, settings, cat, said, seconds):
    settings = replace(settings, **said)
    with MediaStore(client, settings) as store:
        ref = store.store(cat, scope="s")

        store.release_all("s")

    left = client.pttl(gone_key(settings, ref)) / 1000
    assert seconds - 10 < left <= seconds


@one_lane
def test_once_it_has_lapsed_nobody_remembers(other, cat, client, settings):
    ref = other.store(cat, scope="s")
    other.release_all("s")
    client.delete(gone_key(settings, ref))

    for call in (other.resolve, other.tombstone, other.restore, other.touch):
        with pytest.raises(RefUnknown):
            call(ref)


def graves(lab):
    return [
        word.decode().split() for word in lab.client.lrange(f"{prefix(lab.namespace)}graves", 0, -1)
    ]


def stones(lab):
    start = f"{prefix(lab.namespace)}gone:"
    return {
        key.decode().removeprefix(start) for key in lab.client.scan_iter(f"{start}*", count=1000)
    }


@one_lane
@pytest.mark.parametrize("most", [0, 5])
def test_the_newest_are_kept_and_those_of_the_last_two_minutes(lab, most):
    lab.settings = replace(lab.settings, tombstones=most, max_age=None)
    store = lab.process()
    refs = fill(store, lab, "s", 30)
    for ref in refs[:15]:
        store.delete_media(ref)
        lab.pass_time(1)
    assert stones(lab) == {ref.id for ref in refs[:15]}
    lab.pass_time(TWO_MINUTES - 16)
    store.delete_media(refs[15])
    assert stones(lab) == {ref.id for ref in refs[:16]}

    lab.pass_time(11)
    for ref in refs[16:26]:
        store.delete_media(ref)

    old = refs[:11]
    kept = {ref.id for ref in refs[:26]} - {ref.id for ref in old}
    assert stones(lab) == kept
    assert {grave[1] for grave in graves(lab)} == kept
    for ref in old:
        with pytest.raises(RefUnknown):
            store.resolve(ref)
    assert store.tombstone(refs[11]).reason == "deleted"


@one_lane
def test_the_oldest_beyond_the_number_are_forgotten_one_for_one(lab):
    lab.settings = replace(lab.settings, tombstones=5, max_age=None)
    store = lab.process()
    refs = fill(store, lab, "s", 20)
    for ref in refs[:12]:
        store.delete_media(ref)
    lab.pass_time(TWO_MINUTES)

    for number, ref in enumerate(refs[12:], 13):
        store.delete_media(ref)
        # Three are looked at when one ends, until only the newest five are left.
        oldest = min(3 * (number - 12), number - 5, 12)
        assert stones(lab) == {each.id for each in refs[oldest:number]}

    with pytest.raises(RefUnknown):
        store.tombstone(refs[0])


@one_lane
def test_a_large_number_forgets_none(lab):
    store = lab.process()
    refs = fill(store, lab, "s", 25)
    for ref in refs:
        store.delete_media(ref)
        lab.pass_time(TWO_MINUTES)

    assert stones(lab) == {ref.id for ref in refs}


@one_lane
def test_nothing_piles_up_after_thousands_of_ends(lab):
    lab.settings = replace(lab.settings, tombstones=100, max_age=None)
    store = lab.process()
    one = lab.file("a", "a")
    held = store.store(one, scope="held", ttl=NEVER)
    for _ in range(25):
        items = [one] * 100
        assert len(store.store_many(items, scope="s/x")) == 100
        assert store.release_all("s").refs == 100
        lab.pass_time(TWO_MINUTES)

    # A hundred, and those of the last script, of which none is old enough.
    assert len(stones(lab)) <= 100 + 2 * END_BATCH + 100
    assert len(graves(lab)) == len(stones(lab))
    assert store.stats().released_refs == 2500
    assert store.resolve(held) == one


@one_lane
def test_graves_of_lapsed_tombstones_go_whatever_the_number(lab):
    store = lab.process()
    refs = fill(store, lab, "s", 10)
    for ref in refs[:9]:
        store.delete_media(ref)
    for ref in refs[:9]:
        lab.client.delete(gone_key(lab.settings, ref))  # what their time to live does
    lab.pass_time(TWO_MINUTES)

    for number in range(4):
        store.delete_media(store.store(lab.file(f"n{number}", "x"), scope="t"))
    store.delete_media(refs[9])

    assert len(graves(lab)) == 5


@pytest.mark.parametrize("words", ["nonsense", "released", "released 17 s", "refused " + "b" * 22])
def test_a_tombstone_that_nobody_here_wrote_is_nobodys(other, client, settings, words):
    ref = "media://" + "r" * 22
    client.set(gone_key(settings, ref), words)

    with pytest.raises(RefUnknown):
        other.resolve(ref)
    with pytest.raises(RefUnknown):
        other.restore(ref)


@pytest.mark.parametrize("most", [-1, 1.5, "many"])
def test_a_number_that_is_none_is_refused(most):
    with pytest.raises(InvalidSettings):
        Settings(tombstones=most)
