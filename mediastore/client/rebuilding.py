"""An index that was lost, made again: the blocking and the asyncio half."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mediastore.flows import rebuilding as flows

from .base import AnyPath, path_text
from .driver import AsyncDriver, Driver

if TYPE_CHECKING:
    from mediastore.hosts import Rebuilt


class Rebuilding(Driver):
    """What makes an index again."""

    def rebuild(self, root: AnyPath | None = None, *, dry_run: bool = False) -> Rebuilt:
        """Make refs again from the sidecars in this process's roots, after Redis was lost or emptied.

        Each comes back with its id, scope, metadata, pin and deadline, on its file, as of its last sidecar. What the
        index knows is never changed: a ref that lives stays as it is, one that ended stays dead. Safe while other
        processes store, release and sweep; called twice, or stopped halfway and called again, it comes to the same.

        A deadline that has passed meanwhile is kept: such a ref does not resolve, and the next sweep deletes its file
        unless another ref holds it, as it would have. No file goes for a ref that has not come back yet. Leases, grace,
        deadlines of scopes and named policies were in Redis alone and are not made again.
        Registered files have no sidecars: they stay where they are, and are registered again by `store`.

        Args:
            root: One root of this process, by its path or its id; None: all of them.
            dry_run: Only say what would come back; nothing changes.

        Raises:
            InvalidRequest: `root` is none of this process's.
            InvalidRoot: the root was forgotten.
            IndexUnavailable, BlobsUnavailable, StoreFull: call again; what is back stays.
        """
        return self._run(flows.rebuild(self._ctx, _root_text(root), self._host, dry_run=dry_run))


class AsyncRebuilding(AsyncDriver):
    """What makes an index again; the methods are those of `MediaStore`, awaited."""

    async def rebuild(self, root: AnyPath | None = None, *, dry_run: bool = False) -> Rebuilt:
        """As `MediaStore.rebuild`."""
        return await self._run(
            flows.rebuild(self._ctx, _root_text(root), self._host, dry_run=dry_run)
        )


def _root_text(root: AnyPath | None) -> str | None:
    """Return a root as it was named, a path without symlinks where there is one."""
    if root is None:
        return None
    text = path_text(root)
    return os.path.realpath(text) if os.path.lexists(text) else text
