"""A real `mediastore up` in a state directory of its own, and what tests ask of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mediastore import MediaStore, Settings
from mediastore.embedded import find_engine
from mediastore.supervisor import Fleet

from .waiting import LIMIT_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Marks every process of a fleet, whoever started it.
MARK = "UP_TEST_FLEET"


class UpFleet:
    """`mediastore up` as its user sees it: a terminal, its log, its state directory."""

    def __init__(self, directory: Path, **extra: str) -> None:
        self.directory, self.mark = directory, secrets.token_hex(8)
        self.state = directory / "state" / "mediastore"
        self.media = self.state / "media"
        self.log = directory / "log"
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("MEDIASTORE_", "CELERY"))}
        source = str(Path(__file__).parents[1])
        self.environ = kept | {"XDG_STATE_HOME": str(directory / "state"), MARK: self.mark}
        self.environ |= {"PYTHONPATH": source, "MEDIASTORE_SWEEP_INTERVAL": "1s"}
        self.environ |= {"MEDIASTORE_RESTART_PAUSE": "0", **extra}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def plain(self) -> dict[str, str]:
        """The environment of another terminal, with no configuration."""
        return {n: v for n, v in self.environ.items() if not n.startswith("MEDIASTORE_")}

    def start(self) -> None:
        """Start it, and wait until its worker works."""
        said = self.words().count("worker@")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mediastore", "up"], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=self.environ, cwd=self.directory,
                start_new_session=True,
            )  # fmt: skip
        # Who waits for its end with `kill -0` would wait for a zombie until we ask after it.
        threading.Thread(target=self.process.wait, daemon=True).start()
        until(lambda: self.words().count("worker@") > said or self.ended(), "a ready worker")
        assert not self.ended(), self.words()

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def words(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def command(
        self, *words: str, fails: bool = False, configured: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in another terminal, with no configuration or with that of the fleet."""
        environ = self.environ if configured else self.plain
        done = subprocess.run(
            [sys.executable, "-m", "mediastore", *words], env=environ, text=True, check=False,
            capture_output=True, timeout=LIMIT_S, cwd=self.directory,
        )  # fmt: skip
        assert fails or done.returncode == 0, done.stderr
        return done

    def seen(self) -> dict[str, Any]:
        """What the supervisor says of each process, by name."""
        running = Fleet(self.state).running()
        return {each.name: asdict(each) for each in running.processes} if running else {}

    def all_up(self) -> dict[str, Any]:
        """The same, once all of it is up."""
        seen = self.seen()
        return seen if seen and all(each["pid"] for each in seen.values()) else {}

    def kill(self, name: str) -> None:
        assert self.process is not None
        pid = self.process.pid if name == "supervisor" else self.seen()[name]["pid"]
        os.kill(pid, signal.SIGKILL)
        if name == "supervisor":
            self.process.wait()

    def kill_all(self) -> None:
        """Kill every process at one moment, as far as one process can."""
        assert self.process is not None
        pids = [each["pid"] for each in self.seen().values()]
        for pid in (*pids, self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def processes(self, but: frozenset[int] | set[int] = frozenset()) -> list[int]:
        """The processes of this fleet, whoever their parent is now, but for those that are named."""
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal() and int(entry.name) not in but and self._is_ours(entry)
        ]

    def _is_ours(self, entry: Path) -> bool:
        with contextlib.suppress(OSError):
            return f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes()
        return False

    @contextlib.contextmanager
    def store(self) -> Iterator[MediaStore]:
        """A store as another process of this user makes it."""
        with MediaStore.from_settings(Settings.from_env(self.plain)) as made:
            yield made

    def file(self, name: str) -> Path:
        path = self.media / name
        path.write_text(name)
        return path

    def end(self) -> None:
        def none_left() -> bool:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.process is not None:
                self.process.poll()
            return not self.processes()

        until(none_left, "the fleet to end")
        if self.process is not None:
            self.process.wait()


@pytest.fixture
def up() -> Iterator[UpFleet]:
    """Give a fleet that is not started yet; nothing of it stays."""
    if find_engine() is None:
        assert not os.environ.get("CI"), "no server engine"
        pytest.skip("no server engine")
    # Not pytest's directory, whose long name would move the server's socket elsewhere.
    with tempfile.TemporaryDirectory(prefix="up-", ignore_cleanup_errors=True) as directory:
        fleet = UpFleet(Path(directory))
        yield fleet
        fleet.end()
