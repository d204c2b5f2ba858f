"""Every setting once: its name, unit, default, and how text becomes its value.

`Settings` takes the values of Python; `MEDIASTORE_<NAME>` the same as text. An unknown variable
is a warning with the nearest known name (Kubernetes injects some), a bad value an error.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import socket
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from .errors import InvalidSettings
from .escaping import mask
from .state import Running, state_directory
from .values import (
    BOOLEANS,
    DEFAULT_MAX_FILE_SIZE,
    NUMBERS,
    SHARES,
    SIZES,
    check_number,
    checked_boolean,
    checked_default_policy,
    checked_namespaces,
    checked_policies,
    checked_roots,
    checked_share,
    checked_size,
    from_text,
    minute_or_off,
    or_none,
    or_zero,
    positive,
    to_text,
    usable_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .model import Duration

PREFIX: Final = "MEDIASTORE_"
#: Variables with our prefix that configure something else; PATH is what `mediastore lease` gives its command.
_FOREIGN = re.compile(r"MEDIASTORE_(TEST_.*|PATH|SERVICE_(HOST|PORT).*|PORT(_.*)?)")
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9._-]{0,253}")
_URL = re.compile(r"(redis|rediss|unix)://\S+")
_BROKER_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*")
_LOG_FORMATS: Final = ("text", "json")
_ORGANIZATIONS: Final = ("session", "conversation", "run")
#: Where a root has the name of its namespace.
PLACEHOLDER: Final = "{namespace}"
#: A claim outliving the replay window could be acknowledged after its records are forgotten (PROTOCOL: W = 60 s).
_CLAIM_MAX_S = 60.0
_SPANS = (
    *("drain_interval", "timeout", "claim", "release_budget"),
    *("sweep_budget", "tombstone_ttl", "lease_max"),
)

logger = logging.getLogger("mediastore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a store finds its index and its roots, and how patient it is. Durations: seconds, timedelta, "90s", "30m", "12h", "7d".

    Attributes:
        redis_url: The index: `redis://`, `rediss://` (TLS) or `unix://`, with user and password if needed.
        broker_url: Where Celery keeps its queue; empty: the same Redis, apart by a key prefix; `amqp://...` is RabbitMQ.
            The variable `CELERY_BROKER_URL` (and `celery -b`) overrides it: Celery's own rule.
        namespace: The tenant: its own scopes, refs, roots and limits; `[a-z0-9][a-z0-9._-]{0,62}`.
        namespaces: The tenants that one worker serves and `doctor` looks at; in a variable, separated by commas. Empty:
            `namespace` alone. Everything else works in `namespace`, which must then be one of them.
        roots: Directories that hold media; in a variable, separated by `:`. None given: `$XDG_STATE_HOME/mediastore/media`.
            `{namespace}` in one stands for the name: a root belongs to one namespace, so with several `namespaces` each
            root must hold it (`/srv/media/{namespace}`).
        max_age: Lifetime of a ref stored without `ttl` or `policy`, where there is no `default_policy`; None, 0 or "never": no end.
        policies: Named retention policies of this process, such as `thumbnails=retain-2hours,voice=delete-after-10min`: each a
            spelt policy or a duration. Those that `mediastore policy set` keeps in the index are the whole fleet's, and win.
        default_policy: The retention policy, spelt or named, of a ref stored without `ttl` or `policy`; empty: `max_age` counts.
        sweep_interval: Time between two expiry sweeps, jittered by 10 % at most; 0 switches the in-process sweeper off.
        drain_interval: Time between two looks at what was released and is not deleted yet.
        cleanup_enabled: Whether `start()` and the Celery beat entries sweep for expiry at all.
        restart_pause: For how long nobody deletes or expires anything after the index server was started or replaced, so that
            every host looks first whether the index is the one that its roots know; several times `drain_interval`; 0: not
            at all.
        clock_jump: How far the server's clock may be from what this host expects, by its own clocks, before the namespace is
            frozen: nothing expires and nothing is deleted until it is mended; 0: that is not looked at.
        breaker_min: How many refs may be past their deadline at once, whatever else is there; with more, and with more than
            `breaker_share`, and than ten times what ended in an hour lately, the breaker stops whatever nobody asked for by
            name before the first ref ends; 0: it never trips.
        breaker_share: Which share of all refs may be past their deadline at once, from 0 to 1.
        timeout: The longest one round trip to Redis may take; a server that is not there is noticed within a second.
        retries: How often a lost connection is tried again within one call; workers are more patient.
        claim: How long a sweeper may take for one batch before another takes it over, 60 s at most.
        release_budget: How long `release_all(wait=True)` drains and deletes before it leaves the rest to a sweep.
        sweep_budget: How long one sweep works before it leaves the rest to the next.
        tombstone_ttl: How long an ended ref answers RefGone, with the reason, rather than RefUnknown.
        tombstones: How many ended refs are remembered at most, the newest; those of the last two minutes always.
        grace: How long the bytes of an ended ref stay before they are deleted, so that `restore` can bring them back; 0: no
            time at all. What waits is in `ls`, `show` and `stats`. All processes of a fleet should say the same.
        lease_max: When a lease ends at the latest, however often it is renewed: a holder that forgot it cannot keep a file
            for ever.
        worker_concurrency: How many passes a worker carries out at once, each in a process of its own: one long sweep, and a
            drain beside it.
        worker_max_tasks: How many ticks such a process carries out before a fresh one replaces it, so that what leaks in some
            library is given back; 0: no end.
        soft_shutdown: How long a worker that gets SIGQUIT (or SIGTERM, with `REMAP_SIGTERM=SIGQUIT`) waits for its passes
            before it ends them; 0: not at all.
        log_format: How the worker, beat and `mediastore sweep --watch` log: `text`, or `json` for one object a line with
            `time`, `level`, `logger`, `message` and further fields.
        health_dir: Where workers and beats leave their heartbeat files, for `mediastore health`; empty:
            `$XDG_STATE_HOME/mediastore/health`.
        host: What this host is called where roots and beats are listed; empty: its own name. In a container, name the node:
            a container's own name says nothing once it is gone.
        max_file_size: The most bytes that `store_media` takes for one file, such as 1048576 or "20MiB"; 0 for the 50 MiB of
            PromptKit, less than 0 for no limit. What is registered where it lies has none.
        min_free: How many bytes `store_media` leaves free in a root; with less it is refused as StoreFull.
        organization: What content belongs to that is handed over without a scope: `session`, `conversation` or `run`. It
            names the scope (`session/<id>`) and, without `dedup`, the directory of the file.
        dedup: Whether equal content is kept once in a root, found by its SHA-256. Each ref keeps metadata and a lifetime of
            its own, and the bytes live as long as the longest.
        durable: Whether content is on the disk, fsync and all, before its ref is handed out.
        prune_empty: Age from which a sweep removes empty directories of a root, at least a minute; 0: never. A directory of yours
            that is empty for so long goes as well.
        sidecars: Whether content has its metadata in a `.meta` file beside it, from which `mediastore rebuild` makes the
            index again after Redis was lost.
    """

    redis_url: str = "redis://localhost:6379/0"
    broker_url: str = ""
    namespace: str = "default"
    namespaces: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    max_age: Duration | None = 1800.0
    policies: Mapping[str, Duration] | tuple[tuple[str, Duration | None], ...] = ()
    default_policy: str = ""
    sweep_interval: Duration = 300.0
    drain_interval: Duration = 5.0
    cleanup_enabled: bool = True
    restart_pause: Duration = 90.0
    clock_jump: Duration = 600.0
    breaker_min: int = 1000
    breaker_share: float = 0.5
    timeout: Duration = 5.0
    retries: int = 3
    claim: Duration = 30.0
    release_budget: Duration = 60.0
    sweep_budget: Duration = 30.0
    tombstone_ttl: Duration = 86400.0
    tombstones: int = 100_000
    grace: Duration = 0.0
    lease_max: Duration = 86400.0
    worker_concurrency: int = 2
    worker_max_tasks: int = 1000
    soft_shutdown: Duration = 20.0
    log_format: str = "text"
    health_dir: str = ""
    host: str = ""
    max_file_size: int | str = DEFAULT_MAX_FILE_SIZE
    min_free: int | str = "64MiB"
    organization: str = "session"
    dedup: bool = False
    durable: bool = True
    prune_empty: Duration = 0.0
    sidecars: bool = True

    def __post_init__(self) -> None:
        """Turn every duration into seconds and refuse what cannot be used."""
        for name in _SPANS:
            self._set(name, positive(name, getattr(self, name)))
        self._set("max_age", or_none("max_age", self.max_age))
        self._set("sweep_interval", or_none("sweep_interval", self.sweep_interval) or 0.0)
        self._set("prune_empty", minute_or_off("prune_empty", self.prune_empty))
        for name in ("grace", "soft_shutdown", "restart_pause", "clock_jump"):
            self._set(name, or_zero(name, getattr(self, name)))
        for name in ("namespace", "health_dir", "log_format", "host"):
            if not isinstance(getattr(self, name), str):
                raise InvalidSettings(f"{name} is text, not {getattr(self, name)!r:.60}")
        for name in BOOLEANS:
            self._set(name, checked_boolean(name, getattr(self, name)))
        for name in SIZES:
            self._set(name, checked_size(name, getattr(self, name)))
        self._set("max_file_size", self.max_file_size or DEFAULT_MAX_FILE_SIZE)
        self._set("namespaces", checked_namespaces(self.namespaces))
        for namespace in (self.namespace, *self.namespaces):
            if not _NAMESPACE.fullmatch(namespace):
                raise InvalidSettings(
                    f"namespace {namespace!r:.80} is not of the form [a-z0-9][a-z0-9._-]{{0,62}}"
                )
        self._set("roots", self._placed(checked_roots(self.roots)))
        self._set("policies", checked_policies(self.policies))
        checked_default_policy(self.default_policy)
        self._check_words()
        for name in SHARES:
            self._set(name, checked_share(name, getattr(self, name)))
        for name in NUMBERS:
            check_number(name, getattr(self, name))
        if self.seconds("claim") > _CLAIM_MAX_S:
            raise InvalidSettings(f"claim is at most {_CLAIM_MAX_S:.0f} s")

    def _check_words(self) -> None:
        if not isinstance(self.redis_url, str) or not isinstance(self.broker_url, str):
            raise InvalidSettings("redis_url and broker_url are text")
        if not usable_path(self.health_dir):
            raise InvalidSettings(f"health_dir cannot be a path: {self.health_dir!r:.100}")
        if not _HOST.fullmatch(self.host):
            raise InvalidSettings(f"host is letters, digits, dots and dashes: {self.host!r:.80}")
        if not _URL.fullmatch(self.redis_url):
            raise InvalidSettings(
                "redis_url starts with redis://, rediss:// or unix:// and holds no spaces"
            )
        if self.broker_url and not _BROKER_URL.fullmatch(self.broker_url):
            raise InvalidSettings("broker_url is empty or the URL of a broker, and holds no spaces")
        if self.organization not in _ORGANIZATIONS:
            raise InvalidSettings(
                f"organization is session, conversation or run, not {self.organization!r:.60}"
            )
        if self.log_format not in _LOG_FORMATS:
            raise InvalidSettings(f"log_format is text or json, not {self.log_format!r:.60}")

    def _placed(self, roots: tuple[str, ...]) -> tuple[str, ...]:
        """Put the namespace where a root names it; with several, `for_namespace` does that."""
        if not self.namespaces:
            return tuple(root.replace(PLACEHOLDER, self.namespace) for root in roots)
        if len(self.namespaces) > 1 and not (roots and all(PLACEHOLDER in root for root in roots)):
            raise InvalidSettings(
                "a root belongs to one namespace: with several namespaces, each root must hold "
                f"{PLACEHOLDER}, such as /srv/media/{PLACEHOLDER}"
            )
        return roots

    @property
    def served(self) -> tuple[str, ...]:
        """The namespaces that a worker with these settings serves."""
        return self.namespaces or (self.namespace,)

    @property
    def lengths(self) -> dict[str, float | None]:
        """The named policies of these settings: how long each lets a ref live, in seconds; None: no end."""
        return dict(self.policies)  # type: ignore[arg-type]  # pairs, since they were checked

    @property
    def called(self) -> str:
        """What this host is called."""
        return self.host or socket.gethostname()

    def for_namespace(self, name: str) -> Self:
        """Return the settings of one of the namespaces, with its own roots.

        Raises:
            InvalidSettings: these settings are not for it.
        """
        if name not in self.served:
            names = ", ".join(self.served)
            raise InvalidSettings(
                f"namespace {name!r:.80} is none of {names:.200}: set namespace to the one you mean"
            )
        return replace(self, namespace=name, namespaces=()) if self.namespaces else self

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def size_limit(self) -> int | None:
        """The most bytes of one file that is handed over; None for no limit."""
        most = int(self.max_file_size)
        return most if most >= 0 else None

    def seconds(self, name: str) -> float:
        """Return a duration setting in seconds; 0.0 where it is never or off."""
        value = getattr(self, name)
        return float(value) if value else 0.0

    def ms(self, name: str) -> int:
        """Return a duration setting in whole milliseconds."""
        return max(1, round(self.seconds(name) * 1000))

    def as_text(self) -> dict[str, str]:
        """Return what is not the default, each as its variable would hold it; relative roots become absolute."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {f.name: f.default for f in fields(self)}
        return {name: to_text(name, value) for name, value in said.items() if value != plain[name]}

    def __repr__(self) -> str:
        """Show every value, no password."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        shown["redis_url"] = mask(self.redis_url)
        shown["broker_url"] = mask(self.broker_url)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Return settings from keyword arguments.

        Raises:
            TypeError: a name is not a setting; the message names the nearest.
            InvalidSettings: a value cannot be used.
        """
        known = names()
        for name in values:
            if name not in known:
                raise TypeError(f"{name!r} is not a setting{_nearest(name, known)}")
        return cls(**values)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        env_file: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Return the settings that `MEDIASTORE_*` variables give; `env_file` is read first where one is named.

        Where neither says `redis_url`, those of a running `mediastore up` of this user count.

        Raises:
            InvalidSettings: a value cannot be used, or `env_file` cannot be read.
        """
        return cls.of(gather(os.environ if environ is None else environ, env_file))

    @classmethod
    def of(cls, said: Mapping[str, Said]) -> Self:
        """Return the settings that `gather` found said. Raises InvalidSettings as `from_env`."""
        values: dict[str, Any] = {
            name: from_text(name, each.text, f"{PREFIX}{name.upper()}")
            for name, each in said.items()
        }
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Said:
    """A setting as text, and who said it: a variable's name, the env file, or "mediastore up"."""

    text: str
    origin: str


