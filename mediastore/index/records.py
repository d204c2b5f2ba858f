"""What the index says, held to its form in one place before anybody acts on it.

Whoever can write to Redis can write anything. What cannot be true is `Corrupt` and names its key; it is never guessed.
The scripts hold what they read to the same rules (`lua/_plain.lua`).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mediastore.errors import Corrupt
from mediastore.model import Media, MediaMeta, Ref, check_scope, encode_scope, from_ms
from mediastore.plain import plain_path

from .steps import LARGEST_SEQ, raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_KNOWN = MediaMeta.__dataclass_fields__.keys()
_DIGITS: Final = re.compile(r"[0-9]{1,16}")
_SAID: Final = r"[a-z]+:(?:[0-9:-]{1,120}|lost)"
_IDENTITY: Final = re.compile(_SAID)
_OF_A_REF: Final = re.compile(
    rf"(?:(?:[0-9]{{1,15}}|[0-8][0-9]{{15}}) ){{3}}(?:[A-Za-z0-9_-]{{1,128}} ){{2}}{_SAID}"
)
_CUSTODIES: Final = frozenset({"owned", "adopted", "borrowed"})
#: `missing`: what a list says of a ref whose blob the index does not have.
_STATES: Final = frozenset({"reserved", "live", "doomed", "deleting", "stuck", "missing"})
#: What reading a value that is none of ours comes to.
_FAULTS: Final = (
    KeyError, ValueError, TypeError, IndexError, AttributeError, ArithmeticError, OSError, RecursionError,
)  # fmt: skip


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Read what a key holds.

    Raises:
        Corrupt: what was read in the block is none of ours; it names the key.
    """
    try:
        yield
    except _FAULTS as error:
        raise strange(key, error) from None


def strange(key: str, error: Exception) -> Corrupt:
    """Return the error for a key that holds what nobody here writes; what it holds instead is only shown in part."""
    return Corrupt(f"{key} holds what nobody here writes: {type(error).__name__}: {error!s:.120}")


def spelt(name: str) -> bytes:
    """Return what `raw` has read as it was."""
    return name.encode("utf-8", "surrogateescape")


def whole(value: Any) -> int:
    """Return a number from 0 as scripts write it.

    Raises:
        ValueError: it is anything else: signed, a fraction, "nan", or larger than any that they write.
    """
    said = raw(value)
    if not _DIGITS.fullmatch(said) or int(said) > LARGEST_SEQ:
        raise ValueError(f"not a number from 0: {said!r:.40}")
    return int(said)


def counted(value: Any) -> int:
    """Return a counter; None is 0. Counters that an older version did not move may be behind.

    Raises:
        ValueError: it is no number.
    """
    said = raw(value or 0)
    return -whole(said[1:]) if said.startswith("-") else whole(said)


def score_ms(value: Any) -> int:
    """Return a score, or a time that was one, in milliseconds; None and "" are 0.

    Raises:
        ValueError: it is no time.
    """
    said = float(raw(value or 0))
    if not 0 <= said <= LARGEST_SEQ:
        raise ValueError(f"not a time: {said!r}")
    return int(said)


def moment(value: Any) -> datetime:
    """Return a time in milliseconds as a date.

    Raises:
        ValueError, OverflowError, OSError: there is no such date.
    """
    return from_ms(whole(value))


@lru_cache(maxsize=4096)
def scope_of(name: str) -> str:
    """Return the scope that `encode_scope` spelt as `name`.

    Raises:
        ValueError: it has spelt no scope so.
    """
    scope = check_scope(unquote(name, errors="strict"))
    if encode_scope(scope) != name:
        raise ValueError(f"not the spelling of a scope: {name!r:.100}")
    return scope


def checked_identity(said: str) -> str:
    """Return how a blob knows its file, if it is of that form.

    Raises:
        ValueError: it is not.
    """
    if not _IDENTITY.fullmatch(said):
        raise ValueError(f"not an identity: {said!r:.60}")
    return said


def checked_custody(said: str) -> str:
    """Return a custody, if it is one.

    Raises:
        ValueError: it is not.
    """
    if said not in _CUSTODIES:
        raise ValueError(f"not a custody: {said!r:.60}")
    return said


def checked_state(said: str) -> str:
    """Return the state of a blob, if it is one.

    Raises:
        ValueError: it is not.
    """
    if said not in _STATES:
        raise ValueError(f"not a state: {said!r:.60}")
    return said


def facts_of(fields: Mapping[str, str]) -> MediaMeta:
    """Return the metadata among the fields of a ref."""
    return MediaMeta.from_dict({name: value for name, value in fields.items() if name in _KNOWN})


def media_of(
    ref_id: str, f: Mapping[str, str], state: str = "live", custody: str = "adopted"
) -> Media:
    """Return a ref as its fields say it.

    Raises:
        Corrupt: they cannot be true.
    """
    key = f"ref:{ref_id}"
    try:
        # On the way of every resolve: one look at all of them costs a fifth of a look at each.
        said = f"{f['seq']} {f['size']} {f['stored_at']} {f['root']} {f['blob']} {f['identity']}"
        if not _OF_A_REF.fullmatch(said):
            raise ValueError(f"seq, size, stored_at, root, blob or identity: {said!r}")
        detected = f.get("detected", "")
        detected.encode()
        return Media(
            ref=Ref(f"media://{ref_id}"), scope=scope_of(f["scope"]), root=f["root"], path=Path(plain_path(f["path"], key)),
            size_bytes=int(f["size"]), custody=checked_custody(custody), state=checked_state(state), stored_at=from_ms(int(f["stored_at"])),
            expires_at=moment(f["expires_at"]) if "expires_at" in f else None, meta=facts_of(f), seq=int(f["seq"]),
            blob=f["blob"], identity=f["identity"], pinned="pinned" in f,
            idle_s=whole(f["idle"]) / 1000 if "idle" in f else None, detected_type=detected,
        )  # fmt: skip
    except _FAULTS as error:
        raise strange(key, error) from None
