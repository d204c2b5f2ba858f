"""What is read from a disk: whatever the bytes are, it is a value or a ValueError."""

from __future__ import annotations

import json

import pytest

from mediastore.markers import MarkerWords, parse_marker
from mediastore.records import read_object

GOOD = {"root": "r-_1", "namespace": "bots", "inode": 7, "format": 1}
NO_OBJECTS = {
    "empty": b"",
    "array": b"[]",
    "number": b"1",
    "no UTF-8": b'{"a": "\xff"}',
    "a surrogate as bytes": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "a lone surrogate": b'{"a": [{"b": "\\ud800"}]}',
    "a lone surrogate as a key": b'{"\\udfff": 1}',
    "a key twice": b'{"a": {"b": 1, "b": 1}}',
    "no number": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "too large": b'{"a": 1e999}',
    "too many digits": b'{"a": ' + b"9" * 5000 + b"}",
    "deep": b'{"a": ' + b"[" * 30_000,
    "deep and closed": b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep objects": b'{"a":' * 10_000,
    "long": b'{"a": "' + b"x" * 70_000 + b'"}',
}  # fmt: skip


@pytest.mark.parametrize("text", NO_OBJECTS.values(), ids=NO_OBJECTS.keys())
def test_what_is_no_strict_object_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"\w"):
        read_object(text, 65_536)
    with pytest.raises(ValueError, match=r"\w"):
        parse_marker(text)


def test_an_object_is_read_with_all_that_json_allows():
    text = '{"é\\u00e9\\ud83d\\ude00": [1.5, -0, true, null, {"a": "\\u0000"}]}'

    assert read_object(text.encode(), 100) == json.loads(text)


def test_a_marker_is_read():
    assert parse_marker(json.dumps(GOOD).encode()) == MarkerWords("r-_1", "bots", 7)
    assert parse_marker(json.dumps(GOOD | {"adopted": 3}).encode() + b"\n").adopted == 3


@pytest.mark.parametrize(("name", "value"), [
    ("root", None), ("root", ""), ("root", "../x"), ("root", "a/b"), ("root", "é"), ("root", "r\n"),
    ("root", "x" * 129), ("root", 5), ("root", ["r"]), ("namespace", None), ("namespace", 5),
    ("namespace", "Bots"), ("namespace", "b}x{"), ("namespace", "x" * 64), ("inode", "7"),
    ("inode", True), ("inode", 7.0), ("inode", -1), ("inode", 2**64), ("inode", None),
    ("adopted", -1), ("adopted", 10**16), ("adopted", "3"), ("adopted", False), ("adopted", 1.5),
    ("format", 2), ("format", True), ("format", "1"),
])  # fmt: skip
def test_a_marker_with_a_wrong_value_is_a_value_error(name, value):
    with pytest.raises(ValueError, match=r"\w"):
        parse_marker(json.dumps(GOOD | {name: value}).encode())
