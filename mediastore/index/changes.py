"""One typed command per script that changes the index.

Every change is one script, and every script may run twice: the ids come from the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mediastore.journal import Claim, Doomed, Held, Outcome
from mediastore.model import MediaMeta, encode_scope
from mediastore.plain import plain_id, plain_path

from .epochs import GOES_ON, Looks, Stopped, stopped
from .records import checked_custody, checked_identity, reading, spelt, whole
from .steps import BATCH, END_BATCH, FORMAT, Command, Lifetime, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Opened:
    """What the index said at the start: its format, its time in milliseconds, which of the caller's roots were forgotten.

    `forgotten` holds (root id, "when place"). `time_ms` is what the server's own clock says, `kept_ms` the latest time at which
    a script has ended something, `jumped` why the namespace is frozen for its clock, or empty.
    """

    now_ms: int
    format: str
    forgotten: tuple[tuple[str, str], ...] = ()
    time_ms: int = 0
    kept_ms: int = 0
    jumped: str = ""


def open_index(roots: Mapping[str, str]) -> Command[Opened]:
    """Agree on the format, learn the time, say where this client's roots are (root id -> "host:path")."""
    args = [part for root in roots.items() for part in root]

    def parse(reply: Any) -> Opened:
        answer = from_json(reply)
        forgotten = tuple((str(root), str(words)) for root, words in answer["forgotten"] or [])
        return Opened(
            *(int(answer["now"]), str(answer["format"]), forgotten),
            time_ms=int(answer["time"]),
            kept_ms=int(answer["kept"]),
            jumped=str(answer["jumped"]),
        )

    return Command("open", (FORMAT, *args), parse)


@dataclass(frozen=True, slots=True)
class Stored:
    """The verdict on a store: "new", "joined" (an existing blob), "busy" (being deleted), "forgotten" (its root), "refused", "policy" (nobody knows it), "changed" (a file of the store's own that somebody wrote to), "quota:..." (what it would exceed)."""

    verdict: str
    blob: str
    policy: str = ""
    scope: str = ""


def store(
    ref: str, blob: str, scope: str, held: Held, life: Lifetime, meta: MediaMeta
) -> Command[Stored]:
    """Register a held file as a new ref."""
    pairs = [str(part) for item in meta.to_dict().items() for part in item]
    place = (held.root, held.path, held.size, held.identity, held.stat, held.custody)
    args = (ref, blob, encode_scope(scope), *place, "" if life is None else life, *pairs)
    return Command("store", args, lambda r: Stored(**from_json(r), policy=meta.policy, scope=scope))


def refuse(ref: str, blob: str) -> Command[Stored]:
    """Burn the id of a store that was refused for lack of memory."""
    return Command("refuse", (ref, blob), lambda r: Stored(**from_json(r)))


@dataclass(frozen=True, slots=True)
class Terms:
    """What the caller's settings say of refs that end, and who the caller is, without spaces."""

    tombstone_ms: int
    tombstones: int = 100_000
    grace_ms: int = 0
    who: str = "."

    def __str__(self) -> str:
        """Spell them as the scripts read them."""
        return f"{self.tombstone_ms} {self.tombstones} {self.grace_ms} {self.who}"


def withdraw(ref: str, op: str, terms: Terms) -> Command[None]:
    """Take back a ref whose file was deleted while it was being stored; the grace of the terms is that of its blob."""
    return Command("withdraw", (ref, str(terms)), lambda _: None, op)


@dataclass(frozen=True, slots=True)
class Ended:
    """What one release, drain or expiry ended, and the blobs it left without a ref as (root, blob id).

    `kept` counts refs whose blob others hold or that was borrowed, `lost` blobs of roots that were forgotten.
    """

    released: int
    expired: int
    deleted: int
    kept: int
    doomed: tuple[tuple[str, str], ...]
    closed: str
    done: bool
    others: bool
    lost: int = 0
    stopped: Stopped = GOES_ON


def _ended(reply: Any) -> Ended:
    a = from_json(reply)
    doomed = tuple((root, blob) for root, blob in (a["doomed"] or []))
    return Ended(
        released=a["released"],
        expired=a["expired"],
        deleted=a["deleted"],
        kept=a["kept"],
        doomed=doomed,
        closed=a.get("closed", ""),
        done=bool(a.get("done", 1)),
        others=bool(a.get("others", 0)),
        stopped=stopped(a),
        lost=a.get("lost", 0),
    )


def release(scope: str, op: str, terms: Terms) -> Command[Ended]:
    """End a scope: at once where it is small, by a mark where it is large or has children."""
    return Command("release", (encode_scope(scope), END_BATCH, str(terms)), _ended, op)


def drain(name: str, op: str, terms: Terms) -> Command[Ended]:
    """End the next refs of a closed scope, whose name is as key names spell it: whatever it is, its mark goes."""
    return Command("drain", (spelt(name), END_BATCH, str(terms)), _ended, op)


