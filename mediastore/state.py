"""The state directory, and the note in it by which other processes find a running `mediastore up`.

The note, `up.json`, holds what a client needs to share refs with that fleet and nothing else. It is written
whole by rename and readable by its owner alone, for a URL may hold a password.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from .records import moment, read_object, whole, words

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTE: Final = "up.json"
_NOTE_MAX_BYTES: Final = 1 << 20
MOST_PID: Final = 2**31 - 1


def state_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Return `$XDG_STATE_HOME/mediastore`, by default `~/.local/state/mediastore`; it need not exist."""
    variables = os.environ if environ is None else environ
    state = variables.get("XDG_STATE_HOME")
    home = Path(variables.get("HOME") or Path.home())
    return Path(state) / "mediastore" if state else home / ".local" / "state" / "mediastore"


def read_regular(path: Path, most: int) -> bytes:
    """Return the first `most` + 1 bytes of a regular file; of a FIFO or a device nothing is waited for.

    Raises:
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        return file.read(most + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a running fleet.

    Attributes:
        name: "server", "worker" or "beat".
        state: "up", or what is the matter with it.
        pid: Its process id; None while it is down.
        since: When this state began, in seconds since 1970.
        restarts: How often it was started again.
    """

    name: str
    state: str
    pid: int | None
    since: float
    restarts: int

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """Return what a note says of a process.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        pid = said["pid"]
        return cls(
            name=words(said["name"]),
            state=words(said["state"]),
            pid=None if pid is None else whole(pid, 1, MOST_PID),
            since=moment(said["since"]),
            restarts=whole(said["restarts"], 0, MOST_PID),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a running `mediastore up` tells the processes of the same user.

    Attributes:
        pid: The supervisor.
        since: When it started, in seconds since 1970.
        settings: Settings as text, by name: `redis_url`, `namespace` and what else was not the default.
        processes: What it looks after.
    """

    pid: int
    since: float = 0.0
    settings: dict[str, str] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Return the note in this state directory; None where there is none that can be read."""
        try:
            said = read_object(read_regular(directory / _NOTE, _NOTE_MAX_BYTES), _NOTE_MAX_BYTES)
            return cls(
                pid=whole(said["pid"], 1, MOST_PID),
                since=moment(said.get("since", 0)),
                settings={name: words(text) for name, text in said["settings"].items()},
                processes=tuple(Process.of(each) for each in said.get("processes", [])),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, directory: Path) -> None:
        """Leave the note; the one before is replaced."""
        draft = directory / f"{_NOTE}.new"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)  # also one that was there, with whatever rights
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(directory / _NOTE)

    @staticmethod
    def remove(directory: Path) -> None:
        """Take the note away."""
        (directory / _NOTE).unlink(missing_ok=True)
