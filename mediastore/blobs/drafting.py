"""Steps on content: its source, the draft that becomes its file, and a file that is read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediastore.journal import Written

from . import Step

if TYPE_CHECKING:
    from io import FileIO

    from mediastore.lifetimes import Taken

    from .owned import Draft


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
class Rename(Step[bool]):
    """Give a temporary name another extension; False where it is gone: a sweeper has taken the blob."""

    draft: Draft
    extension: str


@dataclass(frozen=True, slots=True)
class Absorb(Step[bool]):
    """Count and hash the next `size` bytes of a reopened file; False at the end."""

    draft: Draft
    size: int


@dataclass(frozen=True, slots=True)
class Locate(Step[tuple[str, str]]):
    """Return the root of a file and its path there; both empty where it lies in no root at all.

    Raises:
        FileMissing, NotARegularFile, InvalidPath: it is no file that can be taken, or lies in a root that is not ours.
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
class Own(Step[None]):
    """Give a file that was taken the rights of our own, at the path that it was published under; nothing where it is not there.

    Until its ref is made, they are its owner's affair.
    """

    draft: Draft
    path: str


@dataclass(frozen=True, slots=True)
class Leave(Step[bool]):
    """Remove the name that a file had before it was taken or copied; False where it was changed, or another file has the name now.

    `marked` is the modification time in ns that the store gave it, None if it gave it none.
    """

    path: str
    seen: tuple[int, ...]
    marked: int | None


@dataclass(frozen=True, slots=True)
class Identify(Step[tuple[int, ...]]):
    """Return what tells a file from others, and from itself after a change, for as long as it is open or has a name."""

    path: str


@dataclass(frozen=True, slots=True)
class Head(Step[bytes]):
    """Return the first bytes of an open file; where it is read from next stays."""

    file: FileIO


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
    """Have a temporary file on the disk, and close it.

    Raises:
        InvalidRequest: somebody else is writing it still.
    """

    draft: Draft
    durable: bool


@dataclass(frozen=True, slots=True)
class Publish(Step["str | None"]):
    """Give a temporary file its name, and its sidecar's; returns its stamp, as `Same` compares it.

    None where the temporary name is gone: a sweeper has taken the blob.
    """

    draft: Draft
    path: str
    sidecar: bytes
    durable: bool


@dataclass(frozen=True, slots=True)
class Same(Step[bool]):
    """Whether a file of ours has the bytes that were hashed when it was stored, and nobody has it open to write to it.

    `stamp` is what was recorded of its times then; empty if nothing was, so that its bytes are hashed once more.
    """

    root: str
    path: str
    size: int
    stamp: str
    sha: str


@dataclass(frozen=True, slots=True)
class Discard(Step[None]):
    """Remove the names of a blob that never came to be. It may leave some: they go with the trash, or with the strays."""

    draft: Draft
    path: str = ""


@dataclass(frozen=True, slots=True)
class Guard(Step[Any]):
    """Have a writer's lease renewed in the background; returns an object whose `over` ends that when it is set."""

    taken: Taken
