"""What is done with leases and scopes, as rules; and what only shows when several things come together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mediastore import Ref
from mediastore.errors import BlobMissing, RefGone

from .lifetimes_machine import Held, in_ms, pick, process, some
from .lifetimes_oracle import Deadline, Hold, Life, Refused, below
from .lifetimes_refs import Refs, duration, has_refs, scope, ttl, waits
from .lifetimes_world import NAMES, ms

if TYPE_CHECKING:
    from collections.abc import Callable


lease_ttl = st.sampled_from([5, 30, 120, 1000])
idle = st.sampled_from([None, 10, 50, "never"])
ends = st.sampled_from([None, ValueError, KeyboardInterrupt])
OPEN_MS = 60_000
use = st.sampled_from(["resolve", "resolve", "touch", "pin", "unpin", "lease", "transfer", "share"])
hundredths = st.sampled_from([3, 9, 9, 15, 30, 60])


class Lifetimes(Refs):
    """All that users and their processes do."""

    # --- leases

    @has_refs
    @rule(p=process, r=some, ttl=lease_ttl)
    def take_lease(self, p, r, ttl):
        self.take_it(p, self.some_life(r), ttl)

    def take_it(self, p, life, ttl):
        lease = self.ask(
            lambda: self.oracle.lease(life, ttl * 1000), p, "take_lease", Ref(life.ref), ttl
        )
        self.keep_lease(p, lease, life)

    def keep_lease(self, p: int, lease: Any, life: Life) -> None:
        if lease is not None:
            self.world.label(id(lease), "l")
            self.leases.append(Held(p, lease, self.right, life.bytes))
            assert ms(lease.expires_at) == self.right.until_ms, (lease, self.right)
            assert lease.meta.filename == life.filename

    def of_lease(self, held: Held, verb: str, *args: Any) -> Any:
        words = f"{self.world.labels[id(held.lease)]}.{verb}({', '.join(map(str, args))})"
        return self.world.hear(words, lambda: getattr(held.lease, verb)(*args))

    @precondition(lambda self: self.leases)
    @rule(n=some, ttl=st.none() | lease_ttl)
    def renew(self, n, ttl):
        self.renew_it(pick(self.leases, n), ttl)

    def renew_it(self, held, ttl):
        until = self.judge(
            lambda: self.oracle.renew(held.hold, ttl and ttl * 1000),
            lambda: self.of_lease(held, "renew", ttl),
        )
        assert until is None or ms(until) == self.right, (until, self.right)

    @precondition(lambda self: self.ongoing())
    @rule(n=some, times=st.integers(0, 3), late_s=st.sampled_from([0, 1, 20]))
    def hold_on(self, n, times, late_s):
        """Renew in time, as a holder does who may reach the last deadline of all; then oversleep, and be told."""
        held = pick(self.ongoing(), n)
        for _ in range(times):
            self.wait((held.hold.until_ms - self.oracle.now) / 1100)
            self.renew_it(held, None)
            self.agrees()
        self.wait(max(0, held.hold.until_ms - self.oracle.now) / 1000 + late_s)
        self.renew_it(held, None)

    @precondition(lambda self: self.leases)
    @rule(n=some)
    def end_lease(self, n):
        """Of three times one is of a lease that was ended before."""
        held = pick((n % 3 and [x for x in self.leases if not x.hold.ended]) or self.leases, n)
        self.end_it(held)

    def end_it(self, held):
        """A second end does nothing: bytes that have become due since are left to the next sweep."""
        first = not held.hold.ended
        self.judge(lambda: self.oracle.end_lease(held.hold), lambda: self.of_lease(held, "end"))
        self.world.check_gone(lambda bytes_: first and held.hold in bytes_.holds)

    @has_refs
    @rule(p=process, q=process, r=some)
    def read_while_it_is_released(self, p, q, r):
        life = self.some_life(r)
        file = self.ask(self.opening(life), p, "open", Ref(life.ref))
        if file is not None:
            hold = self.right
            with file:
                self.release(q, life.scope, wait=True)
                self.agrees()
                assert file.read().decode() == life.bytes.content
            self.oracle.end_lease(hold)
            self.world.check_gone(lambda bytes_: bytes_ is life.bytes)

    def opening(self, life: Life) -> Callable[[], Hold]:
        return lambda: self.oracle.lease(life, OPEN_MS)

    @precondition(lambda self: self.oracle.live())
    @rule(p=process, q=process, r=some, ttl=st.sampled_from([5, 30, 120]), ends=waits)
    def lease_through_a_release(self, p, q, r, ttl, ends):
        """Once the lease has ended, by hand or by itself, a sweep may take what grace does not keep."""
        life = pick(self.oracle.live(), r)
        self.take_it(p, life, ttl)
        self.release(q, life.scope, wait=True)
        self.agrees()
        held = self.leases[-1]
        if ends:
            self.end_it(held)
        else:
            self.wait((held.hold.until_ms - self.oracle.now) / 1000)
        self.sweep(q)

    @has_refs
    @rule(p=process, r=some, ttl=lease_ttl)
    def handoff(self, p, r, ttl):
        life = self.some_life(r)
        token = self.ask(
            lambda: self.oracle.lease(life, ttl * 1000), p, "handoff", Ref(life.ref), ttl
        )
        if token is not None:
            self.world.label(token, "h")
            self.tokens.append((token, self.right, life))

    @precondition(lambda self: self.tokens)
    @rule(p=process, n=some, ttl=lease_ttl)
    def accept(self, p, n, ttl):
        """Often twice: tokens are never forgotten here."""
        for _ in range(1 + n % 2):
            self.accept_it(p, *pick(self.tokens, n), ttl)

    @precondition(lambda self: self.tokens)
    @rule(p=process, n=some, late_s=st.sampled_from([0, 1, 20]))
    def accept_late(self, p, n, late_s):
        token, hold, life = pick(self.tokens, n)
        self.wait(max(0, hold.until_ms - self.oracle.now) / 1000 + late_s)
        self.accept_it(p, token, hold, life, 30)

    def accept_it(self, p, token, hold, life, ttl):
        lease = self.ask(
            lambda: self.oracle.accept(hold, life.bytes, ttl * 1000), p, "accept", token, ttl
        )
        self.keep_lease(p, lease, life)

    @has_refs
    @rule(p=process, r=some)
    def who_holds(self, p, r):
        life = self.some_life(r)
        found = self.ask(lambda: self.oracle.need(life), p, "leases", Ref(life.ref))
        if found is not None:
            now = self.oracle.now
            right = sorted(hold.until_ms for hold in life.bytes.holds if hold.live(now))
            assert sorted(ms(each.until) or 0 for each in found) == right

    # --- scopes

    @rule(p=process, scope=scope, ttl=ttl, idle=idle)
    def open_scope(self, p, scope, ttl, idle):
        opened = self.world.processes[p].scope(scope, ttl=duration(ttl), idle=duration(idle))
        words = f"p{p}.scope({scope!r}, ttl={ttl}, idle={idle}).open()"
        due = self.judge(
            self.limiting(scope, ttl, idle), lambda: self.world.hear(words, opened.open)
        )
        right = self.oracle.due_of(scope) if ttl or idle else None
        if right is None:
            assert due is None, due
        else:
            assert right[0] <= (ms(due) or 0) <= right[1], (due, right)

    def limiting(self, scope: str, ttl: Any, idle: Any) -> Callable[[], None]:
        return lambda: self.oracle.open_scope(scope, in_ms(ttl), in_ms(idle))

    @has_refs
    @rule(p=process, r=some, scopes=st.lists(scope, min_size=1, max_size=2), ttl=ttl, error=ends)
    def inside_scopes(self, p, r, scopes, ttl, error):
        """Scopes entered one in the other: what is stored without saying where goes to the innermost, and goes with it."""
        first, *inner = scopes
        entered = self.world.processes[p].scope(first, ttl=duration(ttl))
        self.judge(
            self.limiting(first, ttl, None),
            lambda: self.world.hear(f"enter p{p}.scope({first!r}, ttl={ttl})", entered.__enter__),
        )
        if inner:
            self.inside_scopes(p, r, inner, None, error)
            self.agrees()
        assert str(self.world.processes[p].current_scope()) == first
        self.store_at(p, pick(list(NAMES), r), None, None, None, home=first)
        how = (error, error and error("on purpose"), None)
        waits = error is not KeyboardInterrupt
        self.judge(
            lambda: self.oracle.release(first, carried=waits),
            lambda: self.world.hear(f"leave it: {error}", lambda: entered.__exit__(*how)),
        )
        if waits:
            self.world.check_gone(self.is_fresh)

    @has_refs
    @rule(p=process, r=some)
    def resolve(self, p, r):
        self.resolve_it(p, self.some_life(r))

    def resolve_it(self, p, life):
        def should():
            self.oracle.need(life)
            if self.world.found(life.bytes) is None:
                self.oracle.maybe_active(life.scope)
                raise Refused("BlobMissing")
            self.oracle.active(life.scope)

        path = self.ask(should, p, "resolve", Ref(life.ref))
        assert path is None or path == self.world.found(life.bytes)

    @has_refs
    @rule(p=process)
    def resolve_many(self, p):
        lives = list(self.oracle.lives.values())
        refs = [Ref(life.ref) for life in lives]
        for life, path in zip(lives, self.ask(lambda: None, p, "resolve_many", refs), strict=True):
            if life.end:
                assert isinstance(path, RefGone)
            elif self.world.found(life.bytes) is None:
                assert isinstance(path, BlobMissing)
            else:
                assert path == self.world.found(life.bytes)
            if not life.end:
                self.oracle.maybe_active(life.scope)

    def idling(self) -> list[tuple[Deadline, list[Life]]]:
        """The idle deadlines, each with the live refs below it."""
        found = [(name, each) for name, each in self.oracle.deadlines.items() if each.idle_ms]
        lives = self.oracle.live()
        return [(each, [x for x in lives if below(x.scope, name)]) for name, each in found]

    @precondition(lambda self: any(lives for _, lives in self.idling()))
    @rule(
        p=process, n=some, r=some, uses=st.lists(st.tuples(hundredths, use), min_size=1, max_size=3)
    )
    def use_idling_scope(self, p, n, r, uses):
        """A scope is used now and then, and a sweep comes before that would be forgotten."""
        deadline, lives = pick([each for each in self.idling() if each[1]], n)
        idle_s = (deadline.idle_ms or 0) / 1000
        for part, verb in [(0, "touch"), *uses]:
            self.wait(idle_s * part / 100)
            life = pick(lives, r)
            if life.live:
                self.use(p, verb, life)
        self.wait(idle_s * 0.88)
        self.sweep(p)

    def use(self, p: int, verb: str, life: Life) -> None:
        if verb == "resolve":
            self.resolve_it(p, life)
        elif verb == "lease":
            self.take_it(p, life, 5)
        elif verb == "transfer":
            self.ask(partial(self.oracle.transfer, life, life.scope), p, verb, life.ref, life.scope)
        elif verb == "share":
            self.share_it(p, life, life.scope, None)
        else:
            verbs = {
                "touch": self.oracle.touch_again,
                "pin": self.oracle.pin,
                "unpin": self.oracle.unpin,
            }
            self.ask(partial(verbs[verb], life), p, verb, life.ref)

    @precondition(lambda self: self.oracle.dead())
    @rule(p=process, q=process, r=some, at=st.integers(1, 14), ttl=ttl)
    def die_in_a_sweep(self, p, q, r, at, ttl):
        """Bytes that somebody has begun to delete are given to nobody, and go once his claim has lapsed."""
        now = self.oracle.now
        if any(each.passed(now) is not False for each in self.oracle.deadlines.values()):
            return  # which of them the killed sweep has carried out, nobody knows
        life = pick(self.oracle.dead(), r)
        self.world.die_in_a_sweep(at)
        if not life.bytes.lent and not self.oracle.must_stay(life.bytes):
            ref = self.world.call(p, "restore", Ref(life.ref), ttl=duration(ttl))
            if isinstance(ref, str):
                self.learn(ref, life.scope, life.bytes, (life.filename, life.policy_ms), ttl)
            else:
                assert isinstance(ref, RefGone), ref
        self.wait(31)
        self.sweep(q)
