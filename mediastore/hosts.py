"""What the store says of roots, here and on other hosts: results, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RootInfo:
    """One root, as the index knows it and as this process sees it.

    Attributes:
        place: "host:path" where it was last seen.
        here: One of this process's roots carries its marker.
        verified: It is here and can be used now.
        blobs: Files that live refs hold; `size_bytes` theirs.
        waiting: Files on their way out; `oldest_waiting_s` since when the first of them could have gone.
        lost: Files that were given up when it was forgotten, or whose last ref ended since.
        forgotten_at: None unless it was forgotten.
    """

    root: str
    place: str
    here: bool
    verified: bool
    blobs: int
    size_bytes: int
    waiting: int
    oldest_waiting_s: float
    stuck: int
    lost: int
    forgotten_at: datetime | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What forgetting a root gave up: files that waited to be deleted there, which nobody will delete now."""

    root: str
    place: str
    forgotten_at: datetime
    lost_blobs: int
    lost_bytes: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """What adopting a directory as a root came to.

    Attributes:
        rebound: Files that were found as registered and are known again.
        missing: Paths, relative to the root, where no file is any more; their refs are BlobMissing.
        differ: Paths where another file is; their refs are BlobMissing, the file is nobody's.
        hidden: Paths where no file or another one is, and whose refs give their held links.
        removed: Second names of files that no blob has any more; the files keep their own names.
        parked: Such names that were the file's only one, kept in `.mediastore/parked`.
    """

    root: str
    path: Path
    rebound: int
    missing: tuple[str, ...]
    differ: tuple[str, ...]
    hidden: tuple[str, ...]
    removed: int
    parked: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What making the index again from sidecars came to.

    Attributes:
        refs: Refs that are known again, with their ids, scopes, metadata and deadlines.
        blobs: Files that are known again.
        known: Refs that the index knew already; they stay as they are.
        dead: Refs that the index knows to have ended, or whose file is on its way out; they stay dead.
        missing: Sidecars whose file is not there, or has another size.
        broken: Sidecars that cannot be read, or lie where they do not belong; they stay where they are.
        named: Paths of the first hundred of those, relative to their root; the log names all of them.
    """

    refs: int
    blobs: int
    known: int
    dead: int
    missing: int
    broken: int
    named: tuple[str, ...] = ()
