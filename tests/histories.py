"""Histories: short lives of a namespace that between them run every script which changes the index."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mediastore import Cleanup, MediaContent, MediaMeta
from mediastore.errors import QuotaExceeded
from mediastore.flows import leasing, scoping
from mediastore.index import changes, content, epochs, lives, policies, roots, sidecars
from mediastore.index.steps import prefix
from mediastore.journal import Bound, Held, Outcome
from mediastore.lifetimes import Taken
from mediastore.model import Ref
from mediastore.sidecars import Sidecar

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


def shared(lab, process):
    """One file in two scopes, released one by one, stored again while its blob waits in the trash."""
    cat = lab.file("a.jpg", "a")
    for scope in ("s", "t", "t"):
        process.store(cat, scope=scope)
    process.release_all("s")
    process.release_all("t", wait=False)
    process.store(cat, scope="s")
    process.store(cat, scope="u", meta=FORGET)
    process.release_all("s")
    process.release_all("u")
    process.release_all("u")
    process.store(cat, scope="u")


def hidden(lab, process):
    """Count what lives under a held link only, and that it has gone."""
    cat = lab.file("a.jpg", "a")
    process.store(cat, scope="s")
    cat.unlink()
    process.sweep()
    process.delete_path(cat)
    process.sweep()


def tree(lab, process):
    for number, scope in enumerate(["s", "s/x", "s/x/y", "s/z", "s/x"]):
        process.store(lab.file(f"{number}.jpg", str(number)), scope=scope)
    process.release_all("s/x", wait=False)
    process.store(lab.root / "1.jpg", scope="s/x/y")
    process.release_all("s", wait=False)
    process.store(lab.file("9.jpg", "9"), scope="s/x")
    process.drain()
    process.release_all("s")


def expired(lab, process):
    for name, ttl in (("a.jpg", 5), ("b.jpg", 8), ("b.jpg", 600)):
        process.store(lab.file(name, name), scope="s/x", ttl=ttl)
        lab.pass_time(1)
    lab.pass_time(5)
    process.clean_expired()
    process.store(lab.file("a.jpg", "again"), scope="s")
    process.release_all("s", wait=False)
    lab.pass_time(5)
    process.sweep()


def ident(name):
    return name.ljust(22, "0")


def register(process, name):
    """Store a file of a root that is only a name, with ids that are known."""
    held = Held("root", "a.jpg", 1, "link:1", "1:1:1", "adopted")
    ids = ident(f"r{name}"), ident(f"b{name}")
    return process._ask(changes.store(*ids, "s", held, None, MediaMeta()))


def claim(process, token, hold_ms, *blobs):
    process._ask(changes.claim("root", ident(token), f"claim {token}", hold_ms, blobs))


def acknowledge(process, token, *outcome):
    said = [Outcome(*outcome)]
    process._ask(changes.acknowledge("root", ident(token), f"acknowledge {token}", said))


def failing(lab, process):
    """A blob that cannot be deleted at first, and one that never can."""
    register(process, "1")
    process.release_all("s", wait=False)
    claim(process, "t1", 30_000)
    acknowledge(process, "t1", ident("b1"), 0, "EBUSY")
    lab.pass_time(2)
    claim(process, "t2", 30_000)
    acknowledge(process, "t2", ident("b1"), 1)
    register(process, "2")
    process.release_all("s", wait=False)
    claim(process, "t3", 30_000)
    acknowledge(process, "t3", ident("b2"), 0, "EPERM", True)


def lapsed(lab, process):
    """A claim that another sweeper takes over; its first holder acknowledges too late."""
    register(process, "1")
    process.release_all("s", wait=False)
    claim(process, "t1", 10_000, ident("b1"))
    claim(process, "t2", 10_000)
    lab.pass_time(11)
    claim(process, "t3", 30_000)
    acknowledge(process, "t1", ident("b1"), 1)
    acknowledge(process, "t3", ident("b1"), 1)


def refused(lab, process):
    """A store refused for lack of memory whose twin comes late, and one whose twin came before."""
    process._ask(changes.refuse(ident("r1"), ident("b1")))
    register(process, "1")
    register(process, "2")
    process._ask(changes.refuse(ident("r2"), ident("b2")))
    process.release_all("s", wait=False)
    register(process, "3")
    process.release_all("s", wait=False)
    process._ask(changes.refuse(ident("r3"), ident("b3")))


def busy(lab, process):
    """A store of a path whose blob is just being deleted."""
    register(process, "1")
    process.release_all("s", wait=False)
    claim(process, "t1", 30_000)
    register(process, "2")
    process._ask(changes.refuse(ident("r2"), ident("b2")))
    acknowledge(process, "t1", ident("b1"), 1)


def withdrawn(lab, process):
    """Two refs whose file went while they were being stored."""
    for name in ("1", "2"):
        register(process, name)
    for name in ("2", "1"):
        process._ask(changes.withdraw(ident(f"r{name}"), f"withdraw {name}", process._ctx.terms))
    claim(process, "t1", 30_000)
    acknowledge(process, "t1", ident("b1"), 1)


def forgotten(lab, process):
    """A root is forgotten with a blob waiting, one claimed and one live; it comes back and is adopted."""
    lab.client.hset(f"{prefix(lab.namespace)}roots", "root", "host:/media")
    for name in ("1", "2"):
        held = Held("root", f"{name}.jpg", 1, f"link:{name}", f"{name}:1:1", "adopted")
        ids = ident(f"r{name}"), ident(f"b{name}")
        process._ask(changes.store(*ids, "s", held, None, MediaMeta()))
    register(process, "3")
    process.release_all("s", wait=False)
    claim(process, "t1", 30_000, ident("b1"))
    process._ask(changes.store(ident("r4"), ident("b4"), "t", HELD, None, MediaMeta()))
    process._ask(roots.forget("root", "forget"))
    process._ask(roots.adopt("root", "host:/new", "adopt", copied=True))
    bound = Bound(ident("b4"), "4.jpg", "link:4", "link:5")
    process._ask(roots.rebind("root", "host:/new", "rebind", [bound]))


def moving(lab, process):
    """Refs that move, end by hand and come back; a scope whose deadline passes."""
    cat = lab.file("a.jpg", "a")
    ref = process.store(cat, scope="s/x", ttl=30)
    for change in (process.touch, process.pin, process.unpin, process.promote):
        change(ref)
        lab.pass_time(1)
    process.transfer(ref, "t/u")
    shared = process.share(ref, "s", ttl=20)
    process.delete_media(ref)
    process.restore(ref)
    process.delete_media(shared)
    process._run(scoping.open_scope(process._ctx, "t", 10, 5))
    lab.pass_time(1)
    process.resolve(process.refs("t/u")[-1].ref)
    lab.pass_time(12)
    process.sweep()


def leased(lab, process):
    """A lease that is renewed past the end of its ref, one that is handed over, one that lapses."""
    ref = process.store(lab.file("a.jpg", "a"), scope="s")
    first = process._run(leasing.take(process._ctx, ref, 10))
    token = process._run(leasing.handoff(process._ctx, ref, 20))
    process.release_all("s")
    lab.pass_time(5)
    process._run(leasing.renew(process._ctx, [first]))
    second = process._run(leasing.accept(process._ctx, token, 15))
    process._run(leasing.end(process._ctx, first))
    lab.pass_time(20)
    process._run(leasing.renew(process._ctx, [second]))
    process._run(leasing.end(process._ctx, second))


NOWHERE = Path("none")


class Writer:
    """Content on its way into a root that is only a name, with ids that are known; its hash is its first byte."""

    def __init__(self, process, name, sha=""):
        self.process, self.name, self.blob = process, name, ident(f"b{name}")
        self.wish = content.Wish(ident(f"r{name}"), self.blob, "s/x", None, MediaMeta())
        self.hold = content.Hold(ident(f"t{name}"), 10_000, 60_000, "writer:here:1")
        self.reserve(sha)

    def reserve(self, sha="", *, again=False):
        place = content.Place("root", f"content/{self.name}{sha}", 1, sha)
        op = f"reserve {self.name}{sha}{again}"
        self.said = self.process._ask(
            content.reserve(self.wish, place, self.hold, op, again=again)
        ).verdict

    def commit(self, sha=""):
        at_ms = self.process.lab.now_ms()
        command = content.commit(self.wish, self.hold.token, 1, sha, at_ms, "5:6")
        self.said = self.process._ask(command).verdict

    def renew(self):
        ref = Ref(f"media://{self.wish.ref}")
        taken = Taken(ref, self.blob, "root", self.hold.token, NOWHERE, MediaMeta(), "", 10_000, 0)
        self.process._ask(lives.renew([taken], f"renew {self.name}"))


def written(lab, process):
    """Content is written, joined at each of the moments where it can be, given up, and written anew once it has gone."""
    first, second = Writer(process, "1"), Writer(process, "2")
    first.reserve("x", again=True)
    first.commit("x")
    early, late = Writer(process, "3", "x"), Writer(process, "4")
    late.reserve("x", again=True)
    second.commit("x")
    given_up = Writer(process, "5")
    process._ask(content.abandon(given_up.blob))
    claim(process, "t1", 30_000)
    gone = [Outcome(writer.blob, 1) for writer in (second, late, given_up)]
    process._ask(changes.acknowledge("root", ident("t1"), "acknowledge t1", gone))
    process._ask(changes.release("s", "release", changes.Terms(60_000, grace_ms=5_000)))
    process._ask(changes.drain("s", "drain", changes.Terms(60_000, grace_ms=5_000)))
    rescued = Writer(process, "6", "x")
    process.release_all("s", wait=False)
    process.drain()
    claim(process, "t2", 30_000)
    anew = Writer(process, "7", "x")
    said = [writer.said for writer in (first, early, late, second, rescued, anew)]
    assert said == ["new", "joined", "joined", "joined", "joined", "reserved"]


def outlived(lab, process):
    """Writers that are too slow: one was renewed and is in time, a sweeper has taken the others; one root is forgotten."""
    lab.client.hset(f"{prefix(lab.namespace)}roots", "root", "host:/media")
    renewed, slow, slower = (Writer(process, name) for name in "123")
    lab.pass_time(6)
    renewed.renew()
    lab.pass_time(6)
    claim(process, "t1", 30_000)
    renewed.commit()
    slow.commit()
    slower.reserve("x", again=True)
    acknowledge(process, "t1", slow.blob, 1)
    last = Writer(process, "4")
    process._ask(roots.forget("root", "forget"))
    last.commit()
    never = Writer(process, "5")
    said = [writer.said for writer in (renewed, slow, slower, last, never)]
    assert said == ["new", "lost", "lost", "lost", "forgotten"]


def handed(lab, process):
    """Content through the public methods."""
    process.store_media(MediaContent(data=b"abc"), scope="s")
    process.store_media(MediaContent(data=iter([b"a", b"bc"])), scope="s", ttl=5)
    lab.pass_time(6)
    process.sweep()
    process.release_all("s")


def policed(lab, process):
    """Refs that live by a policy, which is changed, changed again before that is done, and removed."""
    process.set_policy("short", 30)
    meta = MediaMeta(policy="short")
    cat = lab.file("a.jpg", "a")
    refs = [process.store(cat, scope="s", meta=meta) for _ in range(4)]
    process.pin(refs[0])
    process.set_policy("short", 20)
    process._ask(policies.set_policy("short", 15_000, "halfway"))
    process.touch(refs[1])
    process.apply_policy(refs[2], "retain-1hours")
    process.apply_policy(process.share(refs[3], "t"), None)
    process.sweep()
    lab.pass_time(16)
    process.sweep()
    process.remove_policy("short", force=True)
    process.release_all("s")


def told(lab, process):
    """Content whose sidecars follow it, and a ref that comes back by one."""
    ref = process.store_media(MediaContent(data=b"abc"), scope="s")
    process.touch(process.share(ref, "t"), 50)
    process.drain()
    process.delete_media(ref)
    process.drain()
    found = Sidecar(
        Ref(f"media://{ident('r9')}"), ident("b9"), "s", 1, lab.now_ms(), lab.now_ms() + 5_000,
        MediaMeta(), path="content/9",
    )  # fmt: skip
    keeping = sidecars.Keeping(1_000, "here:1", ident("t9"))
    process._ask(sidecars.revive("root", [(found, True)], keeping, "revive"))
    process.release_all("t")


def limited(lab, process):
    """Quotas that are set, met by one ref too many, and lifted."""
    process.set_quota(max_refs=2, scope_max_refs=1)
    process.store_media(MediaContent(data=b"abc"), scope="s")
    with suppress(QuotaExceeded):
        process.store_media(MediaContent(data=b"abc"), scope="s")
    process.set_quota("s", max_refs=5)
    process.allow_breaker("1h")
    process.store_media(MediaContent(data=b"abc"), scope="s")
    process.release_all("s")


def frozen(lab, process):
    """A server's clock that lies and is mended, and an index that is accepted as it is."""
    process.store(lab.file("f.jpg", "f"), scope="s", ttl=5)
    process._ask(epochs.clock(7_200.0, "here", "clock 1"))
    lab.pass_time(6)
    process.sweep()
    process._ask(epochs.clock(0.0, "here", "clock 2"))
    process.accept_epoch()
    process.sweep()
    process.release_all("s")


HELD = Held("root", "4.jpg", 1, "link:4", "4:1:1", "adopted")
HISTORIES = [
    frozen,
    hidden,
    limited,
    written,
    outlived,
    handed,
    moving,
    policed,
    told,
    leased,
    forgotten,
    shared,
    tree,
    expired,
    failing,
    lapsed,
    refused,
    busy,
    withdrawn,
]
