"""How both clients give out scopes as objects, and know the one they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .scope import BaseScope, innermost

if TYPE_CHECKING:
    from mediastore.model import Duration

S = TypeVar("S", bound=BaseScope)


class Scoping(Generic[S]):
    """`scope` and `current_scope`, the same for both clients: neither does any I/O."""

    _scopes: ClassVar[type[Any]]

    def scope(self, name: str, *, ttl: Duration | None = None, idle: Duration | None = None) -> S:
        """Return a scope as an object: a context manager that releases what was stored inside.

        Making it does no I/O; entering it, or its `open()`, sets the deadlines.

        Args:
            name: A scope path such as ``"telegram:42"`` or ``"chat:42/msg:7"``.
            ttl: The scope is released this long after it was opened, by a sweep; None: no such deadline.
            idle: The scope is released when for this long nobody stored, resolved, leased, pinned, touched or moved
                anything in it or below; None: no such deadline. Noticed at a tenth of it.
                Of several deadlines, here or on scopes above, the earliest counts.

        Raises:
            InvalidScope: `name` is malformed.
            InvalidRequest: `ttl` or `idle` is no duration.
        """
        made: S = self._scopes(self, name, ttl, idle)
        return made

    def current_scope(self) -> S | None:
        """Return the innermost scope of this store that is entered here; None outside of all.

        Here: in this thread or task. A task, and `asyncio.to_thread`, begin inside the scopes of whoever started
        them; a thread begins outside of all. A scope that has been left is current nowhere.
        """
        found: S | None = innermost(self)
        return found
