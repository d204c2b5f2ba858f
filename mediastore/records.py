"""JSON objects that lie on a disk, read strictly: somebody else may have written anything there."""

from __future__ import annotations

import json
import math
from typing import Any, Final

#: No time that we write is later: the first second of the year 10000, since 1970.
_LATEST_S: Final = 253_402_300_800


def read_object(text: bytes, most: int) -> dict[str, Any]:
    """Return the JSON object that `text` holds, in UTF-8 and at most `most` bytes long.

    Raises:
        ValueError: it is none; or a number is not finite, a key comes twice, text holds a lone surrogate,
            or it is nested too deeply. Nothing else is raised, whatever the bytes are.
    """
    if len(text) > most:
        raise ValueError(f"longer than {most} bytes")
    try:
        found = json.loads(
            text.decode(),
            object_pairs_hook=_without_twins,
            parse_float=_finite,
            parse_constant=_finite,
        )
        if b"\\u" in text:
            # Escapes are the one way in which valid UTF-8 can name half a character.
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the one error that callers expect
    return found


def whole(value: object, least: int, most: int) -> int:
    """Return a whole number of JSON: `true` and 1.0 are none.

    Raises:
        ValueError: it is none, or lies outside.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"not a whole number from {least} to {most}")
    return value


def moment(value: object) -> float:
    """Return a number of JSON as a time in seconds since 1970.

    Raises:
        ValueError: it is none, or no date can be as early or as late.
    """
    if type(value) not in {int, float} or not 0 <= value < _LATEST_S:  # type: ignore[operator]
        raise ValueError("not a time")
    return float(value)  # type: ignore[arg-type]


def words(value: object) -> str:
    """Return a text of JSON.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004 - the one error that callers expect
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
