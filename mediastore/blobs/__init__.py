"""Steps on bytes: frozen values that say what is to be done to files; `blobs.local` does it on a local or shared directory.

Inside a root, all that is ours lies in `.mediastore/`:

    root                     the marker: root id, namespace, its own inode number
    new/<blob><ext>          a second name for a file that is being registered
    held/<blob><ext>         the held link: pins the inode of a registered file, so its identity is exact
    quarantine/<token>/      what one claim is deleting: <blob>.held and <blob>
    parked/<blob>            a file that was moved and could not be put back; never deleted by us
    tmp/<blob><ext>          content that is being written, and tmp/<blob>.meta its sidecar
    meta/<blob>/<ref>.meta   sidecars of content: of the refs that do not have the one beside the file
    drafts/<blob>/           such sidecars, and those beside files, that are being written

Content that the store has written itself lies beside it, under names that are never used again: see `mediastore.naming`.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from mediastore.journal import (
    Bound,
    Claim,
    Found,
    Held,
    Outcome,
    Placed,
    Written,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from mediastore.lifetimes import Taken
    from mediastore.sidecars import Inscription, Kin

    from .owned import Draft
    from .surveying import Survey as _Survey

R = TypeVar("R")
MaybePath = Path | None
MaybeFile = FileIO | None


@dataclass(frozen=True, slots=True)
class Step(Generic[R]):
    """The base of the steps on files; `yield from` one inside a flow to get its answer."""

    def __iter__(self) -> Generator[Self, Any, R]:
        """Hand the step to the driver and return its answer."""
        answer: R = yield self
        return answer


@dataclass(frozen=True, slots=True)
class Hold(Step[Held]):
    """Find the root of `path` and take a second name for the file, so that nothing can be swapped in from here on.

    Raises:
        FileMissing, NotARegularFile, OutsideRoots, InvalidPath: nothing was done.
        StoreFull, BlobsUnavailable: the root cannot take the name now.
    """

    path: str
    blob: str
    borrow: bool


@dataclass(frozen=True, slots=True)
class Keep(Step[bool]):
    """The index made the blob: its held link gets its lasting place. Returns whether the file is still at its path."""

    held: Held
    blob: str


@dataclass(frozen=True, slots=True)
class Drop(Step[bool]):
    """The index did not make the blob: the second name goes. Returns whether the file is still at its path."""

    held: Held
    blob: str


@dataclass(frozen=True, slots=True)
class Check(Step[MaybePath]):
    """Return the absolute path of a registered file, or None when it is not the registered file any more.

    `seq` says when the identity was true: before the root was adopted it counts for nothing. None: it is the present one.

    Raises:
        KeyError: the root is none of this process's.
        BlobsUnavailable: the root does not answer.
    """

    root: str
    path: str
    identity: str
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Lasting(Step[MaybePath]):
    """Return the absolute path under which a blob's bytes stay whatever happens to its own: its second name, where it has one.

    None when they are not there.

    Raises:
        KeyError: the root is none of this process's.
        BlobsUnavailable: the root does not answer.
    """

    root: str
    blob: str
    path: str
    identity: str


@dataclass(frozen=True, slots=True)
class Open(Step[MaybeFile]):
    """Open a file for reading, by its absolute path; None when it is not the one of that identity.

    Raises:
        KeyError: the root is none of this process's.
        BlobsUnavailable: the root does not answer, or this user may not read the file.
    """

    root: str
    path: str
    identity: str


@dataclass(frozen=True, slots=True)
class Prepare(Step[bool]):
    """Make the directory of a claim, before the claim; False when the root cannot be trusted or written now."""

    root: str
    token: str


@dataclass(frozen=True, slots=True)
class Destroy(Step[tuple[Outcome, ...]]):
    """Delete a claimed batch. A blob without an outcome was taken over by another sweeper: not ours to report."""

    root: str
    token: str
    claim: Claim


@dataclass(frozen=True, slots=True)
class Dismiss(Step[None]):
    """Remove the empty directory of a claim."""

    root: str
    token: str


@dataclass(frozen=True, slots=True)
class Strays(Step[tuple[str, ...]]):
    """Name what crashed calls left behind in `new/` and `quarantine/`, older than `age_s`: blob ids and tokens."""

    root: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Tidy(Step[int]):
    """Finish what crashed calls left: a known blob's second name gets its place, an unknown one's goes, empty directories go.

    Returns how many names were unknown and went.
    """

    root: str
    age_s: float
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class Roots(Step[dict[str, str]]):
    """Verify this process's roots; returns root id -> absolute path of those that can be used.

    Raises:
        InvalidRoot: a root's marker is foreign, copied or missing rights; nothing in it is touched.
    """

    create: bool = True


@dataclass(frozen=True, slots=True)
class Standing(Step[dict[str, bool]]):
    """Which roots this process's directories are by their markers, and whether each can be used now; nothing is marked."""


@dataclass(frozen=True, slots=True)
class Inspect(Step[Found]):
    """Look at a directory that is to be adopted; nothing is changed.

    Raises:
        InvalidRoot: it has no marker that this namespace can read, or can never be a root.
    """

    path: str


@dataclass(frozen=True, slots=True)
class Stands(Step[bool]):
    """Whether another directory of this host is this root, with a marker that was made in it."""

    root: str
    path: str
    beside: str


@dataclass(frozen=True, slots=True)
class Rebind(Step[tuple[Bound, ...]]):
    """Find the files of these blobs in a directory that is being adopted, and take a second name for each."""

    path: str
    blobs: tuple[Placed, ...]
    drafts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldBlobs(Step[tuple[str, ...]]):
    """Name the blobs that have a second name in a directory that is being adopted, or that a claim was deleting there.

    In `new/` as well if it is a copy.
    """

    path: str
    copied: bool


