"""Quotas: what the namespace, each scope or one scope may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mediastore.errors import InvalidRequest
from mediastore.index import quotas
from mediastore.model import check_scope
from mediastore.values import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mediastore.quotas import Quota

    from .context import Context, Flow

Limit = int | str | None
_MOST: Final = 9_000_000_000_000_000
_OF_EACH: Final = ("scope_max_bytes", "scope_max_refs")


def set_quota(ctx: Context, scope: str | None, limits: Mapping[str, Limit]) -> Flow[Quota]:
    """Set the limits that were said; returns them all, and what counts against them."""
    name = "" if scope is None else check_scope(scope)
    if name and any(limits[each] is not None for each in _OF_EACH):
        raise InvalidRequest(
            "the limits of each scope are the namespace's: name no scope with them"
        )
    said = [_limit(each, limits[each]) for each in ("max_bytes", "max_refs", *_OF_EACH)]
    if not any(limit != "" for limit in said):
        raise InvalidRequest(f"say a limit: {', '.join(limits)}")
    yield from quotas.set_quota(name, said, ctx.new_id())
    return (yield from quota(scope))


def quota(scope: str | None) -> Flow[Quota]:
    """Read the limits of the namespace, or of a scope, and what counts against them."""
    if scope is None:
        return (yield from quotas.quota(""))
    name = check_scope(scope)
    return (yield from quotas.quota(name, (yield from quotas.mark_of(name))))


def _limit(name: str, limit: Limit) -> int | str:
    if limit is None:
        return ""
    if limit == "never":
        return limit
    if name.endswith("refs") and not str(limit).isdecimal():
        raise InvalidRequest(f'{name} is a whole number, or "never": {limit!r:.60}')
    number = parse_size(name, limit)
    if not 0 <= number <= _MOST:
        raise InvalidRequest(f'{name} is a number from 0 to {_MOST}, or "never": {limit!r:.60}')
    return number
