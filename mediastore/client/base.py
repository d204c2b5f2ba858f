"""What both clients are made of: their constructors, their identity, and how arguments are checked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar

from mediastore.blobs.local import LocalBlobs
from mediastore.clocks import elapsed_s
from mediastore.errors import (
    InvalidPath,
    InvalidRequest,
    InvalidScope,
    MediaStoreError,
    StaleCommand,
)
from mediastore.flows import leasing
from mediastore.flows.context import Context
from mediastore.index import epochs
from mediastore.index.changes import Opened, open_index
from mediastore.index.steps import Batch, Command
from mediastore.model import MediaMeta, ReleasePlan
from mediastore.renewer import Renewer, Term
from mediastore.settings import Settings
from mediastore.speech import Speech, Step
from mediastore.sweeper import Rhythm

from .lease import Keeper
from .scope import innermost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mediastore.lifetimes import Taken

    from .lease import Deadlines

R = TypeVar("R")
E = TypeVar("E")

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def new_id() -> str:
    """Return 128 random bits as 22 URL-safe characters; never used twice."""
    return secrets.token_urlsafe(16)


def path_text(path: AnyPath) -> str:
    """Return a path as text.

    Raises:
        InvalidPath: it is no path.
    """
    text = _decoded(path)
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise InvalidPath(f"no path can hold half a character: {path!r:.100}") from None
    if "\0" in text:
        raise InvalidPath(f"no path can hold a NUL: {path!r:.100}")
    return text


def _decoded(path: AnyPath) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        raise InvalidPath(f"a path is a str or a Path, not {type(path).__name__}") from None


class BaseStore:
    """What both clients are made of; constructing one does no I/O."""

    _awaits: ClassVar[bool] = False
    #: What the clients' thread for leases calls.
    _renew_due: Callable[[list[Term]], Deadlines]
    #: By what leases are timed here; tests have their own.
    _clock: Callable[[], float] = staticmethod(elapsed_s)

    def __init__(self, client: Any = None, settings: Settings | None = None) -> None:
        """Use `client`, or make one from the settings at the first call.

        Args:
            client: A redis-py client: bytes or decoded, RESP2 or 3, with its own retry settings. None: from `settings.redis_url`.
            settings: None: all defaults. With several `namespaces`, those of its `namespace`.

        Raises:
            InvalidSettings: `namespace` is none of `namespaces`.
        """
        settings = settings or Settings()
        self.settings = settings.for_namespace(settings.namespace)
        self._client = client
        self._given = client is not None
        if self._given and not self._usable(client):
            kind = "redis.asyncio.Redis" if self._awaits else "redis.Redis"
            raise TypeError(f"{type(self).__name__} takes a {kind}, not {type(client).__name__}")
        self._blobs = LocalBlobs(self.settings.roots, self.settings.namespace)
        jump_s = self.settings.seconds("clock_jump")
        self._speech = Speech(self.settings.namespace, jump_s=jump_s)
        self._ctx = Context(self.settings, new_id, self._who, self._speech.clock)
        # Looked up when it is called: a bare driver, which takes no lease, has none.
        self._renewer = Renewer(lambda terms: self._renew_due(terms), self._elapsed_s)  # noqa: PLW0108
        self._rhythm = Rhythm(
            self.settings.seconds("sweep_interval"),
            self.settings.seconds("drain_interval"),
            self.settings.seconds("max_age") or None,
        )

    @classmethod
    def _usable(cls, client: Any) -> bool:
        """Whether this is a redis-py client of the right kind; a Cluster client has no pool of its own."""
        execute = getattr(client, "execute_command", None)
        return hasattr(client, "connection_pool") and iscoroutinefunction(execute) is cls._awaits

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return a store for these settings."""
        return cls(None, settings)

    @classmethod
    def from_url(cls, redis_url: str, **settings: Any) -> Self:
        """Return a store for a Redis URL and any further `Settings` field.

        Raises:
            TypeError: a name is not a setting; the message names the nearest.
            InvalidSettings: a value cannot be used.
        """
        return cls(None, Settings.build(redis_url=redis_url, **settings))

    @classmethod
    def from_env(cls, *, env_file: str | os.PathLike[str] | None = None) -> Self:
        """Return a store configured by `MEDIASTORE_*` variables; an `env_file` is read only when named.

        Raises:
            InvalidSettings: a value cannot be used.
        """
        return cls(None, Settings.from_env(env_file=env_file))

    def __repr__(self) -> str:
        """Show the settings, no password."""
        return f"{type(self).__name__}({self.settings!r})"

    def __reduce__(self) -> NoReturn:
        """Refuse pickling: connections and verified roots do not travel."""
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled; send its refs, and make a store in each process"
        )

    @property
    def _host(self) -> str:
        return self.settings.called

    def _who(self) -> str:
        """Name this process as tombstones and leases do; a forked child is somebody else."""
        return f"{'-'.join(self._host.split()) or 'unknown'}:{os.getpid()}"

    def _scope_meant(self, scope: str | None) -> str:
        """Return the scope that was named, or the current one's name.

        Raises:
            InvalidScope: none was named, and none is entered here.
        """
        if scope is not None:
            return scope
        current = innermost(self)
        if current is None:
            raise InvalidScope(
                'no scope is entered here: name one (scope="chat:42"), or call this within '
                '`with store.scope("chat:42"):`'
            )
        return str(current)

    def _home_of(self, scope: str | None, meta: MediaMeta) -> str | None:
        """Return the scope of content: the one that was named; the current one, where no id says another."""
        if scope is not None or getattr(meta, f"{self.settings.organization}_id"):
            return scope
        current = innermost(self)
        return None if current is None else str(current)

    def _elapsed_s(self) -> float:
        return self._clock()

    def _make_keeper(
        self, renew: Callable[[list[Taken]], R], end: Callable[[Taken], E]
    ) -> Keeper[R, E]:
        return Keeper(
            renew=renew,
            end=end,
            ttl_ms=lambda ttl: leasing.lease_ms(self._ctx, ttl),
            renewer=self._renewer,
            clock=self._elapsed_s,
            longest_s=self.settings.seconds("lease_max"),
            patience_s=self.settings.seconds("timeout"),
        )

    def _guard(self, taken: Taken) -> Term:
        """Renew a writer's lease in the background until it says that it is over."""
        term = Term(taken, self._elapsed_s(), self.settings.seconds("lease_max"), self._elapsed_s)
        self._renewer.add(term)
        return term

    def _clock_news(self, opened: Opened) -> Command[None] | None:
        """Return what the index is to be told of the server's clock, or None where there is nothing to tell."""
        ahead_s = self._speech.clock.heard(opened.time_ms, opened.kept_ms, opened.jumped)
        return None if ahead_s is None else epochs.clock(ahead_s, self._host, new_id())

    def _greeting(self, roots: dict[str, str]) -> Command[Any]:
        return open_index({root: f"{self._host}:{path}" for root, path in roots.items()})


