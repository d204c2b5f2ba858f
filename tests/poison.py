"""Messages that no client of the store sends, each of another kind, as they lie in a broker's list."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

from mediastore import celery as ours


def tick(number: str, name: str = ours.DRAIN, **changed: Any) -> dict[str, Any]:
    """Return a tick as Celery sends it, with these headers changed."""
    body = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    return {
        "body": in_base64(json.dumps(body)),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": name, "id": number, "argsrepr": "()", **changed},
        "properties": {
            "correlation_id": number,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": ours.QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": number,
        },
    }


def in_base64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


#: What stands where the whole message should.
NO_MESSAGES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"not json \x1b[31m\xe2\x80\xae",
    "half": b'{"body": "W1tdL',
    "not UTF-8": b"\xff\xfe{}",
    "a number": b"7",
    "no number": b"NaN",
    "null": b"null",
    "true": b"true",
    "a list": b"[]",
    "a text": b'"text"',
    "an empty object": b"{}",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "a deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a type nobody knows": b'{"__type__": "os.system", "__value__": "true"}',
    "a type of a wrong value": b'{"__type__": "datetime", "__value__": 7}',
    "a type of its own": b'{"__type__": ["x"], "__value__": 7}',
    "a giant number": b"9" * 10_000,
}

_WRONG: tuple[Any, ...] = (None, 0, 7, 1e308, True, "", "text", [], [1], {}, {"a": 1}, "\ud800")
#: Where a text will do, or nothing at all.
_FREE = {
    "properties": ("correlation_id", "delivery_mode", "priority", "reply_to"),
    "headers": ("lang", "argsrepr", "origin", "eta", "expires", "retries", "timelimit", "group"),
}


def poison() -> dict[str, bytes]:
    """Return every kind of poison, by what is wrong with it."""
    return NO_MESSAGES | _wrong_fields() | _wrong_bodies() | _wrong_calls()


def oddities() -> dict[str, bytes]:
    """Return ticks with something odd in them that a worker may carry out or drop."""
    found: dict[str, bytes] = {}
    for part, names in _FREE.items():
        for name in names:
            found |= _with(part, name, _WRONG)
    odd = {
        "expired": tick("expired", expires="0001-01-01T00:00:00+23:59"),
        "another encoding": {**tick("encoding"), "content-encoding": "no-such"},
        "a twin": tick("twin"),
        "its twin": tick("twin"),
        "an argument's name": tick("shadow", shadow="\x1b[31m"),
    }
    return found | {name: json.dumps(message).encode() for name, message in odd.items()}


def _wrong_fields() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in tick(""):
        found |= _with(name, None, _WRONG)
    del found["content-encoding is 'text'"]  # nobody reads it
    for name in ("delivery_info", "body_encoding"):
        found |= _with("properties", name, _WRONG)
    found |= _with("headers", "task", _WRONG)
    no_names = tuple(wrong for wrong in _WRONG if wrong != "text")
    found |= _with("properties", "delivery_tag", no_names) | _with("headers", "id", no_names)
    for name in ("exchange", "routing_key"):
        for wrong in (wrong for wrong in no_names if wrong != ""):
            message = tick(f"info {name} {wrong!a}")
            message["properties"]["delivery_info"][name] = wrong
            found[f"delivery_info.{name} is {wrong!a}"] = json.dumps(message).encode()
    return found


def _wrong_bodies() -> dict[str, bytes]:
    bodies = {
        "not base64": "%%%",
        "half a base64": "abcde",
        "not ASCII": "\u00e9",
        "not UTF-8": in_base64(b"\xff\xfe"),
        "not JSON": in_base64("not json"),
        "null": in_base64("null"),
        "a number": in_base64("7"),
        "a text": in_base64('"text"'),
        "an object": in_base64('{"args": []}'),
        "an object of old": in_base64('{"task": "mediastore.drain", "id": [], "args": 7}'),
        "empty": in_base64("[]"),
        "too long": in_base64("[[],{},{},{}]"),
        "of wrong types": in_base64("[7,7,7]"),
        "of nulls": in_base64("[null,null,null]"),
        "a call with a list in place of what follows": in_base64("[[],{},[]]"),
        "a call with callbacks of a wrong type": in_base64('[[],{},{"callbacks": 7}]'),
        "a call with unknown callbacks": in_base64('[[],{},{"chain": [{"task": 7}]}]'),
        "a call with arguments": in_base64('[["/etc"],{"root": "/"},{}]'),
        "deep": in_base64("[" * 100_000 + "]" * 100_000),
        "giant": in_base64('["' + "x" * 5_000_000 + '"]'),
    }
    return {
        f"a body that is {name}": json.dumps({**tick(name), "body": body}).encode()
        for name, body in bodies.items()
    }


def _wrong_calls() -> dict[str, bytes]:
    pickled = {
        **tick("pickle"),
        "body": in_base64(pickle.dumps([[], {}, {}])),
        "content-type": "application/x-python-serialize",
        "content-encoding": "binary",
    }
    calls = {
        "pickle": pickled,
        "compressed": {**tick("bomb", compression="gzip"), "body": in_base64(zlib.compress(b"[]"))},
        "compressed badly": tick("mangled", compression="gzip"),
        "compressed by a wrong type": tick("compression", compression=[7]),
        "an unknown task": tick("unknown", "os.system"),
        "a task of Celery's": tick("chord", "celery.chord_unlock"),
        "later": tick("later", eta="3000-01-01T00:00:00"),
        "earlier": tick("earlier", eta="0001-01-01T00:00:00+23:59"),
        "no time": tick("no time", expires="tomorrow"),
        "limits of text": tick("limits", timelimit=["a", "b"]),
        "endless limits": tick("endless", timelimit=[1e308 * 10, -1]),
        "stamps": tick("stamps", stamped_headers=7, stamps=7),
        "yaml": {**tick("yaml"), "content-type": "application/x-yaml"},
    }
    return {name: json.dumps(message).encode() for name, message in calls.items()}


def _with(part: str, name: str | None, wrongs: tuple[Any, ...]) -> dict[str, bytes]:
    found = {}
    for wrong in wrongs:
        title = f"{part}{f'.{name}' if name else ''} is {wrong!a}"
        message = tick(title)
        (message[part] if name else message)[name or part] = wrong
        found[title] = json.dumps(message).encode()
    title = f"no {part}{f'.{name}' if name else ''}"
    message = tick(title)
    (message[part] if name else message).pop(name or part, None)
    return {**found, title: json.dumps(message).encode()}
