"""What passes between the index and the disk: files about to be registered, blobs claimed for deletion, their outcomes."""

from __future__ import annotations

from dataclasses import dataclass


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
class Doomed:
    """One claimed blob. `path` is empty where the path now belongs to another blob; `name` is the path as registered."""

    blob: str
    path: str
    identity: str
    custody: str
    size: int
    name: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed batch, and the tokens it went through before, oldest first."""

    prev: tuple[str, ...]
    blobs: tuple[Doomed, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claimed blob: `errno` is empty when it is gone; `stuck` when trying again is hopeless."""

    blob: str
    freed: int = 0
    errno: str = ""
    stuck: bool = False
