"""Messages that no tick is: how they are known, and what becomes of them.

A broker's list may hold anything. Celery 5.7 and kombu 5.7 end the worker over most of it, and give what
ended one worker to the next. So a message is looked at before either of them has it.
"""

from __future__ import annotations

import base64
import logging
import math
import threading
from typing import TYPE_CHECKING, Any, Final

from celery.utils.time import maybe_iso8601
from kombu.utils.json import loads

from .config import QUEUE

if TYPE_CHECKING:
    from celery import Celery

#: How much of a message the log shows.
_SHOWN: Final = 100
_TEXTS: Final = ("content-type", "content-encoding")
#: Headers that are a text if they are there at all.
_NAMES: Final = ("root_id", "parent_id", "group", "shadow", "expires")

logger = logging.getLogger("mediastore")


class PoisonError(Exception):
    """A message is no tick; says why."""


class Dropped:
    """What this process has dropped: counts it, and says each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def note(self, why: object, content: bytes | str) -> None:
        """Count one message and log it in one line, which shows no more than its beginning, escaped."""
        with self._lock:
            self.count += 1
        words = "dropped a message of the queue %s that is no tick (%d since the start): %s; it begins with %s"
        beginning = ascii(content[:_SHOWN])[:_SHOWN]
        logger.warning(words, QUEUE, self.count, ascii(str(why))[1:-1][:_SHOWN], beginning)


dropped: Final = Dropped()


def check_raw(raw: bytes | str) -> Any:
    """Return a message as it lay in a list of the broker's, once kombu can make a `Message` of it.

    Raises:
        PoisonError: kombu could not, or could not give it back.
    """
    try:
        message = loads(raw)
    except Exception as error:  # noqa: BLE001  # they are its sender's choice
        raise PoisonError(f"it is not JSON ({_named(error)})") from None
    check_envelope(message)
    return message


def check_control(raw: bytes | str) -> None:
    """Check a message to the remote control of the workers.

    Raises:
        PoisonError: it is no command.
    """
    message = check_raw(raw)
    try:
        said = loads(base64.b64decode(message["body"]))
    except Exception as error:  # noqa: BLE001  # they are its sender's choice
        raise PoisonError(f"its body is not JSON ({_named(error)})") from None
    _must(isinstance(said, dict) and _is_text(said.get("method")), "it names no command")
    arguments = said.get("arguments")
    _must(arguments is None or isinstance(arguments, dict), "its arguments are none")


def check_kept(raw: bytes | str) -> None:
    """Check a message as kombu keeps it until it is acknowledged: with the exchange and the key it came by.

    Raises:
        PoisonError: it cannot be put back into its queue.
    """
    try:
        message, exchange, key = loads(raw)
    except Exception as error:  # noqa: BLE001  # they are its sender's choice
        raise PoisonError(f"it was not kept by kombu ({_named(error)})") from None
    _must(isinstance(exchange, str) and isinstance(key, str), "its route is no text")
    check_envelope(message)


def check_envelope(message: Any) -> None:
    """Check all of a message that kombu reads.

    Raises:
        PoisonError: a part is missing or of a wrong type.
    """
    _must(isinstance(message, dict), "it is no object")
    for name in _TEXTS:
        _must(_is_text(message.get(name)), f"its {name} is no text")
    headers, properties = message.get("headers"), message.get("properties")
    _must(isinstance(headers, dict), "its headers are no object")
    _must(isinstance(properties, dict), "its properties are no object")
    # kombu would unpack it at once, however large it becomes; our ticks are never compressed.
    _must(not headers.get("compression"), "it is compressed")
    _must(_is_text(properties.get("delivery_tag")), "its delivery tag is no text")
    route = properties.get("delivery_info")
    _must(isinstance(route, dict), "its delivery info is no object")
    for name in ("exchange", "routing_key"):
        _must(route.get(name) == "" or _is_text(route.get(name)), f"its {name} is no text")
    body = message.get("body")
    _must(_is_text(body), "its body is no text")
    encoding = properties.get("body_encoding")
    known = encoding is None or (_is_text(encoding) and encoding in {"utf-8", "base64"})
    _must(known, "its body is in an encoding of its own")
    if encoding == "base64":
        try:
            base64.b64decode(body)
        except ValueError:
            raise PoisonError("its body is not in base64") from None


def check_task(message: Any, app: Celery) -> None:
    """Check that a message is a call of one of the application's tasks, with everything that Celery reads of it.

    Raises:
        PoisonError: it is none.
    """
    headers = message.headers
    _must(isinstance(headers, dict), "its headers are no object")
    name, number = headers.get("task"), headers.get("id")
    _must(_is_text(name), "it names no task")
    _must(_is_text(number), "it has no id")
    # Those that Celery adds itself call others, and wait for results, of which we keep none.
    own = name in app.tasks and not name.startswith("celery.")
    _must(own, f"its task is not known here: {name!a}")
    for each in _NAMES:
        _must(headers.get(each) is None or _is_text(headers[each]), f"its {each} is no text")
    try:
        maybe_iso8601(headers.get("expires"))
    except ValueError:
        raise PoisonError("its expires is no time") from None
    # A tick that waits in a worker for a time to come is nobody's: it is not renewed, and comes back for ever.
    _must(headers.get("eta") is None, "it waits for a time to come, and ticks wait for none")
    limits = headers.get("timelimit") or (None, None)
    pair = isinstance(limits, list | tuple) and len(limits) == len((None, None))
    _must(pair and all(map(_is_limit, limits)), "its time limits are no numbers")
    retries = headers.get("retries")
    _must(retries is None or type(retries) is int, "its retries are no number")
    _must(not headers.get("stamped_headers"), "it is stamped")
    try:
        body = message.payload
    except Exception as error:  # noqa: BLE001  # they are its sender's choice
        raise PoisonError(f"its body cannot be read ({_named(error)})") from None
    _must(
        isinstance(body, list) and len(body) == len(("args", "kwargs", "embed")),
        "its body is no call",
    )
    args, kwargs, embedded = body
    _must(isinstance(args, list) and isinstance(kwargs, dict), "its arguments are none")
    try:
        call: Any = app.tasks[name]
        call.__header__(*args, **kwargs)
    except TypeError:
        raise PoisonError("its task takes no such arguments") from None
    _must(embedded is None or isinstance(embedded, dict), "what follows it is no object")
    _must(not any((embedded or {}).values()), "other tasks are to follow it")


def _must(holds: object, why: str) -> None:
    if not holds:
        raise PoisonError(why)


def _is_text(value: object) -> bool:
    """Whether it is a text with something in it that can be sent on; a lone surrogate cannot."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_limit(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and math.isfinite(value) and value > 0 and value is not True
    )


def _named(error: BaseException) -> str:
    words = str(error).partition("\n")[0][:_SHOWN]
    return f"{type(error).__name__}: {words}"
