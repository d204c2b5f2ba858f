"""The server: does it answer, is it new enough, does it run our scripts, and does it never forget."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from mediastore.connection import Link
from mediastore.errors import Corrupt, IndexUnavailable, InvalidSettings, MediaStoreError
from mediastore.index.changes import open_index
from mediastore.index.steps import FORMAT, Read, pairs, text
from mediastore.speech import Speech, translate

from . import access
from .finding import Finding, human_bytes, human_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mediastore.settings import Settings

#: The checks that come out the same in every namespace.
SHARED: Final = frozenset(
    {"server", "version", "eviction", "memory", "persistence", "clock", "access"}
)
_OLDEST: Final = {"redis": (7, 0), "valkey": (7, 2)}
_SLOW_PING_MS: Final = 50.0
_NEARLY_FULL: Final = 0.9
_SKEW_S: Final = 5.0

_NO_SERVER: Final = (
    "Start the server (`mediastore up` starts one), or set MEDIASTORE_REDIS_URL to one that runs, "
    "with its user and password."
)
_REFUSED: Final = (
    "It answers, but refuses this user: check name and password; `mediastore acl` makes users; "
    "a restarted server without its ACL file has lost them."
)
_NOT_ALLOWED: Final = (
    "Allow this user INFO, CONFIG GET and reads below the prefix, or ask whoever runs the server."
)


class Server:
    """A server that answered, and what it says about itself."""

    def __init__(self, client: Any, settings: Settings) -> None:
        """Ask it.

        Raises:
            MediaStoreError: it does not answer.
        """
        self.settings = settings
        self.speech = Speech(settings.namespace)
        self.link = Link(client, self.speech)
        self.client = client
        self.call("ping")  # connects; the next is the one to time
        began = time.perf_counter()
        self.call("ping")
        self.ping_ms = (time.perf_counter() - began) * 1000
        self.info: Mapping[str, Any] = {}
        self._why_silent = ""
        try:
            self.info = self.call("info")
        except MediaStoreError as error:
            self._why_silent = f": {str(error).rpartition(': ')[2]}"

    def call(self, command: str, *args: str) -> Any:
        """Call redis-py; its errors become ours."""
        try:
            return getattr(self.client, command)(*args)
        except (RedisError, OSError, NotImplementedError) as error:
            raise translate(error) from None

    def read(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """Send plain reads in one write; the second word of each is a key without its prefix."""
        replies: list[Any] = self.link.perform(
            Read(
                lambda p, _: [(name, f"{p}{key}", *rest) for name, key, *rest in commands],
                lambda _, found, __: found,
            )
        )
        return replies

    def says(self, name: str) -> Any:
        """Return a field of INFO.

        Raises:
            IndexUnavailable: it is not there; some managed servers hide it.
        """
        if name not in self.info:
            raise IndexUnavailable(f"INFO does not say {name}{self._why_silent}")
        return self.info[name]

    @property
    def address(self) -> Mapping[str, Any]:
        """What the client connects with; empty for clients of another kind."""
        known: Mapping[str, Any] = getattr(
            getattr(self.client, "connection_pool", None), "connection_kwargs", {}
        )
        return known


def dead(error: MediaStoreError) -> Finding:
    """Say that no server answers, or that it refuses us."""
    if isinstance(error, InvalidSettings):  # its words repeat the URL
        return Finding("server", "problem", "redis_url cannot be read", _NO_SERVER)
    advice = _REFUSED if "refuses the user name or password" in str(error) else _NO_SERVER
    return Finding("server", "problem", str(error), advice)


def findings(server: Server) -> list[Finding]:
    """Look at the server."""
    checks = {
        "server": _answers,
        "version": _version,
        "scripts": _scripts,
        "eviction": _eviction,
        "memory": _memory,
        "persistence": _persistence,
        "clock": _clock,
        "access": access.findings,
    }
    return [f for name, check in checks.items() for f in looked(name, partial(check, server))]


def looked(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return what a check finds; one that cannot be made is a warning, never an end."""
    try:
        return list(check())
    except Corrupt as error:
        return [Finding(name, "problem", str(error), error.hint)]
    except MediaStoreError as error:
        return [Finding(name, "warning", f"cannot be checked: {error}", _NOT_ALLOWED)]


def _answers(server: Server) -> Iterator[Finding]:
    # Never from the URL, which may hold a password.
    known = server.address
    place = known.get("path") or f"{known.get('host', 'it')}:{known.get('port', 6379)}"
    detail = f"{place} database {known.get('db', 0)} answers in {server.ping_ms:.1f} ms"
    if server.ping_ms > _SLOW_PING_MS:
        advice = (
            "Each store and resolve waits that long: move the server nearer, or look at its load."
        )
        yield Finding("server", "warning", detail, advice)
    else:
        yield Finding("server", "ok", detail)


