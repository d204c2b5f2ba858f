"""Bytes out of text: base64 and percent-encoding, piece by piece, so that no second copy of the whole is held."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from mediastore.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Characters taken at a time; a multiple of four, so that base64 without line breaks leaves nothing over.
_PIECE: Final = 256 * 1024
#: Fewer where each may become an object of its own on the way.
_ESCAPED_PIECE: Final = 64 * 1024
_SPACE: Final = b" \t\n\r\f\v"
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/_= \t\n\r\f\v-]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NOT_PADDING: Final = re.compile(rb"[^= \t\n\r\f\v]")


def base64_size(text: str, start: int = 0) -> int | None:
    """Return how many bytes base64 text is, without decoding it; None where percent-encoding hides that."""
    if text.find("%", start) >= 0:
        return None
    ignored = sum(text.count(chr(space), start) for space in _SPACE) + text.count("=", start)
    return (len(text) - start - ignored) * 3 // 4


def from_base64(text: str, start: int = 0, *, percent: bool = False) -> Iterator[bytes]:
    """Yield the bytes of base64 text from `start` on: of the standard or the URL-safe alphabet, padded or not.

    Args:
        text: May hold ASCII whitespace anywhere.
        start: Where it begins.
        percent: It is percent-encoded besides, as a data URL may be.

    Raises:
        InvalidRequest: something else is in it, or its length is none; names the position, never the text.
    """
    over, padding, at = b"", 0, start
    for at, piece in _unquoted(text, start) if percent else _ascii(text, start):
        wrong = _NOT_BASE64.search(piece)
        first = 0 if padding else piece.find(b"=")
        if not wrong and first >= 0:
            wrong = _NOT_PADDING.search(piece, first)
        if wrong:
            raise _no_base64(at + wrong.start(), start)
        padding += piece.count(b"=")
        clean = over + piece.translate(_URL_SAFE, _SPACE + b"=")
        whole = len(clean) - len(clean) % 4
        over = clean[whole:]
        if whole:
            yield binascii.a2b_base64(clean[:whole])
    missing = -len(over) % 4
    if missing > 2 or padding > missing:  # noqa: PLR2004, the last group has two characters or more
        raise InvalidRequest(
            f"the base64 text has the wrong length: it ends at position {len(text)} inside a group of four{_by_contract(start)}"
        )
    if over:
        yield binascii.a2b_base64(over + b"=" * missing)


def encoded(text: str) -> Iterator[bytes]:
    """Yield text as UTF-8; it holds no lone surrogate."""
    for at in range(0, len(text), _PIECE):
        yield text[at : at + _PIECE].encode()


def from_percent(text: str, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes of percent-encoded text from `start` on; other characters are UTF-8, as in a browser.

    Raises:
        InvalidRequest: it holds a lone surrogate.
    """
    for _, piece in _unquoted(text, start):
        yield piece


def _ascii(text: str, start: int) -> Iterator[tuple[int, bytes]]:
    for at in range(start, len(text), _PIECE):
        piece = text[at : at + _PIECE]
        if not piece.isascii():
            first = next(i for i, one in enumerate(piece) if not one.isascii())
            raise _no_base64(at + first, start)
        yield at, piece.encode()


def _unquoted(text: str, start: int) -> Iterator[tuple[int, bytes]]:
    at = start
    while at < len(text):
        end = at + _ESCAPED_PIECE
        # An escape is not cut in two.
        cut = text.find("%", end - 2, end)
        end = cut if cut >= 0 and end < len(text) else end
        # Looked for, not caught: the codec's error would keep the text.
        wrong = _SURROGATE.search(text, at, end)
        if wrong:
            raise InvalidRequest(f"the data URL holds a lone surrogate at position {wrong.start()}")
        yield at, unquote_to_bytes(text[at:end])
        at = end


def _no_base64(position: int, start: int) -> InvalidRequest:
    return InvalidRequest(
        f"the text is not base64: a wrong character at position {position}{_by_contract(start)}"
    )


def _by_contract(start: int) -> str:
    """Tell whoever meant plain text how to say so; the payload of a data URL begins behind its head."""
    return (
        ""
        if start
        else "; text in data is base64 by contract, plain text is MediaContent(text=...)"
    )
