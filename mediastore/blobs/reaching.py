"""The roots of one process: verified at the first use, opened for each operation, told of when they go away."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from mediastore.errors import BlobsUnavailable, InvalidRoot
from mediastore.settings import default_root

from .root import Root, again, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .homes import Opened

logger = logging.getLogger("mediastore")


class Reach:
    """The roots of this process. Verified at the first use, not before."""

    def __init__(self, roots: tuple[str, ...], namespace: str) -> None:
        """Remember where the roots are; no I/O."""
        self._paths = roots or (str(default_root()),)
        self._namespace = namespace
        self._roots: dict[str, Root] | None = None
        self._away: set[str] = set()

    def roots(self) -> dict[str, Root]:
        """Return the verified roots by id.

        Raises:
            InvalidRoot: one of them cannot be used; none is touched.
        """
        # Without a lock: verifying twice is harmless, a lock held across a fork is not.
        if self._roots is None:
            found = [verify(path, self._namespace) for path in self._paths]
            for one in found:
                for other in found:
                    if other.path.startswith(one.path + "/"):
                        raise InvalidRoot(
                            other.path, f"it lies inside the root {one.path}; roots do not nest"
                        )
            self._roots = {root.id: root for root in found}
        return self._roots

    def _reach(self, root_id: str) -> tuple[Root, Opened]:
        """Open a root for one operation; one that has gone away, and one that is back, is told once.

        Raises:
            KeyError: the root is none of this process's.
            BlobsUnavailable: it is not there now.
        """
        roots = self.roots()
        root = roots[root_id]
        try:
            there = root.opened()
        except BlobsUnavailable as error:
            adopted = again(root, self._namespace)
            if adopted is None:
                if root_id not in self._away:
                    self._away.add(root_id)
                    logger.error("%s; nothing is deleted there until it is back", error)  # noqa: TRY400
                raise
            root = roots[root_id] = adopted
            there = root.opened()
        if root_id in self._away:
            self._away.discard(root_id)
            logger.warning("root %s is back; work goes on there", root.path)
        return root, there

    @contextlib.contextmanager
    def _opened(self, root_id: str) -> Iterator[tuple[Root, Opened]]:
        root, there = self._reach(root_id)
        with there:
            yield root, there

    @contextlib.contextmanager
    def _there(self, root_id: str) -> Iterator[Opened]:
        with self._opened(root_id) as (_, there):
            yield there
