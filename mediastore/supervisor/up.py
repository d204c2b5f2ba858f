"""The supervisor: starts what is needed, shows what it says as one log, starts again what died, ends it all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

from mediastore import MediaStore, __version__
from mediastore.embedded import EmbeddedServer, find_engine
from mediastore.errors import IndexUnavailable
from mediastore.escaping import mask, printable
from mediastore.settings import PREFIX, default_root
from mediastore.state import Process, Running

from .children import BackOff, Child
from .fleet import NotUp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mediastore.settings import Settings

    from .fleet import Fleet

#: Longer than a batch takes; what is not done then is done by whoever sweeps next.
STOP_LIMIT_S: Final = 20.0
_LOOK_S: Final = 1.0
_START_TRIES: Final = 3
_PIPE_BUF: Final = 4096
_LINE_CHARACTERS: Final = 2000
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What configures a Celery of somebody else must not reach ours.
_FOREIGN: Final = (PREFIX, "CELERY")


class Ended(BaseException):
    """A signal came while something was being started that cannot be left half done."""


class Supervisor:
    """Looks after a server (unless one is given), a worker and a beat, until a signal comes."""

    def __init__(
        self, fleet: Fleet, settings: Settings, *, own_server: bool, say: Callable[[str], None]
    ) -> None:
        """Remember what is wanted; nothing is started.

        Args:
            fleet: The state directory.
            settings: The fleet's; `redis_url` is the server's where none of our own is wanted.
            own_server: Whether to start a server in the state directory.
            say: Takes the log line by line.
        """
        self._fleet, self._settings, self._say = fleet, settings, say
        self._server = EmbeddedServer(fleet.server) if own_server else None
        self._server_seen = Process(name="server", state="starting", pid=None, since=0, restarts=0)
        self._server_back_off, self._server_due, self._server_began = BackOff(), 0.0, 0.0
        self._children: list[Child] = []
        self._signal = 0
        self._starting = False
        self._since = time.time()
        self._selector = selectors.DefaultSelector()
        self._lifeline, self._held = os.pipe()
        self._told: Running | None = None

    def run(self) -> int:
        """Start everything, look after it until a signal comes, end it; return that signal.

        Raises:
            MediaStoreError: it cannot be started; nothing is left running.
        """
        with self._signals():
            try:
                self._start()
                while not self._signal:
                    self._look_after()
            except Ended:
                pass
            finally:
                self._stop()
        return self._signal

    # --- signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Note signals; each wakes the loop, the death of a child as well."""
        receiving, sending = socket.socketpair()
        for end in (receiving, sending):
            end.settimeout(0)
        before: dict[int, Any] = {number: signal.signal(number, self._note) for number in _SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        woken = signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
        self._selector.register(receiving, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            receiving.close()
            sending.close()

    def _note(self, number: int, _frame: object) -> None:
        again, self._signal = self._signal, self._signal or number
        if self._starting and not again:
            raise Ended
        if again:  # whoever asks twice does not want to wait
            for child in self._children:
                child.kill()

    # --- starting

    def _start(self) -> None:
        self._tell(
            f"mediastore {__version__}, process {os.getpid()}, state in {self._fleet.directory}"
        )
        Running.remove(self._fleet.directory)
        if os.geteuid() == 0:
            self._tell("warning: this is root; a user of its own is safer")
        if self._server is None:
            self._tell(f"the server is {mask(self._settings.redis_url)}; none is started here")
        else:
            self._start_server(tries=_START_TRIES)
        for namespace in self._settings.served:
            own = self._settings.for_namespace(namespace)
            with self._uninterrupted(), MediaStore.from_settings(own) as store:
                store.stats()  # a wrong root or a foreign index ends us now, not in every log line
        self._children = [self._child("worker"), self._child("beat")]
        for child in self._children:
            self._start_child(child)
        self._leave_note()
        self._tell(
            f"ready; namespace {', '.join(self._settings.served)}, roots {self._text()['roots']}"
        )

    def _text(self) -> dict[str, str]:
        """Return the settings as other processes are told them: where the fleet is, whatever the default there."""
        where = {"redis_url": self._settings.redis_url, "namespace": self._settings.namespace}
        return {"roots": str(default_root()), **self._settings.as_text(), **where}

    @contextlib.contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """Let a signal end what is being started at once."""
        self._starting = True
        try:
            if self._signal:
                raise Ended
            yield
        finally:
            self._starting = False

    def _start_server(self, tries: int = 1) -> None:
        server = self._server
        assert server is not None  # noqa: S101 - for the type checker
        for left in reversed(range(tries)):
            try:
                with self._uninterrupted():
                    server.start()
                break
            except IndexUnavailable as error:
                # The server of a supervisor that was killed answers, and then ends.
                if not left or find_engine() is None:
                    raise NotUp(str(error)) from None
        adopted, server.adopted = server.adopted, False  # whose supervisor is gone: ours now
        self._server_began = time.monotonic()
        self._server_seen = dataclasses.replace(
            self._server_seen, state="up", pid=server.pid, since=time.time()
        )
        if self._settings.redis_url != server.url:
            self._settings = dataclasses.replace(self._settings, redis_url=server.url)
            self._move_children()
        engine = find_engine()
        what = "adopted, it was running" if adopted else f"{engine} ({engine and engine.origin})"
        self._tell(f"server: {what}, process {server.pid}, {server.url}")

    def _move_children(self) -> None:
        """Let children start again that know the server by another address: a long one changes with each start."""
        for child in self._children:
            child.environ[f"{PREFIX}REDIS_URL"] = self._settings.redis_url
            child.ask_to_end()

    def _child(self, role: str) -> Child:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        environ |= {f"{PREFIX}{name.upper()}": value for name, value in self._text().items()}
        # Killed pool processes leave directories behind; here they are found and removed.
        scratch = self._scratch()
        environ |= {"TMPDIR": scratch, "PYTHONUNBUFFERED": "1"}
        options = {
            "worker": ["-n", "worker@%h", "-l", "INFO", "--without-heartbeat"],
            "beat": ["--pidfile=", "-l", "INFO"],
        }
        command = ["-q", "-A", "worker", role, *options[role]]
        return Child(role, command, directory=self._fleet.directory, environ=environ)

    def _scratch(self) -> str:
        """Return the directory for temporary files of our children, empty at our start."""
        scratch = self._fleet.directory / "tmp"
        if not self._children:
            shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir(exist_ok=True)
        except OSError:
            return tempfile.gettempdir()
        return str(scratch)

    def _start_child(self, child: Child) -> None:
        child.start(self._lifeline)
        if (fd := child.output) is not None:
            self._selector.register(fd, selectors.EVENT_READ, child)
        self._tell(f"{child.name}: started, process {child.seen().pid}")

    # --- looking after it

    def _look_after(self) -> None:
        """Wait for a line, a death or a second; then see to it."""
        self._listen(_LOOK_S)
        for child in self._children:
            self._see_to(child)
        self._see_to_server()
        self._leave_note()

    def _listen(self, wait_s: float) -> None:
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    key.fileobj.recv(4096)  # type: ignore[union-attr]
            else:
                self._show(key.data)

    def _show(self, child: Child) -> None:
        fd = child.output
        for line in child.lines():
            if line.strip():
                self._say(f"{child.name:<6} | {line}")
        if fd is not None and child.output is None:
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def _see_to(self, child: Child) -> None:
        if child.alive:
            return
        if child.seen().state != "up" and child.due:
            if time.monotonic() >= child.due and not self._signal:
                self._start_child(child)
            return
        self._bury(child)

    def _bury(self, child: Child) -> None:
        self._show(child)
        if (fd := child.output) is not None:
            self._forget(fd)
        how = child.buried()
        if how:
            pause = (
                "" if self._signal else f"; again in {max(0, child.due - time.monotonic()):.0f} s"
            )
            self._tell(f"{child.name}: {how}{pause}")

    def _see_to_server(self) -> None:
        if self._server is None or self._server.running:
            return
        now, seen = time.monotonic(), self._server_seen
        if seen.state == "up":
            pause = self._server_back_off.after(now - self._server_began)
            self._server_due = now + pause
            self._server_seen = dataclasses.replace(
                seen, state="starting again", pid=None, since=time.time()
            )
            self._tell(f"server: it has died; again in {pause:.0f} s")
        elif now >= self._server_due:
            self._server_seen = dataclasses.replace(seen, restarts=seen.restarts + 1)
            try:
                self._start_server()
            except IndexUnavailable as error:
                pause = self._server_back_off.after(0)
                self._server_due = time.monotonic() + pause
                self._tell(f"server: {error}; again in {pause:.0f} s")

    def _leave_note(self) -> None:
        """Say what there is, for `status` and for whoever looks for the fleet; only when it has changed."""
        server = (self._server_seen,) if self._server is not None else ()
        told = Running(
            pid=os.getpid(),
            since=self._since,
            settings=self._text(),
            processes=(*server, *(child.seen() for child in self._children)),
        )
        if told != self._told:
            try:
                told.write(self._fleet.directory)
                self._told = told
            except OSError as error:
                self._tell(
                    f"{self._fleet.directory} cannot be written: {os.strerror(error.errno or 0)}"
                )

    # --- ending it

    def _stop(self) -> None:
        """End the beat and the worker, then the server they need; a worker without a broker would wait."""
        if self._signal:
            self._tell("stopping; a second signal stops at once")
        for child in self._children:
            child.ask_to_end()
        deadline = time.monotonic() + STOP_LIMIT_S
        while any(child.alive for child in self._children) and time.monotonic() < deadline:
            self._listen(0.1)
        for child in reversed(self._children):  # beat has ended first
            self._bury(child)
        Running.remove(self._fleet.directory)
        os.close(self._lifeline)
        os.close(self._held)
        if self._server is not None and self._server_seen.pid is not None:
            self._server.stop()
            self._tell("server: ended")
        if self._signal:
            self._tell("stopped")

    def _tell(self, words: str) -> None:
        self._say(f"{'up':<6} | {time.strftime('[%Y-%m-%d %H:%M:%S]')} {words}")


class Log:
    """Writes lines to stdout, and never waits for whoever reads it.

    A terminal that was stopped with Ctrl-S, or a pager, would otherwise stop the whole fleet in time:
    each child waits when nobody takes what it says.
    """

    def __init__(self) -> None:
        self._lost = 0

    def __call__(self, line: str) -> None:
        """Write a line; it is counted and left out where it would have to wait."""
        out = sys.stdout.fileno()
        if not select.select([], [out], [], 0)[1]:
            self._lost += 1
            return
        missing = (
            f"{'up':<6} | {self._lost} lines were not read and are lost\n" if self._lost else ""
        )
        # Within PIPE_BUF a pipe takes all of it or is not ready.
        line = printable(line, keep="\t")
        text = f"{missing}{line[:_LINE_CHARACTERS]}\n".encode(errors="replace")[:_PIPE_BUF]
        with contextlib.suppress(OSError):  # whoever reads it may have gone; the fleet stays
            os.write(out, text)
            self._lost = 0
