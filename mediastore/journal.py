"""What passes between the index and the disk: files to be registered, blobs to be deleted, roots to be adopted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Held:
    """A file about to be registered, as the caller's root sees it.

    `identity` is how the blob will know its file again: "link:ino" by the held link, "inode:ino" for
    borrowed files, "stat:ino:size:mtime_ns" where links are not possible. `stat` is always the last form.
    """

    root: str
    path: str
    size: int
    identity: str
    stat: str
    custody: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """How many blobs of a root live under their held links only, and how large they are together."""

    blobs: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Doomed:
    """One claimed blob.

    `path` is empty where the path now belongs to another blob; `name` is the path as registered. The custody is "draft"
    where it was never written to its end. `silent`: another sweeper had claimed it before and said nothing of it, so that
    this one may have deleted it.
    """

    blob: str
    path: str
    identity: str
    custody: str
    size: int
    name: str
    silent: bool = False

    @property
    def own(self) -> bool:
        """Whether the store has written its file itself, under a name that no other file gets."""
        return self.custody in {"owned", "draft"}


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed batch.

    Attributes:
        prev: The tokens it went through before, oldest first.
        blobs: What is to be deleted.
        bare: It has no directory, because none can be made: files of the store's own need none.
        barred: How many due blobs were left, because they need one.
        put_off: How many were passed by, because what the index says of them cannot be true.
        held: Why nothing was claimed, "" if it was not kept from it; `due` is how many wait then.
    """

    prev: tuple[str, ...]
    blobs: tuple[Doomed, ...]
    bare: bool = False
    barred: int = 0
    put_off: int = 0
    held: str = ""
    due: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claimed blob.

    Attributes:
        blob: Its id.
        freed: How many bytes became free.
        errno: The name of the system's error if it could not be deleted; "" if it is done with.
        stuck: Trying again soon is hopeless.
        kind: "deleted", by this sweeper or by one that had claimed it before; "gone", if somebody else had removed its bytes;
            "spared", if something stands at its path that is not, or cannot be shown to be, the registered file.
        found: What stands there, if it was spared: "file:ino:size:mtime_ns", or what it is instead of a file.
    """

    blob: str
    freed: int = 0
    errno: str = ""
    stuck: bool = False
    kind: Literal["deleted", "gone", "spared"] = "deleted"
    found: str = ""

    @property
    def words(self) -> str:
        """Spell the kind as the script reads it."""
        return f"{self.kind} {self.found}" if self.kind == "spared" else self.kind


@dataclass(frozen=True, slots=True)
class Watched:
    """What a root shows of the chain of epochs, and the draft of what it is to show."""

    draft: str
    shown: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """Whether a root is ready for a claim.

    Attributes:
        errno: The name of the system's error, such as "ENOSPC", if no directory can be made for it; "" if it stands.
        shut: The root itself cannot be opened: not even a file of the store's own can be deleted.
        away: It is none of this process's, or is not there now: others delete in it, or it is waited for.
        shown: The entry of the chain of epochs that it shows; "" where it has none, "?" where it cannot be read.
    """

    errno: str = ""
    shut: bool = False
    away: bool = False
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What became of a claim: an outcome for each blob that is this worker's to report.

    `taken_over` is False if the directories of earlier claims could not be taken over; they are to be tried again.
    """

    outcomes: tuple[Outcome, ...] = ()
    taken_over: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """A blob of a root that is being adopted: where its file should be, and how it was known before."""

    blob: str
    path: str
    identity: str
    size: int

    @property
    def unbound(self) -> bool:
        """Whether an earlier adoption did not find its file."""
        return self.identity == self.lost_identity

    @property
    def lost_identity(self) -> str:
        """The identity of a blob whose file was not found: of the same kind, and no file's."""
        kind = self.identity.partition(":")[0]
        return f"{kind}:{'lost' if kind == 'owned' else 0}"


@dataclass(frozen=True, slots=True)
class Bound:
    """How a blob of an adopted root knows its file from now on.

    `fault`, where it is not at its path: "hidden" if there is its held link, else "missing", or "differ" from what is there.
    """

    blob: str
    path: str
    before: str
    identity: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A directory that claims to be a root.

    Attributes:
        root: The id in its marker.
        path: Without symlinks.
        fault: Why it is refused as it stands: a copy or a restored tree; empty when its marker is right.
    """

    root: str
    path: str
    fault: str


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file: its bytes, and their SHA-256 as 64 hexadecimal digits; empty where nobody had to read them."""

    size: int
    sha: str
