"""Sources that are text: base64 of every kind and data URLs come out as bytes, and memory stays bounded."""

from __future__ import annotations

import base64
import gc
import tracemalloc
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from mediastore.blobs.sources import source_of
from mediastore.content import MediaContent
from mediastore.errors import InvalidRequest

from .source_fixtures import MIB, read_whole


@given(st.binary(max_size=60), st.integers(0, 3), st.booleans(), st.integers(1, 7))
def test_base64_of_both_alphabets_with_and_without_padding_comes_back(data, spaces, safe, size):
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(data).decode()
    loose = (" \n\t\r\f\v"[:spaces]).join(text)
    url = f"data:;base64,{loose}"

    assert read_whole(size, data=url) == data
    assert read_whole(size, data=f"data:;base64,{loose.rstrip('=')}") == data
    assert read_whole(size, data=f"data:;base64,{quote(loose, safe='')}") == data
    assert source_of(MediaContent(data=url)).size == len(data)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("YWJj!WJj", "position 4"),
        ("YWJjé", "position 4"),
        ("YQ==YQ==", "position 4"),
        ("YQ=Q", "position 3"),
        ("YWJj\x00", "position 4"),
        ("YWJ\ud800", "position 3"),
        ("A" * 300_000 + "*", "position 300000"),
        ("A" * 300_000 + "é", "position 300000"),
        ("A" * 299_998 + "==" + "A", "position 300000"),
        ("YWJjY", "position 5"),
        ("YWJj=", "position 5"),
        ("YQ===", "position 5"),
        ("data:;base64,YW*j", "position 15"),
    ],
)
def test_text_that_is_not_base64_is_refused_by_its_position_and_not_shown(text, position):
    with pytest.raises(InvalidRequest, match=position) as caught:
        read_whole(data=text)

    assert "YW" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_percent_encoded_payload_is_decoded_as_browsers_do():
    assert read_whole(data="data:,a%20b%C3%A9é+%zz%") == "a bé".encode() + "é+%zz%".encode()
    # An escape over the edge of a piece.
    for shift in range(4):
        text = "x" * (64 * 1024 - shift) + "%41" * 5
        assert read_whole(MIB, data=f"data:,{text}") == text.replace("%41", "A").encode()


def test_a_lone_surrogate_in_a_data_url_is_refused():
    with pytest.raises(InvalidRequest, match="position 7"):
        read_whole(data="data:,a\ud800")


@pytest.mark.parametrize("way", ["base64", "in lines", "quoted", "percent", "bytes", "piece"])
def test_memory_stays_bounded_whatever_the_size(way):
    whole: Any = {
        "base64": lambda: "QUJD" * (4 * MIB),
        "in lines": lambda: ("QUJD" * 19 + "\n") * (MIB // 5),
        "quoted": lambda: "data:;base64," + "QUJ%44" * 9999 + "QUJD" * (4 * MIB),
        "percent": lambda: "data:," + "a%20" * 9999 + "a" * (12 * MIB),
        "bytes": lambda: bytes(16 * MIB),
        "piece": lambda: [bytes(16 * MIB)],
    }[way]()
    gc.collect()
    tracemalloc.start()

    with source_of(MediaContent(data=whole)) as source:
        source.head()
        count = sum(len(piece) for piece in iter(lambda: source.read(MIB), b""))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count > 8 * MIB
    assert peak < 5 * MIB
