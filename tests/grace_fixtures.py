"""Settings and a laboratory in which bytes stay for an hour after their last ref."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .lab import Lab
from .lifetimes import with_grace


@pytest.fixture
def settings(settings):
    return replace(settings, grace="1h")


@pytest.fixture
def lab(clients, tmp_path):
    """Give a laboratory whose processes keep bytes for an hour."""
    return with_grace(Lab(clients, tmp_path / "lab"), "1h")
