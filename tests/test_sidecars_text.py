"""The text of a sidecar: read as it was written, and refused if it says what cannot be true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediastore import MediaMeta
from mediastore.errors import InvalidRequest
from mediastore.model import Ref
from mediastore.sidecars import Sidecar

GOOD = Sidecar(
    Ref("media://" + "r" * 22), "b" * 22, "s/é", 80, 1_700_000_000_123, 1_700_000_060_456,
    MediaMeta(filename="é.png", content_type="image/png", policy="retain-2hours"), "scopes/s/x.png",
    "5" * 64, "text/html", pinned=True, ttl_ms=1, seq=7,
)  # fmt: skip


def test_a_sidecar_is_read_as_it_was_written():
    assert Sidecar.parse(GOOD.to_text()) == GOOD
    bare = Sidecar(GOOD.ref, GOOD.blob, "s", 0, 0, None, MediaMeta(), "content/x")
    assert Sidecar.parse(bare.to_text().encode()) == bare


@pytest.mark.parametrize("text", [
    "", "{}", "[]", "null", "x", b"\xff", "\ud800", "[" * 50_000, '{"mediastore": ' * 9000, GOOD.to_text().encode("utf-16"), '{"mediastore": {"format": 2}}',
    '{"mediastore": []}', '{"mediastore": 1}',
])  # fmt: skip
def test_text_that_is_no_sidecar_is_refused(text):
    with pytest.raises(InvalidRequest):
        Sidecar.parse(text)


@pytest.mark.parametrize(("before", "after"), [
    ("scopes/s/x.png", "../x"), ("scopes/s/x.png", "scopes/../../x"), ("scopes/s/x.png", "/etc/x"),
    ("scopes/s/x.png", "held/x"), ("scopes/s/x.png", "scopes//x"), ("scopes/s/x.png", "scopes"),
    ("scopes/s/x.png", ".mediastore/root"), ('"size_bytes": 80', '"size_bytes": -1'),
    ('"size_bytes": 80', '"size_bytes": 1e999'), ('"size_bytes": 80', '"size_bytes": true'),
    ('"ttl_ms": 1', '"ttl_ms": 0'), ('"seq": 7', '"seq": "7"'), ("2023", "x"), ("2023", "0001"),
    ("2023-11-14T22:13:20.123Z", "0001-01-01T00:00:00+23:59"), ("media://rr", "media://../r"),
    ("bbb", "b/b"), ('"s/é"', '"s//é"'), ("retain-2hours", "retain-0hours"),
    ("scopes/s/x.png", "scopes/s/x\\ud800.png"), ("scopes/s/x.png", "scopes/s\\u0000/x.png"),
    ("scopes/s/x.png", "scopes/s/\\u202egnp.x"), ("scopes/s/x.png", "scopes/" + "x" * 256),
    ("scopes/s/x.png", "scopes" + "/x" * 2100), ('"size_bytes": 80', '"size_bytes": 80.0'),
    ('"size_bytes": 80', '"size_bytes": NaN'), ('"size_bytes": 80', '"size_bytes": 80, "size_bytes": 80'),
    ('"size_bytes": 80', '"size_bytes": ' + "9" * 5000), ('"size_bytes": 80', '"more": "\\udfff", "size_bytes": 80'),
    ('"size_bytes": 80', '"message_idx": 1.5, "size_bytes": 80'),
    ('"size_bytes": 80', '"message_idx": 1e999, "size_bytes": 80'),
    ('"size_bytes": 80', '"message_idx": true, "size_bytes": 80'),
    ('"size_bytes": 80', '"message_idx": [[]], "size_bytes": 80'),
    ('"é.png"', '"\\u0000"'), ('"é.png"', '"' + "x" * 1025 + '"'), ('"é.png"', "null"), ('"é.png"', "[]"),
    ("image/png", "\\ud800"), ('"format": 1', '"format": true'), ('"format": 1', '"format": [[]]'),
    ('"pinned": true', '"pinned": "no"'), ('"pinned": true', '"pinned": 1'), ('"s/é"', '"s/\\ud800"'),
    ('"text/html"', '"\\ud800"'), ('"text/html"', "[]"), ('"text/html"', '"' + "x" * 256 + '"'),
    ("555", "55x"), ('"ttl_ms": 1', '"ttl_ms": 6307200000001'), ("20.456Z", "20.456"), ("20.456Z", "20"),
    ("2023-11-14T22:13:20.123Z", "9999-12-31T23:59:59.999-23:59"), ("2023-11-14T22:13:20.123Z", "2023-W46-2"),

    ("bbb", "bé"), ("media://rr", "media://r\\n"), ('"blob": "' + "b" * 22 + '"', '"blob": ' + "1" * 22),
    ('"retain-2hours"', "{}"), ('"path"', '"cleanup": [], "path"'), ('"path"', '"cleanup": "never", "path"'),
])  # fmt: skip
def test_a_sidecar_with_a_wrong_value_is_refused(before, after):
    text = GOOD.to_text()
    assert before in text

    with pytest.raises(InvalidRequest):
        Sidecar.parse(text.replace(before, after))


def test_a_sidecar_of_a_ref_that_outlives_all_others_is_refused():
    with pytest.raises(InvalidRequest, match="longer"):
        Sidecar.parse(
            replace(GOOD, ttl_ms=None, expires_ms=GOOD.stored_ms + 201 * 365 * 86_400_000).to_text()
        )
