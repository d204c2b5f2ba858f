"""Every lifetime verb as a rule: first the oracle says what must come of it, then a real process is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mediastore import NEVER, Ref, Released
from mediastore.errors import BlobMissing, FileMissing, RefGone
from mediastore.flows import leasing, scoping

from .lifetimes_machine import Machine, in_ms, pick, process, some
from .lifetimes_oracle import Deadline, Life, Refused, below
from .lifetimes_world import NAMES, SCOPES, ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediastore.lifetimes import Taken

scope = st.sampled_from(SCOPES)
name = st.sampled_from(NAMES)
#: Seconds; "never"; None = not said.
ttl = st.sampled_from([None, 3, 20, 90, 400, "never"])
lease_ttl = st.sampled_from([5, 30, 120, 1000])
idle = st.sampled_from([None, 10, 50, "never"])
waits = st.booleans()
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

    def store_at(self, p, name, scope, ttl, policy):
        bytes_ = self.world.bytes_at(name)
        policy = policy if ttl is None else None
        meta = self.world.meta_of(bytes_, policy)
        path = self.world.path(bytes_)
        ref = self.ask(lambda: None, p, "store", path, scope=scope, ttl=duration(ttl), meta=meta)
        self.learn(ref, scope, bytes_, (meta.filename, in_ms(policy)), ttl)
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
        life = pick(self.oracle.live(), r)

        def should():
            if life.live:
                raise Refused("InvalidRequest")

        if life.due_ms is None or life.pinned:
            self.ask(should, p, "restore", Ref(life.ref))

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

    def run(self, should: Callable[[], Any], number: int, flow: Any, *args: Any) -> Any:
        return self.judge(should, lambda: self.world.run(number, flow, *args))

    @has_refs
    @rule(p=process, r=some, ttl=lease_ttl)
    def take_lease(self, p, r, ttl):
        life = self.some_life(r)
        self.keep_lease(
            self.run(
                lambda: self.oracle.lease(life, ttl * 1000),
                *(p, leasing.take, Ref(life.ref), ttl),
            ),
            life,
        )

    def keep_lease(self, taken: Taken | None, life: Life) -> None:
        if taken is None:
            return
        self.world.holds[taken.token] = self.right
        self.leases.append(taken)
        assert taken.until_ms == self.right.until_ms, (taken.until_ms, self.right)
        bytes_ = life.bytes
        path = self.world.path(bytes_) if bytes_.lent else self.world.held(bytes_)
        assert taken.path == path
        assert self.world.read(path) == bytes_.content or bytes_.lent
        assert taken.meta.filename == life.filename

    @precondition(lambda self: self.leases)
    @rule(p=process, ns=st.lists(some, min_size=1, max_size=3), ttl=lease_ttl)
    def renew(self, p, ns, ttl):
        chosen = {each.token: each for each in (pick(self.leases, n) for n in ns)}
        taken = [replace(each, ttl_ms=ttl * 1000) for each in chosen.values()]
        found = self.run(
            lambda: [self.oracle.renew(self.world.holds[t], ttl * 1000) for t in chosen],
            *(p, leasing.renew, taken),
        )
        assert found == self.right, (found, self.right)

    @precondition(lambda self: self.leases)
    @rule(p=process, n=some)
    def end_lease(self, p, n):
        """Of three times one is of a lease that was ended before."""
        ongoing = [each for each in self.leases if not self.world.holds[each.token].ended]
        taken = pick(ongoing if ongoing and n % 3 else self.leases, n)
        hold = self.world.holds[taken.token]
        held = self.run(lambda: self.oracle.end_lease(hold), p, leasing.end, taken)
        assert held == self.right, (held, self.right)
        self.world.check_gone(lambda bytes_: hold in bytes_.holds)

    @has_refs
    @rule(p=process, r=some, ttl=lease_ttl)
    def handoff(self, p, r, ttl):
        life = self.some_life(r)
        text = self.run(
            lambda: self.oracle.lease(life, ttl * 1000), p, leasing.handoff, Ref(life.ref), ttl
        )
        if text is not None:
            self.world.label(text, "h")
            self.tokens.append((text, self.right, life))

    @precondition(lambda self: self.tokens)
    @rule(p=process, n=some, ttl=lease_ttl)
    def accept(self, p, n, ttl):
        """Also twice: tokens are never forgotten here."""
        text, hold, life = pick(self.tokens, n)
        self.keep_lease(
            self.run(
                lambda: self.oracle.accept(hold, life.bytes, ttl * 1000),
                *(p, leasing.accept, text, ttl),
            ),
            life,
        )

    @has_refs
    @rule(p=process, r=some)
    def who_holds(self, p, r):
        life = self.some_life(r)
        found = self.run(lambda: self.oracle.need(life), p, leasing.leases, Ref(life.ref))
        if found is not None:
            now = self.oracle.now
            right = sorted(hold.until_ms for hold in life.bytes.holds if hold.live(now))
            assert sorted(ms(each.until) or 0 for each in found) == right

    # --- scopes

    @rule(p=process, scope=scope, ttl=ttl, idle=idle)
    def open_scope(self, p, scope, ttl, idle):
        due = self.run(
            lambda: self.oracle.open_scope(scope, in_ms(ttl), in_ms(idle)),
            *(p, scoping.open_scope, scope, duration(ttl), duration(idle)),
        )
        right = self.oracle.due_of(scope)
        if right is None:
            assert due is None, due
        else:
            assert right[0] <= (ms(due) or 0) <= right[1], (due, right)

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
