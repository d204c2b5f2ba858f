"""What is read from the index: the ref on the hot path without a script, the rest as pages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

from mediastore.errors import Corrupt, Reason, RefGone, as_value
from mediastore.journal import Hidden
from mediastore.model import Media, MediaMeta, Ref, encode_scope, from_ms, is_named
from mediastore.plain import is_plain_id, is_plain_path, plain_id

from .epochs import kept_below
from .records import (
    checked_custody,
    checked_state,
    facts_of,
    media_of,
    moment,
    reading,
    scope_of,
    score_ms,
    whole,
)
from .steps import (
    LARGEST_SEQ,
    Marks,
    Read,
    pairs,
    raw,
    raw_pairs,
    scored,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead ref that no sweep has come to yet: what it was, a mark above it, and whether its own deadline has passed.

    `cut` is the scope that was released, as key names spell it, and the seq of its newest release, in microseconds.
    Which of several came first, and whether the deadline did, `farewell` finds out.
    """

    media: Media
    cut: tuple[str, int] | None
    expired: bool


#: What a look at a ref came to; Corrupt where what the index says of it cannot be true.
Found = Media | Dead | Corrupt | None


def _found(ref: Ref, fields: Mapping[str, str], marks: Marks, now_ms: int, kept: int = 0) -> Found:
    if not fields:
        return None
    try:
        media = media_of(ref.id, fields)
        cut = marks.cut(fields["scope"], media.seq)
    except Corrupt as error:
        return as_value(error)
    due = "expires_at" in fields and int(fields["expires_at"]) <= now_ms
    expired = due and media.seq >= kept
    return Dead(media, cut, expired) if cut or expired else media


def lookup(refs: Sequence[Ref], *, overdue: bool = False) -> Read[list[Found]]:
    """Read refs: the server's time, the marks not seen yet, the refs; in this order every answer was true.

    Any other order can hand out a ref that was released and drained in between (PROTOCOL C8, C10).
    Of each its Media, or that it is dead; None where its hash is missing. `farewell` then says why. One that cannot be true
    is an error in its own place.

    `overdue`: also whether deadlines that have passed count: not while the namespace is frozen, nor, for a while after
    `epoch accept`, those of what was there before. It is asked only of refs that would be dead by their deadline.
    """

    def build(p: str, marks: Marks) -> list[tuple[str | int, ...]]:
        keeps = [("HMGET", f"{p}frozen", "epoch", "clock"), ("GET", f"{p}bound")]
        newer = ("ZRANGE", f"{p}closed", f"({marks.since()}", "+inf", "BYSCORE", "WITHSCORES")
        asked = (("HGETALL", f"{p}ref:{ref.id}") for ref in refs)
        return [*(keeps if overdue else ()), newer, *asked]

    def parse(marks: Marks, replies: list[Any], now_ms: int) -> list[Found]:
        kept = kept_below(replies[0], replies[1], now_ms) if overdue else 0
        found = replies[2:] if overdue else replies
        marks.learn(scored(found[0]))
        rows = zip(refs, found[1:], strict=True)
        return [_found(ref, raw_pairs(reply), marks, now_ms, kept) for ref, reply in rows]

    return Read(build, parse, timed=True)


#: Who ended a ref that came to its deadline.
OWN_DEADLINE: Final = "its own deadline"


@dataclass(frozen=True, slots=True)
class Obituary:
    """What is remembered of a dead ref: by its tombstone, or by itself until a sweep comes to it; its blob counts it until then."""

    reason: Reason
    when: datetime
    by: str
    scope: str
    blob: str
    meta: MediaMeta
    counted: bool = False

    def error(self, ref: Ref) -> RefGone:
        """Return the error that says so."""
        return RefGone(ref, self.reason, self.when, self.by)


def _by(cause: str, cut: str, who: str) -> str:
    if cause == "expired":
        return f"the deadline of scope {scope_of(cut)!r}" if cut != "." else OWN_DEADLINE
    call = f"release_all({scope_of(cut)!r})" if cause == "released" else "delete_media()"
    return f"{call} of {who}" if who != "." else call


def _from_tombstone(words: str) -> Obituary | None:
    said = words.split(" ", 6)
    cause, rest = said[0], said[1:]
    if cause not in _REASONS or len(rest) < _WORDS:
        return None  # burnt before it was a ref
    flat = json.loads(rest[5]) if len(rest) > _WORDS else []
    at, scope, cut, who, blob = rest[:5]
    # "." for what the ref itself did not say any more.
    home, bytes_of = scope_of(scope) if scope != "." else "", plain_id(blob) if blob != "." else ""
    by = _by(cause, cut, who)
    return Obituary(_REASONS[cause], moment(at), by, home, bytes_of, facts_of(pairs(flat)))


_REASONS: Final[dict[str, Reason]] = {r: r for r in get_args(Reason)}
#: How many words a tombstone has after its cause, without the facts.
_WORDS: Final = 5


