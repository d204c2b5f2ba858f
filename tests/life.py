"""A life: every public method called once, for tests that ask whether each of them keeps its word."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
import redis
import redis.asyncio

from mediastore import AsyncMediaStore, Cleanup, MediaContent, MediaMeta, MediaStore, Settings
from mediastore.errors import MediaStoreError
from mediastore.model import ReleasePlan

from .conftest import Blocking

REF = "media://" + "0" * 22
ROOT = "0" * 22
HANDED = f"media-lease://{ROOT}.{ROOT}.{ROOT}"
#: A call of each public method that talks to the index.
CALLS = {
    "store": lambda store, path: store.store(path, scope="s"),
    "resolve": lambda store, _: store.resolve(REF),
    "resolve_with_meta": lambda store, _: store.resolve_with_meta(REF),
    "get": lambda store, _: store.get(REF),
    "release_all": lambda store, _: store.release_all("s"),
    "clean_expired": lambda store, _: store.clean_expired(),
    "sweep": lambda store, _: store.sweep(),
    "drain": lambda store, _: store.drain(),
    "refs": lambda store, _: store.refs("s"),
    "scopes": lambda store, _: store.scopes(),
    "stats": lambda store, _: store.stats(),
    "plan_release": lambda store, _: store.plan_release("s"),
    "touch": lambda store, _: store.touch(REF),
    "pin": lambda store, _: store.pin(REF),
    "unpin": lambda store, _: store.unpin(REF),
    "transfer": lambda store, _: store.transfer(REF, "s"),
    "promote": lambda store, _: store.promote(REF),
    "share": lambda store, _: store.share(REF, "s"),
    "delete_media": lambda store, _: store.delete_media(REF),
    "refs_at": lambda store, path: store.refs_at(path),
    "delete_path": lambda store, path: store.delete_path(path),
    "restore": lambda store, _: store.restore(REF),
    "tombstone": lambda store, _: store.tombstone(REF),
    "waiting": lambda store, _: store.waiting("s"),
    "scope_deadlines": lambda store, _: store.scope_deadlines("s"),
    "take_lease": lambda store, _: store.take_lease(REF),
    "lease": lambda store, _: store.lease(REF).__enter__(),
    "open": lambda store, _: store.open(REF).__enter__(),
    "handoff": lambda store, _: store.handoff(REF),
    "accept": lambda store, _: store.accept(HANDED),
    "leases": lambda store, _: store.leases(REF),
    "store_media": lambda store, _: store.store_media(MediaContent(data=b"e"), scope="s"),
    "writer": lambda store, _: store.writer(scope="s").__enter__(),
    "retrieve_media": lambda store, _: store.retrieve_media(REF),
    "get_url": lambda store, _: store.get_url(REF),
    "get_base64": lambda store, _: store.get_base64(REF),
    "get_data_url": lambda store, _: store.get_data_url(REF),
    "set_quota": lambda store, _: store.set_quota(max_bytes=1),
    "quota": lambda store, _: store.quota(),
    "store_many": lambda store, path: store.store_many([path], scope="s"),
    "resolve_many": lambda store, _: store.resolve_many([REF]),
    "release_many": lambda store, _: store.release_many(["s"]),
    "set_policy": lambda store, _: store.set_policy("short", 60),
    "policies": lambda store, _: store.policies(),
    "remove_policy": lambda store, _: store.remove_policy("short"),
    "apply_policy": lambda store, _: store.apply_policy(REF, "short"),
    "enforce_policy": lambda store, _: store.enforce_policy(),
    "rebuild": lambda store, _: store.rebuild(),
    "epoch": lambda store, _: store.epoch(),
    "accept_epoch": lambda store, _: store.accept_epoch(),
    "breaker": lambda store, _: store.breaker(),
    "allow_breaker": lambda store, _: store.allow_breaker("1h"),
    "roots": lambda store, _: store.roots(),
    "forget_root": lambda store, _: store.forget_root(ROOT, even_here=True),
    "adopt_root": lambda store, path: (inner(store)._blobs.roots(), store.adopt_root(path.parent)),
    "execute": lambda store, _: store.execute(ReleasePlan("s", 0, 0, 0, 0, 1)),
}


def inner(store):
    return store._store if isinstance(store, Blocking) else store


def life(store, media):
    """Call every public method; return what they said."""
    for name in ("a", "b", "c", "d"):
        (media / name).write_text(name)
    meta = MediaMeta(filename="é", message_idx=3, source="bot")
    refs = [
        store.store(media / "a", scope="s/é", meta=meta),
        store.store(media / "a", scope="s"),
        store.store(media / "b", scope="s", meta=MediaMeta(cleanup=Cleanup.FORGET)),
        store.store(media / "c", scope="t", ttl=1),
        store.store(media / "d", scope="u"),
    ]
    said = [refs, *(store.resolve(ref) for ref in refs), store.resolve_with_meta(refs[0])]
    said += [store.get(refs[0]), store.get(refs[2]), store.stats(), store.scopes(), store.refs("s")]
    said += hands(store, "s")
    said += [*holds(store, refs[1]), *moves(store, refs[4]), *crowds(store, media)]
    said += rules(store, media)
    plan = store.plan_release("s")
    said += [plan, store.execute(plan), store.release_all("u", wait=False), store.drain()]
    store._speech.now = lambda: 1_900_000_200_000  # so that old tombstones go
    said += [store.clean_expired(), store.sweep(), store.scopes(), store.stats()]
    said += [store.roots(), store.forget_root(next(iter(store.stats().roots)), even_here=True)]
    said += [store.roots(), store.adopt_root(media), store.roots(), store.stats()]
    said += [store.epoch(), store.accept_epoch(), store.epoch()]
    said += [store.breaker(), store.allow_breaker("1h")]
    for ref in (*refs, "media://" + "0" * 22):
        with pytest.raises(MediaStoreError) as caught:
            store.resolve(ref)
        said.append(caught.value)
    return said


def hands(store, scope):
    """Call the methods that take content and give it back."""
    meta = MediaMeta(session_id="é", filename="e.txt")
    refs = [
        store.store_media(MediaContent(data=b"e"), meta=meta, ttl=60),
        store.store_media(MediaContent(data=iter([b"e" * 9, b"f"])), scope=scope),
    ]
    with store.writer(scope=scope, meta=MediaMeta(content_type="text/plain")) as draft:
        draft.path.write_bytes(b"by hand")
    said = [store.retrieve_media(draft.ref), store.get_url(draft.ref), store.get_base64(draft.ref)]
    said += [
        draft.ref,
        store.get_data_url(draft.ref),
        store.set_quota(max_refs=1000, scope_max_refs=1000),
    ]
    said += [store.quota(), store.quota(scope), store.get(refs[1])]
    said += [store.rebuild(), store.rebuild(dry_run=True)]
    return [*refs, *said, *(store.resolve_with_meta(ref) for ref in refs)]


def holds(store, ref):
    """Call the methods that keep bytes in use."""
    held = store.take_lease(ref)
    said = [held.path, held.meta, held.expires_at, held.renew("2m"), store.leases(ref), held.end()]
    with store.lease(ref) as held, store.open(ref) as file:
        said += [held.path, held.lost, file.read(), store.leases(ref)]
    token = store.handoff(ref)
    with store.accept(token) as held:
        return [*said, token, held.path, held.expires_at, store.leases(ref)]


def moves(store, ref):
    """Call the methods that move a ref."""
    said = [store.touch(ref), store.pin(ref), store.get(ref), store.unpin(ref)]
    said += [store.transfer(ref, "v/w"), store.promote(ref), store.share(ref, "u"), store.get(ref)]
    said += [store.delete_media(ref), store.tombstone(ref), store.restore(ref, ttl=60)]
    said += [store.waiting("v"), store.scope_deadlines("v/w")]
    return [*said, store.refs("v"), store.stats()]


def crowds(store, media):
    """Call the methods that act on many at once."""
    refs = store.store_many([media / "a", media / "none"], scope="w")
    said = [refs, store.resolve_many([*refs[:1], "x"]), store.release_many(["w", "", "w"])]
    said += [store.refs_at(media / "a"), store.delete_path(media / "c")]
    with store.scope("x", ttl=60, idle=60):
        ref = store.store(media / "a")
        return [*said, str(store.current_scope()), store.get(ref), store.release_all("x")]


def rules(store, media):
    """Call the methods that let refs live by policies."""
    ref = store.store(media / "a", scope="y")
    said = [store.set_policy("short", "1h"), store.apply_policy(ref, "short")]
    by = store.store(media / "a", scope="y", meta=MediaMeta(policy="short"))
    said += [store.get(by), store.touch(by), store.set_policy("short", "retain-2hours")]
    said += [store.policies(), store.get(by), store.get(ref), store.enforce_policy()]
    said += [store.remove_policy("short", force=True), store.policies(), store.get(by)]
    return [*said, store.release_all("y")]


def told(store, media):
    """Return the answers of a life with fixed ids and a fixed clock, as text."""
    inner = getattr(store, "_store", store)
    numbers = itertools.count()
    inner._ctx = replace(inner._ctx, new_id=lambda: f"{next(numbers):022}")
    inner._speech.now = lambda: 1_900_000_000_000
    answers = [repr(answer) for answer in life(store, media)]
    root = next(iter(inner._blobs.roots()))
    return [answer.replace(root, "ROOT").replace(str(media), "MEDIA") for answer in answers]


def listen(url, media, namespace, *, awaited, **options):
    """Return what a life looks like through a client of one kind."""
    media.mkdir()
    settings = Settings(namespace=namespace, roots=(str(media),), tombstones=4)
    if not awaited:
        with redis.Redis.from_url(url, **options) as client, MediaStore(client, settings) as store:
            return told(store, media)
    with asyncio.Runner() as runner:
        remote = redis.asyncio.Redis.from_url(url, **options)
        try:
            return told(Blocking(AsyncMediaStore(remote, settings), runner.get_loop()), media)
        finally:
            runner.run(remote.aclose())