@dataclass(frozen=True, slots=True)
class Unhold(Step[tuple[int, int]]):
    """Let second names go that no blob has any more; one that is its file's only name is parked.

    Returns how many were removed, and how many parked.
    """

    path: str
    blobs: frozenset[str]
    copied: bool


@dataclass(frozen=True, slots=True)
class Remark(Step[None]):
    """Write the marker of an adopted root anew, for this very directory; what was said up to `seq` was said of another."""

    path: str
    root: str
    seq: int


@dataclass(frozen=True, slots=True)
class Begin(Step["Draft"]):
    """Make the empty temporary file of a blob that is about to be reserved, and that of its sidecar.

    `floor` is how many bytes must stay free in the root, `need` how many are to come as far as known.

    Raises:
        StoreFull: the root has too little room.
        BlobsUnavailable: the root does not answer.
    """

    root: str
    blob: str
    extension: str
    sidecar: bool
    need: int
    floor: int


@dataclass(frozen=True, slots=True)
class Peek(Step[bytes]):
    """Open a source and look at its first bytes; they are drawn all the same. Raises what the source raises."""

    source: Any


@dataclass(frozen=True, slots=True)
class Digest(Step[str]):
    """Return the SHA-256 of bytes in memory, in hex."""

    data: Any


@dataclass(frozen=True, slots=True)
class Draw(Step[bytes]):
    """Take the next piece of a source, of at most `size` bytes; empty at the end. What the source raises is raised."""

    source: Any
    size: int


@dataclass(frozen=True, slots=True)
class Write(Step[int]):
    """Append to a temporary file; returns how many bytes it has now.

    Raises:
        StoreFull: the root is full, or below its floor.
    """

    draft: Draft
    piece: bytes


@dataclass(frozen=True, slots=True)
class Reopen(Step[bytes]):
    """Take what somebody else has written under a temporary name, or put there; returns its first bytes.

    Its size is known then, unless it is to be counted and `hashed` piece by piece.

    Raises:
        FileMissing, NotARegularFile: there is no file under the name any more.
    """

    draft: Draft
    hashed: bool


@dataclass(frozen=True, slots=True)
class Absorb(Step[bool]):
    """Count and hash the next `size` bytes of a reopened file; False at the end."""

    draft: Draft
    size: int


@dataclass(frozen=True, slots=True)
class Locate(Step[tuple[str, str]]):
    """Return the root of a file and its path there; both empty where it lies in none of this process's roots.

    Raises:
        FileMissing, NotARegularFile, InvalidPath: it is no file that can be taken.
    """

    path: str


@dataclass(frozen=True, slots=True)
class Take(Step[bool]):
    """Let a temporary name stand for a file that lies elsewhere; False where it cannot, and has to be copied.

    The file keeps its own name until `Leave`.
    """

    draft: Draft
    path: str


@dataclass(frozen=True, slots=True)
class Leave(Step[bool]):
    """Remove the name that a file had before it was taken or copied; False where another file has that name now."""

    path: str
    seen: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Identify(Step[tuple[int, int]]):
    """Return device and inode number of a file, for as long as somebody has it open or it has a name."""

    path: str


@dataclass(frozen=True, slots=True)
class Encode(Step[str]):
    """Read an open file to its end as base64 text, and close it.

    Raises:
        TooLarge: it has more than `limit` bytes.
    """

    file: FileIO
    limit: int


@dataclass(frozen=True, slots=True)
class Finish(Step[Written]):
    """Have a temporary file on the disk, and close it."""

    draft: Draft
    durable: bool


@dataclass(frozen=True, slots=True)
class Publish(Step[bool]):
    """Give a temporary file its name, and its sidecar's; False where the temporary name is gone: a sweeper has taken the blob."""

    draft: Draft
    path: str
    sidecar: bytes
    durable: bool


@dataclass(frozen=True, slots=True)
class Discard(Step[None]):
    """Remove the names of a blob that never came to be. It may leave some: they go with the trash, or with the strays."""

    draft: Draft
    path: str = ""


@dataclass(frozen=True, slots=True)
class Announce(Step[None]):
    """Make an empty temporary name for the sidecar of each ref, given as (ref, blob), before the index is read for it.

    Where that fails, `Inscribe` does.
    """

    root: str
    token: str
    refs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Inscribe(Step[tuple[bool, ...]]):
    """Write or remove sidecars that were announced; returns which of them are now as they should be.

    The others were overtaken by somebody who has read the index later, or their directory cannot be written.
    """

    root: str
    token: str
    inscriptions: tuple[Inscription, ...]
    durable: bool


@dataclass(frozen=True, slots=True)
class Survey(Step["_Survey"]):
    """Begin to look for the sidecars of a root; whoever has it closes it."""

    root: str


@dataclass(frozen=True, slots=True)
class Surveyed(Step[tuple["Kin", ...]]):
    """Go on until about so many refs are found; empty at the end."""

    survey: _Survey
    refs: int


@dataclass(frozen=True, slots=True)
class Guard(Step[Any]):
    """Have a writer's lease renewed in the background; returns an object whose `over` ends that when it is set."""

    taken: Taken


@dataclass(frozen=True, slots=True)
class Elapsed(Step[float]):
    """Seconds on a clock that never steps."""


@dataclass(frozen=True, slots=True)
class Pause(Step[None]):
    """Wait a moment without holding anything."""

    seconds: float
