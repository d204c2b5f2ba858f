"""Steps on bytes: frozen values that say what is to be done to files; `blobs.local` does it on a local or shared directory.

Inside a root, all that is ours lies in `.mediastore/`:

    root                     the marker: root id, namespace, its own inode number
    epoch                    the entry of the index's chain that the root shows; epoch.<any>: its draft
    new/<blob><ext>          the held link of a file that is being registered
    held/<blob><ext>         the held link: pins the inode of a registered file, so its identity is exact
    quarantine/<token>/      what one claim is deleting: <blob>.held and <blob>
    spare/<any>/             an empty directory that becomes that of a claim by a rename, also when the disk is full
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
    Destroyed,
    Found,
    Held,
    Hidden,
    Placed,
    Prepared,
    Watched,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

R = TypeVar("R")
MaybePath = Path | None
MaybeText = str | None
MaybeWatched = Watched | None
MaybeFile = FileIO | None
MaybeHidden = Hidden | None


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
class Placement:
    """A root of this process, and a path in it."""

    root: str
    path: str


@dataclass(frozen=True, slots=True)
class Place(Step[Placement]):
    """Find the root of a path of this host; nothing need be there.

    Raises:
        NotARegularFile, OutsideRoots, InvalidPath: no file can be registered there.
    """

    path: str


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
    """Return the absolute path under which registered bytes can be read: where they were registered, else their held link.

    None if neither is there. `seq` says when the identity was true: before the root was adopted it counts for nothing.
    None: it is the present one.

    Raises:
        KeyError: the root is none of this process's.
        BlobsUnavailable: the root does not answer.
    """

    root: str
    blob: str
    path: str
    identity: str
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Occupant(Step[str]):
    """Say in a few words what is at a path where the registered file is not: "nothing", "another file", "a directory".

    Raises:
        KeyError: the root is none of this process's.
        BlobsUnavailable: the root does not answer.
    """

    root: str
    path: str
    identity: str


@dataclass(frozen=True, slots=True)
class Lasting(Step[MaybePath]):
    """Return the absolute path under which a blob's bytes stay, whatever happens to their own: that of the held link.

    Of a file that never had a held link, it is the path itself. None if the bytes are not there.

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
class Shown(Step[dict[str, str]]):
    """Read the entry of the chain of epochs in each root of this process: "" where there is none, "?" where it is unreadable.

    A root that is away, or cannot be read now, is left out. `root`: only this one.
    """

    root: str = ""


@dataclass(frozen=True, slots=True)
class Watch(Step[MaybeWatched]):
    """Make a draft of what a root is to show, then read what it shows; None where that cannot be done now."""

    root: str


@dataclass(frozen=True, slots=True)
class WatchAlone(Step[MaybeText]):
    """Take away all drafts, then read what the root shows; None where that cannot be done now."""

    root: str


@dataclass(frozen=True, slots=True)
class Show(Step[None]):
    """Have a root show an entry instead of what was read; what cannot be done now is left to the next look."""

    root: str
    draft: str
    before: str
    entry: str


@dataclass(frozen=True, slots=True)
class Unwatch(Step[None]):
    """Remove a draft that was not needed."""

    root: str
    draft: str


@dataclass(frozen=True, slots=True)
class Prepare(Step[Prepared]):
    """Make the directory of a claim, before the claim."""

    root: str
    token: str


@dataclass(frozen=True, slots=True)
class Destroy(Step[Destroyed]):
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
    """Name what crashed calls left behind in our directories, older than `age_s`: blob ids and tokens."""

    root: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Tidy(Step[int]):
    """Finish what crashed calls left: a known blob's held link gets its place, an unknown one's goes, empty directories go.

    `known` has the path of each blob that the index knows, "" for one that is claimed, and for each claim. What lies in the directory of an unknown
    claim gets its place again, or is parked. Returns how many names were unknown and went.
    """

    root: str
    age_s: float
    known: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CountHidden(Step[MaybeHidden]):
    """Look at the next part of the held links of a root; returns what was counted after the last part, until then None."""

    root: str


@dataclass(frozen=True, slots=True)
class Prune(Step[int]):
    """Look at the next directories of a root; returns how many were removed: empty, and older than `age_s`."""

    root: str
    age_s: float


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
class RebindDisplaced(Step[tuple[Bound, ...]]):
    """As `Rebind`, of blobs whose paths are others' by now: only their held links are looked for."""

    path: str
    blobs: tuple[Placed, ...]


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
class Elapsed(Step[float]):
    """Seconds on a clock that never steps."""


@dataclass(frozen=True, slots=True)
class Pause(Step[None]):
    """Wait a moment without holding anything."""

    seconds: float
