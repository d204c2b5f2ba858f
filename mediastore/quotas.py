"""Quotas: how much the namespace, each scope or one scope may hold; frozen values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """What a namespace or a scope may hold, and what it holds.

    Attributes:
        max_bytes: The most bytes; None for any number. A namespace counts blobs, each once; a scope its refs.
        max_refs: The most refs; None for any number.
        used_bytes: What counts now; what is being written is among it.
        used_refs: Likewise. Refs that have expired count until a sweep has come to them.
        scope_max_bytes: Of a namespace: the most bytes of each scope that has no limit of its own. None for a scope.
        scope_max_refs: Likewise the most refs.
    """

    max_bytes: int | None
    max_refs: int | None
    used_bytes: int
    used_refs: int
    scope_max_bytes: int | None = None
    scope_max_refs: int | None = None
