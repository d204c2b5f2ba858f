"""What is done to refs, as rules: first the oracle says what must come of it, then a real process is asked."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mediastore import NEVER, Ref, Released
from mediastore.errors import FileMissing, InvalidRequest

from .lifetimes_machine import Machine, in_ms, pick, process, some
from .lifetimes_oracle import Refused, below
from .lifetimes_world import NAMES, SCOPES, ms

scope = st.sampled_from(SCOPES)
name = st.sampled_from(NAMES)
#: Seconds; "never"; None = not said.
ttl = st.sampled_from([None, 3, 20, 90, 400, "never"])
waits = st.booleans()


def duration(seconds: Any) -> Any:
    return NEVER if seconds == "never" else seconds


has_refs = precondition(lambda self: self.oracle.lives)


class Refs(Machine):
    """What is done to refs."""

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
        life = self.learn(ref, scope or home, bytes_, (meta.filename, in_ms(policy)), ttl)
        self.find_blob(p, ref, bytes_)
        return life

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
        self.share_it(p, self.some_life(r), scope, ttl)

    def share_it(self, p, life, scope, ttl):
        ref = self.ask(
            lambda: self.oracle.need(life), p, "share", Ref(life.ref), scope, ttl=duration(ttl)
        )
        if ref is not None:
            self.learn(ref, scope, life.bytes, (life.filename, life.policy_ms), ttl)

    @precondition(lambda self: self.oracle.dead())
    @rule(p=process, r=some, scope=st.none() | scope, ttl=ttl)
    def restore(self, p, r, scope, ttl):
        life = pick(self.oracle.dead(), r)
        if not life.bytes.lent:
            self.restore_it(p, life, scope, ttl)

    def restore_it(self, p, life, scope, ttl):
        def should():
            if life.bytes.gone:
                raise Refused("RefGone", life.end.reason)

        ref = self.ask(should, p, "restore", Ref(life.ref), scope=scope, ttl=duration(ttl))
        if ref is not None:
            meta = (life.filename, life.policy_ms)
            self.learn(ref, scope or life.scope, life.bytes, meta, ttl)

    @rule(p=process, scope=scope, other=scope)
    def bring_back_what_was_replaced(self, p, scope, other):
        """Two versions of one path: each ref leads to its own, whichever comes or goes."""
        older = self.store_at(p, NAMES[0], scope, 400, None)
        self.world.write(NAMES[0])
        self.store_at(p, NAMES[0], other, 400, None)
        if older.live:
            self.ask(partial(self.oracle.delete, older), p, "delete_media", Ref(older.ref))
            self.agrees()
        self.restore_it(p, older, scope, None)
        self.store_at(p, NAMES[0], other, 400, None)

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
