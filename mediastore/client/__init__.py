"""The two clients: one blocking, one asyncio, driving the same flows.

Everything that decides an order is in `flows`; here is only how a step is performed and how the names are spelt.
"""

from .aio import AsyncMediaStore
from .blocking import MediaStore
from .scope import AsyncScope, Scope

__all__ = ["AsyncMediaStore", "AsyncScope", "MediaStore", "Scope"]
