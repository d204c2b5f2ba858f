"""An index with something in every kind of key, every step that uses it, and the keys that each step looks at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mediastore import MediaMeta
from mediastore.connection import Link
from mediastore.index import (
    breaker,
    changes,
    content,
    epochs,
    listing,
    lives,
    policies,
    presence,
    quotas,
    reads,
    roots,
    sidecars,
)
from mediastore.index.epochs import Looks
from mediastore.index.steps import prefix
from mediastore.journal import Bound, Held, Hidden, Outcome
from mediastore.lifetimes import Handoff, Taken
from mediastore.model import Ref, from_ms
from mediastore.sidecars import Sidecar
from mediastore.speech import Speech

from .test_index import dump

NOW_MS = 1_900_000_000_000
LONG_MS = 86_400_000
TERMS = changes.Terms(LONG_MS)


def ident(name):
    return name.ljust(22, "0")


#: What the root shows.
ENTRY = f"1.{NOW_MS}.{ident('e1')}"
LOOKS = Looks(1_000, {"root": ENTRY})
FULL, SPARED = changes.Barrier("here", "ENOSPC"), Outcome(ident("b18"), kind="spared", found="fifo")
#: What is due of all this is too much, but for the policy that is being changed.
WARY = Looks(1_000, {"root": ENTRY}, "1 0")


class Index:
    """A namespace with something in every kind of key, and steps that use them."""

    def __init__(self, client, namespace):
        self.client, self.namespace, self.now = client, namespace, NOW_MS
        self.link = Link(client, Speech(namespace, lambda: self.now))

    def do(self, *steps):
        for step in steps:
            self.link.perform(step)

    def register(self, name, scope, *, life=None, policy=""):
        meta = replace(META, policy=policy)
        self.do(changes.store(ident(f"r{name}"), ident(f"b{name}"), scope, held(name), life, meta))

    def fill(self):
        places = {name: f"host:/{name}" for name in ("root", "gone", "last", "own", "told")}
        self.do(changes.open_index(places))
        self.have_epochs()
        lost = Held("gone", "lost.jpg", 1, "link:31", "31:1:1", "adopted")
        self.do(changes.store(ident("r31"), ident("b31"), "lost", lost, None, META))
        self.do(roots.forget("gone", "op8"))
        for name, scope in {"1": "s/x", "2": "small", "4": "closed/x", "5": "closed"}.items():
            self.register(name, scope)
        self.register("3", "due/x", life=1000)
        for name in ("13", "14"):
            self.register(name, "kept/x")
        self.live_by_policies()
        for name, scope in {"13": "kept/x", "15": "kept/y"}.items():
            self.do(
                lives.lease(ident(f"r{name}"), ident(f"t{name}"), 60_000, LONG_MS, "here:1", f"op1{name}"),
                lives.limit(scope, 1_000 if name == "15" else 60_000, 60_000, f"op2{name}"),
            )  # fmt: skip
        self.do(
            changes.delete(ident("r13"), "op9", replace(TERMS, grace_ms=10_000)),
            changes.delete(ident("r14"), "op11", replace(TERMS, grace_ms=10_000)),
        )
        for name in ("6", "7", "8", "9", "18"):
            self.register(name, "cut/x")
        for name in ("21", "22"):
            lent = Held("root", "lent.jpg", 1, f"inode:{name}", f"{name}:1:1", "borrowed")
            self.do(changes.store(ident(f"r{name}"), ident(f"b{name}"), "lent", lent, None, META))
        self.do(
            changes.release("cut", "op1", TERMS), changes.drain("cut", "op2", TERMS),
            changes.claim("root", ident("t6"), "op3", 30_000, [ident("b6"), ident("b18")]),
            changes.acknowledge("root", ident("t6"), "op4", [SPARED, Outcome(ident("b6"), 0, "EPERM", True)]),
            changes.claim("root", ident("t8"), "op5", 60_000, [ident("b8")]),
            changes.claim("root", ident("t9"), "op6", 1_000, [ident("b9")]),
            changes.claim("root", ident("t7"), "op10", 1_000, [ident("b7")], barrier=FULL),
            changes.release("closed", "op7", TERMS),
            presence.seen(["worker:w1@here"], self.now),
        )  # fmt: skip
        self.write()
        self.tell()
        self.now += 2_000
        return self.dump()

    def have_epochs(self):
        """Make a chain, and leave what each of its keys may hold."""
        self.do(epochs.tick("root", "", 1_000, ident("e1"), "op30", sure=True))
        start = prefix(self.namespace)
        self.client.hset(f"{start}frozen", "other", f"{NOW_MS} 1 1")
        self.client.hset(f"{start}breaker", mapping={"1": 0, "allowed": 0})
        self.client.hset(f"{start}noted", "gone", f"1 {ENTRY}")
        self.client.set(f"{start}bound", f"1 {NOW_MS}")
        self.client.set(f"{start}server", f"{'0' * 40} 0", nx=True)  # fakeredis is no server

    def write(self):
        """Leave content in each state: in grace, being written, given up by its writer, due."""
        drafts = {"41": (SHA, 1_000), "44": ("44", 1_000), "42": ("", 60_000), "43": ("", 1_000)}
        for name, (sha, hold_ms) in drafts.items():
            self.do(reserve(name, "", hold_ms=hold_ms))
            if sha:
                self.do(commit(name, sha, self.now))
        grace = replace(TERMS, grace_ms=10_000)
        self.do(
            changes.delete(ident("r41"), "end41", grace),
            changes.delete(ident("r44"), "end44", TERMS),
        )

    def tell(self):
        """Leave content whose refs have sidecars, one of them not written yet."""
        place = content.Place("told", "content/45", 1, SHA, sidecar=True)
        hold = content.Hold(ident("t45"), 60_000, LONG_MS, "writer:here:1")
        wanted = replace(wish("45"), scope="told/x")
        self.do(
            content.reserve(wanted, place, hold, "tell45"),
            content.commit(wanted, hold.token, 1, SHA, self.now, "5:6"),
            lives.share(ident("r45"), ident("r46"), "told/y", None, "share45"),
        )

    def live_by_policies(self):
        """Leave refs that live by a policy, one policy that is being changed, and a quota."""
        self.do(quotas.set_quota("", ("", 1_000_000, "", 1_000_000), "op34"))
        self.do(policies.set_policy("long", LONG_MS, "op31"))
        self.do(policies.set_policy("short", 60_000, "op32"))
        self.register("15", "kept/x", life="@long", policy="long")
        for name in ("16", "17"):
            self.register(name, "lived", life="@short", policy="short")
        self.do(policies.set_policy("short", 30_000, "op33"))

    def dump(self):
        return dump(self.client, self.namespace)

    def load(self, state):
        keys = list(self.client.scan_iter(match=f"{prefix(self.namespace)}*", count=1000))
        with self.client.pipeline() as pipe:
            pipe.unlink("none", *keys)
            for name, (kind, value) in state.items():
                key = prefix(self.namespace) + name
                if kind == "hash":
                    pipe.hset(key, mapping=value)
                elif kind == "zset":
                    pipe.zadd(key, dict(value))
                elif kind == "string":
                    pipe.set(key, value)
                else:
                    (pipe.sadd if kind == "set" else pipe.rpush)(key, *value)
            pipe.execute()


META = MediaMeta(filename="cat.jpg")


def held(name):
    return Held("root", f"{name}.jpg", 1, f"link:{name}", f"{name}:1:1", "adopted")


SHA = "5" * 64


def told(ref, blob, sha=""):
    """Return what a sidecar tells of a ref."""
    return Sidecar(
        Ref(f"media://{ident(ref)}"), ident(blob), "s/x", 1, NOW_MS, NOW_MS + LONG_MS, META,
        path=f"content/{blob[1:]}", sha=sha,
    )  # fmt: skip


def wish(name):
    return content.Wish(ident(f"r{name}"), ident(f"b{name}"), "own/x", None, META)


def reserve(name, sha, *, hold_ms=60_000, again=False):
    place = content.Place("own", f"{name}{sha}.jpg", 1, sha)
    hold = content.Hold(ident(f"t{name}"), hold_ms, LONG_MS, "writer:here:1")
    return content.reserve(wish(name), place, hold, f"op{name}", again=again)


def commit(name, sha, now_ms):
    return content.commit(wish(name), ident(f"t{name}"), 1, sha, now_ms, "5:6")


FOREIGN = {
    "string": ("string", b"foreign"),
    "hash": ("hash", {b"foreign": b"1"}),
    "zset": ("zset", [(b"foreign", 1.0)]),
    "set": ("set", {b"foreign"}),
    "list": ("list", [b"foreign"]),
}
LEASE = Taken(
    REF := Ref(f"media://{ident('r13')}"), ident("b13"), "root", ident("t13"), Path("13.jpg"), META, "link:1", 1_000, 0
)  # fmt: skip
SAID = reads.Obituary("deleted", from_ms(0), "", "s", ident("b13"), META)
HANDED = Handoff(REF, ident("b13"), ident("t13"))
REBOUND = Bound(ident("b1"), "1.jpg", "link:1", "link:2")
ON_SIDECARS = {
    "journal": sidecars.journal("told", 0),
    "told": sidecars.told("told", [(ident("r46"), ident("b45"))]),
    "inscribed": sidecars.inscribed("told", [sidecars.Entry(ident("r46"), ident("b45"), 1)], "op"),
    "revive": sidecars.revive(
        "told", [(told("r47", "b45"), False)], sidecars.Keeping(1_000, "me", ident("t")), "op"
    ),
    "revive a blob": sidecars.revive(
        "told", [(told("new", "newb", SHA[1:] + "6"), True)], sidecars.Keeping(1_000, "me"), "op"
    ),
    "extend content": lives.extend(ident("r46"), "touch", 1_000, "op"),
    "transfer content": lives.transfer(ident("r46"), "s/x", "op"),
    "share content": lives.share(ident("r46"), ident("new"), "s/x", 1_000, "op"),
    "delete content": changes.delete(ident("r46"), "op", TERMS),
    "apply_policy to content": policies.apply_policy(ident("r46"), "@short", "op"),
}
STEPS = {
    "open": changes.open_index({"root": "host:/media"}),
    "store": changes.store(ident("new"), ident("newb"), "s/x", held("7"), "@short", META),
    "reserve": replace(reserve("new", ""), op="op"),
    "reserve and join": replace(reserve("new", SHA), op="op"),
    "reserve again": replace(reserve("42", "42", again=True), op="op"),
    "reserve again and join": replace(reserve("42", SHA, again=True), op="op"),
    "commit": commit("42", "42", NOW_MS),
    "commit and join": commit("42", SHA, NOW_MS),
    "abandon": content.abandon(ident("b42")),
    "claim content": changes.claim("own", ident("t"), "op", 1_000, pause_ms=1_000),
    "forget content": roots.forget("own", "op"),
    "withdraw": changes.withdraw(ident("r1"), "op", TERMS),
    "release": changes.release("small", "op", TERMS),
    "drain": changes.drain("closed", "op", TERMS),
    "expire": changes.expire("op", TERMS, LOOKS),
    "expire warily": changes.expire("op", TERMS, WARY),
    "delete": changes.delete(ident("r15"), "op", TERMS),
    "extend": lives.extend(ident("r15"), "touch", 1_000, "op"),
    "transfer": lives.transfer(ident("r15"), "s/x", "op"),
    "share": lives.share(ident("r15"), ident("new"), "s/x", "@short", "op"),
    "restore": lives.restore(ident("r13"), ident("new"), "s/x", "@short", "op"),
    "set_policy": policies.set_policy("short", 50_000, "op"),
    "remove_policy": policies.remove_policy("short", "op", force=True),
    "move_policy": policies.move_policy("short", "op"),
    "apply_policy": policies.apply_policy(ident("r15"), "@short", "op"),
    "policies": policies.listing(),
    **ON_SIDECARS,
    "counts": policies.counts(["short"]),
    "set_quota": quotas.set_quota("s/x", ("", 5, "", ""), "op"),
    "quota": quotas.quota("s/x"),
    "lease": lives.lease(ident("r15"), ident("t"), 1_000, LONG_MS, "here:1", "op"),
    "renew": lives.renew([LEASE], "op"),
    "end_lease": lives.end_lease(ident("b13"), ident("t13"), "op"),
    "accept": lives.accept(HANDED, ident("t"), 1_000, LONG_MS, "here:1", "op"),
    "limit": lives.limit("kept/x", 1_000, 1_000, "op"),
    "lapse": changes.lapse("op", LOOKS),
    "lapse warily": changes.lapse("op", WARY),
    "idle": lives.idle("kept/x", 0, "op"),
    "note": lives.note("kept/x", "op"),
    "leases": lives.leases(ident("b13")),
    "remains": lives.remains(SAID),
    "scope_deadlines": lives.scope_deadlines("kept/x"),
    "left_page": lives.left_page("kept/x", 0),
    "waiting": lives.waiting([ident("b13")]),
    "root_of": reads.root_of(ident("b1")),
    "claim": changes.claim("root", ident("t"), "op", 1_000, pause_ms=1_000, shown=ENTRY),
    "clock": epochs.clock(700, "here", "op"),
    "epoch": epochs.tick("root", ENTRY, 1_000, ident("e2"), "op"),
    "accept_epoch": epochs.accept({"root": ENTRY}, "op"),
    "breaker": breaker.breaker(NOW_MS),
    "allow_breaker": breaker.allow(1_000, "op"),
    "look up what is overdue": reads.lookup([Ref(f"media://{ident('r1')}")], overdue=True),
    "acknowledge": changes.acknowledge("root", ident("t8"), "op", [Outcome(ident("b8"), 1)]),
    "refuse": changes.refuse(ident("new"), ident("newb")),
    "forget": roots.forget("root", "op"),
    "adopt": roots.adopt("root", "host:/new", "op", copied=True),
    "rebind": roots.rebind("root", "host:/media", "op", [REBOUND]),
    "roots": roots.listing(),
    "hidden": roots.hidden("root", Hidden(1, 10), "op"),
    "identity_of": roots.identity_of("root", "1.jpg", ident("b1")),
    "paths": roots.paths("root", 0),
    "placed": roots.placed([("1.jpg", ident("b1"))]),
    "list": listing.page("s/x", 0, 20),
    "stats": listing.stats(),
    "lookup": reads.lookup([Ref(f"media://{ident('r1')}")]),
    "blob_state": reads.blob_state("root", ident("b1")),
    "due": reads.due(("root",)),
    "due and forgotten": reads.due(("root",), forgotten=True),
    "farewell": reads.farewell(Ref(f"media://{ident('r1')}")),
    "roots_of": reads.roots_of([ident("b1")]),
    "place_of": roots.place_of("root"),
    "scope_names": listing.scope_names("", ""),
    "children": listing.children("s", 0),
    "seen": presence.seen(["worker:w1@here", "beat:beat@here"], NOW_MS + 5_000),
    "last_seen": presence.last_seen(),
}


def key_of(name, state):
    kind, _, rest = name.partition(":")
    return (
        f"{kind}:{ident(rest)}"
        if kind in {"ref", "blob", "claim", "gone", "lease", "holders"}
        else name
    )
