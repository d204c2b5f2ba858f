"""What should be true of lifetimes, from the words of the specification: no server, no script, no disk.

Times are the laboratory's milliseconds. Where the words leave room (an idle deadline is written at most every tenth
of its length), the oracle keeps the least and the most that may be true, and learns what it was when it shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OWN_DEADLINE = "its own deadline"


class Refused(Exception):
    """The specification refuses the call; `kind` names the error it must raise."""

    def __init__(self, kind: str, reason: str = "") -> None:
        super().__init__(kind, reason)
        self.kind, self.reason = kind, reason


@dataclass(eq=False)
class Hold:
    """One lease, or a token on its way."""

    ttl_ms: int
    until_ms: int
    last_ms: int
    ended: bool = False

    def live(self, now: int) -> bool:
        return not self.ended and now < self.until_ms


@dataclass(eq=False)
class Bytes:
    """One version of what stood at a path. `swept_ms`: when a pass last saw to it without any ref left."""

    name: str
    content: str
    lent: bool = False
    at_path: bool = True
    gone: bool = False
    blob: str = ""
    lives: list[Life] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)

    def referred(self) -> bool:
        return any(life.live for life in self.lives)

    def leased(self, now: int) -> bool:
        return any(hold.live(now) for hold in self.holds)


@dataclass(eq=False)
class End:
    """How a ref ended: why, when, and by what."""

    reason: str
    when_ms: int
    by: str
    #: A later release of the same scope takes the place of the one that did it, for as long as no drain has come.
    others: list[End] = field(default_factory=list)
    #: When its ending was carried out in the journal, at the latest.
    carried_ms: int | None = None
    #: A release that did not wait may have carried it out already.
    vague: bool = False


@dataclass(eq=False)
class Life:
    """One ref."""

    ref: str
    scope: str
    place: int
    bytes: Bytes
    filename: str
    policy_ms: int | None
    length_ms: int | None
    due_ms: int | None
    pinned: bool = False
    end: End | None = None

    @property
    def live(self) -> bool:
        return self.end is None


@dataclass(eq=False)
class Deadline:
    """The deadlines of one opened scope: fixed, and idle between the least and the most it may be."""

    fixed_ms: int | None = None
    idle_ms: int | None = None
    low_ms: int = 0
    high_ms: int = 0

    def passed(self, now: int) -> bool | None:
        """Whether it has passed; None where it may have."""
        if self.fixed_ms is not None and self.fixed_ms <= now:
            return True
        if self.idle_ms is None or self.low_ms > now:
            return False
        return True if self.high_ms <= now else None


def below(scope: str, above: str) -> bool:
    return f"{scope}/".startswith(f"{above}/")


class Oracle:
    """The whole store as it should be."""

    def __init__(self, grace_ms: int, max_age_ms: int, lease_max_ms: int) -> None:
        self.grace_ms, self.max_age_ms, self.lease_max_ms = grace_ms, max_age_ms, lease_max_ms
        self.now = 0
        #: What the call that is being judged has ended.
        self.fresh: list[Life] = []
        self.places = 0
        self.lives: dict[str, Life] = {}
        self.bytes: list[Bytes] = []
        self.deadlines: dict[str, Deadline] = {}
        self.counted = {"stored": 0, "released": 0, "expired": 0, "deleted": 0}

    # --- time

    def tick(self, now: int) -> None:
        """Let time pass: whatever is due by then has expired."""
        self.now = now
        for life in self.live():
            if life.due_ms is not None and not life.pinned and life.due_ms <= now:
                self._end(life, End("expired", life.due_ms, OWN_DEADLINE))
        self.fresh.clear()

    def live(self, scope: str | None = None) -> list[Life]:
        """The live refs, of one scope in store order."""
        found = [each for each in self.lives.values() if each.live]
        if scope is not None:
            found = [each for each in found if each.scope == scope]
        return sorted(found, key=lambda each: each.place)

    def dead(self) -> list[Life]:
        return [each for each in self.lives.values() if not each.live]

    def _end(self, life: Life, end: End) -> None:
        life.end = end
        self.fresh.append(life)
        self.counted[end.reason] += 1

    def need(self, life: Life) -> Life:
        if life.end is not None:
            raise Refused("RefGone", life.end.reason)
        return life

    # --- making and moving refs

    def _length(self, ttl_ms: Any, policy_ms: int | None) -> int | None:
        """ttl, else the metadata's policy, else the setting max_age; "never" is no end."""
        if ttl_ms is not None:
            return None if ttl_ms == "never" else int(ttl_ms)
        return policy_ms if policy_ms is not None else self.max_age_ms

    def _until(self, length_ms: int | None) -> int | None:
        return None if length_ms is None else self.now + length_ms

    def _place(self) -> int:
        self.places += 1
        return self.places

    def make(
        self, ref: str, scope: str, bytes_: Bytes, filename: str, policy_ms: int | None, ttl_ms: Any
    ) -> Life:
        """A new ref: stored, shared or restored."""
        length = self._length(ttl_ms, policy_ms)
        life = Life(
            ref, scope, self._place(), bytes_, filename, policy_ms, length, self._until(length)
        )
        self.lives[ref] = life
        bytes_.lives.append(life)
        self.counted["stored"] += 1
        self.active(scope)
        return life

    def touch(self, life: Life, ttl_ms: Any) -> int | None:
        self.need(life)
        if ttl_ms is not None:
            life.length_ms = self._length(ttl_ms, None)
        if not life.pinned:
            life.due_ms = self._until(life.length_ms)
        self.active(life.scope)
        return self.expires(life)

    def touch_again(self, life: Life) -> int | None:
        return self.touch(life, None)

    def expires(self, life: Life) -> int | None:
        return None if life.pinned else life.due_ms

    def pin(self, life: Life) -> None:
        self.need(life).pinned = True
        self.active(life.scope)

    def unpin(self, life: Life) -> int | None:
        """The same length again, from now."""
        self.need(life).pinned = False
        life.due_ms = self._until(life.length_ms)
        self.active(life.scope)
        return life.due_ms

    def transfer(self, life: Life, scope: str) -> None:
        self.need(life)
        self.maybe_active(life.scope)
        life.scope, life.place = scope, self._place()
        self.active(scope)

    def promote(self, life: Life) -> str:
        self.need(life)
        parent, slash, _ = life.scope.rpartition("/")
        if not slash:
            raise Refused("InvalidRequest")
        self.transfer(life, parent)
        return parent

    # --- ending refs

    def delete(self, life: Life) -> None:
        self._end(self.need(life), End("deleted", self.now, "delete_media()", carried_ms=self.now))

    def release(self, scope: str, *, carried: bool, reason: str = "released") -> None:
        """End what is below, and forget the deadlines there."""
        by = f"the deadline of scope {scope!r}"
        if reason == "released":
            by = f"release_all({scope!r})"
        for life in [each for each in self.lives.values() if below(each.scope, scope)]:
            if life.end is None:
                self._end(life, End(reason, self.now, by))
            elif life.end.carried_ms is None:
                life.end.others.append(End(reason, self.now, by))
                if life.due_ms is not None and not life.pinned and life.due_ms <= self.now:
                    life.end.others.append(End("expired", life.due_ms, OWN_DEADLINE))
        for name in [name for name in self.deadlines if below(name, scope)]:
            del self.deadlines[name]
        for life in self.dead():
            if life.end and below(life.scope, scope):
                life.end.vague = True
        if carried:
            self.carry(lambda life: below(life.scope, scope))

    def carry(self, chosen: Any) -> None:
        """These dead refs are dead in the journal too, from now on at the latest."""
        for life in self.dead():
            if life.end and life.end.carried_ms is None and chosen(life):
                life.end.carried_ms = self.now
                if not life.end.vague:
                    self.fresh.append(life)

    # --- leases

    def lease(self, life: Life, ttl_ms: int) -> Hold:
        if ttl_ms > self.lease_max_ms:
            raise Refused("InvalidRequest")
        self.need(life)
        last = self.now + self.lease_max_ms
        hold = Hold(ttl_ms, min(self.now + ttl_ms, last), last)
        life.bytes.holds.append(hold)
        self.active(life.scope)
        return hold

    def renew(self, hold: Hold, ttl_ms: int | None) -> int:
        """Its new deadline, which a renewal never brings nearer; a late one fails for ever."""
        if ttl_ms is not None and ttl_ms > self.lease_max_ms:
            raise Refused("InvalidRequest")
        if not hold.live(self.now):
            raise Refused("LeaseLost")
        hold.ttl_ms = ttl_ms or hold.ttl_ms
        hold.until_ms = max(min(self.now + hold.ttl_ms, hold.last_ms), hold.until_ms)
        return hold.until_ms

    def end_lease(self, hold: Hold) -> None:
        """Says so if it had been lost; a second call does nothing."""
        lost = not hold.ended and not hold.live(self.now)
        hold.ended = True
        if lost:
            raise Refused("LeaseLost")

    def accept(self, hold: Hold, bytes_: Bytes, ttl_ms: int) -> Hold:
        if ttl_ms > self.lease_max_ms:
            raise Refused("InvalidRequest")
        if not hold.live(self.now):
            raise Refused("LeaseLost")
        hold.ended = True
        last = self.now + self.lease_max_ms
        taken = Hold(ttl_ms, min(self.now + ttl_ms, last), last)
        bytes_.holds.append(taken)
        return taken

    # --- deadlines of scopes

    def open_scope(self, scope: str, ttl_ms: Any, idle_ms: Any) -> None:
        """Opening again can only lengthen; NEVER removes. It counts as activity, unless nothing is said."""
        if ttl_ms is None and idle_ms is None:
            return
        found = self.deadlines.setdefault(scope, Deadline())
        if ttl_ms == "never":
            found.fixed_ms = None
        elif ttl_ms is not None:
            found.fixed_ms = max(self.now + ttl_ms, found.fixed_ms or 0)
        if idle_ms == "never":
            found.idle_ms, found.low_ms, found.high_ms = None, 0, 0
        elif idle_ms is not None:
            found.idle_ms = max(idle_ms, found.idle_ms or 0)
            found.low_ms = max(found.low_ms, self.now + found.idle_ms)
            found.high_ms = max(found.high_ms, self.now + found.idle_ms)
        self.active(scope)
        if found.fixed_ms is None and found.idle_ms is None:
            del self.deadlines[scope]

    def due_of(self, scope: str) -> tuple[int, int] | None:
        """The least and the most that a scope's deadline may be; None: it has none."""
        if scope not in self.deadlines:
            return None
        found = self.deadlines[scope]
        fixed = [found.fixed_ms] if found.fixed_ms is not None else []
        idle = (found.low_ms, found.high_ms) if found.idle_ms is not None else None
        low = min([*fixed, idle[0]] if idle else fixed)
        return low, min([*fixed, idle[1]] if idle else fixed)

    def active(self, scope: str) -> None:
        """Something happened below: every idle deadline above moves, written at most every tenth of its length."""
        for name, deadline in self.deadlines.items():
            if below(scope, name) and deadline.idle_ms is not None:
                deadline.high_ms = max(deadline.high_ms, self.now + deadline.idle_ms)
                low = self.now + deadline.idle_ms - deadline.idle_ms // 10
                if deadline.low_ms > self.now:
                    deadline.low_ms = max(deadline.low_ms, low)

    def maybe_active(self, scope: str) -> None:
        """The words do not say whether this counts: a move away from here."""
        for name, deadline in self.deadlines.items():
            if below(scope, name) and deadline.idle_ms is not None:
                deadline.high_ms = max(deadline.high_ms, self.now + deadline.idle_ms)

    # --- bytes

    def must_stay(self, bytes_: Bytes) -> bool:
        """A live ref, a live lease, or grace that is not over since the last of its refs ended."""
        if bytes_.lent or bytes_.referred() or bytes_.leased(self.now):
            return True
        ends = [life.end.when_ms for life in bytes_.lives if life.end]
        return bool(ends) and self.now < max(ends) + self.grace_ms

    def must_go(self, bytes_: Bytes) -> bool:
        """Nothing claims it, and the journal has known that for as long as grace lasts."""
        return self._waits(bytes_) is False and not bytes_.lent

    def waits(self, bytes_: Bytes) -> bool:
        """Whether the bytes stay without a ref, for a lease or for grace, as the journal knows it."""
        return bool(self._waits(bytes_))

    def may_have_waited(self, bytes_: Bytes) -> bool:
        """Whether grace may be over already: a release that did not wait may have let it begin."""
        vague = any(life.end and life.end.vague for life in bytes_.lives)
        return vague and not self.must_stay(bytes_)

    def stay(self, bytes_: Bytes) -> tuple[int, int, int]:
        """Of bytes that wait: the least and the most that the end of grace may be, and when the last lease ends."""
        ends = [life.end for life in bytes_.lives if life.end]
        low = max(end.when_ms for end in ends) + self.grace_ms
        high = max(end.carried_ms or 0 for end in ends) + self.grace_ms
        return low, high, max((h.until_ms for h in bytes_.holds if h.live(self.now)), default=0)

    def _waits(self, bytes_: Bytes) -> bool | None:
        """None: some ref of it lives, or may do so in the journal."""
        carried = [life.end.carried_ms if life.end else None for life in bytes_.lives]
        if not carried or None in carried:
            return None
        grace_ms = 0 if bytes_.lent else self.grace_ms
        ended = max(each for each in carried if each is not None)
        return bytes_.leased(self.now) or self.now < ended + grace_ms
