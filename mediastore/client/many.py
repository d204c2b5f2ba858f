"""The same for many at once, the blocking half."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mediastore.errors import MediaStoreError
from mediastore.flows import many
from mediastore.model import Duration, MediaMeta, Ref, Released

from .base import AnyPath, checked_items, checked_texts
from .driver import Driver


class Many(Driver):
    """What acts on many at once."""

    def store_many(
        self,
        items: Iterable[AnyPath | tuple[AnyPath, MediaMeta]],
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> list[Ref | MediaStoreError]:
        """Register files under one scope, a hundred in each write; as `store`, but an error takes its ref's place.

        Args:
            items: Paths, or pairs of a path and its metadata.
            scope: Where all of them belong; None: the current scope, as for `store`.
            meta: The metadata of those that bring none.
            ttl: As for `store`, of each.

        Returns:
            In the same order, each ref, or why that file was not stored; the others were.

        Raises:
            InvalidScope, InvalidRequest: the call cannot be right as it stands; nothing was stored.
            IndexUnavailable: Redis failed; some were stored or not, and those that were expire.
        """
        named = self._scope_meant(scope)
        return self._run(many.store_many(self._ctx, checked_items(items, meta), named, ttl))

    def resolve_many(self, refs: Iterable[str]) -> list[Path | MediaStoreError]:
        """Resolve refs, a hundred in each write; as `resolve`, but an error takes its path's place.

        Raises:
            IndexUnavailable: Redis failed.
        """
        return self._run(many.resolve_many(self._ctx, checked_texts(refs, "refs")))

    def release_many(
        self, scopes: Iterable[str], *, wait: bool = True
    ) -> list[Released | MediaStoreError]:
        """Release scopes: all cuts first, a hundred in each write, then the files; as `release_all`, but an error takes its result's place.

        Each result counts what was left for its scope to end: of two that overlap, one may find nothing.

        Raises:
            IndexUnavailable: Redis failed; call again, what was done stays done.
        """
        return self._run(many.release_many(self._ctx, checked_texts(scopes, "scopes"), wait=wait))