def expire(op: str, terms: Terms, looks: Looks) -> Command[Ended]:
    """End the next refs whose deadline has passed."""
    return Command("expire", (END_BATCH, str(terms), *looks.words()), _ended, op)


def delete(ref: str, op: str, terms: Terms) -> Command[Ended | None]:
    """End one live ref by hand; None where it is dead."""

    def parse(reply: Any) -> Ended | None:
        return _ended(reply) if from_json(reply)["verdict"] == "ended" else None

    return Command("delete", (ref, str(terms)), parse, op)


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The scopes, as key names spell them, whose deadline passed and that are closed now; `done` unless more are due."""

    closed: tuple[str, ...]
    done: bool
    stopped: Stopped = GOES_ON


def lapse(op: str, looks: Looks) -> Command[Lapsed]:
    """Close the next scopes whose deadline has passed."""

    def parse(reply: Any) -> Lapsed:
        a = from_json(reply)
        return Lapsed(tuple(a["closed"] or []), bool(a["done"]), stopped(a))

    return Command("lapse", (END_BATCH, *looks.words()), parse, op)


@dataclass(frozen=True, slots=True)
class Barrier:
    """What keeps a host from claiming in a root.

    Attributes:
        host: Its name, without spaces.
        errno: The system's error for which no directory can be made for a claim; "" if it stands.
        shut: Nothing at all can be deleted; else files of the store's own, which need no directory, are claimed.
    """

    host: str = "."
    errno: str = ""
    shut: bool = False


def _doomed(
    blob: str, path: str, identity: str, custody: str, size: str, name: str, silent: int
) -> Doomed:
    """Return a claimed blob. The script hands out none that cannot be true: here is the second look before a file is deleted."""
    key = f"blob:{plain_id(blob, 'claim')}"
    with reading(key):
        checked_custody("owned" if custody == "draft" else custody)
        if identity.startswith("owned:") != (custody in {"owned", "draft"}):
            raise ValueError(f"custody {custody} does not go with identity {identity!r:.60}")
        at = plain_path(path, key) if path else ""
        known, last = checked_identity(identity), plain_path(name, key)
        return Doomed(blob, at, known, custody, whole(size), last, bool(silent))


def claim(
    root: str,
    token: str,
    op: str,
    hold_ms: int,
    blobs: Sequence[str] = (),
    *,
    barrier: Barrier = Barrier(),
    skip: int = 0,
    pause_ms: int = 0,
    shown: str = "",
) -> Command[Claim]:
    """Claim the due blobs of a root's trash, or only the named ones.

    With a barrier, those that need no directory; `skip` due ones were looked at and left by the claim before.
    `pause_ms` and `shown` as in `Looks`.
    """

    def parse(reply: Any) -> Claim:
        a = from_json(reply)
        prev = (plain_id(each, "claim") for each in a["prev"] or [])
        doomed = (_doomed(*each) for each in a["blobs"] or [])
        bare, stop = bool(barrier.errno), stopped(a)
        return Claim(
            tuple(prev), tuple(doomed), bare, a["barred"], a["put_off"], stop.why, stop.due
        )

    said = (root, token, BATCH, hold_ms, barrier.host, barrier.errno, int(barrier.shut), skip)
    return Command("claim", (*said, pause_ms, shown, *blobs), parse, op)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What one acknowledgement counted, as `Released` does; `left` blobs still belong to the claim.

    `barred` is how many due blobs could not be claimed at all, because no directory can be made for a claim;
    `frozen`, because the namespace is frozen or the server was just started.
    """

    deleted: int = 0
    gone: int = 0
    spared: int = 0
    kept: int = 0
    freed: int = 0
    failed: int = 0
    left: int = 0
    barred: int = 0
    frozen: int = 0

    def __add__(self, other: Acknowledged) -> Acknowledged:
        """Return the sum of both, count by count."""
        sums = (getattr(self, each.name) + getattr(other, each.name) for each in fields(self))
        return Acknowledged(*sums)


def acknowledge(
    root: str, token: str, op: str, outcomes: Sequence[Outcome], *, taken_over: bool = True
) -> Command[Acknowledged]:
    """Say what became of a claim's blobs, and whether the directories of the claims before it were taken over."""
    done = [o for o in outcomes if not o.errno]
    failed = [o for o in outcomes if o.errno]
    args: list[str | int] = [part for o in done for part in (o.blob, o.freed, o.words)]
    args += [part for o in failed for part in (o.blob, o.errno, "stuck" if o.stuck else "again")]
    said: tuple[str | int, ...] = (root, token, int(taken_over), len(done), *args)
    return Command("acknowledge", said, lambda r: Acknowledged(**from_json(r)), op)
