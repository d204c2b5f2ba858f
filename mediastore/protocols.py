"""What code may ask of a store without asking for this one: for type annotations, fakes in tests, and stores of your own.

`MediaStore` fits all three, `AsyncMediaStore` the awaited three. A class fits without inheriting anything. `isinstance` works,
and looks at the names of methods alone: it does not tell a blocking store from an awaited one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from .content import MediaContent
    from .model import Duration, MediaMeta, Released, Swept


@runtime_checkable
class MediaStorageService(Protocol):
    """Takes content and gives it back: PromptKit's interface of that name (runtime/storage/interfaces.go)."""

    def store_media(
        self,
        content: MediaContent,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> str:
        """Keep content, and return its ref."""
        ...

    def retrieve_media(self, ref: str) -> MediaContent:
        """Return what a ref refers to, with `file_path` set; no byte is read. Raises NotThere."""
        ...

    def delete_media(self, ref: str) -> Released:
        """End a ref; the bytes go where nobody else holds them. Raises NotThere."""
        ...

    def get_url(self, ref: str, expires_in: Duration | None = None) -> str:
        """Return a URL of the content, good for that long where the store can say so. Raises NotThere."""
        ...


@runtime_checkable
class PolicyHandler(Protocol):
    """Lets refs live by named lifetimes: PromptKit's interface of that name, by ref instead of by path."""

    def apply_policy(self, ref: str, policy: str) -> datetime | None:
        """Let a ref live by a policy from now on; returns its deadline, None for none. Raises NotThere, InvalidPolicy."""
        ...

    def enforce_policy(self) -> Swept:
        """End what is past its deadline, and delete the files that nobody holds; a file never raises."""
        ...


@runtime_checkable
class FileMediaStore(Protocol):
    """Registers files where they lie: picoclaw's store of that name (pkg/media/store.go)."""

    def store(
        self,
        path: str | Path,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> str:
        """Register a file under a scope, and return its ref."""
        ...

    def resolve(self, ref: str) -> Path:
        """Return the path of a ref's file. Raises NotThere."""
        ...

    def resolve_with_meta(self, ref: str) -> tuple[Path, MediaMeta]:
        """Return the path of a ref's file, and what is known of it. Raises NotThere."""
        ...

    def release_all(self, scope: str, *, wait: bool = True) -> Released:
        """End every ref of a scope and below it; a file never raises."""
        ...

    def clean_expired(self) -> int:
        """End every ref that is past its deadline; returns their number."""
        ...

    def start(self) -> None:
        """Sweep in the background; a second call does nothing."""
        ...

    def stop(self) -> None:
        """Sweep no more; a second call does nothing."""
        ...


@runtime_checkable
class AsyncMediaStorageService(Protocol):
    """As `MediaStorageService`, awaited."""

    async def store_media(
        self,
        content: MediaContent,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> str:
        """As `MediaStorageService.store_media`."""
        ...

    async def retrieve_media(self, ref: str) -> MediaContent:
        """As `MediaStorageService.retrieve_media`."""
        ...

    async def delete_media(self, ref: str) -> Released:
        """As `MediaStorageService.delete_media`."""
        ...

    async def get_url(self, ref: str, expires_in: Duration | None = None) -> str:
        """As `MediaStorageService.get_url`."""
        ...


@runtime_checkable
class AsyncPolicyHandler(Protocol):
    """As `PolicyHandler`, awaited."""

    async def apply_policy(self, ref: str, policy: str) -> datetime | None:
        """As `PolicyHandler.apply_policy`."""
        ...

    async def enforce_policy(self) -> Swept:
        """As `PolicyHandler.enforce_policy`."""
        ...


@runtime_checkable
class AsyncFileMediaStore(Protocol):
    """As `FileMediaStore`, awaited."""

    async def store(
        self,
        path: str | Path,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> str:
        """As `FileMediaStore.store`."""
        ...

    async def resolve(self, ref: str) -> Path:
        """As `FileMediaStore.resolve`."""
        ...

    async def resolve_with_meta(self, ref: str) -> tuple[Path, MediaMeta]:
        """As `FileMediaStore.resolve_with_meta`."""
        ...

    async def release_all(self, scope: str, *, wait: bool = True) -> Released:
        """As `FileMediaStore.release_all`."""
        ...

    async def clean_expired(self) -> int:
        """As `FileMediaStore.clean_expired`."""
        ...

    async def start(self) -> None:
        """As `FileMediaStore.start`."""
        ...

    async def stop(self) -> None:
        """As `FileMediaStore.stop`."""
        ...
