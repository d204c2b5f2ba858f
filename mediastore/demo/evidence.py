"""What the index and the disk say, read when everything is quiet."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import redis

from mediastore import MediaStore
from mediastore.blobs.local import LocalBlobs
from mediastore.demo.ledger import Evidence
from mediastore.demo.samples import digest
from mediastore.errors import NotThere
from mediastore.flows.sweeping import STRAY_AGE_S
from mediastore.model import encode_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediastore import Settings
    from mediastore.demo.ledger import Ledger
    from mediastore.model import Media

HOME: Final = ".mediastore"
LEFT: Final = ("new", "quarantine", "parked")


class Later(MediaStore):
    """A store for which ten minutes have passed.

    A sweep leaves what a killed call may have left on the disk alone for that long, because the
    call's last command might still be on its way. The demo cannot wait, so it moves the clock.
    """

    def __init__(self, client: Any = None, settings: Settings | None = None) -> None:
        """As any store, but with this host's clock ahead."""
        super().__init__(client, settings)
        self._blobs = LocalBlobs(
            self.settings.roots,
            self.settings.namespace,
            wall=lambda: time.time() + STRAY_AGE_S + 1,
        )


def gather(store: MediaStore, root: Path, ledger: Ledger) -> Evidence:
    """Look at everything once."""
    listed = tuple(live(store))
    files = [path for path in walk(root) if path.is_file()]
    return Evidence(
        stats=store.stats(),
        listed=listed,
        whole=sum(is_whole(store, media, ledger) for media in listed),
        files=len(files),
        file_bytes=sum(path.stat().st_size for path in files),
        held=sum(1 for _ in (root / HOME / "held").iterdir()),
        left=tuple(left(root)),
    )


def live(store: MediaStore, prefix: str = "") -> Iterator[Media]:
    """List every live ref of the scopes that start with a text, page by page."""
    for scope in store.scopes(prefix):
        last = None
        while page := store.refs(scope, after=last):
            yield from page
            last = page[-1]


def is_whole(store: MediaStore, media: Media, ledger: Ledger) -> bool:
    """Whether a ref resolves to a file with the bytes that its bot meant to store."""
    intent = ledger.stored.get(media.ref)
    try:
        return intent is not None and digest(store.resolve(media.ref)) == intent.sha256
    except (NotThere, OSError):
        return False


def walk(root: Path) -> Iterator[Path]:
    """Name everything in a root except our bookkeeping."""
    for folder, folders, names in os.walk(root):
        if Path(folder) == root and HOME in folders:
            folders.remove(HOME)
        yield from (Path(folder, name) for name in names)


def left(root: Path) -> list[str]:
    """Name what is left in our bookkeeping besides held links, claims' directories included."""
    home = root / HOME
    return sorted(str(path.relative_to(home)) for part in LEFT for path in (home / part).rglob("*"))


def claims(root: Path) -> set[str]:
    """Name the claims that have files in their hands now; an empty directory is not one of them."""
    quarantine = root / HOME / "quarantine"
    return {
        Path(folder).relative_to(quarantine).parts[0]
        for folder, _, names in os.walk(quarantine)
        if names
    }


def for_the_person_on_call(settings: Settings, media: Media) -> list[str]:
    """Show one live ref as redis-cli and ls show it; everything is plain text."""
    prefix = f"mediastore:{{{settings.namespace}}}:"
    ref, scope = f"{prefix}ref:{media.ref.id}", f"{prefix}scope:{encode_scope(media.scope)}"
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        fields: Any = client.hgetall(ref)
        members: Any = client.zrange(scope, 0, -1)
    shown = ("scope", "path", "size", "content_type", "stored_at", "expires_at")
    words = "  ".join(f"{name}={fields[name]}" for name in shown if name in fields)
    there = f"{media.path.stat().st_size:,} bytes" if media.path.exists() else "no such file"
    return [
        f"HGETALL {ref}\n    {words}",
        f"ZRANGE {scope} 0 -1\n    {'  '.join(members)}",
        f"ls {media.path}\n    {there}",
    ]