def gather(
    environ: Mapping[str, str], env_file: str | os.PathLike[str] | None = None
) -> dict[str, Said]:
    """Return what was said of each setting, and where; a setting that nobody mentions is not in it.

    Raises:
        InvalidSettings: `env_file` cannot be read.
    """
    variables = {
        name: Said(text, str(env_file))
        for name, text in (_read_env_file(Path(env_file)) if env_file is not None else {}).items()
    } | {name: Said(text, name) for name, text in environ.items()}
    known = names()
    said: dict[str, Said] = {}
    for variable, each in variables.items():
        if not variable.startswith(PREFIX) or _FOREIGN.fullmatch(variable):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in known:
            said[name] = each
        else:
            logger.warning("%s is not a setting%s; ignored", variable, _nearest(name, known))
    running = None if "redis_url" in said else Running.read(state_directory(environ))
    if running is not None:
        # All or nothing of the fleet: its namespace on another server would be a foreign one.
        told = {name: Said(text, "mediastore up") for name, text in running.settings.items()}
        said = {name: each for name, each in told.items() if name in known} | said
    return said


def names() -> tuple[str, ...]:
    """Return the names of all settings."""
    return tuple(f.name for f in fields(Settings))


def default_root() -> Path:
    """Return the root used when none is given: `$XDG_STATE_HOME/mediastore/media`."""
    return state_directory() / "media"


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _read_env_file(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    if not path.is_file():
        raise InvalidSettings(f"env_file {path} does not exist")
    return {name: text for name, text in dotenv_values(path).items() if text is not None}
