"""Values: what exists is valid, what is invalid is refused with a typed error."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from mediastore import NEVER, Cleanup, MediaMeta, Ref
from mediastore.errors import InvalidPolicy, InvalidRequest, InvalidScope
from mediastore.model import (
    check_scope,
    decode_scope,
    encode_scope,
    parse_duration,
    parse_retention,
)


def is_scope(text: str) -> bool:
    try:
        check_scope(text)
    except InvalidScope:
        return False
    return True


@given(st.text(max_size=40), st.text(max_size=40))
def test_scopes_are_spelt_injectively_and_come_back(one, two):
    for scope in filter(is_scope, (one, two)):
        assert decode_scope(encode_scope(scope)) == scope
        assert encode_scope(scope).isascii()
        assert not set(encode_scope(scope)) & set("{}*?[]\\ ")
    if is_scope(one) and is_scope(two):
        assert (encode_scope(one) == encode_scope(two)) == (one == two)


@given(st.text(max_size=600))
def test_any_text_is_a_scope_or_a_typed_refusal(text):
    assert is_scope(text) in {True, False}


@given(
    st.one_of(
        st.floats(), st.integers(), st.text(max_size=12), st.timedeltas(), st.booleans(), st.none()
    )
)
def test_any_value_is_a_duration_or_a_typed_refusal(value):
    try:
        seconds = parse_duration(value)
    except InvalidRequest:
        return
    assert seconds is None or 0 < seconds <= 3_153_600_000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1, 1.0), (0.25, 0.25), ("90s", 90.0), ("30m", 1800.0), ("12h", 43200.0), ("7d", 604800.0), ("1.5h", 5400.0),
     ("45", 45.0), (timedelta(days=1), 86400.0), (NEVER, None), ("never", None)],
)  # fmt: skip
def test_durations_are_read(value, seconds):
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [("delete-after-10min", 600), ("retain-12hours", 43200), ("retain-30days", 2592000)],
)
def test_retention_policies_are_read(policy, seconds):
    assert parse_retention(policy) == seconds


@pytest.mark.parametrize(
    "policy",
    ["", "retain", "delete-after-0min", "delete-after--5min", "delete-after-05min", "retain-+5days", "retain-5min",
     "delete-after-5days", "retain-200000days", "retain-1daysX", "RETAIN-1days", "retain-1.5days"],
)  # fmt: skip
def test_other_retention_policies_are_refused(policy):
    with pytest.raises(InvalidPolicy):
        parse_retention(policy)


@pytest.mark.parametrize(
    ("value", "cleanup"),
    [("", Cleanup.DELETE), ("delete_on_cleanup", Cleanup.DELETE), ("forget_only", Cleanup.FORGET),
     ("delete", Cleanup.DELETE), (Cleanup.FORGET, Cleanup.FORGET)],
)  # fmt: skip
def test_picoclaws_spellings_of_cleanup_are_known(value, cleanup):
    assert MediaMeta(cleanup=value).cleanup is cleanup


def test_metadata_goes_through_json_and_back():
    meta = MediaMeta(filename="a", message_idx=3, cleanup=Cleanup.FORGET, policy="retain-1days")

    assert MediaMeta.from_dict(json.loads(json.dumps(meta.to_dict()))) == meta


@pytest.mark.parametrize(
    "values",
    [{"filename": None}, {"filename": 3}, {"filename": "x" * 1025}, {"source": "a\x00"}, {"run_id": "\ud800"},
     {"message_idx": -1}, {"part_idx": "3"}, {"message_idx": 2**53}, {"message_idx": True}, {"policy": "Soon"}, {"cleanup": 3}],
)  # fmt: skip
def test_bad_metadata_is_refused(values):
    with pytest.raises(InvalidRequest):
        MediaMeta(**values)


def test_unknown_metadata_is_refused():
    with pytest.raises(InvalidRequest, match="colour"):
        MediaMeta.from_dict({"colour": "red"})


@pytest.mark.parametrize(
    "value", ["", "x", "1e3", "-1", "9" * 5000, 1.5, 1e999, float("nan"), [], [[]], {}, True]
)
@pytest.mark.parametrize("name", ["message_idx", "part_idx"])
def test_what_is_no_number_is_refused_as_metadata_was_written(name, value):
    with pytest.raises(InvalidRequest, match=name):
        MediaMeta.from_dict({name: value})


@pytest.mark.parametrize("values", [None, [1], "ab", {1: 2}])
def test_what_is_no_mapping_of_names_is_no_metadata(values):
    with pytest.raises(InvalidRequest, match="mapping"):
        MediaMeta.from_dict(values)


def test_numbers_of_metadata_may_be_text():
    assert MediaMeta.from_dict({"message_idx": "07", "part_idx": None}) == MediaMeta(message_idx=7)


def test_a_ref_pickles_and_parses_to_itself():
    ref = Ref.parse("media://" + "a" * 22)

    assert pickle.loads(pickle.dumps(ref)) == ref
    assert type(pickle.loads(pickle.dumps(ref))) is Ref
    assert Ref.parse(ref) is ref
    assert repr(NEVER) == "NEVER"
