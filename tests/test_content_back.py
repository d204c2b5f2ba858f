"""Content that is given back: as a path, a URL, base64 text, a data URL."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

import pytest

from mediastore import MediaContent, MediaMeta
from mediastore.errors import BlobMissing, InvalidRequest, RefGone, TooLarge

from .test_content import PNG


@pytest.fixture
def ref(store):
    content = MediaContent(data=PNG, mime_type="image/png", policy="retain-12hours")
    return store.store_media(content, scope="chat #1/ä")


def test_content_comes_back_as_a_path_with_its_type_and_policy(store, ref):
    content = store.retrieve_media(ref)

    assert content.file_path == store.resolve(ref)
    assert (content.mime_type, content.policy) == ("image/png", "retain-12hours")
    assert content.size_bytes == len(PNG)
    assert content.data is None


def test_content_that_came_back_can_be_stored_again(store, ref):
    again = store.store_media(store.retrieve_media(ref), scope="other")

    assert store.resolve(again).read_bytes() == PNG
    assert store.resolve(again) != store.resolve(ref)
    assert store.get(again).meta.policy == "retain-12hours"


@pytest.mark.parametrize("said", ["image/png", "junk", ""])
def test_a_registered_file_comes_back_as_content_too(store, cat, said):
    ref = store.store(cat, scope="s", meta=MediaMeta(content_type=said))

    content = store.retrieve_media(ref)

    assert content.file_path == cat
    assert content.mime_type == "image/jpeg"
    assert content.said_type == (said if "/" in said else "")


def test_a_url_is_percent_encoded_and_leads_to_the_file(store, media):
    path = media / "a cat #1?%ä.png"
    path.write_bytes(PNG)
    ref = store.store(path, scope="s")

    url = store.get_url(ref, expires_in="1h")

    assert url.startswith("file:///")
    assert not set(" #?ä") & set(url)
    assert unquote(urlsplit(url).path) == str(path)


def test_base64_and_a_data_url_hold_the_bytes(store, ref):
    text = base64.b64encode(PNG).decode()

    assert store.get_base64(ref) == text
    assert store.get_data_url(ref) == f"data:image/png;base64,{text}"
    assert store.get_base64(ref, limit=len(PNG)) == text
    assert store.get_base64(ref, limit=-1) == text


def test_a_file_over_the_limit_is_not_loaded(store, ref):
    with pytest.raises(TooLarge) as caught:
        store.get_data_url(ref, limit=len(PNG) - 1)

    assert (caught.value.limit, caught.value.size) == (len(PNG) - 1, len(PNG))


def test_a_limit_far_beyond_all_memory_loads_no_more_than_the_file(store, ref):
    assert store.get_base64(ref, "8TiB") == store.get_base64(ref)


def test_without_a_limit_a_file_that_has_grown_comes_whole(store, cat):
    ref = store.store(cat, scope="s")
    with cat.open("ab") as file:
        file.write(bytes(3 << 20))

    text = store.get_base64(ref, -1)

    assert base64.b64decode(text) == cat.read_bytes()


@pytest.mark.parametrize("limit", ["much", None, 1.5, True])
def test_a_limit_that_is_none_is_refused(store, ref, limit):
    with pytest.raises(InvalidRequest, match="limit"):
        store.get_base64(ref, limit=limit)


@pytest.mark.parametrize("method", ["retrieve_media", "get_url", "get_base64", "get_data_url"])
def test_nothing_comes_back_of_a_dead_ref_or_a_missing_file(store, ref, method):
    gone = store.store_media(MediaContent(data=b"gone"), scope="gone")
    store.delete_media(gone)
    store.resolve(ref).unlink()

    with pytest.raises(BlobMissing):
        getattr(store, method)(ref)
    with pytest.raises(RefGone, match="delete_media"):
        getattr(store, method)(gone)
