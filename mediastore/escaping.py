"""Text that others chose, made safe to show to people: nothing in it steers a terminal, breaks a line or turns its order.

Every name that is printed or logged goes through here. JSON needs none of it: it is exact, and in ASCII.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from typing import Final

#: Control and format characters, surrogates, and what breaks lines. Format characters hide text or turn it around.
_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_SECRET_PARAMETER: Final = re.compile(r"(?i)([?&;](?:\w*pass\w*|\w*secret\w*|\w*token\w*)=)[^&;#]*")


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with each character escaped that a reader would not see, or that would mislead one.

    ``"cat\u202egpj.exe"`` is shown as it is written here: a terminal would show it as `catexe.jpg`.
    Letters of all scripts, spaces and emoji stay. Twice is as good as once.

    Args:
        text: What somebody else may have chosen.
        keep: Control characters that the caller has put there as marks, such as line ends.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in keep or unicodedata.category(c) not in _STEERING else ascii(c)[1:-1] for c in text
    )


def mask(url: str) -> str:
    """Return a URL with its passwords replaced wherever they stand, safe to print."""
    scheme, separator, rest = url.partition("://")
    # A password may hold an unescaped `@` or `/`: what comes before the last `@` is all the user's.
    user, at, host = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{scheme}{separator}{name}{':***' if colon else ''}{at}{host}"
    return _SECRET_PARAMETER.sub(r"\1***", shown)


class PrintableRecords(logging.Filter):
    """Makes the messages and tracebacks of a logger printable, for whatever handlers a program has given it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; one that needs it gets its message in one line, its traceback in several."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # logging tells such a bug by itself
            return True
        if not message.isprintable():
            record.msg, record.args = printable(message), None
        if record.exc_info and not record.exc_text:
            text = logging.Formatter().formatException(record.exc_info)
            safe = printable(text, keep="\n\t")
            record.exc_text = safe if safe != text else None
        return True
