"""Registering and resolving: what picoclaw's store promised, across processes, and what it should have refused."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest

from mediastore import NEVER, Cleanup, MediaMeta, MediaStore, Ref, Settings
from mediastore.errors import (
    FileMissing,
    InvalidPath,
    InvalidPolicy,
    InvalidRef,
    InvalidRequest,
    InvalidScope,
    NotARegularFile,
    OutsideRoots,
    RefGone,
    RefUnknown,
    WrongHost,
)

from .lab import Lab


def test_a_stored_file_resolves_to_where_it_lies(store, cat):
    ref = store.store(cat, scope="chat:42")

    assert store.resolve(ref) == cat


def test_a_ref_resolves_in_another_process_from_its_text(store, other, cat):
    sent = json.loads(json.dumps({"media": store.store(cat, scope="chat:42")}))

    assert other.resolve(sent["media"]) == cat


def test_a_ref_is_a_str_with_an_id_of_22_characters(store, cat):
    ref = store.store(cat, scope="chat:42")

    assert isinstance(ref, Ref)
    assert isinstance(ref, str)
    assert (ref[:8], len(ref.id)) == ("media://", 22)


def test_every_store_makes_a_new_ref(store, cat):
    refs = {store.store(cat, scope="chat:42") for _ in range(20)}

    assert len(refs) == 20


def test_metadata_comes_back_as_it_was(store, cat):
    meta = MediaMeta(
        filename="café \n cat.jpg", content_type="image/jpeg", source="telegram", cleanup=Cleanup.FORGET,
        run_id="r", conversation_id="c", session_id="s", message_idx=0, part_idx=7, provider_id="p",
    )  # fmt: skip

    ref = store.store(cat, scope="chat:42", meta=meta)

    assert store.resolve_with_meta(ref) == (cat, meta)


def test_no_metadata_is_empty_metadata(store, cat):
    ref = store.store(cat, scope="chat:42")

    assert store.resolve_with_meta(ref) == (cat, MediaMeta())


def test_storing_neither_copies_nor_moves_the_file(store, cat):
    before = cat.stat()

    store.store(cat, scope="chat:42")

    assert (cat.stat().st_ino, cat.read_bytes()[:2]) == (before.st_ino, b"\xff\xd8")


def test_get_tells_all_about_a_ref(store, cat, media):
    ref = store.store(cat, scope="chat:42/msg:7", ttl="1h")

    found = store.get(ref)

    assert (found.ref, found.scope, found.path) == (ref, "chat:42/msg:7", cat)
    assert (found.size_bytes, found.custody, found.state) == (cat.stat().st_size, "adopted", "live")
    assert found.expires_at - found.stored_at == timedelta(hours=1)
    assert abs(found.stored_at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "scope",
    ["", "/", "a//b", "/a", "a/", ".", "..", "a/../b", "a/./b", "a\x00b", "a\nb", "a\x85b", "\ud800",
     "x" * 513, "/".join("abcdefghi"), 7, None],
)  # fmt: skip
def test_a_bad_scope_is_refused_and_nothing_has_changed(other, cat, scope, expect_empty):
    with pytest.raises(InvalidScope):
        other.store(cat, scope=scope)
    with pytest.raises(InvalidScope):
        other.release_all(scope)

    assert other.stats().stored_refs == 0
    expect_empty()


@pytest.mark.parametrize(
    "scope",
    ["x" * 512, "a/b/c/d/e/f/g/h", "{}*?[]\\%", "spaces in it", "ünï/cödé", "a..b", "💥", "~"],
)
def test_any_other_scope_is_allowed(other, cat, scope):
    ref = other.store(cat, scope=scope)

    assert other.get(ref).scope == scope
    assert other.scopes() == [scope]
    assert other.release_all(scope).refs == 1


@pytest.mark.parametrize("ref", ["", "media://", "media://short", "file:///etc/passwd", "media://" + "x" * 65,
                                 "media://has/slash/in/the/id", "media://" + "ä" * 20, None, 7])  # fmt: skip
def test_what_is_not_a_ref_is_an_invalid_ref(other, ref):
    with pytest.raises(InvalidRef):
        other.resolve(ref)


def test_a_well_formed_ref_nobody_stored_is_unknown(store):
    with pytest.raises(RefUnknown) as caught:
        store.resolve("media://" + "A" * 22)

    assert isinstance(caught.value, KeyError)


def test_a_missing_file_is_a_file_not_found(store, media, expect_empty):
    with pytest.raises(FileMissing) as caught:
        store.store(media / "absent.jpg", scope="s")

    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, InvalidRequest)
    expect_empty()


def make_odd(kind: str, path) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        (path.parent / "target").write_text("target")
        path.symlink_to("target")


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "symlink"])
def test_only_regular_files_are_registered(other, tmp_path_factory, kind, expect_empty, media):
    # A socket's name is limited to 107 bytes, which pytest's directories can exceed.
    path = media / "odd"
    if kind == "socket" and len(str(path)) > 100:
        pytest.skip("the temporary directory is too deep for a socket")
    make_odd(kind, path)

    with pytest.raises(NotARegularFile):
        other.store(path, scope="s")

    expect_empty()


def test_a_trailing_slash_and_a_dot_name_no_file(other, media):
    for path in (f"{media}/", f"{media}/.", f"{media}/..", ""):
        with pytest.raises((NotARegularFile, OutsideRoots)):
            other.store(path, scope="s")


def test_a_path_outside_every_root_names_both_ways_out(other, tmp_path, expect_empty):
    outside = tmp_path / "outside.jpg"
    outside.write_text("x")

    with pytest.raises(OutsideRoots) as caught:
        other.store(outside, scope="s")

    assert "roots" in caught.value.hint
    assert "store_media" in caught.value.hint
    expect_empty()


def test_a_path_that_climbs_out_is_outside(other, media, tmp_path):
    (tmp_path / "outside.jpg").write_text("x")

    with pytest.raises(OutsideRoots):
        other.store(f"{media}/../outside.jpg", scope="s")


def test_a_directory_symlink_that_leads_out_is_outside(other, media, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_text("x")
    (media / "door").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutsideRoots):
        other.store(media / "door" / "a.jpg", scope="s")


@pytest.mark.parametrize("name", ["nul\x00.jpg", b"latin-\xe9.jpg", "lone-\udce9.jpg"])
def test_a_name_that_is_not_utf8_or_holds_a_nul_is_refused(other, media, name, expect_empty):
    path = os.path.join(os.fsencode(media), name) if isinstance(name, bytes) else f"{media}/{name}"

    with pytest.raises(InvalidPath):
        other.store(path, scope="s")

    expect_empty()


def test_our_own_bookkeeping_cannot_be_registered(other, cat, media):
    other.store(cat, scope="s")
    held = next((media / ".mediastore" / "held").iterdir())

    with pytest.raises(InvalidPath):
        other.store(held, scope="s")


def test_names_with_newlines_and_spaces_are_ordinary(other, make_file):
    path = make_file("a b\n%{}*.jpg")

    ref = other.store(path, scope="s")

    assert other.resolve(ref) == path
    assert other.release_all("s").deleted == 1


def test_relative_paths_are_relative_to_the_working_directory(other, cat, monkeypatch):
    monkeypatch.chdir(cat.parent)

    ref = other.store("cat.jpg", scope="s")

    assert other.resolve(ref) == cat


def test_an_unknown_cleanup_policy_is_refused():
    with pytest.raises(InvalidPolicy):
        MediaMeta(cleanup="delete_on_clenup")  # type: ignore[arg-type]


def test_metadata_must_be_metadata(other, cat):
    with pytest.raises(InvalidRequest):
        other.store(cat, scope="s", meta={"filename": "x"})


@pytest.mark.parametrize(
    "ttl", [0, -1, "0s", "soon", "", True, float("nan"), float("inf"), "1y", timedelta(0), []]
)
def test_a_bad_ttl_is_refused(other, cat, ttl, expect_empty):
    with pytest.raises(InvalidRequest):
        other.store(cat, scope="s", ttl=ttl)

    expect_empty()


def test_a_ttl_and_a_policy_together_are_refused(other, cat):
    with pytest.raises(InvalidRequest, match="not both"):
        other.store(cat, scope="s", ttl="1h", meta=MediaMeta(policy="retain-30days"))


@pytest.mark.parametrize(
    ("ttl", "policy", "seconds"),
    [("90s", "", 90), (timedelta(minutes=2), "", 120), (1.5, "", 1.5), ("12h", "", 43200), ("7d", "", 604800),
     (None, "", 1800), (None, "delete-after-10min", 600), (None, "retain-12hours", 43200),
     (None, "retain-30days", 2592000), (NEVER, "", None), ("never", "", None)],
)  # fmt: skip
def test_the_deadline_is_ttl_or_policy_or_max_age(other, cat, ttl, policy, seconds):
    ref = other.store(cat, scope="s", ttl=ttl, meta=MediaMeta(policy=policy))

    found = other.get(ref)

    kept = (
        None if found.expires_at is None else (found.expires_at - found.stored_at).total_seconds()
    )
    assert kept == seconds


@pytest.mark.parametrize("max_age", [None, 0, "never", NEVER, -5])
def test_without_a_max_age_refs_do_not_expire(clients, settings, cat, max_age):
    eternal = Settings(namespace=settings.namespace, roots=settings.roots, max_age=max_age)
    with MediaStore(clients(), eternal) as store:
        assert store.get(store.store(cat, scope="s")).expires_at is None


def test_a_file_rewritten_in_place_is_still_ours(store, cat):
    ref = store.store(cat, scope="s")
    cat.write_text("new content, same file")

    assert store.resolve(ref) == cat
    assert store.release_all("s").deleted == 1


def test_a_ref_of_another_hosts_root_names_that_host(clients, settings, cat, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    away = Settings(namespace=settings.namespace, roots=(str(tmp_path / "elsewhere"),))
    with MediaStore(clients(), settings) as here, MediaStore(clients(), away) as there:
        ref = here.store(cat, scope="s")

        with pytest.raises(WrongHost) as caught:
            there.resolve(ref)
        relative = there.get(ref).path

    assert caught.value.host == f"{socket.gethostname()}:{cat.parent}"
    assert str(relative) == "cat.jpg"


def test_a_release_elsewhere_leaves_the_file_to_the_host_that_has_it(
    clients, settings, cat, tmp_path
):
    (tmp_path / "elsewhere").mkdir()
    away = Settings(namespace=settings.namespace, roots=(str(tmp_path / "elsewhere"),))
    with MediaStore(clients(), settings) as here, MediaStore(clients(), away) as there:
        here.store(cat, scope="s")

        done = there.release_all("s")
        assert (done.refs, done.deleted, done.pending, cat.exists()) == (1, 0, 1, True)

        assert here.sweep().deleted == 1
    assert not cat.exists()


def test_two_roots_are_served_by_one_store(clients, settings, tmp_path):
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        root.mkdir()
        (root / "a.jpg").write_text(root.name)
    both = Settings(namespace=settings.namespace, roots=tuple(map(str, roots)))
    with MediaStore(clients(), both) as store:
        refs = [store.store(root / "a.jpg", scope="s") for root in roots]

        assert [store.resolve(ref).read_text() for ref in refs] == ["one", "two"]
        assert store.release_all("s").deleted == 2


def test_an_expired_ref_does_not_resolve_swept_or_not(clients, tmp_path):
    lab = Lab(clients, tmp_path / "lab")
    store = lab.process()
    ref = store.store(lab.file("a.jpg", "a"), scope="s", ttl=10)
    lab.pass_time(10)

    with pytest.raises(RefGone) as before:
        store.resolve(ref)
    assert store.clean_expired() == 1
    with pytest.raises(RefGone) as after:
        store.resolve(ref)

    assert (before.value.reason, after.value.reason) == ("expired", "expired")


def test_refs_and_files_survive_every_client(clients, settings, cat):
    with MediaStore(clients(), settings) as first:
        ref = first.store(cat, scope="s")
    with MediaStore(clients(), settings) as second:
        assert second.resolve(ref) == cat