def farewell(ref: Ref, dead: Dead | None = None) -> Read[Obituary | None]:
    """Read why a ref is not there; None where nobody remembers it."""
    line = _lineage(encode_scope(dead.media.scope)) if dead and dead.cut else []

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        cuts = [("HMGET", f"{p}cuts", *line)] if line else []
        return [("GET", f"{p}gone:{ref.id}"), *cuts]

    def parse(_: Marks, replies: list[Any], __: int) -> Obituary | None:
        with reading(f"gone:{ref.id}"):
            said = _from_tombstone(text(replies[0])) if replies[0] is not None else None
        if said or not dead:
            return said
        known = [] if not line else [raw(v) if v is not None else "" for v in replies[1]]
        return _unburied(dead, list(zip(line, known, strict=True)))

    return Read(build, parse)


def _lineage(scope: str) -> list[str]:
    segments = scope.split("/")
    return ["/".join(segments[:n]) for n in range(len(segments), 0, -1)]


#: One time that a scope was closed, as `cuts` has it; anything else in it tells nothing.
_CUT: Final = re.compile(r"([0-9]+) (released|expired) ([!-~]+)")


def _unburied(dead: Dead, cuts: Sequence[tuple[str, str]]) -> Obituary:
    """Return what ended a ref that no sweep has come to: whichever of its deadline and the releases above it came first."""
    media = dead.media
    ends = []
    # The seq of a release may be ahead of the time: a deadline that has not passed ended nothing.
    if dead.expired and media.expires_at is not None:
        ends.append((round(media.expires_at.timestamp() * 1000) * 1000, 0, "expired", ".", "."))
    for scope, said in cuts:
        for seq, cause, who in _CUT.findall(said):
            if media.seq <= int(seq) <= LARGEST_SEQ:
                ends.append((int(seq), 1, cause, scope, who))
    if dead.cut:
        # Its mark may be gone by now, and its tombstone may have lapsed.
        ends.append((dead.cut[1], 2, "released", dead.cut[0], "."))
    at, _, cause, scope, who = min(ends)
    by = _by(cause, scope, who)
    when, reason = from_ms(at // 1000), _REASONS[cause]
    return Obituary(reason, when, by, media.scope, media.blob, media.meta, counted=True)


@dataclass(frozen=True, slots=True)
class BlobState:
    """A blob as the journal sees it; `due` when a sweeper may take it (over), `errno` why the last try failed."""

    state: str
    custody: str
    holders: int
    errno: str
    due: bool


def blob_state(root: str, blob: str) -> Read[BlobState | None]:
    """Read the state of a blob; None once it is gone."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        fields = ("state", "custody", "refs", "errno")
        return [("HMGET", f"{p}blob:{blob}", *fields), ("ZSCORE", f"{p}trash:{root}", blob)]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> BlobState | None:
        state, custody, refs, errno = replies[0]
        if state is None:
            return None
        with reading(f"blob:{blob}"):
            due = replies[1] is not None and float(text(replies[1])) <= now_ms
            why = text(errno) if errno is not None else ""
            known = checked_state(text(state)), checked_custody(text(custody))
            return BlobState(*known, whole(refs), why, due)

    return Read(build, parse, timed=True)


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do now: whether refs or scopes are due, scopes that are closed, roots with due trash.

    Attributes:
        closed: As key names spell them, whatever that is: their marks go with the next drain.
        forgotten: Roots that are forgotten, and not to the end: they leave `roots` when nothing waits there any more.
        changing: Policies that were changed or removed, and not all refs moved yet.
        sidecars: Roots with sidecars to write or to remove.
        hidden: What was counted last of what lives under held links only, by root; asked for with `forgotten`.
        tripped: The breaker is tripped: it is looked whether it still must be.
    """

    expiry: bool
    deadlines: bool
    closed: tuple[str, ...]
    roots: tuple[str, ...]
    forgotten: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    sidecars: tuple[str, ...] = ()
    hidden: Mapping[str, Hidden] = field(default_factory=dict)
    tripped: bool = False


def due(roots: Sequence[str], *, forgotten: bool = False) -> Read[Due]:
    """Look whether anything is due; one round trip, whatever is stored. `forgotten`: look for half forgotten roots too."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        first = [
            ("ZRANGE", f"{p}{name}", 0, 0, "WITHSCORES")
            for name in ("expiry", "deadlines", *(f"trash:{r}" for r in roots))
        ]
        given_up: list[tuple[str | int, ...]] = []
        if forgotten:
            given_up = [("HKEYS", f"{p}lost"), ("HKEYS", f"{p}roots")]
        if forgotten and roots:
            asked = [f"{name}:{r}" for name in ("hidden", "hidden_bytes") for r in roots]
            given_up.append(("HMGET", f"{p}stats", *asked))
        unwritten = [("ZCARD", f"{p}meta:{root}") for root in roots]
        heads = [
            ("ZRANGE", f"{p}closed", "-inf", LARGEST_SEQ, "BYSCORE", "LIMIT", 0, 8),
            ("HKEYS", f"{p}changing"),
            ("HGET", f"{p}frozen", "breaker"),
        ]
        return [*heads, *first, *unwritten, *given_up]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> Due:
        n = len(roots)
        unwritten, given_up = replies[5 + n : 5 + 2 * n], replies[5 + 2 * n :]
        ripe = [bool(s) and s[0][1] <= now_ms for s in map(scored, replies[3 : 5 + n])]
        lost, known = ({raw(r) for r in reply} for reply in given_up[:2] or ((), ()))
        counted = [raw(each or b"0") for reply in given_up[2:] for each in reply]
        closed = tuple(raw(scope) for scope in replies[0])
        return Due(
            ripe[0],
            ripe[1],
            closed,
            tuple(root for root, is_due in zip(roots, ripe[2:], strict=True) if is_due),
            tuple(sorted(root for root in lost & known if is_plain_id(root))),
            tuple(sorted(name for name in map(raw, replies[1]) if is_named(name))),
            tuple(root for root, some in zip(roots, unwritten, strict=True) if some),
            _hidden(roots, counted),
            replies[2] is not None,
        )

    return Read(build, parse, timed=True)


def _hidden(roots: Sequence[str], counted: Sequence[str]) -> dict[str, Hidden]:
    """Return what was noted of each root; nothing of one whose note is no number, so that it is noted anew."""
    rows = zip(roots, counted, counted[len(roots) :], strict=False)
    return {
        r: Hidden(int(n), int(size)) for r, n, size in rows if n.isdecimal() and size.isdecimal()
    }


def roots_of(blobs: Sequence[str]) -> Read[dict[str, str]]:
    """Read the root of each of these blobs that is going now: not gone, not in grace, leased or kept, no try has failed."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        fields = ("root", "errno", "state", "due", "doomed")
        return [("GET", f"{p}bound"), *(("HMGET", f"{p}blob:{b}", *fields) for b in blobs)]

    def parse(_: Marks, replies: list[Any], now_ms: int) -> dict[str, str]:
        going = {}
        below = kept_below((), replies[0], now_ms)
        rows = zip(blobs, replies[1:], strict=True)
        for blob, (root, errno, state, due, doomed) in rows:
            at = int(raw(doomed)) if doomed is not None and raw(doomed).isdecimal() else 0
            if state is not None and raw(state) == "doomed" and at < below:
                continue  # it was there before `epoch accept`
            if due is not None and not raw(due).isdecimal():
                continue  # nobody will take it
            waits = state is not None and raw(state) == "doomed" and score_ms(due) > now_ms
            if root is not None and errno is None and not waits:
                going[blob] = raw(root)
        return going

    return Read(build, parse, timed=True)


def paths_of(blobs: Sequence[str], *, unclaimed: bool = False) -> Read[list[str]]:
    """Read the path of each of these blobs; empty for one that is gone, and with `unclaimed` for one that a sweeper has."""

    def parse(_: Marks, replies: list[Any], __: int) -> list[str]:
        return [path_of(*reply) for reply in replies]

    def path_of(path: Any, state: Any) -> str:
        taken = unclaimed and raw(state or b"") in {"deleting", "stuck"}
        return raw(path) if not taken and is_plain_path(raw(path or b"")) else ""

    return Read(lambda p, _: [("HMGET", f"{p}blob:{b}", "path", "state") for b in blobs], parse)


def holders_of(places: Sequence[tuple[str, str]]) -> Read[list[str]]:
    """Read which blob each place (root, path) has now; empty where it has none."""

    def parse(_: Marks, replies: list[Any], __: int) -> list[str]:
        return [raw(holder) if is_plain_id(raw(holder or b"")) else "" for holder in replies]

    return Read(lambda p, _: [("HGET", f"{p}path:{root}", path) for root, path in places], parse)


def root_of(blob: str) -> Read[str]:
    """Read the root of a blob; empty once it is gone."""

    def parse(_: Marks, replies: list[Any], __: int) -> str:
        return plain_id(raw(replies[0]), f"blob:{blob}") if replies[0] is not None else ""

    return Read(lambda p, _: [("HGET", f"{p}blob:{blob}", "root")], parse)


def known_ids(blobs: Sequence[str], *, unrooted: bool = False) -> Read[frozenset[str]]:
    """Read which of these blob ids and claim tokens the index knows."""

    def build(p: str, _: Marks) -> list[tuple[str | int, ...]]:
        return [("EXISTS", f"{p}blob:{b}", f"{p}claim:{b}") for b in blobs]

    def parse(_: Marks, replies: list[Any], __: int) -> frozenset[str]:
        return frozenset(b for b, count in zip(blobs, replies, strict=True) if count)

    return Read(build, parse, unrooted=unrooted)
