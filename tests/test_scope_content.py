"""Content in a scope that is an object: it is released with it."""

from __future__ import annotations

import pytest

from mediastore import MediaContent, MediaMeta
from mediastore.errors import InvalidRequest, RefGone

from .test_content import PNG, files

CONTENT = MediaContent(data=PNG)


def test_content_and_writers_of_a_scope_end_with_it(store, media):
    with store.scope("chat:42/msg:7") as scope:
        ref = scope.store_media(CONTENT, meta=MediaMeta(session_id="abc"))
        with scope.writer() as draft:
            draft.path.write_bytes(PNG)
        assert {store.get(each).scope for each in (ref, draft.ref)} == {"chat:42/msg:7"}

    for each in (ref, draft.ref):
        with pytest.raises(RefGone):
            store.resolve(each)
    assert files(media) == []


def test_without_an_id_content_belongs_to_the_current_scope(store):
    with store.scope("chat:42"):
        ref = store.store_media(CONTENT)
        with store.writer() as draft:
            draft.path.write_bytes(PNG)

        assert {store.get(each).scope for each in (ref, draft.ref)} == {"chat:42"}


def test_an_id_says_more_than_the_current_scope(store):
    with store.scope("chat:42"):
        ref = store.store_media(CONTENT, meta=MediaMeta(session_id="abc"))

    assert store.get(ref).scope == "session/abc"


def test_outside_of_all_scopes_an_id_is_needed(store):
    with store.scope("chat:42"):
        pass

    with pytest.raises(InvalidRequest, match="session_id"):
        store.store_media(CONTENT)