def checked_meta(meta: MediaMeta | None) -> MediaMeta:
    """Return the metadata, empty where none was given."""
    if meta is None:
        return MediaMeta()
    if not isinstance(meta, MediaMeta):
        raise InvalidRequest(f"meta is a MediaMeta, not {type(meta).__name__}")
    return meta


def checked_items(
    items: Iterable[AnyPath | tuple[AnyPath, MediaMeta]], meta: MediaMeta | None
) -> list[tuple[str, MediaMeta]]:
    """Return paths with their metadata; `meta` is that of items which bring none.

    Raises:
        InvalidRequest: an item is neither a path nor a pair of a path and its metadata.
    """
    common = checked_meta(meta)
    found = []
    for item in _listed(items, "items"):
        path, own = item if isinstance(item, tuple) and len(item) == 2 else (item, common)  # noqa: PLR2004
        # A path that cannot be is an error in its item's place.
        found.append((_decoded(path), checked_meta(own)))
    return found


def checked_texts(texts: Iterable[str], what: str) -> list[str]:
    """Return refs or scopes as a list; one text alone is a mistake.

    Raises:
        InvalidRequest: it is no list.
    """
    return _listed(texts, what)


def _listed(items: Iterable[Any], what: str) -> list[Any]:
    if isinstance(items, str | bytes | os.PathLike) or not isinstance(items, Iterable):
        raise InvalidRequest(f"{what} is a list, not {type(items).__name__}")
    return list(items)


def not_stale(answer: Any) -> Any:
    """Return an answer; of a batch only if nothing in it came too late.

    Raises:
        StaleCommand: it did; all of it is said once more, which changes nothing for the rest.
    """
    if isinstance(answer, list):
        for each in answer:
            if isinstance(each, StaleCommand):
                raise each
    return answer


@contextmanager
def judged(*, refused: bool) -> Iterator[None]:
    """Say of an error that comes while something else is asked first, whether the step itself was certainly refused."""
    try:
        yield
    except MediaStoreError as error:
        error.refused = refused
        raise


def to_say_again(step: Step, stale: StaleCommand) -> bool:
    """Whether something of a step that came too late may have been carried out: another command of its batch, an earlier send."""
    return isinstance(step, Batch) or not stale.refused


def checked_plan(plan: ReleasePlan) -> ReleasePlan:
    """Return the plan if it is one."""
    if not isinstance(plan, ReleasePlan):
        raise InvalidRequest(f"not a plan: {type(plan).__name__}; make one with plan_release()")
    return plan
