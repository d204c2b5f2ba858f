"""A media store that every process of a fleet of bots and agents shares.

    from mediastore import MediaStore

    store = MediaStore.from_env()
    ref = store.store("/srv/media/cat.jpg", scope="chat:42")   # "media://..."
    path = store.resolve(ref)                                  # in any process
    store.release_all("chat:42")                               # the refs die at once, the files go

Names are loaded when they are used: importing the package imports neither redis nor asyncio.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .escaping import PrintableRecords

if TYPE_CHECKING:
    from . import errors
    from .breaker import Breaker, Tripped
    from .client import AsyncMediaStore, AsyncScope, MediaStore, Scope
    from .client.lease import AsyncLease, Lease
    from .content import MediaContent
    from .epochs import Accepted, Epoch, Frozen, RootEpoch
    from .hosts import Adopted, Forgotten, Rebuilt, RootInfo
    from .lifetimes import LeaseInfo, ScopeDeadline, Tombstone, Waiting
    from .model import NEVER, Cleanup, Media, MediaMeta, Ref, Released, ReleasePlan, Swept
    from .policies import Policy, PolicyChange
    from .protocols import (
        AsyncFileMediaStore,
        AsyncMediaStorageService,
        AsyncPolicyHandler,
        FileMediaStore,
        MediaStorageService,
        PolicyHandler,
    )
    from .settings import Settings
    from .stats import Stats

__version__ = "0.1.0"

# Who configures no logging is not talked to on stderr; `mediastore` is the logger to listen to.
logging.getLogger(__name__).addHandler(logging.NullHandler())
# Names that users chose are in the messages, and a log is read on terminals.
logging.getLogger(__name__).addFilter(PrintableRecords())

_HOME = {
    "AsyncMediaStore": "client",
    "AsyncScope": "client",
    "MediaStore": "client",
    "NEVER": "model",
    "Breaker": "breaker",
    "Tripped": "breaker",
    "Accepted": "epochs",
    "Epoch": "epochs",
    "Frozen": "epochs",
    "RootEpoch": "epochs",
    "Adopted": "hosts",
    "Cleanup": "model",
    "Forgotten": "hosts",
    "AsyncLease": "client.lease",
    "Lease": "client.lease",
    "LeaseInfo": "lifetimes",
    "Media": "model",
    "MediaContent": "content",
    "MediaMeta": "model",
    "Policy": "policies",
    "PolicyChange": "policies",
    "Ref": "model",
    "Rebuilt": "hosts",
    "ReleasePlan": "model",
    "Released": "model",
    "RootInfo": "hosts",
    "Scope": "client",
    "ScopeDeadline": "lifetimes",
    "Stats": "stats",
    "Swept": "model",
    "Settings": "settings",
    "AsyncFileMediaStore": "protocols",
    "AsyncMediaStorageService": "protocols",
    "AsyncPolicyHandler": "protocols",
    "FileMediaStore": "protocols",
    "MediaStorageService": "protocols",
    "PolicyHandler": "protocols",
    "Tombstone": "lifetimes",
    "Waiting": "lifetimes",
}

__all__ = [
    "NEVER",
    "Accepted",
    "Adopted",
    "AsyncFileMediaStore",
    "AsyncLease",
    "AsyncMediaStorageService",
    "AsyncMediaStore",
    "AsyncPolicyHandler",
    "AsyncScope",
    "Breaker",
    "Cleanup",
    "Epoch",
    "FileMediaStore",
    "Forgotten",
    "Frozen",
    "Lease",
    "LeaseInfo",
    "Media",
    "MediaContent",
    "MediaMeta",
    "MediaStorageService",
    "MediaStore",
    "Policy",
    "PolicyChange",
    "PolicyHandler",
    "Rebuilt",
    "Ref",
    "ReleasePlan",
    "Released",
    "RootEpoch",
    "RootInfo",
    "Scope",
    "ScopeDeadline",
    "Settings",
    "Stats",
    "Swept",
    "Tombstone",
    "Tripped",
    "Waiting",
    "errors",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    from importlib import import_module

    if name == "errors":
        return import_module(f"{__name__}.errors")
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
