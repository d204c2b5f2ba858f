"""What `rebuild` cannot use: it says so, and leaves it alone."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mediastore import MediaStore
from mediastore.errors import InvalidRequest, InvalidRoot

from .sidecar_fixtures import PNG, known, many_lives, planted, put, sharing, told, told_blob, tree  # noqa: F401 - a fixture

# --- what cannot be used


def test_what_is_no_sidecar_is_counted_named_and_left_alone(other, client, media, caplog):
    refs = [put(other, bytes([n]), scope=f"s{n}") for n in range(8)]
    paths = [other.resolve(ref) for ref in refs]
    metas = [path.with_name(path.name + ".meta") for path in paths]
    shared = other.share(refs[0], "t")
    other.drain()
    text = metas[1].read_text()
    metas[1].write_text("junk")
    metas[2].write_text(metas[2].read_text().replace('"format": 1', '"format": 9'))
    metas[3].write_text(metas[3].read_text() + " " * 70_000)
    target = metas[4].rename(media / "elsewhere")
    metas[4].symlink_to(target)
    metas[5].unlink()
    os.mkfifo(metas[5])
    metas[6].rename(metas[7])
    (media / "scopes/stray.meta").write_text(text)
    wrong = media / ".mediastore/meta" / told_blob(media, shared)
    (wrong / f"{'x' * 22}.meta").write_bytes((wrong / f"{shared.id}.meta").read_bytes())
    (media / ".mediastore/meta/file").write_text("")
    client.flushall()
    before = {p: p.lstat() for p in media.rglob("*")}

    done = other.rebuild()

    broken = {*metas[1:6], metas[7], media / "scopes/stray.meta", wrong / f"{'x' * 22}.meta", media / ".mediastore/meta/file"}  # fmt: skip
    assert {media / name for name in done.named} == broken
    assert (done.refs, done.broken) == (2, len(broken))
    assert all(name in caplog.text for name in done.named)
    assert {p: p.lstat().st_ino for p in media.rglob("*")} == {
        p: s.st_ino for p, s in before.items()
    }
    assert {each.ref for s in other.scopes() for each in other.refs(s)} == {refs[0], shared}


@pytest.mark.parametrize("how", ["gone", "larger", "directory", "symlink"])
def test_a_ref_without_its_file_does_not_come_back(store, client, media, how):
    ref = put(store)
    store.share(ref, "t")
    store.drain()
    path = store.resolve(ref)
    if how == "larger":
        path.write_bytes(PNG + b"x")
    else:
        kept = path.rename(media / "kept")
    if how == "directory":
        path.mkdir()
    elif how == "symlink":
        path.symlink_to(kept)
    client.flushall()

    done = store.rebuild()

    assert (done.refs, done.blobs, done.missing) == (0, 0, 2)
    assert store.stats().refs == 0


def test_a_file_that_goes_between_the_look_at_it_and_the_script_is_no_ref(
    other, client, expect_empty
):
    ref = put(other)
    path = other.resolve(ref)
    client.flushall()
    ask = other._ask

    def late(step):
        if getattr(step, "script", "") == "revive":
            path.unlink()
        return ask(step)

    other._ask = late
    done = other.rebuild()

    assert (done.refs, done.missing) == (0, 1)
    other.sweep()
    expect_empty()


def test_content_that_is_called_like_a_sidecar_is_none(other, client, media):
    ref = put(other)
    path = other.resolve(ref)
    forged = told(media)[ref.id]
    other.release_all("s")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.with_name("mine.meta")
    content.write_text(forged.to_text())
    content.with_name("mine.meta.meta").write_text("its own")
    client.flushall()

    done = other.rebuild()

    assert (done.refs, done.missing, done.named) == (0, 0, ("scopes/s/mine.meta.meta",))


def test_links_out_of_the_root_are_not_followed(other, client, media, tmp_path):
    ref = put(other, scope="away")
    outside = tmp_path / "outside"
    (media / "scopes").rename(outside)
    (media / "scopes").symlink_to(outside)
    client.flushall()

    done = other.rebuild()

    assert (done.refs, done.named) == (0, ("scopes",))
    (media / "scopes").unlink()
    outside.rename(media / "scopes")
    assert other.rebuild().refs == 1
    assert other.get(ref).scope == "away"


# --- which root


def test_one_root_is_named_by_its_path_or_its_id(clients, settings, tmp_path, client):
    roots = [tmp_path / "one", tmp_path / "two"]
    refs = []
    for root in roots:
        root.mkdir()
        with MediaStore(clients(), replace(settings, roots=(str(root),))) as store:
            refs.append(put(store))
    client.flushall()
    with MediaStore(clients(), replace(settings, roots=tuple(map(str, roots)))) as store:
        ids = {place: root for root, place in store._blobs.perform(_roots()).items()}

        assert store.rebuild(roots[0]).refs == 1
        assert store.rebuild(ids[str(roots[1])]).refs == 1
        assert {each.ref for each in store.refs("s")} == set(refs)
        with pytest.raises(InvalidRequest, match="none of the roots"):
            store.rebuild(tmp_path)


def _roots():
    from mediastore import blobs

    return blobs.Roots()


def test_a_forgotten_root_is_refused(other):
    put(other)
    root = next(iter(other.stats().roots))
    other.forget_root(root, even_here=True)

    with pytest.raises(InvalidRoot, match="forgotten"):
        other.rebuild()
