"""Errors: one tree, each with a stable code, a hint, a status, an exit code; each survives pickling."""

from __future__ import annotations

import inspect
import pickle
from datetime import UTC, datetime

import pytest

from mediastore import errors
from mediastore.speech import translate

TREE = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.MediaStoreError)
]
FAMILIES = (
    errors.InvalidRequest,
    errors.NotThere,
    errors.LeaseLost,
    errors.Unavailable,
    errors.Corrupt,
)


def make(cls):
    """Make an error of the class with a word for each of its fields."""
    if cls is errors.MediaStoreError:
        return cls()
    _, first, *others = inspect.signature(cls.__init__).parameters
    words = (datetime(2026, 7, 1, tzinfo=UTC) if name == "when" else "released" for name in others)
    return cls(f"media://{'x' * 22}" if first else "", *words)


@pytest.mark.parametrize("cls", TREE, ids=lambda c: c.__name__)
def test_an_error_survives_pickling_with_its_fields(cls):
    error = make(cls)

    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), vars(copy)) == (cls, str(error), vars(error))


@pytest.mark.parametrize("cls", TREE, ids=lambda c: c.__name__)
def test_an_error_has_a_family_a_hint_and_numbers(cls):
    error = make(cls)

    assert hash(error)
    assert cls.__doc__
    assert cls is errors.MediaStoreError or issubclass(cls, FAMILIES)
    assert cls is errors.MediaStoreError or error.hint
    assert error.exit_code in {1, 2, 3, 4, 5}
    assert 400 <= error.http_status < 600


def test_every_code_is_its_own():
    assert len({cls.code for cls in TREE}) == len(TREE)


def test_every_error_is_drawn_in_the_tree():
    for cls in TREE:
        assert cls.__name__ in errors.__doc__


def test_builtin_bases_serve_code_that_does_not_know_us():
    assert issubclass(errors.InvalidRequest, ValueError)
    assert issubclass(errors.NotThere, KeyError)
    assert issubclass(errors.FileMissing, FileNotFoundError)


def test_every_redis_error_becomes_one_of_ours():
    """As httpx proves that no error of httpcore leaks (tests/test_exceptions.py)."""
    from redis import exceptions

    for _, cls in inspect.getmembers(exceptions, inspect.isclass):
        if issubclass(cls, exceptions.RedisError) and cls.__module__ == exceptions.__name__:
            error = cls.__new__(cls)
            assert isinstance(translate(error), (errors.Unavailable, errors.Corrupt)), cls
