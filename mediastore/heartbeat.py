"""Heartbeats: small files by which a probe knows, without asking any server, that a worker or a beat is alive.

Written by rename, every few seconds, by the loop that does the work: one that hangs falls silent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from .records import moment, read_object, whole, words
from .state import MOST_PID, read_regular, state_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Settings

EVERY_S: Final = 5.0
#: Half a dozen heartbeats missed; a broker that is slow to refuse costs two.
MAX_AGE_S: Final = 30.0
#: The clock of a host may be corrected; a heartbeat from further ahead says nothing about now.
_AHEAD_S: Final = 5.0
#: What the killed have left behind is taken away after this.
_FORGOTTEN_S: Final = 86_400.0
_MAX_BYTES: Final = 1 << 14

logger = logging.getLogger("mediastore")


def health_directory(settings: Settings) -> Path:
    """Return where heartbeats are left; it need not exist."""
    return Path(settings.health_dir) if settings.health_dir else state_directory() / "health"


@dataclass(frozen=True, slots=True)
class Sign:
    """What a heartbeat says: who was alive, and when (seconds since 1970, by this host's clock)."""

    role: str
    node: str
    pid: int
    at: float
    #: How many messages it has dropped since it started, because they were no ticks.
    dropped: int = 0

    def age_s(self) -> float:
        """Return how long ago it was."""
        return time.time() - self.at

    def fresh(self, max_age_s: float) -> bool:
        """Whether it is recent enough to say that its writer is alive."""
        return -_AHEAD_S <= self.age_s() <= max_age_s


class Heartbeat:
    """The heartbeat of one worker or beat. A directory that cannot be written costs one warning."""

    def __init__(
        self, directory: Path, role: str, node: str, dropped: Callable[[], int] = int
    ) -> None:
        """Know where to write, and how to learn what was dropped; no I/O."""
        self._directory, self._role, self._node = directory, role, node
        self._path = directory / f"{role}-{quote(node, safe='@')}.json"
        self._dropped = dropped
        self._warned = False

    def write(self) -> None:
        """Say that we are alive now."""
        sign = Sign(self._role, self._node, os.getpid(), time.time(), self._dropped())
        draft = self._path.with_suffix(f".{sign.pid}.new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(asdict(sign)))
            draft.replace(self._path)
        except OSError as error:
            if not self._warned:
                self._warned = True
                words = "no heartbeat can be left, so `mediastore health` will not see this %s: %s"
                logger.warning(words, self._role, error)

    def remove(self) -> None:
        """Take it away, unless another process writes it now."""
        sign = _read(self._path)
        if sign is not None and sign.pid == os.getpid():
            _unlink(self._path)

    def tidy(self) -> None:
        """Take away what others left here a day ago or longer: names of pods never come back."""
        with contextlib.suppress(PermissionError):
            for path, sign in _found(self._directory, self._role):
                if sign.age_s() > _FORGOTTEN_S:
                    _unlink(path)


def signs(directory: Path, role: str, node: str | None = None) -> list[Sign]:
    """Return the heartbeats of a role, or of one node of it, the latest first.

    Raises:
        PermissionError: this user may not look into the directory.
    """
    found = [sign for _, sign in _found(directory, role) if node in {None, sign.node}]
    return sorted(found, key=lambda sign: -sign.at)


def _found(directory: Path, role: str) -> list[tuple[Path, Sign]]:
    try:
        everything = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = sorted(path for path in everything if path.match(f"{role}-*.json"))
    found = [(path, sign) for path in paths if (sign := _read(path)) is not None]
    return [(path, sign) for path, sign in found if sign.role == role]


def _read(path: Path) -> Sign | None:
    try:
        said = read_object(read_regular(path, _MAX_BYTES), _MAX_BYTES)
        role, node, pid = words(said["role"]), words(said["node"]), whole(said["pid"], 1, MOST_PID)
        dropped = whole(said.get("dropped", 0), 0, 10**15)  # a worker of before says nothing of it
        return Sign(role, node, pid, moment(said["at"]), dropped)
    except (OSError, ValueError, KeyError):
        return None


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("a heartbeat stays behind: %s", error)
