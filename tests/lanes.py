"""On which servers a test runs, where twice would cost more than it shows."""

from __future__ import annotations

import pytest

#: On a real server; on fakeredis as well with `make torture`.
mostly_real = pytest.mark.parametrize(
    "lane", ["real", pytest.param("fake", marks=pytest.mark.torture)], indirect=True
)
