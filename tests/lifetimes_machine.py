"""The model as a state machine: how a call is judged, what time and passes do, what must be true after every step."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from .lifetimes_oracle import Bytes, Hold, Life, Refused, below
from .lifetimes_world import NAMES, PROCESSES, SLOW, World

if TYPE_CHECKING:
    from collections.abc import Callable

process = st.integers(0, PROCESSES - 1)
T = TypeVar("T")
FAR_S = 40_000


def pick(things: list[T], number: int) -> T:
    return things[number % len(things)]


def in_ms(seconds: Any) -> Any:
    return seconds * 1000 if isinstance(seconds, int) else seconds


some = st.integers(0, 2**16)


@dataclass
class Held:
    """A lease as its process has it, and what it means."""

    number: int
    lease: Any
    hold: Hold
    bytes: Bytes


class Machine(RuleBasedStateMachine):
    """One life of a store. `steps` counts the rules of all examples."""

    steps = 0

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.oracle = world, world.oracle
        self.leases: list[Held] = []
        #: Hand-overs: the text that travels, what it holds, and the ref it was made of.
        self.tokens: list[tuple[str, Hold, Life]] = []
        self.swept = self.looked = self.crowded = False

    def ask(
        self, should: Callable[[], Any], number: int, verb: str, *args: Any, **named: Any
    ) -> Any:
        """Ask a process, and compare with what the oracle says should come of it."""
        return self.judge(should, lambda: self.world.call(number, verb, *args, **named))

    def judge(self, should: Callable[[], Any], act: Callable[[], Any]) -> Any:
        Machine.steps += 1
        self.oracle.tick(self.world.lab.now_ms())
        self.swept = False
        refused = None
        try:
            self.right = should()
        except Refused as refusal:
            refused = refusal
        said = act()
        if refused is None:
            assert not isinstance(said, Exception), f"refused: {said!r}"
            return said
        assert type(said).__name__ == refused.kind, f"should be {refused!r}, was {said!r}"
        if refused.reason:
            assert said.reason == refused.reason
        return None

    def some_life(self, number: int) -> Life:
        """A live ref mostly; a dead one now and then."""
        live, dead = self.oracle.live(), self.oracle.dead()
        return pick(dead, number) if dead and (not live or number % 5 == 0) else pick(live, number)

    def ongoing(self) -> list[Held]:
        return [each for each in self.leases if each.hold.live(self.oracle.now)]

    def learn(self, ref: str, scope: str, bytes_: Bytes, meta: Any, ttl_s: Any) -> Life:
        """Put a ref that was just made beside the oracle."""
        self.world.label(str(ref), "r")
        filename, policy_ms = meta
        return self.oracle.make(str(ref), scope, bytes_, filename, policy_ms, in_ms(ttl_s))

    def is_fresh(self, bytes_: Bytes) -> bool:
        """Whether the call has ended a ref of it."""
        return any(life in self.oracle.fresh for life in bytes_.lives)

    # --- time and passes

    @rule(seconds=st.sampled_from([1, 4, 15, 31, 62, 200, 900]))
    def pass_time(self, seconds):
        self.wait(seconds)

    def wait(self, seconds):
        Machine.steps += 1
        self.world.calls.append(f"{seconds} s pass")
        self.world.lab.pass_time(seconds)
        self.oracle.tick(self.world.lab.now_ms())
        self.swept = False

    @rule(p=process)
    def sweep(self, p):
        self.ask(lambda: None, p, "sweep")
        self.learn_deadlines(p)
        self.oracle.carry(lambda _: True)
        self.swept = True
        #: Versions of one path take turns at it: some that the sweep came to may have to wait for the next.
        self.crowded = any(self.world.versions(name) > 1 for name in NAMES)
        self.world.check_gone(lambda _: True)

    def learn_deadlines(self, p: int) -> None:
        """A sweep carries out the scope deadlines that have passed; of one that may have, look whether it did.

        Which of two came first, one above the other, shows only where they cannot have come together.
        """
        oracle, ended = self.oracle, list[tuple[str, int]]()
        dues = {name: oracle.due_of(name) or (0, 0) for name in oracle.deadlines}
        passed = [name for name in dues if self.has_passed(p, name)]
        for name in sorted(passed, key=dues.__getitem__):
            low, high = dues[name]
            together = any(below(name, above) and low <= latest for above, latest in ended)
            if name in oracle.deadlines or together:
                oracle.release(name, carried=False, reason="expired")
                ended.append((name, high))

    def has_passed(self, p: int, name: str) -> bool:
        passed = self.oracle.deadlines[name].passed(self.oracle.now)
        if passed is None:
            found = self.world.processes[p].scope_deadlines(name)
            return name not in {each.scope for each in found}
        return passed

    @rule(p=process)
    def drain(self, p):
        self.ask(lambda: None, p, "drain")
        self.oracle.carry(lambda life: life.end.reason == "released")
        self.world.check_gone(lambda _: True)

    @rule(p=process)
    def clean_expired(self, p):
        self.ask(lambda: None, p, "clean_expired")
        self.oracle.carry(lambda life: life.end.reason == "expired")
        self.world.check_gone(self.is_fresh)

    @rule(p=process)
    def restart(self, p):
        Machine.steps += 1
        self.world.restart(p)
        self.leases = [each for each in self.leases if each.number != p]  # nobody ends those

    @rule(name=st.sampled_from(NAMES[:-1]))
    def write_over(self, name):
        """The owner replaces a file, registered or not: what was registered is reachable by leases only.

        Not the lent one: nothing pins its inode, so a new file may pass for it.
        """
        Machine.steps += 1
        self.world.write(name)

    @precondition(lambda self: self.world.sent)
    @rule(n=some)
    def send_again(self, n):
        Machine.steps += 1
        self.oracle.tick(self.world.lab.now_ms())
        self.world.send_again(n % len(self.world.sent))

    @precondition(lambda self: self.world.sent)
    @rule(n=st.integers(0, 5))
    def send_the_latest_again(self, n):
        Machine.steps += 1
        self.world.send_again(max(0, len(self.world.sent) - 1 - n))

    # --- what must be true after every step

    @invariant()
    def agrees(self):
        for life in list(self.oracle.lives.values()):
            for number in range(PROCESSES - 1):
                self.world.check_ref(number, life)
        self.world.check_lists(self.looked)
        self.looked = not self.looked
        self.world.check_files()
        if self.swept:
            self.check_numbers()
        for held in self.leases:
            self.check_lease(held)

    def check_lease(self, held: Held) -> None:
        """A lease that holds leads to its bytes, whatever became of the ref; one that does not says so."""
        if held.hold.live(self.oracle.now):
            bytes_ = held.bytes
            path = self.world.path(bytes_) if bytes_.lent else self.world.held(bytes_)
            assert (held.lease.lost, held.lease.path) == (False, path)
            assert self.world.read(path) == bytes_.content
        elif not held.hold.ended and held.number != SLOW:
            assert held.lease.lost

    def check_numbers(self):
        """What a sweep leaves: nothing that is dead, and of what nobody claims only what waits."""
        stats = self.world.processes[0].stats()
        kept = [each for each in self.oracle.bytes if each.referred()]
        assert (stats.refs, stats.blobs) == (len(self.oracle.live()), len(kept)), stats
        waiting = [each for each in self.oracle.bytes if not each.gone and self.oracle.waits(each)]
        assert stats.waiting == len(waiting), stats
        if not self.crowded:
            assert stats.trash == len(waiting), stats
        for each in waiting:
            self.world.check_waiting(each)

    def teardown(self):
        try:
            if sys.exc_info()[0] is None:
                self.quiesce()
        finally:
            error = sys.exc_info()[1]
            if isinstance(error, AssertionError):
                error.add_note("\n".join(["the calls:", *self.world.calls]))
            self.world.close()

    def quiesce(self):
        """Far ahead: only what never ends is left; released, nothing is."""
        self.wait(FAR_S)
        for _ in range(3):
            self.sweep(0)
            self.world.lab.settle()
            self.oracle.tick(self.world.lab.now_ms())
        self.agrees()
        for scope in ("a", "b"):
            should = partial(self.oracle.release, scope, carried=True)
            self.ask(should, 0, "release_all", scope)
        self.wait(FAR_S)
        self.sweep(1)
        self.world.lab.settle()
        self.agrees()
        assert self.world.lab.leftovers() == []
        stats = self.world.processes[0].stats()
        assert (stats.refs, stats.blobs, stats.size_bytes, stats.trash) == (0, 0, 0, 0), stats
        ended = [stats.released_refs, stats.expired_refs, stats.deleted_refs]
        assert sum(ended) == stats.stored_refs == len(self.oracle.lives), stats
        sure = [life.end.reason for life in self.oracle.dead() if not life.end.others]
        for reason, number in zip(("released", "expired", "deleted"), ended, strict=True):
            most = sum(
                reason in {each.reason for each in (life.end, *life.end.others)}
                for life in self.oracle.dead()
            )
            assert sure.count(reason) <= number <= most, (reason, stats)
