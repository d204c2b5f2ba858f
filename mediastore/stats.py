"""The numbers of a namespace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """The namespace in numbers; gauges first, then counters since the index was made.

    `refs` counts refs the index still holds: those of a closed scope leave as they are drained.
    `trash` counts blobs on their way out, `closed` released scopes that are still being drained.
    Each blob that ended is in exactly one of `deleted_blobs`, `gone_blobs`, `spared_blobs`, `kept_blobs` (borrowed) and
    `lost_blobs`, which ended in roots that were forgotten: nobody deleted their files. Until then it is in `blobs` or `trash`.
    `waiting` are those of the trash whose bytes stay for a while, in grace or under a lease, until a sweep takes them.
    `reserved` counts content that is being written, `reserved_bytes` how much of it is announced; neither is in `blobs`.
    `hidden` live under held links only, as sweeps have counted: their files were removed or replaced at their paths.
    `frozen` says why nothing expires ("breaker"), or nothing is deleted either ("epoch"); it is empty where work goes on.
    """

    refs: int
    blobs: int
    size_bytes: int
    scopes: int
    trash: int
    stuck: int
    closed: int
    roots: dict[str, str]
    stored_refs: int
    stored_bytes: int
    released_refs: int
    released_bytes: int
    expired_refs: int
    expired_bytes: int
    deleted_refs: int
    deleted_bytes: int
    deleted_blobs: int
    gone_blobs: int
    spared_blobs: int
    kept_blobs: int
    freed_bytes: int
    lost_blobs: int
    lost_bytes: int
    waiting: int
    waiting_bytes: int
    reserved: int
    reserved_bytes: int
    hidden: int
    hidden_bytes: int
    oldest_trash_s: float
    frozen: tuple[str, ...] = ()
