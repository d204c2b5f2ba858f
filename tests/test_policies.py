"""Retention policies: spelt and named, of the index and of the settings; which lifetime a ref gets, and how it leaves one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore, Policy
from mediastore.errors import (
    InvalidPolicy,
    InvalidRequest,
)

from .conftest import names_left
from .lifetimes import index_of, is_gone, seconds_left
from .policy_fixtures import by, follows, known, length, life


@pytest.fixture
def with_settings(clients, settings):
    """Give a maker of stores that have more settings."""
    made = []

    def make(**more):
        made.append(MediaStore(clients(), replace(settings, **more)))
        return made[-1]

    yield make
    for each in made:
        each.close()


# --- which lifetime a new ref gets


def test_a_ref_lives_by_a_policy_of_the_index(store, cat):
    store.set_policy("thumbnails", "2h")

    ref = store.store(cat, scope="s", meta=by("thumbnails", filename="cat.jpg"))

    assert life(store, ref) == ("thumbnails", 7200)
    assert store.refs("s")[0].meta == by("thumbnails", filename="cat.jpg")
    assert known(store) == {"thumbnails": (7200, 1)}


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [("retain-2hours", 7200), ("delete-after-10min", 600), (timedelta(minutes=1), 60), (0.5, 0.5), ("7d", 604800),
     (NEVER, None), ("never", None)],
)  # fmt: skip
def test_a_policy_is_a_duration_or_a_spelt_policy(other, cat, lifetime, seconds):
    other.set_policy("p", lifetime)

    assert length(other, other.store(cat, scope="s", meta=by("p"))) == seconds
    assert other.policies() == [Policy("p", seconds, "index", 1)]


def test_a_ref_lives_by_a_policy_of_the_settings_and_is_not_counted(with_settings, cat, client):
    store = with_settings(policies={"voice": "10m", "kept": NEVER})

    refs = [store.store(cat, scope="s", meta=by(name)) for name in ("voice", "kept")]

    assert [life(store, ref) for ref in refs] == [("voice", 600), ("kept", None)]
    assert store.policies() == [Policy("kept", None, "settings"), Policy("voice", 600, "settings")]
    assert follows(client, store.settings) == set()


def test_the_index_wins_over_the_settings(with_settings, cat):
    store = with_settings(policies={"voice": "10m"})
    before = store.store(cat, scope="s", meta=by("voice"))

    store.set_policy("voice", "1h")
    after = store.store(cat, scope="s", meta=by("voice"))

    assert (length(store, before), length(store, after)) == (600, 3600)
    assert store.policies() == [Policy("voice", 3600, "index", 1)]
    store.remove_policy("voice", force=True)
    assert length(store, store.store(cat, scope="s", meta=by("voice"))) == 600
    assert store.policies() == [Policy("voice", 600, "settings")]


def test_a_name_that_nobody_knows_is_refused_and_nothing_changes(
    store, cat, media, client, settings
):
    store.set_policy("thumbnails", "2h")
    before = index_of(client, settings)

    with pytest.raises(InvalidPolicy, match=r"'thumbnailz'; did you mean 'thumbnails'\?"):
        store.store(cat, scope="s", meta=by("thumbnailz"))

    after = index_of(client, settings)
    assert {k: v for k, v in after.items() if not k.startswith("gone:")} == before
    assert names_left(media) == []
    assert cat.exists()


def test_the_nearest_name_may_be_one_of_the_settings(with_settings, cat):
    store = with_settings(policies={"voice": "10m"})

    with pytest.raises(InvalidPolicy, match="did you mean 'voice'"):
        store.store(cat, scope="s", meta=by("voices"))


def test_of_many_only_the_item_with_an_unknown_policy_is_refused(store, make_file, media):
    store.set_policy("p", "2h")
    items = [(make_file("a.jpg"), by("q")), (make_file("b.jpg"), by("p")), make_file("c.jpg")]

    found = store.store_many(items, scope="s")

    assert isinstance(found[0], InvalidPolicy)
    assert [life(store, ref) for ref in found[1:]] == [("p", 7200), ("", 1800)]
    assert len(names_left(media)) == 2


def test_a_store_that_was_refused_for_its_policy_stays_refused_when_it_comes_again(lab):
    """The reply was lost, and meanwhile somebody made the policy: the second name is gone by then."""
    store, sent = lab.process(), []
    perform = store._ask

    def ask(step):
        sent.append(step)
        return perform(step)

    store._ask = ask
    with pytest.raises(InvalidPolicy):
        store.store(lab.file("a.jpg", "a"), scope="s", meta=by("p"))
    [command] = [step for step in sent if getattr(step, "script", "") == "store"]
    lab.process().set_policy("p", "1h")

    again = perform(command)

    assert again.verdict == "policy"
    assert store.refs("s") == []


@pytest.mark.parametrize(
    ("default", "meta", "ttl", "said"),
    [("retain-2hours", MediaMeta(), None, ("retain-2hours", 7200)),
     ("named", MediaMeta(), None, ("named", 60)),
     ("own", MediaMeta(), None, ("own", 90)),
     ("named", by("retain-1days"), None, ("retain-1days", 86400)),
     ("named", by("own"), None, ("own", 90)),
     ("named", MediaMeta(), "5m", ("", 300)),
     ("named", MediaMeta(), NEVER, ("", None))],
)  # fmt: skip
def test_the_default_policy_counts_where_neither_ttl_nor_policy_is_said(
    with_settings, cat, default, meta, ttl, said
):
    store = with_settings(default_policy=default, policies={"own": 90})
    store.set_policy("named", 60)

    ref = store.store(cat, scope="s", meta=meta, ttl=ttl)

    assert life(store, ref) == said
    if said == ("named", 60):
        assert known(store)["named"] == (60, 1)


def test_a_default_policy_that_nobody_knows_refuses_what_would_live_by_it(with_settings, cat):
    store = with_settings(default_policy="nobodys", grace="1h")
    ref = store.store(cat, scope="s", ttl="1h")

    with pytest.raises(InvalidPolicy, match="'nobodys'"):
        store.store(cat, scope="s")
    with pytest.raises(InvalidPolicy, match="'nobodys'"):
        store.share(ref, "t")
    store.release_all("s")
    with pytest.raises(InvalidPolicy, match="'nobodys'"):
        store.restore(ref)

    assert store.stats().refs == 0
    assert store.resolve(store.restore(ref, ttl="1h")) == cat


def test_a_ttl_and_a_named_policy_together_are_refused(other, cat):
    other.set_policy("p", 60)

    with pytest.raises(InvalidRequest, match="not both"):
        other.store(cat, scope="s", ttl="1h", meta=by("p"))


# --- copies


@pytest.mark.parametrize("copy", ["share", "restore"])
def test_a_copy_lives_by_the_policy_as_it_is_now(with_settings, cat, copy):
    store = with_settings(grace="1h")
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s", meta=by("p"))
    if copy == "restore":
        store.release_all("s")
    store.set_policy("p", 90)

    new = getattr(store, copy)(ref, "t")

    assert life(store, new) == ("p", 90)
    store.set_policy("p", 120)
    assert length(store, new) == 120


@pytest.mark.parametrize("copy", ["share", "restore"])
@pytest.mark.parametrize(
    ("default", "said"), [("", ("", 1800)), ("retain-1days", ("retain-1days", 86400))]
)
def test_a_copy_lives_as_without_a_policy_where_its_own_was_removed(
    with_settings, cat, copy, default, said
):
    store = with_settings(grace="1h", default_policy=default)
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s", meta=by("p"))
    if copy == "restore":
        store.release_all("s")
    store.remove_policy("p", force=True)

    assert life(store, getattr(store, copy)(ref, "t")) == said


@pytest.mark.parametrize("copy", ["share", "restore"])
def test_a_copy_with_a_ttl_of_its_own_lives_by_no_policy(with_settings, cat, copy):
    store = with_settings(grace="1h")
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s", meta=by("p", filename="cat.jpg"))
    if copy == "restore":
        store.release_all("s")

    new = getattr(store, copy)(ref, "t", "5m")

    assert (life(store, new), store.get(new).meta) == (("", 300), MediaMeta("cat.jpg"))
    store.set_policy("p", 90)
    assert length(store, new) == 300


# --- touch


@pytest.mark.parametrize("ttl", ["5m", NEVER])
def test_a_touch_with_a_ttl_takes_a_ref_out_of_its_policy(store, cat, ttl, client, settings):
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s", meta=by("p"))

    due = store.touch(ref, ttl)
    store.set_policy("p", 90)

    assert store.get(ref).expires_at == due
    assert store.get(ref).meta.policy == ""
    assert follows(client, settings) == set()


def test_a_touch_without_a_ttl_leaves_a_ref_in_its_policy(store, cat):
    store.set_policy("p", 600)
    ref = store.store(cat, scope="s", meta=by("p"))

    assert 590 < seconds_left(store.touch(ref)) <= 600
    store.set_policy("p", 900)

    assert life(store, ref) == ("p", 900)


# --- the end of a ref


@pytest.mark.parametrize("end", ["release", "close", "delete", "expire", "scope"])
def test_a_ref_leaves_its_policy_with_its_end(lab, end):
    store = lab.process()
    store.set_policy("p", 60)
    ref = store.store(lab.file("a.jpg", "a"), scope="a/x", meta=by("p"))
    if end == "scope":
        store.scope("a", ttl=30).open()
    assert known(store) == {"p": (60, 1)}

    if end in {"release", "close"}:
        store.release_all("a/x" if end == "release" else "a")
    elif end == "delete":
        store.delete_media(ref)
    lab.pass_time(61)
    store.sweep()

    assert is_gone(store, ref)
    assert known(store) == {"p": (60, 0)}
    assert lab.leftovers() == []


def test_a_withdrawn_ref_leaves_its_policy(lab):
    store = lab.process()
    store.set_policy("p", 60)
    path, perform = lab.file("a.jpg", "a"), store._ask

    def ask(step):
        answer = perform(step)
        if getattr(step, "script", "") == "store":
            path.unlink(missing_ok=True)
        return answer

    store._ask = ask
    with pytest.raises(InvalidRequest):
        store.store(path, scope="s", meta=by("p"))

    assert known(store) == {"p": (60, 0)}
    lab.settle()
    assert lab.leftovers() == []


def test_a_moved_ref_stays_in_its_policy(store, cat):
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s/x", meta=by("p"))

    store.promote(ref)
    store.set_policy("p", 90)

    assert life(store, ref) == ("p", 90)


# --- removing


def test_a_policy_that_refs_live_by_is_removed_only_by_force(store, cat, client, settings):
    store.set_policy("p", 60)
    ref = store.store(cat, scope="s", meta=by("p", cleanup=Cleanup.FORGET))
    before = index_of(client, settings)

    with pytest.raises(InvalidRequest, match="1 ref lives by policy 'p'"):
        store.remove_policy("p")

    assert index_of(client, settings) == before
    done = store.remove_policy("p", force=True)
    assert (done.name, done.moved, done.left, done.pending) == ("p", 0, 1, False)
    assert life(store, ref) == ("", 60)
    assert store.policies() == []
    assert follows(client, settings) == set()
    with pytest.raises(InvalidPolicy):
        store.store(cat, scope="s", meta=by("p"))


def test_a_policy_that_nobody_lives_by_is_removed(store):
    store.set_policy("p", 60)

    assert store.remove_policy("p").left == 0
    assert store.policies() == []


def test_only_a_policy_of_the_index_is_removed(with_settings):
    store = with_settings(policies={"voice": "10m"})
    store.set_policy("p", 60)

    with pytest.raises(InvalidPolicy, match="one of the settings"):
        store.remove_policy("voice")
    with pytest.raises(InvalidPolicy, match="did you mean 'p'"):
        store.remove_policy("pp")
