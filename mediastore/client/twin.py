"""A second asyncio client to the same server, for another event loop: connections belong to the loop that made them."""

from __future__ import annotations

import copy
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: What a pool puts into its own arguments by itself, and a new pool makes anew.
_OWN: Final = frozenset(
    {
        "connection_pool",
        "event_dispatcher",
        "himport_registry",
        "maint_notifications_pool_handler",
        "orig_host_address",
        "orig_socket_timeout",
        "orig_socket_connect_timeout",
    }
)


def check_twin(client: Any) -> None:
    """Say before anything is taken whether a client can have a twin.

    Raises:
        TypeError: its pool is none of redis-py's.
    """
    from redis.asyncio import ConnectionPool

    if not isinstance(client.connection_pool, ConnectionPool):
        kind = type(client.connection_pool).__name__
        raise TypeError(f"leases cannot be renewed beside a {kind}: it is no pool of redis-py")


@asynccontextmanager
async def twin(client: Any) -> AsyncIterator[Any]:
    """Give a client that reaches the same server in the same way, with one connection of its own, for a while."""
    from redis.asyncio import Redis

    pool = _pool_like(client.connection_pool)
    made = Redis.from_pool(pool)
    manager = getattr(pool, "sentinel_manager", None)
    try:
        yield made
    finally:
        for each in (made, *(manager.sentinels if manager else ())):
            await each.aclose()


def _pool_like(pool: Any) -> Any:
    """Return an unused pool of the same class and arguments; of redis-py's class where a class of somebody else's takes others."""
    from redis.asyncio import BlockingConnectionPool, ConnectionPool
    from redis.asyncio.sentinel import SentinelConnectionPool

    said = {name: value for name, value in pool.connection_kwargs.items() if name not in _OWN}
    if "retry" in said:  # it may count: not to be shared between threads
        said["retry"] = copy.deepcopy(said["retry"])
    if hasattr(pool, "maint_notifications_enabled"):  # since redis-py 8; for one call nobody moves
        from redis.maint_notifications import MaintNotificationsConfig

        said["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
    said |= {"connection_class": pool.connection_class, "max_connections": 1}
    if isinstance(pool, SentinelConnectionPool):
        said |= {
            "service_name": pool.service_name,
            "sentinel_manager": _manager_like(pool.sentinel_manager),
            "is_master": pool.is_master,
            "check_connection": pool.check_connection,
        }
    elif isinstance(pool, BlockingConnectionPool):
        said["timeout"] = pool.timeout
    kinds = [kind for kind in type(pool).__mro__ if issubclass(kind, ConnectionPool)]
    for kind in kinds[:-1]:
        with suppress(TypeError):
            return kind(**said)
    return kinds[-1](**said)


def _manager_like(manager: Any) -> Any:
    from redis.asyncio import Redis

    made = copy.copy(manager)
    made.sentinels = [
        Redis.from_pool(_pool_like(each.connection_pool)) for each in manager.sentinels
    ]
    return made
