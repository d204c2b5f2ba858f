"""What waits in grace or under a lease, in a line."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .output import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediastore import Waiting


def what_waits(stay: Sequence[Waiting]) -> str:
    """Say how many files stay, how large they are, for what, and until when."""
    from mediastore.doctor import human_bytes

    kept = Counter(str(each.kept_for) for each in stay)
    kinds = {"grace": "in grace", "lease": "under a lease"}
    why = " and ".join(
        f"{kept[kind]} {words}" if len(kept) > 1 else words
        for kind, words in kinds.items()
        if kept[kind]
    )
    verb = "stays" if len(stay) == 1 else "stay"
    size = human_bytes(sum(each.size_bytes for each in stay))
    last = max(each.until for each in stay)
    return f"{counted(len(stay), 'file')} {verb} ({size}) {why} until {in_words('', last)}"


def in_grace_or_leased(count: int, size_bytes: int) -> str:
    """Say how many files of ended refs stay, where the namespace only counts them."""
    from mediastore.doctor import human_bytes

    return f"{counted(count, 'file')} of ended refs, {human_bytes(size_bytes)}, in grace or under a lease"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it must be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
