"""What the tests of sidecars share: what lies on the disk, and what a store says of refs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediastore import MediaContent, MediaMeta, MediaStore
from mediastore.index.steps import prefix
from mediastore.sidecars import Sidecar

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + b"\x00" * 64


@pytest.fixture
def sharing(clients, settings):
    """Give a store that keeps equal content once."""
    with MediaStore(clients(), replace(settings, dedup=True)) as made:
        yield made


def put(store, data=PNG, scope="s", **named):
    """Hand content over."""
    meta = named.pop("meta", MediaMeta(filename="cat.png", source="bot", message_idx=3))
    return store.store_media(MediaContent(data=data), scope=scope, meta=meta, **named)


def told(media):
    """Return what the sidecars of a root tell, by the id of the ref."""
    found = [Sidecar.parse(path.read_bytes()) for path in media.rglob("*.meta")]
    assert len({each.ref for each in found}) == len(found)
    return {each.ref.id: each for each in found}


def tree(media):
    """Return everything in a root, with what is in it; the directories of calls in flight left out."""
    return {
        str(path.relative_to(media)): path.read_bytes() if path.is_file() else b""
        for path in media.rglob("*")
    }


def known(store, refs):
    """Return what a store says of refs, but for their place in store order."""
    return [replace(store.get(ref), seq=0) for ref in refs]


def journal(client, settings):
    """Return the entries that wait to be written."""
    keys = client.scan_iter(match=f"{prefix(settings.namespace)}meta:*")
    return [member for key in keys for member in client.zrange(key, 0, -1)]


def many_lives(store):
    """Leave refs of every kind; returns those that live."""
    first = put(store, scope="s", ttl="30m")
    second = put(
        store, iter([b"second"]), scope="s/x", meta=MediaMeta(run_id="é", policy="retain-2hours")
    )
    joined = put(store, scope="t", ttl="1h")
    pinned = store.share(first, "u", ttl="never")
    store.pin(pinned)
    touched = store.share(second, "u", ttl=600)
    store.touch(touched, "3h")
    moved = store.share(second, "v/w", ttl=600)
    store.transfer(moved, "x")
    promoted = store.share(second, "v/w", ttl=600)
    store.promote(promoted)
    kept = store.share(joined, "y", ttl=600)
    store.pin(kept)
    dead = put(store, b"dead", scope="dead")
    ended = store.share(joined, "y")
    store.drain()
    for ref in (dead, ended, first):
        store.delete_media(ref)
    store.drain()
    return [second, joined, pinned, touched, moved, promoted, kept], [dead, ended, first]


def planted(media, ref):
    """Return the sidecar of a ref, to be put back later."""
    path = next(p for p in media.rglob("*.meta") if Sidecar.parse(p.read_bytes()).ref == ref)
    text = path.read_bytes()

    def put_back():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)

    return put_back


def told_blob(media, ref):
    """Return the blob of a further ref."""
    return next(p.parent.name for p in media.rglob(f"{ref.id}.meta"))
