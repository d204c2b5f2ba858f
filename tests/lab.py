"""A laboratory: a store whose clock is ours and whose process can be stopped before or after any call.

A crash is a BaseException out of one Redis exchange or one file system call, which is what a SIGKILL looks like
to the rest of the world: nothing after it happens. Then time passes, another process sweeps, and we look.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mediastore import MediaStore, Settings, blobs
from mediastore.blobs import posix
from mediastore.blobs.local import LocalBlobs
from mediastore.errors import NotThere

from .conftest import keys_left, names_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis

CHANGES = (
    *("link", "rename", "unlink", "make_directory", "remove_directory"),
    *("create_file", "write", "set_times", "sync", "sync_directory"),
)
CLAIM_S = 30.0
STRAY_S = 601.0


class Crash(BaseException):
    """The process stops here."""


@dataclass
class Fuse:
    """Stops the process before or after its n-th call; counts the calls when it is not set."""

    at: int = -1
    after: bool = False
    calls: list[str] = field(default_factory=list)
    asleep: bool = False

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        """Neither count nor stop: what is called meanwhile is another process's."""
        self.asleep = True
        yield
        self.asleep = False

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:
            if self.asleep:
                return call(*args, **named)
            number = len(self.calls)
            self.calls.append(name)
            if number == self.at and not self.after:
                raise Crash(f"before {name} ({number})")
            result = call(*args, **named)
            if number == self.at:
                raise Crash(f"after {name} ({number})")
            return result

        return guarded


class LabStore(MediaStore):
    """A store whose waiting passes the laboratory's time."""

    lab: Lab
    fuse: Fuse

    def _perform(self, step: Any) -> Any:
        if isinstance(step, blobs.Elapsed):
            return self.lab.now_ms() / 1000
        if isinstance(step, blobs.Pause):
            return self.lab.pass_time(step.seconds)
        return super()._perform(step)

    def _ask(self, step: Any) -> Any:
        return self.fuse.wrap(getattr(step, "script", "read"), super()._ask)(step)


class Lab:
    """One namespace, one root, any number of processes, one clock."""

    def __init__(self, clients: Callable[[], redis.Redis], root: Path) -> None:
        self.clients, self.root = clients, root
        self.client = clients()
        self.offset_s = 0.0
        self.base_ms = int(time.time() * 1000)
        self.namespace = f"lab{secrets.token_hex(6)}"
        root.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(namespace=self.namespace, roots=(str(root),), max_age="1h")

    def now_ms(self) -> int:
        return self.base_ms + round(self.offset_s * 1000)

    def pass_time(self, seconds: float) -> None:
        self.offset_s += seconds

    def process(self, fuse: Fuse | None = None) -> LabStore:
        """Start a process: a store with nothing shared in memory."""
        store = self.newcomer()
        store.stats()  # greets the index and verifies the roots: a scenario's own calls are what counts
        store.fuse = fuse or Fuse()
        return store

    def newcomer(self) -> LabStore:
        """Start a process that has not looked at anything yet: its roots may be refused."""
        store = LabStore(self.client, self.settings)
        store.lab, store.fuse = self, Fuse()
        store._speech.now = self.now_ms
        store._clock = lambda: self.now_ms() / 1000
        store._blobs = LocalBlobs(
            self.settings.roots, self.namespace, wall=lambda: time.time() + self.offset_s
        )
        return store

    @contextmanager
    def fused(self, fuse: Fuse, *, newcomer: bool = False) -> Iterator[LabStore]:
        """A process whose file system calls are counted and can stop it, too."""
        store = self.newcomer() if newcomer else self.process()
        store.fuse = fuse
        kept = {name: getattr(posix, name) for name in CHANGES}
        for name, call in kept.items():
            setattr(posix, name, fuse.wrap(name, call))
        try:
            yield store
        finally:
            for name, call in kept.items():
                setattr(posix, name, call)

    def file(self, name: str, content: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def settle(self) -> None:
        """Let every claim lapse and every stray grow old, and sweep as another process does."""
        for seconds in (CLAIM_S + 1, CLAIM_S + 1, STRAY_S):
            self.pass_time(seconds)
            self.process().sweep()

    def live(self) -> tuple[dict[str, str], list[str]]:
        """Return the content of every file that a live ref leads to: by its path, and of those under held links only."""
        store = self.process()
        found, hidden = {}, []
        for scope in store.scopes():
            for media in store.refs(scope):
                path = store.resolve(media.ref)
                if path.is_relative_to(self.root / ".mediastore"):
                    hidden.append(path.read_text())
                else:
                    found[str(path.relative_to(self.root))] = path.read_text()
        return found, hidden

    def files(self) -> dict[str, str]:
        """Return what lies in the root outside our bookkeeping."""
        found = {}
        for directory, below, names in os.walk(self.root):
            below[:] = [name for name in below if name != ".mediastore"]
            for name in names:
                path = os.path.join(directory, name)
                with open(path) as file:
                    found[os.path.relpath(path, self.root)] = file.read()
        return found

    def leftovers(self) -> list[str]:
        """Name whatever the index and the bookkeeping hold when no ref lives."""
        return sorted(keys_left(self.client, self.namespace)) + names_left(self.root)

    def end(self) -> None:
        """Let every ref expire and be swept."""
        self.pass_time(3601)
        self.process().sweep()
        self.settle()


def is_gone(store: MediaStore, ref: str) -> bool:
    """Whether a ref does not resolve."""
    try:
        store.resolve(ref)
    except NotThere:
        return True
    return False
