"""The journal: whether somebody sweeps, and what cannot be deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mediastore.errors import Corrupt
from mediastore.index import presence
from mediastore.index.steps import pairs, scored

from .finding import NAMED_AT_MOST, Finding, counted, human_bytes, human_span
from .server import Server, looked

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

#: Work that waits longer than this many sweeps is not being done by anybody.
_INTERVALS: Final = 3
#: A host that has not tried to delete for so long is not there, or has another name: containers do.
_FORGOTTEN_MS: Final = 3_600_000
#: Where sweeping is off, others sweep at the usual pace.
_SWEEP_S: Final = 300.0

_SWEEP: Final = (
    "Start a worker and a beat (celery -A worker worker, celery -A worker beat), "
    "or `mediastore sweep --watch`."
)
_WRONG: Final = (
    "Somebody else wrote into this namespace: put the key right or take it away, and its entry in `stuck`; "
    "it is looked at again every hour."
)
_AGAIN: Final = "it is tried again every five minutes"


@dataclass(slots=True)
class Places:
    """Where each root was last seen, root id -> "host:path", which of them hold something, which were forgotten.

    `read` says whether the index told; else nothing is known, which is not the same as nothing being there.
    """

    read: bool = False
    all: dict[str, str] = field(default_factory=dict)
    in_use: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


def places(server: Server) -> tuple[Places, list[Finding]]:
    """Read where the roots are; what keeps that from being read is the finding."""
    found = Places()

    def read() -> list[Finding]:
        found.all, found.lost = map(pairs, server.read(("HGETALL", "roots"), ("HGETALL", "lost")))
        asked = [("EXISTS", f"{name}:{root}") for root in found.all for name in ("path", "trash")]
        held = server.read(*asked)
        rows = zip(found.all.items(), held[::2], held[1::2], strict=True)
        found.in_use = {root: place for (root, place), blobs, trash in rows if blobs or trash}
        found.read = True
        return []

    return found, looked("journal", read)


def findings(server: Server, roots: Mapping[str, str], here: Container[str]) -> list[Finding]:
    """Look at what waits to be done, and at what failed; `here` are the roots of this host."""
    return [
        *looked("journal", lambda: _due(server, roots, here)),
        *looked("waiting", lambda: _waiting(server, roots)),
        *looked("stuck", lambda: _stuck(server, roots)),
        *looked("stuck", lambda: _barred(server, roots)),
    ]


def _due(server: Server, roots: Mapping[str, str], here: Container[str]) -> Iterator[Finding]:
    expiry, deadlines, closed, *trash = _queues(server, ("expiry", "deadlines", "closed"), roots)
    limit_s = _INTERVALS * (server.settings.seconds("sweep_interval") or _SWEEP_S)
    late = False
    [stopped] = server.read(("HLEN", "frozen"))  # the line of what stops it says so
    if expiry.age_s > limit_s and not stopped:
        late = True
        detail = f"a ref that expired {human_span(expiry.age_s)} ago is still there: nobody sweeps"
        yield Finding("journal", "problem", detail, _SWEEP)
    if deadlines.age_s > limit_s and not stopped:
        late = True
        ago = human_span(deadlines.age_s)
        detail = f"a scope whose deadline passed {ago} ago is not released: nobody sweeps"
        yield Finding("journal", "problem", detail, _SWEEP)
    if closed.age_s > limit_s:
        late = True
        detail = f"{counted(closed.all, 'released scope')} not drained, the first for {human_span(closed.age_s)}"
        yield Finding("journal", "problem", f"{detail}: nobody sweeps", _SWEEP)
    for (root, place), queue in zip(roots.items(), trash, strict=True):
        if queue.age_s > limit_s:
            late = True
            waits = (
                f"{counted(queue.due, 'file')} to delete, the first for {human_span(queue.age_s)}"
            )
            detail = f"root {root} at {place} has {waits}: nobody sweeps there"
            yield Finding(
                "journal", "problem", detail, _SWEEP if root in here else _elsewhere(root)
            )
    if not late:
        files = sum(queue.all for queue in trash) - _stay(server, trash)[0]
        detail = (
            f"{counted(closed.all, 'released scope')} and {counted(files, 'file')} on their way out"
        )
        idle = "what is past its deadline waits" if stopped else "nothing is due"
        yield Finding("journal", "ok", detail if closed.all or files else idle)


def _stay(server: Server, trash: Sequence[_Queue]) -> tuple[int, int]:
    """Return how many files of the trash stay for grace or a lease, and how large all that ever had to are."""
    [(files, size)] = server.read(("HMGET", "stats", "waiting", "waiting_bytes"))
    # The counter goes down when a sweeper takes a file; one whose time is over is due until then.
    return min(int(files or 0), sum(queue.all - queue.due for queue in trash)), int(size or 0)


def _waiting(server: Server, roots: Mapping[str, str]) -> Iterator[Finding]:
    files, size = _stay(server, _queues(server, (), roots))
    if not files:
        yield Finding("waiting", "ok", "no bytes of ended refs stay for grace or a lease")
        return
    grace_s = server.settings.seconds("grace")
    here = f"grace is {human_span(grace_s)}" if grace_s else "there is no grace"
    verb = "stays" if files == 1 else "stay"
    detail = f"{counted(files, 'file')} of ended refs, {human_bytes(size)}, {verb} for grace or a lease; {here} here"
    yield Finding("waiting", "ok", detail)


def _elsewhere(root: str) -> str:
    return (
        "Start a worker there, or on another host that has this directory; "
        f"or `mediastore roots forget {root}` if that host is gone for ever."
    )


@dataclass(frozen=True, slots=True)
class _Queue:
    """For how long its first entry has been due, how many are due, and how many there are."""

    age_s: float
    due: int
    all: int


def _queues(server: Server, names: Iterable[str], roots: Iterable[str]) -> list[_Queue]:
    """Return how it is with these queues, and then with the trash of each root."""
    now_ms: int = server.link.perform(presence.server_ms())
    names = (*names, *(f"trash:{root}" for root in roots))
    # The score of a released scope is a seq: microseconds.
    nows = {name: now_ms * 1000 if name == "closed" else now_ms for name in names}
    found = server.read(
        *(("ZRANGE", name, 0, 0, "WITHSCORES") for name in names),
        *(("ZCOUNT", name, "-inf", now) for name, now in nows.items()),
        *(("ZCARD", name) for name in names),
    )
    queues = []
    for i, (name, now) in enumerate(nows.items()):
        first, due, count = found[i :: len(names)]
        age_s = (now - scored(first)[0][1]) / (1e6 if name == "closed" else 1e3) if first else 0.0
        queues.append(_Queue(age_s, int(due), int(count)))
    return queues


def _stuck(server: Server, roots: Mapping[str, str]) -> Iterator[Finding]:
    count, reply = server.read(("HLEN", "stuck"), ("HSCAN", "stuck", 0, "COUNT", NAMED_AT_MOST))
    named = list(pairs(reply[1]).items())[:NAMED_AT_MOST]
    for blob, words in named:
        errno, root, path = _words(words)
        if errno == "CORRUPT":
            key = blob if ":" in blob else f"blob:{blob}"
            detail = f"{key} says what cannot be true, and is left as it is: {path}"
            yield Finding("stuck", "problem", detail, _WRONG)
            continue
        detail = f"{path} in root {root} ({roots.get(root, 'place unknown')}): {errno}, blob {blob}"
        yield Finding("stuck", "problem", detail, f"{_remedy(errno)}; {_AGAIN}.")
    if int(count) > len(named):
        more = f"{counted(int(count) - len(named), 'more blob')} cannot be deleted"
        yield Finding("stuck", "problem", more, "Solve the named ones first.")


def _barred(server: Server, roots: Mapping[str, str]) -> Iterator[Finding]:
    """Roots in which a host can claim nothing; files of the store's own go there all the same."""
    trash = dict(zip(roots, _queues(server, (), roots), strict=True))
    now_ms: int = server.link.perform(presence.server_ms())
    [said] = server.read(("HGETALL", "barred"))
    for name, words in pairs(said).items():
        root, _, host = name.partition(" ")
        errno, since_ms, last_ms = _since(words)
        if root not in trash or not trash[root].due or now_ms - last_ms > _FORGOTTEN_MS:
            continue  # there is nothing to try, or that host does not try any more
        since = human_span(max(0.0, (now_ms - since_ms) / 1000))
        where = f"root {root} ({roots.get(root, 'place unknown')})"
        detail = f"host {host} has not been able to delete registered files in {where} for {since}: {errno}"
        yield Finding("stuck", "problem", detail, f"{_remedy(errno)}; the next sweep goes on.")