def _version(server: Server) -> Iterator[Finding]:
    name = "valkey" if "valkey_version" in server.info else "redis"
    words = str(server.says(f"{name}_version"))
    if tuple(int(part) for part in words.split(".")[:2] if part.isdecimal()) < _OLDEST[name]:
        advice = "Upgrade the server to Redis 7.0, Valkey 7.2 or newer."
        yield Finding("version", "problem", f"{name} {words} is too old", advice)
    else:
        yield Finding("version", "ok", f"{name} {words}")


def _scripts(server: Server) -> Iterator[Finding]:
    prefix = server.speech.prefix
    try:
        opened = server.link.perform(open_index({}))
    except Corrupt:
        raise
    except MediaStoreError as error:
        advice = f"Let this user run EVALSHA and EVAL and write keys at {prefix}*, on the primary."
        yield Finding("scripts", "problem", str(error), advice)
        return
    if opened.format != FORMAT:
        detail = f"the index has format {opened.format}, this version speaks {FORMAT}"
        advice = "Run the version of mediastore that the rest of the fleet runs."
        yield Finding("scripts", "problem", detail, advice)
    else:
        yield Finding("scripts", "ok", f"they run; index format {FORMAT}, keys at {prefix}*")


def _eviction(server: Server) -> Iterator[Finding]:
    policy = str(server.says("maxmemory_policy"))
    if policy == "noeviction":
        yield Finding("eviction", "ok", policy)
        return
    detail = f"maxmemory-policy is {policy}: a full server drops refs without a word"
    advice = "Set maxmemory-policy noeviction, in the server's configuration too."
    yield Finding("eviction", "problem", detail, advice)


def _memory(server: Server) -> Iterator[Finding]:
    limit, used = int(server.says("maxmemory")), int(server.says("used_memory"))
    if not limit:
        yield Finding("memory", "ok", f"{human_bytes(used)} used, no limit (maxmemory)")
        return
    detail = f"{human_bytes(used)} of {human_bytes(limit)} used ({used / limit:.0%})"
    if used < _NEARLY_FULL * limit:
        yield Finding("memory", "ok", detail)
        return
    advice = "Raise maxmemory, or release what is not needed: a full server refuses every store."
    yield Finding("memory", "problem" if used >= limit else "warning", detail, advice)


def _persistence(server: Server) -> Iterator[Finding]:
    if int(server.says("aof_enabled")):
        if server.info.get("aof_last_write_status", "ok") == "ok":
            yield Finding("persistence", "ok", "append-only file")
        else:
            advice = "Look at the server's log and its disk; until then it refuses every change."
            yield Finding(
                "persistence", "problem", "the append-only file cannot be written", advice
            )
        return
    advice = "Set appendonly yes: without its index, every file stays on the disk for ever."
    try:
        snapshots = pairs(server.call("config_get", "save")).get("save")
    except MediaStoreError as error:
        detail = f"no append-only file; whether snapshots are taken cannot be checked: {error}"
        yield Finding("persistence", "warning", detail, advice)
        return
    if snapshots:
        detail = "snapshots only: a crash loses the refs since the last one"
        yield Finding("persistence", "warning", detail, advice)
    else:
        detail = "none: a restart of the server forgets every ref"
        yield Finding("persistence", "problem", detail, advice)


def _clock(server: Server) -> Iterator[Finding]:
    began = time.time()
    seconds, micros = server.call("time")
    ahead_s = (began + time.time()) / 2 - (int(seconds) + int(micros) / 1e6)
    (latest,) = server.read(("GET", "clock"))
    back_s = int(text(latest)) / 1000 - int(seconds) if latest is not None else 0.0
    if back_s > _SKEW_S:
        detail = f"the server's clock went back by {human_span(back_s)}; deadlines wait until it catches up"
        yield Finding("clock", "warning", detail, "Look at the time service of the server's host.")
    if abs(ahead_s) > _SKEW_S:
        detail = f"this host is {human_span(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'} the server"
        advice = (
            "Run a time service on both: deadlines are the server's, the ages of files this host's."
        )
        yield Finding("clock", "warning", detail, advice)
    elif back_s <= _SKEW_S:
        yield Finding(
            "clock", "ok", f"within {max(1, round(abs(ahead_s) * 1000))} ms of the server"
        )
