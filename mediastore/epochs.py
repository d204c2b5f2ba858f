"""What the store says of its epochs: whether the index is the one that the roots know; results, frozen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

#: An entry of the chain: its number, when it was made, in milliseconds, and random letters.
ENTRY: Final = re.compile(r"[0-9]{1,15}\.[0-9]{1,15}\.[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Frozen:
    """Why a namespace is frozen: nothing expires and nothing is deleted, while refs are stored, resolved and released.

    Attributes:
        reason: "epoch": a root shows an entry that the index does not know, so the index came back older, or is another one.
            "clock": the server's clock has jumped.
        since: When it was noticed.
        root: The root that showed it; empty with "clock".
        place: "host:path" where that root was last seen; empty where the index does not know it. With "clock", the host that noticed.
        shown: The entry; "" where the root has lost its file, "?" where what is there is none.
        ahead_s: By how many seconds the server's clock was ahead of what that host expected; less than 0: behind.
    """

    reason: str
    since: datetime
    root: str
    place: str
    shown: str
    ahead_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RootEpoch:
    """What one root shows, and whether the index knows it.

    Attributes:
        place: "host:path" where it was last seen.
        here: It is a root of this process; else nobody can tell here what it shows.
        shown: The entry in its file; "" for none, "?" for one that cannot be read.
        state: "known", "new" (the next sweep here takes it), "unknown" (it freezes the namespace), or "elsewhere".
    """

    root: str
    place: str
    here: bool
    shown: str
    state: str


@dataclass(frozen=True, slots=True)
class Epoch:
    """How it is with the epochs of a namespace.

    Attributes:
        frozen: Why nothing expires and nothing is deleted; None where work goes on.
        kept_until: Until then nothing ends by itself that was there before the last `accept_epoch`; None where nothing is kept.
        newest: The newest entry of the chain; empty where nobody has swept yet.
        overdue: Refs whose deadline has passed and that no sweep has ended.
        waiting: Files in the roots of this process that could be deleted now.
        unknown: Second names of files, in the roots of this process, of which the index knows nothing.
        roots: Every root the index knows, and those of this process.
    """

    frozen: Frozen | None
    kept_until: datetime | None
    newest: str
    overdue: int
    waiting: int
    unknown: int
    roots: tuple[RootEpoch, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepting came to.

    Attributes:
        until: Until then no ref, scope or file that was there before ends or goes by itself.
        roots: How many roots may show what they have.
        removed: Second names that were let go because the index knows nothing of them; the files keep their own names.
        parked: Such names that were the file's only one, kept in `.mediastore/parked`.
    """

    until: datetime
    roots: int
    removed: int = 0
    parked: int = 0
