"""What the tests of sidecars share: what lies on the disk, and what a store says of refs."""

from __future__ import annotations

from dataclasses import replace

from mediastore import MediaContent, MediaMeta
from mediastore.index.steps import prefix
from mediastore.sidecars import Sidecar

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + b"\x00" * 64


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
