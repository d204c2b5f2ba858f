"""The fleet on this machine: a server, two workers, a beat, five bots, and what they report."""

from __future__ import annotations

import json
import os
import selectors
import sys
from typing import TYPE_CHECKING, Any, Final, cast

from mediastore import MediaStore, Settings
from mediastore.demo.mailbox import Mailbox
from mediastore.demo.processes import Child, Failed, end_all, environment
from mediastore.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

    from mediastore.embedded import Engine

BOTS: Final = ("ana", "ben", "cleo", "dan", "eve")
WORKERS: Final = ("worker-1", "worker-2")
#: Short, so that half a minute shows what takes hours elsewhere.
PACE: Final = {
    "namespace": "demo",
    "max_age": "6s",
    "sweep_interval": "1s",
    "drain_interval": "1s",
    "claim": "3s",
    # A bot that is killed while it reads holds its file for so long.
    "lease_max": "3s",
}


class Fleet:
    """Every process of the demo besides our own."""

    def __init__(self, directory: Path, engine: Engine, hear: Callable[[str, Any], None]) -> None:
        """Lay out the directory; nothing runs yet.

        Args:
            directory: Holds the root, the server's data and the logs.
            engine: The server to run.
            hear: Takes each report of a bot: its name and what it said.
        """
        self.root = directory / "media"
        self.root.mkdir()
        self._logs, self._scratch = directory / "logs", directory / "tmp"
        self._logs.mkdir()
        self._scratch.mkdir()
        self.server = EmbeddedServer(directory / "server", engine=engine)
        self.children: dict[str, Child] = {}
        self._hear = hear
        self._pipes = selectors.DefaultSelector()
        self._unfinished: dict[str, bytes] = {}
        self._env: dict[str, str] = {}
        self.settings = Settings()
        self.store: MediaStore | None = None
        self.mail: Mailbox | None = None

    # --- starting

    def start_server(self) -> MediaStore:
        """Start the server; returns our own store on it."""
        self.server.start()
        pace: dict[str, Any] = dict(PACE)
        self.settings = Settings(redis_url=self.server.url, roots=(str(self.root),), **pace)
        self._env = environment(
            self._scratch, redis_url=self.server.url, roots=str(self.root), **PACE
        )
        self.mail = Mailbox(self.server.url)
        self.store = MediaStore.from_settings(self.settings)
        return self.store

    def start_workers(self) -> None:
        """Start two workers with one process each, and the clock that tells them when to look."""
        celery = [sys.executable, "-m", "celery", "-A", "worker"]
        for name in WORKERS:
            options = ["-P", "prefork", "-c", "1", "-n", f"{name}@%h", "-l", "INFO"]
            self._start(name, [*celery, "worker", *options])
        self._start("beat", [*celery, "beat", "--pidfile=", "-l", "INFO"])

    def start_bots(self) -> None:
        """Start the bots in a ring: each hands its refs to the next."""
        for place, name in enumerate(BOTS):
            neighbour = BOTS[(place + 1) % len(BOTS)]
            program = [sys.executable, "-m", "mediastore.demo.bot"]
            self._start(name, [*program, name, neighbour, str(self.root)], reports=True)

    def _start(self, name: str, command: list[str], *, reports: bool = False) -> None:
        log = self._logs / f"{name}.log"
        child = self.children[name] = Child(name, command, log=log, env=self._env, reports=reports)
        if reports and child.process.stdout is not None:
            self._pipes.register(child.process.stdout, selectors.EVENT_READ, name)

    # --- watching

    def listen(self, wait_s: float) -> None:
        """Wait for reports, at most this long, and pass them on."""
        for key, _ in self._pipes.select(wait_s):
            pipe, name = cast("FileIO", key.fileobj), key.data
            said = os.read(pipe.fileno(), 1 << 16)
            *lines, rest = (self._unfinished.pop(name, b"") + said).split(b"\n")
            self._unfinished[name] = rest
            if not said:
                self._pipes.unregister(pipe)
            for line in lines:
                self._hear(name, json.loads(line))

    def alive(self, name: str) -> bool:
        """Whether a process runs."""
        return self.children[name].alive

    def said_all(self, bot: str) -> bool:
        """Whether everything a bot ever said was heard."""
        return all(key.data != bot for key in self._pipes.get_map().values())

    def ready(self, worker: str) -> bool:
        """Whether a worker takes tasks; Celery says so in its log.

        Raises:
            Failed: it has ended instead.
        """
        child = self.children[worker]
        if not child.alive:
            raise Failed(f"{worker} did not start; its log ends:{child.log_tail()}")
        return " ready." in child.log.read_text(errors="replace")

    def tell(self, bot: str, kind: str, **words: Any) -> None:
        """Send a bot a message of ours."""
        if self.mail is not None:
            self.mail.send(bot, kind=kind, **words)

    # --- ending

    def end_workers(self) -> None:
        """End beat first, so that nothing new is asked for, then the workers."""
        end_all([self.children[name] for name in ("beat", *WORKERS) if name in self.children])

    def end(self) -> None:
        """End every process and the server; may be called at any moment, twice as well."""
        try:
            end_all(list(self.children.values()))
            self._pipes.close()
            for opened in (self.store, self.mail):
                if opened is not None:
                    opened.close()
        finally:
            self.server.stop()
