"""Quotas, the blocking half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore.flows import quotas as flows

from .driver import Driver

if TYPE_CHECKING:
    from mediastore.flows.quotas import Limit
    from mediastore.quotas import Quota


class Quotas(Driver):
    """What limits how much is held."""

    def set_quota(
        self,
        scope: str | None = None,
        *,
        max_bytes: Limit = None,
        max_refs: Limit = None,
        scope_max_bytes: Limit = None,
        scope_max_refs: Limit = None,
    ) -> Quota:
        """Limit what the namespace, each scope, or one scope may hold; every process of the fleet keeps to it at once.

        What would exceed a limit is refused as QuotaExceeded, before its bytes are written. What is there stays.

        Args:
            scope: The scope that gets limits of its own; they count its own refs, not those of the scopes below. None: the
                namespace.
            max_bytes: The most bytes, such as 1048576 or "10GiB"; "never" for any number. None: as it is.
            max_refs: The most refs, likewise.
            scope_max_bytes: The most bytes of each scope without a limit of its own; only of the namespace.
            scope_max_refs: The most refs of each such scope, likewise.

        Returns:
            The limits as they are now, and what counts against them.

        Raises:
            InvalidRequest: a limit is none, or a scope is to limit others.
        """
        limits = {
            "max_bytes": max_bytes,
            "max_refs": max_refs,
            "scope_max_bytes": scope_max_bytes,
            "scope_max_refs": scope_max_refs,
        }
        return self._run(flows.set_quota(self._ctx, scope, limits))

    def quota(self, scope: str | None = None) -> Quota:
        """Return the limits of the namespace, or of a scope, and what counts against them."""
        return self._run(flows.quota(scope))
