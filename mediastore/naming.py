"""Names on disk and default scopes, made from ids that a user chose: injective, safe everywhere, readable.

    sessions/session-abc/0_0_<ref id>.png       by organization
    content/3a/3a7b..._<blob>.png               by content, with dedup

An id becomes one path segment. What is not a letter, a digit or one of `-_.@+=,` is percent-encoded as UTF-8.
Upper-case letters stay, and a suffix says which they are, so that `ABC` and `abc` differ where the case of a name does not count.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final
from urllib.parse import quote

from .errors import InvalidRequest

DIRECTORIES: Final = {
    "session": "sessions",
    "conversation": "conversations",
    "run": "runs",
    "scope": "scopes",
}
#: The directories of a root in which the store writes content.
HOMES: Final = frozenset({*DIRECTORIES.values(), "content"})

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@+=,")
#: Longest spelling of an id that is kept whole; with the suffix of a cut one a segment stays under 200 bytes.
_ID_MAX_BYTES: Final = 120
#: What a cut spelling may not end with: a part of an escape.
_HALF_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]?\Z")
#: Windows takes these for devices, whatever their case and with any extension.
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|conin|conout|com\d|lpt\d)(?:\.|\Z)", re.IGNORECASE)
_SCOPE_ESCAPED: Final = re.compile(r"[%/\x00-\x1f\x7f-\x9f]")
#: A scope has at most 512 bytes; the rest is for the mode, the slash and the suffix of a cut id.
_SCOPE_ID_MAX_BYTES: Final = 400
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_EXTENSION: Final = re.compile(r"\.[a-z0-9]{1,12}")


def safe_id(text: str) -> str:
    """Return the id as one path segment of at most 200 bytes of ASCII; no two ids get the same one.

    It holds on file systems that ignore case or normalise Unicode. Never `.`, `..`, hidden, or the name of a device.
    An id whose spelling is longer than 120 bytes is cut there and ends with `~~` and its SHA-256.

    Raises:
        InvalidRequest: not text, empty, or with a lone surrogate.
    """
    data = _encoded(text)
    spelt = "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02x}" for byte in data)
    if spelt.startswith(".") or _DEVICE.match(spelt):
        spelt = f"%{ord(spelt[0]):02x}{spelt[1:]}"
    if spelt.endswith("."):
        # Windows drops it.
        spelt = f"{spelt[:-1]}%2e"
    if len(spelt) > _ID_MAX_BYTES:
        return f"{_HALF_ESCAPE.sub('', spelt[:_ID_MAX_BYTES])}~~{hashlib.sha256(data).hexdigest()}"
    # One bit for each letter, the first one lowest. `~` is no plain character, so the suffix cannot be part of an id.
    letters = [character for character in spelt if character.isalpha()]
    upper = sum(1 << at for at, character in enumerate(letters) if character.isupper())
    return f"{spelt}~{upper:x}" if upper else spelt


def organized(
    mode: str, text: str, message_idx: int | None, part_idx: int | None, ref_id: str, ext: str
) -> str:
    """Return the path of a file by organization, relative to its root.

    Args:
        mode: "session", "conversation" or "run"; "scope" for what belongs to none of them.
        text: The id of the session, conversation or run, or the scope.
        message_idx: From 0; None is 0.
        part_idx: From 0; None is 0.
        ref_id: The part of the ref after `media://`.
        ext: With its dot, as `media_types.extension` gives it.

    Raises:
        InvalidRequest: an unknown mode, or an id that `safe_id` refuses.
    """
    name = f"{message_idx or 0}_{part_idx or 0}_{_word(ref_id)}{_extension(ext)}"
    return f"{_directory(mode)}/{safe_id(text)}/{name}"


def content(sha: str, blob: str, ext: str) -> str:
    """Return the path of a file by its content, relative to its root: `sha` is the SHA-256 in hex.

    The blob's id makes the name new each time: the bytes may come back after their deletion began.

    Raises:
        InvalidRequest: an argument is not of that form.
    """
    return f"content/{_word(sha)[:2]}/{sha}_{_word(blob)}{_extension(ext)}"


def default_scope(mode: str, text: str) -> str:
    """Return the scope of handed-over content that names none: `session/<id>`, `conversation/<id>`, `run/<id>`.

    In the id, `%`, `/` and control characters are percent-encoded, and so is an id that is `.` or `..`:
    most ids read as they are, as in "session/telegram:42".
    One longer than 400 bytes is cut and ends with `%~` and its SHA-256. No two ids get the same scope.

    Raises:
        InvalidRequest: an unknown mode, or an id that is not text, empty, or with a lone surrogate.
    """
    _directory(mode)
    data = _encoded(text)
    spelt = _SCOPE_ESCAPED.sub(lambda found: quote(found[0], safe=""), text)
    if text in {".", ".."}:
        spelt = text.replace(".", "%2E")
    whole = spelt.encode()
    if len(whole) > _SCOPE_ID_MAX_BYTES:
        cut = whole[:_SCOPE_ID_MAX_BYTES].decode(errors="ignore")
        spelt = f"{_HALF_ESCAPE.sub('', cut)}%~{hashlib.sha256(data).hexdigest()}"
    return f"{mode}/{spelt}"


def _encoded(text: object) -> bytes:
    if not isinstance(text, str) or not text:
        raise InvalidRequest(f"an id is text that is not empty, not {text!r:.60}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"id {text!r:.100} holds a lone surrogate") from None


def _directory(mode: str) -> str:
    if not isinstance(mode, str) or mode not in DIRECTORIES:
        raise InvalidRequest(f"organization is one of {', '.join(DIRECTORIES)}, not {mode!r:.60}")
    return DIRECTORIES[mode]


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise InvalidRequest(f"not the id of a ref or blob, nor a hash: {text!r:.100}")
    return text


def suffix(text: str) -> str:
    """Return the extension of a temporary file in lower case; empty if it is to have that of its type.

    Raises:
        InvalidRequest: it is no dot and 1 to 12 ASCII letters or digits, or that of sidecars.
    """
    plain = text.lower() if isinstance(text, str) else None
    if plain is None or plain == ".meta" or (plain and not _EXTENSION.fullmatch(plain)):
        raise InvalidRequest(
            f'suffix is an extension such as ".png", and not ".meta"; not {text!r:.60}'
        )
    return plain


def _extension(text: str) -> str:
    if not _EXTENSION.fullmatch(text):
        raise InvalidRequest(f"not an extension: {text!r:.100}")
    return text
