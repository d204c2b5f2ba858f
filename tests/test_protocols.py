"""The protocols: our stores fit them, and so does what a user writes; mypy reads this file and checks the same."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mediastore import (
    AsyncFileMediaStore,
    AsyncMediaStorageService,
    AsyncMediaStore,
    AsyncPolicyHandler,
    FileMediaStore,
    MediaContent,
    MediaMeta,
    MediaStorageService,
    MediaStore,
    PolicyHandler,
    Released,
    Swept,
)
from mediastore.errors import NotThere, RefUnknown
from mediastore.model import parse_retention

from .test_content import PNG

if TYPE_CHECKING:
    from mediastore.model import Duration

OURS = [
    (MediaStore, MediaStorageService),
    (MediaStore, FileMediaStore),
    (MediaStore, PolicyHandler),
    (AsyncMediaStore, AsyncMediaStorageService),
    (AsyncMediaStore, AsyncFileMediaStore),
    (AsyncMediaStore, AsyncPolicyHandler),
]
TWINS = [
    (MediaStorageService, AsyncMediaStorageService),
    (FileMediaStore, AsyncFileMediaStore),
    (PolicyHandler, AsyncPolicyHandler),
]


def methods(protocol):
    return {name: member for name, member in vars(protocol).items() if inspect.isfunction(member)
            and not name.startswith("_")}  # fmt: skip


def service_of(store: MediaStore) -> MediaStorageService:
    """Be a place where mypy compares each method's signature; so the next ones."""
    return store


def files_of(store: MediaStore) -> FileMediaStore:
    return store


def policies_of(store: MediaStore) -> PolicyHandler:
    return store


def async_service_of(store: AsyncMediaStore) -> AsyncMediaStorageService:
    return store


def async_files_of(store: AsyncMediaStore) -> AsyncFileMediaStore:
    return store


def async_policies_of(store: AsyncMediaStore) -> AsyncPolicyHandler:
    return store


@pytest.mark.parametrize(("store", "protocol"), OURS)
def test_our_stores_are_what_the_protocols_say(store, protocol):
    made = store.from_url("redis://localhost/0")

    assert isinstance(made, protocol)


@pytest.mark.parametrize(("store", "protocol"), OURS)
def test_our_stores_take_every_call_that_a_protocol_allows(store, protocol):
    for name, promised in methods(protocol).items():
        ours = inspect.signature(getattr(store, name)).parameters
        for argument, said in inspect.signature(promised).parameters.items():
            assert (ours[argument].kind, ours[argument].default) == (said.kind, said.default), name
        more = [each for each in ours if each not in inspect.signature(promised).parameters]
        assert all(ours[each].default is not inspect.Parameter.empty for each in more), name
        assert inspect.iscoroutinefunction(getattr(store, name)) is (store is AsyncMediaStore)


@pytest.mark.parametrize(("blocking", "awaited"), TWINS)
def test_the_awaited_protocols_promise_the_same(blocking, awaited):
    one, two = methods(blocking), methods(awaited)

    assert list(one) == list(two)
    for name in one:
        assert inspect.signature(one[name]) == inspect.signature(two[name])
        assert inspect.iscoroutinefunction(two[name])


class Pocket:
    """A store of a user's, for tests of an agent: a dict."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.kept: dict[str, MediaContent] = {}
        self.due: dict[str, datetime] = {}

    def store_media(
        self,
        content: MediaContent,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> str:
        assert isinstance(content.data, bytes)
        path = self.home / str(len(self.kept))
        path.write_bytes(content.data)
        ref = f"media://{scope or (meta and meta.session_id)}-{len(self.kept):020}"
        self.kept[ref] = replace(content, data=None, file_path=path)
        return ref

    def retrieve_media(self, ref: str) -> MediaContent:
        if ref not in self.kept:
            raise RefUnknown(ref)
        return self.kept[ref]

    def delete_media(self, ref: str) -> Released:
        Path(str(self.retrieve_media(ref).file_path)).unlink()
        del self.kept[ref]
        return Released(refs=1, deleted=1)

    def get_url(self, ref: str, expires_in: Duration | None = None) -> str:
        return Path(str(self.retrieve_media(ref).file_path)).as_uri()

    def apply_policy(self, ref: str, policy: str) -> datetime | None:
        self.due[ref] = datetime.now(UTC) + timedelta(seconds=parse_retention(policy))
        return self.due[ref]

    def enforce_policy(self) -> Swept:
        late = [ref for ref, due in self.due.items() if due <= datetime.now(UTC)]
        return Swept(refs=len(late))


def show_once(service: MediaStorageService, data: bytes) -> bytes:
    """Be what an agent does with whatever service it is given."""
    ref = service.store_media(MediaContent(data=data), meta=MediaMeta(session_id="abc"))
    path = Path(str(service.retrieve_media(ref).file_path))
    shown = path.read_bytes()
    assert service.get_url(ref) == path.as_uri()
    assert service.delete_media(ref).refs == 1
    with pytest.raises(NotThere):
        service.retrieve_media(ref)
    return shown


def test_code_for_a_protocol_runs_on_a_users_own_store_and_on_ours(other: MediaStore, tmp_path):
    pocket = Pocket(tmp_path)

    assert isinstance(pocket, MediaStorageService)
    assert not isinstance(pocket, FileMediaStore)
    assert show_once(pocket, PNG) == show_once(other, PNG) == PNG


def end_soon(handler: PolicyHandler, ref: str) -> tuple[datetime | None, int]:
    return handler.apply_policy(ref, "delete-after-10min"), handler.enforce_policy().refs


def test_a_users_own_handler_of_policies_fits(tmp_path):
    pocket = Pocket(tmp_path)

    due, ended = end_soon(pocket, "media://AAAAAAAAAAAAAAAAAAAAAA")

    assert isinstance(pocket, PolicyHandler)
    assert due is not None
    assert ended == 0


def test_what_lacks_a_method_does_not_fit():
    class Half:
        def store_media(self, content):
            return "media://AAAAAAAAAAAAAAAAAAAAAA"

    assert not isinstance(Half(), MediaStorageService)
    assert not isinstance(Half(), PolicyHandler)