def _since(words: str) -> tuple[str, int, int]:
    errno, *times = words.split(" ")
    if len(times) != 2 or not all(t.isdecimal() and t.isascii() for t in times):  # noqa: PLR2004
        raise Corrupt(f"the hash `barred` holds {words!r:.100}")
    return errno, int(times[0]), int(times[1])


def _words(words: str) -> tuple[str, str, str]:
    try:
        errno, root, path = words.split(" ", 2)
    except ValueError:
        raise Corrupt(f"the hash `stuck` holds {words!r:.100}") from None
    return errno, root, path


def _remedy(errno: str) -> str:
    if errno in {"EACCES", "EPERM"}:
        return "Give the sweeping user write access to the file's directory"
    if errno == "EXDEV":
        return "Unmount what is mounted inside the root, over the way to the file"
    if errno == "EROFS":
        return "Mount the root for writing"
    if errno in {"ENOSPC", "EDQUOT"}:
        return "Free a block or an inode there: docs/operating.md, A full disk"
    if errno in {"EMFILE", "ENFILE"}:
        return "Let the process open more files (ulimit -n, LimitNOFILE=)"
    if errno == "CORRUPT":
        return "Look at the blob's key: somebody else wrote into this prefix"
    return "Look at the file and its disk, and take away what stands in the way"
