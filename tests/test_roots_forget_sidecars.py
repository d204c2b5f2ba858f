"""Sidecars in a root that is forgotten, and perhaps adopted again: they follow the index, or nothing of them is left."""

from __future__ import annotations

import pytest

from .conftest import keys_left
from .sidecar_fixtures import put, told
from .test_roots import at  # noqa: F401 - a fixture
from .test_roots_forget import far, near, root_of  # noqa: F401 - fixtures


def test_sidecars_of_an_adopted_root_tell_what_came_before_and_while_it_was_forgotten(
    near, far, at, tmp_path
):
    first = put(far)
    moved = far.share(first, "t")
    far.sweep()
    before = far.share(first, "before")
    near.forget_root(root_of(far))
    meanwhile = near.share(first, "meanwhile")
    near.transfer(moved, "u")
    near.delete_media(first)

    back = at(tmp_path / "far")
    back.adopt_root(tmp_path / "far")
    back.sweep()

    scopes = {each.ref: each.scope for each in told(tmp_path / "far").values()}
    assert scopes == {moved: "u", before: "before", meanwhile: "meanwhile"}


@pytest.mark.parametrize("forgotten", ["before", "after"])
def test_what_was_to_be_told_by_sidecars_there_goes_with_its_last_file(
    near, far, settings, client, forgotten
):
    kept = put(far)
    for ref in (kept, put(far, b"other")):
        far.share(ref, "t")
    root = root_of(far)
    steps = [lambda: near.forget_root(root), lambda: [near.release_all(each) for each in "st"]]

    for step in steps if forgotten == "before" else reversed(steps):
        step()

    assert near.stats().lost_blobs == 2
    assert keys_left(client, settings.namespace) == set()
