"""Applying a policy by the path of a file, as PromptKit has it: to the refs that its sidecars tell of."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mediastore import MediaContent, MediaStore
from mediastore.errors import FileMissing, InvalidPolicy, InvalidRef, InvalidRequest, RefGone

from .test_content import PNG

CONTENT = MediaContent(data=PNG)


def life(store, ref):
    media = store.get(ref)
    return media.meta.policy, media.expires_at - media.stored_at


@pytest.mark.parametrize("spell", [lambda path: path, str], ids=["path", "text"])
def test_the_ref_of_the_file_gets_the_policy(store, spell):
    ref = store.store_media(CONTENT, scope="s")

    due = store.apply_policy(spell(store.resolve(ref)), "retain-2hours")

    assert life(store, ref) == ("retain-2hours", timedelta(hours=2))
    assert due == store.get(ref).expires_at


def test_every_ref_of_the_file_gets_it_and_the_last_deadline_is_told(clients, settings, lab):
    with MediaStore(clients(), replace(settings, dedup=True)) as store:
        refs = [store.store_media(CONTENT, scope=scope) for scope in "ab"]
        refs.append(store.share(refs[0], "c"))
        store.drain()

        due = store.apply_policy(store.resolve(refs[0]), "retain-2hours")

        assert {life(store, ref) for ref in refs} == {("retain-2hours", timedelta(hours=2))}
        assert due == max(store.get(ref).expires_at for ref in refs)  # type: ignore[type-var]


def test_no_deadline_is_told_of_a_file_that_a_pinned_ref_keeps(store):
    ref = store.store_media(CONTENT, scope="s")
    pinned = store.share(ref, "t")
    store.drain()
    store.pin(pinned)

    assert store.apply_policy(store.resolve(ref), "retain-2hours") is None

    assert life(store, ref) == ("retain-2hours", timedelta(hours=2))


def test_a_ref_that_has_ended_is_passed_over(clients, settings):
    with MediaStore(clients(), replace(settings, dedup=True)) as store:
        first, second = (store.store_media(CONTENT, scope=scope) for scope in "ab")
        store.delete_media(first)

        store.apply_policy(store.resolve(second), "retain-2hours")

        assert life(store, second)[0] == "retain-2hours"


def test_a_file_whose_refs_have_all_ended_says_so(clients, settings):
    with MediaStore(clients(), replace(settings, grace=60)) as store:
        ref = store.store_media(CONTENT, scope="s")
        path = store.resolve(ref)
        store.delete_media(ref)

        with pytest.raises(RefGone):
            store.apply_policy(path, "retain-2hours")


def test_a_file_that_no_sidecar_tells_of_is_refused(store, clients, settings, cat, tmp_path):
    store.store(cat, scope="s")
    with MediaStore(clients(), replace(settings, sidecars=False)) as bare:
        silent = bare.resolve(bare.store_media(CONTENT, scope="s"))
    outside = tmp_path / "outside"
    outside.write_bytes(PNG)

    for path in (cat, silent, outside):
        with pytest.raises(InvalidRequest, match="name the ref"):
            store.apply_policy(path, "retain-2hours")


def test_what_is_no_file_no_ref_or_no_policy_is_refused(store, media):
    ref = store.store_media(CONTENT, scope="s")

    with pytest.raises(FileMissing):
        store.apply_policy(media / "none", "retain-2hours")
    with pytest.raises(InvalidRef):
        store.apply_policy("neither", "retain-2hours")
    with pytest.raises(InvalidPolicy):
        store.apply_policy(store.resolve(ref), "retain-0hours")

    assert life(store, ref)[0] == ""


def test_a_sidecar_of_another_file_tells_nothing(store, media):
    refs = [store.store_media(CONTENT, scope="s") for _ in range(2)]
    theirs, ours = (store.resolve(ref) for ref in refs)
    ours.with_name(f"{ours.name}.meta").write_bytes(
        theirs.with_name(f"{theirs.name}.meta").read_bytes()
    )

    with pytest.raises(InvalidRequest, match="name the ref"):
        store.apply_policy(ours, "retain-2hours")

    assert life(store, refs[0])[0] == ""
