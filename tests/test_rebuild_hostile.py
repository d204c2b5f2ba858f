"""Sidecars that somebody else wrote, or that contradict each other: what is good comes back, and nothing else happens."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from mediastore import MediaMeta
from mediastore.model import Ref

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


# --- a root full of hostile sidecars


def hostile(good):
    """Return texts that are no sidecars, or none that can be believed, made of one that is good where it lies."""
    said = json.loads(good.to_text())

    def with_(outer=None, **inner):
        return json.dumps(
            said | (outer or {}) | {"mediastore": said["mediastore"] | inner}
        ).encode()

    return [
        b"",
        bytes(range(256)) * 100,
        b'{"mediastore": ' + b"[" * 60_000,
        b'{"mediastore": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        with_({"size_bytes": 1}).replace(b'"size_bytes": 1', b'"size_bytes": 1e999'),
        with_({"message_idx": float("nan")}),
        with_({"size_bytes": 7}).replace(b'"size_bytes": 7', b'"size_bytes": ' + b"7" * 5000),
        good.to_text().encode().replace(b'"format"', b'"format": 1, "format"'),
        with_(path="scopes/a\0b/x"),
        with_(path="scopes/\ud800/x"),
        with_(filename="\udfff"),
        with_(detected_type="\ud800"),
        with_({"unknown": ["\udc00"]}),
        with_(path="scopes/../../outside.txt"),
        with_(path="/etc/passwd"),
        with_(path=".mediastore/root"),
        with_(ref="media://../../../../outside"),
        with_(blob="../../outside"),
        with_(blob=10**22),
        with_(scope="s/../t"),
        with_({"timestamp": "0000-01-01T00:00:00Z"}),
        with_({"timestamp": "9999-12-31T23:59:59.999-23:59"}),
        with_({"timestamp": "2024-01-01T00:00:00+99:99"}),
        with_(expires_at="9999-12-31T23:59:59Z"),
        with_(pinned=[], filename={}),
        with_(filename="x" * 30_000),
        with_(ttl_ms=9 * 10**15),
        with_({"policy_name": "retain-99999999999days"}),
    ]


@pytest.fixture
def attacked(other, client, media, tmp_path):
    """Give a root with good sidecars among hostile ones, and an empty index; returns the good refs and the bad paths."""
    refs = [put(other, bytes([n]), scope=f"good/{n}") for n in range(12)]
    refs += [other.share(refs[0], "t") for _ in range(3)]
    other.drain()
    outside = tmp_path / "outside.txt"
    outside.write_text("outside")
    own = media / META / told_blob(media, refs[-1])
    victim = told(media)[refs[1].id]
    bad = []
    for number in range(len(hostile(victim))):
        forged = replace(victim, ref=Ref(f"media://{number:022}"))
        for blob in (own.name, f"{number:022}"):
            place = media / META / blob / f"{forged.ref.id}.meta"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(hostile(replace(forged, blob=blob))[number])
            bad.append(place)
    raw = os.fsencode(media / "scopes") + b"/\xff\x1b[31m\xe2\x80\xae.meta"
    with open(raw, "wb") as file:
        file.write(b"junk")
    bad += [media / os.fsdecode(os.path.relpath(raw, os.fsencode(media)))]
    for strange in (own / "\u202e.meta", media / META / "\u202e"):
        strange.write_bytes(b"{}")
        bad.append(strange)
    before = known(other, refs)
    client.flushall()
    return refs, before, bad, outside


def test_hostile_sidecars_are_named_and_all_good_refs_come_back(attacked, other, media, caplog):
    refs, before, bad, outside = attacked
    files, elsewhere = tree(media), sorted(outside.parent.iterdir())

    done = other.rebuild()

    assert {media / name for name in done.named} == set(bad)
    assert (done.refs, done.broken, done.missing, done.dead) == (len(refs), len(bad), 0, 0)
    assert known(other, refs) == before
    assert all(other.resolve(ref).exists() for ref in refs)
    assert sum("cannot be read as a sidecar" in line for line in caplog.messages) == len(bad)
    assert tree(media) == files
    assert other.rebuild().known == len(refs)
    other.release_all("good")
    other.release_all("t")
    other.sweep()
    assert other.stats().blobs == 0
    assert outside.read_text() == "outside"
    assert sorted(outside.parent.iterdir()) == elsewhere


def test_a_policy_by_path_passes_over_what_is_no_sidecar(other, client, media):
    ref = put(other, meta=MediaMeta(filename="x"))
    shared = other.share(ref, "t")
    other.drain()
    path = other.resolve(ref)
    directory = media / META / told_blob(media, shared)
    (directory / os.fsdecode(b"\xff.meta")).write_text("")
    (directory / "\n.meta").write_text("")

    other.apply_policy(path, "retain-2hours")

    assert {other.get(each).meta.policy for each in (ref, shared)} == {"retain-2hours"}


CENTURY_MS = 100 * 365 * 86_400_000


@pytest.mark.parametrize(
    "extreme",
    [
        {"stored_ms": 253_402_300_799_999, "expires_ms": None, "ttl_ms": CENTURY_MS},
        {"stored_ms": 0, "expires_ms": 2 * CENTURY_MS},
        {"stored_ms": 253_402_300_799_999, "expires_ms": 253_402_300_799_999, "seq": 9 * 10**15},
        {"stored_ms": 253_402_300_799_999, "expires_ms": 0},
        {
            "pinned": True,
            "expires_ms": None,
            "detected": "\U0001f600" * 63,
            "ttl_ms": 2 * CENTURY_MS,
        },
        {
            "scope": "/".join(["\U0001f600" * 15] * 8),
            "meta": MediaMeta("x" * 1024, message_idx=2**53 - 1),
        },
    ],
)
def test_the_most_that_a_sidecar_may_say_is_taken_and_read(other, client, media, extreme):
    ref = put(other)
    path = other.resolve(ref)
    said = replace(told(media)[ref.id], **extreme)
    path.with_name(path.name + ".meta").write_text(said.to_text())
    client.flushall()

    assert other.rebuild().refs == 1

    if said.expires_ms is None or said.expires_ms > said.stored_ms:
        assert other.get(ref).meta == said.meta
        other.pin(ref)
        other.unpin(ref)
        other.touch(ref)
        assert other.get(ref).scope == said.scope
    other.sweep()
    assert (ref.id in told(media)) == path.exists()
    client.flushall()
    assert other.rebuild().refs == path.exists()
