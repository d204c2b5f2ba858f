"""Every lifetime verb as a rule: first the oracle says what must come of it, then a real process is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mediastore import NEVER, Ref, Released
from mediastore.errors import BlobMissing, FileMissing, InvalidRequest, RefGone

from .lifetimes_machine import Held, Machine, in_ms, pick, process, some
from .lifetimes_oracle import Deadline, Hold, Life, Refused, below
from .lifetimes_world import NAMES, SCOPES, ms

if TYPE_CHECKING:
    from collections.abc import Callable


scope = st.sampled_from(SCOPES)
name = st.sampled_from(NAMES)
#: Seconds; "never"; None = not said.
ttl = st.sampled_from([None, 3, 20, 90, 400, "never"])
lease_ttl = st.sampled_from([5, 30, 120, 1000])
idle = st.sampled_from([None, 10, 50, "never"])
waits = st.booleans()
ends = st.sampled_from([None, ValueError, KeyboardInterrupt])
OPEN_MS = 60_000
hundredths = st.sampled_from([3, 9, 9, 15, 30, 60])


def duration(seconds: Any) -> Any:
    return NEVER if seconds == "never" else seconds


class Lifetimes(Machine):
    """What users and their processes do."""

    has_refs = precondition(lambda self: self.oracle.lives)

    # --- making refs

    @rule(p=process, name=name, scope=scope, ttl=ttl, policy=st.sampled_from([None, None, 600]))
    def store(self, p, name, scope, ttl, policy):
        self.store_at(p, name, scope, ttl, policy)

    @rule(p=process, scope=scope, ttl=ttl)
    def store_the_first(self, p, scope, ttl):
        self.store_at(p, NAMES[0], scope, ttl, None)

    def store_at(self, p, name, scope, ttl, policy, home=None):
        bytes_ = self.world.bytes_at(name)
        policy = policy if ttl is None else None
        meta = self.world.meta_of(bytes_, policy)
        path = self.world.path(bytes_)
        ref = self.ask(lambda: None, p, "store", path, scope=scope, ttl=duration(ttl), meta=meta)
        self.learn(ref, scope or home, bytes_, (meta.filename, in_ms(policy)), ttl)
        self.find_blob(p, ref, bytes_)

    def find_blob(self, p, ref, bytes_):
        """What is lent is forgotten with its last ref, and new when it comes again."""
        if not bytes_.blob or bytes_.lent:
            bytes_.blob = self.world.processes[p].get(ref).blob

    @rule(p=process, names=st.lists(name, min_size=1, max_size=3), scope=scope, ttl=ttl)
    def store_many(self, p, names, scope, ttl):
        """Also the same file twice, and between them one that is not there."""
        found = [self.world.bytes_at(name) for name in names]
        metas = [self.world.meta_of(bytes_) for bytes_ in found]
        items = [*zip(map(self.world.path, found), metas, strict=True)]
        items.insert(1, (self.world.lab.root / "nothing.jpg", metas[0]))
        refs = self.ask(lambda: None, p, "store_many", items, scope=scope, ttl=duration(ttl))
        assert isinstance(refs.pop(1), FileMissing)
        for ref, bytes_, meta in zip(refs, found, metas, strict=True):
            self.learn(ref, scope, bytes_, (meta.filename, None), ttl)
            self.find_blob(p, ref, bytes_)

    @has_refs
    @rule(p=process, r=some, scope=scope, ttl=ttl)
    def share(self, p, r, scope, ttl):
        life = self.some_life(r)
        ref = self.ask(
            lambda: self.oracle.need(life), p, "share", Ref(life.ref), scope, ttl=duration(ttl)
        )
        if ref is not None:
            self.learn(ref, scope, life.bytes, (life.filename, life.policy_ms), ttl)

    @precondition(lambda self: self.oracle.dead())
    @rule(p=process, r=some, scope=st.none() | scope, ttl=ttl)
    def restore(self, p, r, scope, ttl):
        life = pick(self.oracle.dead(), r)
        if life.bytes.lent:
            return

        def should():
            if life.bytes.gone:
                raise Refused("RefGone", life.end.reason)

        ref = self.ask(should, p, "restore", Ref(life.ref), scope=scope, ttl=duration(ttl))
        if ref is not None:
            meta = (life.filename, life.policy_ms)
            self.learn(ref, scope or life.scope, life.bytes, meta, ttl)

    @precondition(lambda self: self.oracle.live())
    @rule(p=process, r=some)
    def restore_what_lives(self, p, r):
        ref = Ref(pick(self.oracle.live(), r).ref)
        said = self.judge(lambda: None, lambda: [self.world.call(p, "restore", ref)])
        assert type(said[0]) is InvalidRequest, said

    # --- moving them

    @has_refs
    @rule(p=process, r=some, scope=scope)
    def transfer(self, p, r, scope):
        life = self.some_life(r)
        self.ask(lambda: self.oracle.transfer(life, scope), p, "transfer", Ref(life.ref), scope)

    @has_refs
    @rule(p=process, r=some)
    def promote(self, p, r):
        life = self.some_life(r)
        said = self.ask(lambda: self.oracle.promote(life), p, "promote", Ref(life.ref))
        assert said is None or said == self.right

    @has_refs
    @rule(p=process, r=some, ttl=ttl)
    def touch(self, p, r, ttl):
        life = self.some_life(r)
        said = self.ask(
            lambda: self.oracle.touch(life, in_ms(ttl)), p, "touch", Ref(life.ref), duration(ttl)
        )
        assert life.end or ms(said) == self.right, (said, self.right)

    @has_refs
    @rule(p=process, r=some)
    def pin(self, p, r):
        life = self.some_life(r)
        self.ask(lambda: self.oracle.pin(life), p, "pin", Ref(life.ref))

    @has_refs
    @rule(p=process, r=some)
    def unpin(self, p, r):
        life = self.some_life(r)
        said = self.ask(lambda: self.oracle.unpin(life), p, "unpin", Ref(life.ref))
        assert life.end or ms(said) == self.right, (said, self.right)

    # --- ending them

    @has_refs
    @rule(p=process, r=some)
    def delete(self, p, r):
        life = self.some_life(r)
        done = self.ask(lambda: self.oracle.delete(life), p, "delete_media", Ref(life.ref))
        if done is not None:
            assert done.refs == 1, done
            self.world.check_gone(self.is_fresh)

    @rule(p=process, scope=scope, wait=waits)
    def release(self, p, scope, wait):
        self.ask(
            lambda: self.oracle.release(scope, carried=wait), p, "release_all", scope, wait=wait
        )
        if wait:
            self.world.check_gone(self.is_fresh)

    @rule(p=process, scopes=st.lists(scope, min_size=1, max_size=3), wait=waits)
    def release_many(self, p, scopes, wait):
        def should():
            """Every scope is cut before the first is drained."""
            for each in scopes:
                self.oracle.release(each, carried=False)
            if wait:
                self.oracle.carry(lambda life: any(below(life.scope, each) for each in scopes))

        done = self.ask(should, p, "release_many", scopes, wait=wait)
        assert [type(each) for each in done] == [Released] * len(scopes), done
        if wait:
            self.world.check_gone(self.is_fresh)

    @has_refs
    @rule(p=process, r=some)
    def tombstone(self, p, r):
        life = self.some_life(r)

        def should():
            if life.live:
                raise Refused("InvalidRequest")

        stone = self.ask(should, p, "tombstone", Ref(life.ref))
        if stone is not None:
            self.world.check_end(life, stone.reason, stone.when, stone.by)
            assert (stone.scope, stone.meta.filename) == (life.scope, life.filename)
            self.world.check_remains(life.bytes, stone.kept_for, stone.bytes_until)

    # --- leases

    @has_refs
    @rule(p=process, r=some, ttl=lease_ttl)
    def take_lease(self, p, r, ttl):
        life = self.some_life(r)
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
        held = pick(self.leases, n)
        until = self.judge(
            lambda: self.oracle.renew(held.hold, ttl and ttl * 1000),
            lambda: self.of_lease(held, "renew", ttl),
        )
        assert until is None or ms(until) == self.right, (until, self.right)

    @precondition(lambda self: self.leases)
    @rule(n=some)
    def end_lease(self, n):
        """Of three times one is of a lease that was ended before."""
        ongoing = [each for each in self.leases if not each.hold.ended]
        held = pick(ongoing if ongoing and n % 3 else self.leases, n)
        self.judge(lambda: self.oracle.end_lease(held.hold), lambda: self.of_lease(held, "end"))
        self.world.check_gone(lambda bytes_: held.hold in bytes_.holds)

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
        """Also twice: tokens are never forgotten here."""
        token, hold, life = pick(self.tokens, n)
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
            if not life.bytes.at_path:
                self.oracle.maybe_active(life.scope)
                raise Refused("BlobMissing")
            self.oracle.active(life.scope)

        path = self.ask(should, p, "resolve", Ref(life.ref))
        assert path is None or path == self.world.path(life.bytes)

    @has_refs
    @rule(p=process)
    def resolve_many(self, p):
        lives = list(self.oracle.lives.values())
        refs = [Ref(life.ref) for life in lives]
        for life, path in zip(lives, self.ask(lambda: None, p, "resolve_many", refs), strict=True):
            if life.end:
                assert isinstance(path, RefGone)
            elif not life.bytes.at_path:
                assert isinstance(path, BlobMissing)
            else:
                assert path == self.world.path(life.bytes)
            if not life.end:
                self.oracle.maybe_active(life.scope)

    def idling(self) -> list[tuple[Deadline, list[Life]]]:
        """The idle deadlines, each with the live refs below it."""
        found = [(name, each) for name, each in self.oracle.deadlines.items() if each.idle_ms]
        lives = self.oracle.live()
        return [(each, [x for x in lives if below(x.scope, name)]) for name, each in found]

    @precondition(lambda self: any(lives for _, lives in self.idling()))
    @rule(p=process, n=some, r=some, parts=st.lists(hundredths, min_size=1, max_size=3))
    def use_idling_scope(self, p, n, r, parts):
        """Something is read in an idling scope now and then, and a sweep comes before that would be forgotten."""
        deadline, lives = pick([each for each in self.idling() if each[1]], n)
        first = pick(lives, r)
        self.ask(lambda: self.oracle.touch(first, None), p, "touch", Ref(first.ref))
        for part in parts:
            self.wait((deadline.idle_ms or 0) * part / 100_000)
            life = pick(lives, r)
            if life.live:
                self.resolve_it(p, life)
        self.wait((deadline.idle_ms or 0) * 0.88 / 1000)
        self.sweep(p)

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
