"""What the tests of the plural calls share: files, the errors among answers, a server that knows the scripts."""

from __future__ import annotations

import pytest

from mediastore.errors import MediaStoreError


@pytest.fixture
def files(make_file):
    """Give a maker of so many files."""
    return lambda number: [make_file(f"{n}.jpg", b"x" * (n + 1)) for n in range(number)]


def codes(answers):
    return [each.code if isinstance(each, MediaStoreError) else "" for each in answers]


def warm(store, path):
    """Greet the index and load the scripts, so that a later call's own writes are what counts."""
    store.store_many([path], scope="warm")
    store.release_many(["warm"])
