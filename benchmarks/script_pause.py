"""How long each script holds the server at its bound: the law is 1 ms.

Read from the server's own slow log, so that neither the network nor Python counts. The bound is 64 refs, each with
a blob of its own and metadata; scopes are four deep.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import redis

from mediastore import MediaMeta, MediaStore, Settings
from mediastore.embedded import EmbeddedServer
from mediastore.flows import leasing, scoping
from mediastore.index.steps import BATCH, END_BATCH, digest

ROUNDS = 30
META = MediaMeta(filename="cat.jpg", content_type="image/jpeg", source="telegram")


def one_round(store: MediaStore, root: Path) -> None:
    """Do everything once with batches at their bound."""
    deep = f"chat:{secrets.token_hex(4)}/msg:1/tool:2/part:3"
    for _ in range(BATCH):
        path = root / f"{secrets.token_hex(8)}.jpg"
        path.write_bytes(b"x")
        store.store(path, scope=deep, meta=META)
    store.release_all(deep)
    for number in range(2 * BATCH):
        path = root / f"{secrets.token_hex(8)}.jpg"
        path.write_bytes(b"x")
        store.store(path, scope=f"{deep}/{number % 2}", meta=META)
    store.refs(f"{deep}/0", limit=BATCH)
    store.release_all(deep.split("/", maxsplit=1)[0])
    for number in range(BATCH):
        path = root / f"{secrets.token_hex(8)}.jpg"
        path.write_bytes(b"x")
        store.store(path, scope=f"{deep}/{number}", meta=META, ttl=0.001)
    store.sweep()
    for number in range(2 * BATCH):
        for scope in ("lost", f"waiting:{number // 8}"):
            path = root / f"{secrets.token_hex(8)}.jpg"
            path.write_bytes(b"x")
            store.store(path, scope=scope, meta=META)
    for number in range(2 * BATCH // 8):
        store.release_all(f"waiting:{number}", wait=False)
    (info,) = store.roots()
    store.forget_root(info.root, even_here=True)
    copied(root)
    store.adopt_root(root)
    store.release_all("lost")


def lifetimes(store: MediaStore, root: Path) -> None:
    """Move, lease and limit; every script at its bound, in scopes that idle on every level."""
    deep = f"chat:{secrets.token_hex(4)}/msg:1/tool:2/part:3"
    run, ctx = store._run, store._ctx
    for level in range(1, 5):
        run(scoping.open_scope(ctx, "/".join(deep.split("/")[:level]), 3600, 0.001))
    paths = [root / f"{secrets.token_hex(8)}.jpg" for _ in range(BATCH)]
    for path in paths:
        path.write_bytes(b"x")
    refs = [ref for ref in store.store_many(paths, scope=deep, meta=META) if isinstance(ref, str)]
    leases = [run(leasing.take(ctx, ref, 60)) for ref in refs]
    for ref in refs[:END_BATCH]:
        store.touch(ref)
        store.pin(ref)
        store.resolve(ref)
        store.promote(ref)
        store.share(ref, deep)
        accepted = run(leasing.accept(ctx, run(leasing.handoff(ctx, ref, 60)), 60))
        run(leasing.end(ctx, accepted))
        store.delete_media(ref)
        store.restore(ref, deep)
    for number in range(END_BATCH):
        scope = f"{deep[:-1]}{number}"
        run(scoping.open_scope(ctx, scope, 0.001, None))
        store.share(refs[-1], scope)
    store.sweep()
    store.release_all(deep.split("/", maxsplit=1)[0])
    run(leasing.renew(ctx, leases))
    for lease in leases:
        run(leasing.end(ctx, lease))
    store.sweep()


def policed(store: MediaStore, root: Path) -> None:
    """Change a policy that more refs live by than one step moves; four deep, each with metadata."""
    deep = f"chat:{secrets.token_hex(4)}/msg:1/tool:2/part:3"
    store.set_policy("short", 3600)
    meta = replace(META, policy="short")
    path = root / f"{secrets.token_hex(8)}.jpg"
    path.write_bytes(b"x")
    refs = store.store_many([path] * 2 * BATCH, scope=deep, meta=meta)
    for seconds in (7200, 1800):
        store.set_policy("short", seconds)
    for ref in refs[:END_BATCH]:
        store.apply_policy(str(ref), "retain-1days")
        store.apply_policy(str(ref), "short")
    store.remove_policy("short", force=True)
    store.release_all(deep.split("/", maxsplit=1)[0])


def copied(root: Path) -> None:
    """Write the root's marker anew, as copying does."""
    marker = root / ".mediastore" / "root"
    marker.with_name("draft").write_bytes(marker.read_bytes())
    marker.with_name("draft").rename(marker)


def main() -> None:
    """Print the pauses of each script in microseconds."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "media")
        root.mkdir()
        with EmbeddedServer(Path(directory, "server")) as server:
            client = redis.Redis.from_url(server.url, socket_timeout=300)
            client.config_set("slowlog-log-slower-than", 0)
            client.config_set("slowlog-max-len", 1_000_000)
            with MediaStore(
                None, Settings(redis_url=server.url, roots=(str(root),), grace=0.001)
            ) as store:
                store.stats()
                client.slowlog_reset()
                for _ in range(ROUNDS):
                    one_round(store, root)
                    lifetimes(store, root)
                    policed(store, root)
            report(client)
            client.close()


def report(client: redis.Redis) -> None:
    """Print one line a script: the slowest calls are those at the bound."""
    names = {digest(path.stem): path.stem for path in scripts() if not path.stem.startswith("_")}
    pauses: dict[str, list[int]] = {}
    for entry in client.slowlog_get(1_000_000):
        words = entry["command"].split()
        if words[0] == b"EVALSHA":
            pauses.setdefault(names[words[1].decode()], []).append(entry["duration"])
    print(
        f"{'script':13} {'calls':>6} {'median':>7} {'p99':>6} {'max':>6}   us; {END_BATCH} refs ended, {BATCH} blobs at most"
    )
    for name, durations in sorted(pauses.items()):
        durations.sort()
        p99 = durations[int(len(durations) * 0.99)]
        print(
            f"{name:13} {len(durations):6} {statistics.median(durations):7.0f} {p99:6} {durations[-1]:6}"
        )


def scripts() -> list[Path]:
    """List the script files."""
    import mediastore

    return sorted(Path(mediastore.__file__).parent.joinpath("lua").glob("*.lua"))


if __name__ == "__main__":
    main()
