"""Parking: what is nobody's to delete is kept, over nothing."""

from __future__ import annotations

import pytest

from mediastore.blobs import posix
from mediastore.blobs.parking import park

from .processes import Once, no_link


@pytest.fixture
def lane():
    return "fake"


def test_of_two_files_that_are_parked_at_once_without_links_both_stay(lab, stage, monkeypatch):
    (root,) = lab.process()._blobs.roots().values()
    monkeypatch.setattr(posix, "link", no_link)
    with root.opened() as there:
        for name in ("first", "second"):
            (lab.root / ".mediastore/tmp" / name).write_text(name)

        def other():
            park(there, "second", at=there.home("tmp"), called="x.jpg")

        with stage.during(Once(other, when=lambda name, _: name == "rename")):
            park(there, "first", at=there.home("tmp"), called="x.jpg")

    assert {parked.read_text() for parked in lab.process()._blobs.parked()} == {"first", "second"}
