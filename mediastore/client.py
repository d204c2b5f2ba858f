"""The two clients: one blocking, one asyncio, driving the same flows.

Everything that decides an order is in `flows`; here is only how a step is performed and how the names are spelt.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

from . import blobs
from .blobs.local import LocalBlobs
from .connection import AsyncLink, Link, Speech, connect, connect_async
from .errors import InvalidPath, InvalidRequest, StaleCommand
from .flows import ending, listing, storing
from .flows.context import Context, Flow
from .index.changes import open_index
from .index.steps import Command, Read
from .model import Duration, Media, MediaMeta, Ref, Released, ReleasePlan, Stats, Swept
from .settings import Settings
from .sweeper import AsyncSweeper, Rhythm, Sweeper

T = TypeVar("T")
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def new_id() -> str:
    """Return 128 random bits as 22 URL-safe characters; never used twice."""
    return secrets.token_urlsafe(16)


def _path_text(path: AnyPath) -> str:
    try:
        return os.fspath(path) if isinstance(os.fspath(path), str) else os.fspath(path).decode()  # type: ignore[union-attr,return-value]
    except UnicodeDecodeError:
        raise InvalidPath(f"{path!r:.200} is not UTF-8") from None
    except TypeError:
        raise InvalidPath(f"a path is a str or a Path, not {type(path).__name__}") from None


class _Store:
    """What both clients are made of; constructing one does no I/O."""

    def __init__(self, client: Any = None, settings: Settings | None = None) -> None:  # noqa: ANN401 - any redis-py client
        """Use `client`, or make one from the settings at the first call.

        Args:
            client: A redis-py client: bytes or decoded, RESP2 or 3, with its own retry settings. None: from `settings.redis_url`.
            settings: None: all defaults.
        """
        self.settings = settings or Settings()
        self._client = client
        if client is not None and not hasattr(client, "connection_pool"):
            raise TypeError(
                f"not a redis-py client: {type(client).__name__}; pass redis.Redis or redis.asyncio.Redis"
            )
        self._blobs = LocalBlobs(self.settings.roots, self.settings.namespace)
        self._speech = Speech(self.settings.namespace)
        self._ctx = Context(self.settings, new_id)
        self._rhythm = Rhythm(
            self.settings.seconds("sweep_interval"),
            self.settings.seconds("drain_interval"),
            self.settings.seconds("max_age") or None,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return a store for these settings."""
        return cls(None, settings)

    @classmethod
    def from_url(cls, redis_url: str, **settings: Any) -> Self:  # noqa: ANN401 - each setting has its own type
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

    def _greeting(self, roots: dict[str, str]) -> Command[Any]:
        host = socket.gethostname()
        return open_index({root: f"{host}:{path}" for root, path in roots.items()})


class MediaStore(_Store):
    """The store, blocking. Safe to share between threads; a forked child may go on using it."""

    _link: Link | None = None
    _sweeper: Sweeper | None = None

    # --- the driver

    def _run(self, flow: Generator[Any, Any, T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._perform(step)
                except Exception as error:  # noqa: BLE001 - the flow decides what an error means
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def _perform(self, step: Any) -> Any:  # noqa: ANN401 - each step has its own answer
        if isinstance(step, Command | Read):
            return self._ask(step)
        if isinstance(step, blobs.Elapsed):
            return time.monotonic()
        if isinstance(step, blobs.Pause):
            return time.sleep(step.seconds)
        return self._blobs.perform(step)

    def _ask(self, step: Command[Any] | Read[Any]) -> Any:  # noqa: ANN401
        if self._link is None:
            self._client = self._client or connect(self.settings)
            self._link = Link(self._client, self._speech)
        if self._speech.must_open(step):
            self._greet(self._link)
        try:
            return self._link.perform(step)
        except StaleCommand:
            # Our idea of the server's clock was wrong: learn it and say the same once more, with the same ids.
            self._greet(self._link)
            return self._link.perform(step)

    def _greet(self, link: Link) -> None:
        self._speech.heard(link.perform(self._greeting(self._blobs.perform(blobs.Roots()))))

    # --- the first seed: register files where they lie

    def store(
        self,
        path: AnyPath,
        *,
        scope: str,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> Ref:
        """Register a file where it lies, under `scope`; it is neither copied nor moved.

        Several registrations of one file share its bytes, whatever alias of the path they use.
        The file goes when the last ref on it ends, unless one of them said `Cleanup.FORGET`.

        Args:
            path: An existing regular file inside one of the roots.
            scope: A scope path such as ``"telegram:42"`` or ``"chat:42/msg:7"``.
            meta: What is known about the file.
            ttl: Lifetime from now; `NEVER` for none. None: the metadata's policy, else the setting `max_age`.

        Returns:
            A new ref at each call.

        Raises:
            InvalidRequest: InvalidScope, InvalidPath, FileMissing, NotARegularFile, OutsideRoots, InvalidRoot; nothing changed.
            StoreFull: Redis or the root has no room; nothing changed.
            IndexUnavailable: Redis failed; the ref was made or not, and if it was, it expires.
            BlobsUnavailable: the path's last registration is being deleted and that does not end.

        Extends picoclaw `Store` (pkg/media/store.go), which accepts directories and outside paths.
        """
        return self._run(storing.store(self._ctx, _path_text(path), scope, _meta(meta), ttl))

    def resolve(self, ref: str) -> Path:
        """Return the absolute path of the ref's file. As `resolve_with_meta`, without the metadata."""
        return self._run(storing.resolve(ref))[0]

    def resolve_with_meta(self, ref: str) -> tuple[Path, MediaMeta]:
        """Return the absolute path of the ref's file and its metadata.

        An expired or released ref does not resolve, swept or not.

        Raises:
            InvalidRef: the text is not a ref.
            RefGone: it was released, has expired or was deleted; `reason` says which.
            RefUnknown: it was never stored here, or ended longer ago than tombstones are kept.
            BlobMissing: somebody removed or replaced the file.
            WrongHost: the file lies in a root that this process does not have.
            IndexUnavailable, BlobsUnavailable: Redis or the root does not answer.
        """
        return self._run(storing.resolve(ref))

    def release_all(self, scope: str, *, wait: bool = True) -> Released:
        """End every ref of `scope` and of the scopes below it; delete the bytes nobody else holds.

        The cut is one step, whatever the size: after it, no process resolves a ref that was in the scope.
        Safe to call from any process, twice, or while others resolve.
        Releasing an unknown or empty scope is not an error.

        Args:
            scope: A scope path such as ``"telegram:42"`` or ``"chat:42/msg:7"``.
            wait: Return when the files in this process's roots are gone (default; at most `release_budget`),
                or right after the cut; a sweep then does the rest.

        Returns:
            What this call did: `refs` ended, `deleted` blobs, `freed_bytes`; and what it could not
            do now: `kept` (shared or borrowed), `pending` (another root, claimed by another), `failed`.

        Raises:
            InvalidScope: `scope` is malformed; nothing was sent.
            IndexUnavailable: Redis failed; call again, what was done stays done.

        Extends picoclaw `ReleaseAll` (pkg/media/store.go), which forgets a file it failed to remove.
        """
        return self._run(ending.release_all(self._ctx, scope, wait=wait))

    def clean_expired(self) -> int:
        """End every ref whose deadline has passed and delete the files only they held; returns the number of refs."""
        return self._run(ending.expire(self._ctx)).expired

    def sweep(self, budget: Duration | None = None) -> Swept:
        """Do one pass: expire, drain what was released, delete what this process's roots allow.

        Args:
            budget: How long to work; None: the setting `sweep_budget`.

        Raises:
            IndexUnavailable: Redis failed; what was done stays done. A file that cannot be deleted never raises.
        """
        return self._run(ending.sweep(self._ctx, budget=budget))

    def drain(self, budget: Duration | None = None) -> Swept:
        """Do the quick part of a sweep: what was released and is not deleted yet; nothing expires."""
        return self._run(ending.sweep(self._ctx, budget=budget, expiry=False, tidy=False))

    def start(self) -> None:
        """Sweep in the background of this process until `stop`; does nothing when it runs or is disabled."""
        if self._sweeper is None:
            self._sweeper = Sweeper(
                self._rhythm, lambda full: self.sweep() if full else self.drain()
            )
        self._sweeper.start(enabled=self.settings.cleanup_enabled)

    def stop(self) -> None:
        """End the background sweeper after the pass it is in; does nothing when none runs."""
        if self._sweeper is not None:
            self._sweeper.stop()

    # --- looking

    def get(self, ref: str) -> Media:
        """Return all that is known of a live ref; raises as `resolve`, but never looks at the file."""
        return self._run(storing.get(ref))

    def refs(
        self, scope: str, *, limit: int = 100, after: str | Media | None = None
    ) -> list[Media]:
        """Return live refs of exactly this scope, in store order.

        Args:
            scope: The scope; those below it are not listed.
            limit: Most refs to return.
            after: The last one of the page before: its Media, or its ref while it lives.
        """
        return self._run(listing.list_refs(scope, limit, after))

    def scopes(self, prefix: str = "") -> list[str]:
        """Return the scopes that hold live refs and start with `prefix`, by name."""
        return self._run(listing.list_scopes(prefix))

    def stats(self) -> Stats:
        """Return the namespace in numbers; cheap, whatever is stored."""
        return self._run(listing.stats())

    def plan_release(self, scope: str) -> ReleasePlan:
        """Return what releasing `scope` would do now; nothing changes. `execute` does it."""
        return self._run(listing.plan_release(scope))

    def execute(self, plan: ReleasePlan) -> Released:
        """Carry a plan out; what was stored since is released as well."""
        return self.release_all(_checked(plan).scope)

    def close(self) -> None:
        """Stop the background sweeper and close the connections; a later call opens new ones."""
        self.stop()
        if self._link is not None:
            self._link.close()
            self._link = None

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store; nothing is released."""
        self.close()


class AsyncMediaStore(_Store):
    """The store for asyncio: Redis natively, files in threads. The methods are those of `MediaStore`, awaited."""

    _link: AsyncLink | None = None
    _sweeper: AsyncSweeper | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _given: bool = True

    # --- the driver

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._perform(step)
                except Exception as error:  # noqa: BLE001 - the flow decides what an error means
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    async def _perform(self, step: Any) -> Any:  # noqa: ANN401
        if isinstance(step, Command | Read):
            return await self._ask(step)
        if isinstance(step, blobs.Elapsed):
            return time.monotonic()
        if isinstance(step, blobs.Pause):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(self._blobs.perform, step)

    async def _ask(self, step: Command[Any] | Read[Any]) -> Any:  # noqa: ANN401
        link = self._linked()
        if self._speech.must_open(step):
            await self._greet(link)
        try:
            return await link.perform(step)
        except StaleCommand:
            await self._greet(link)
            return await link.perform(step)

    def _linked(self) -> AsyncLink:
        """Return the link of this event loop; connections of another loop cannot be used."""
        loop = asyncio.get_running_loop()
        if self._client is None:
            self._given = False
        if not self._given and self._loop is not loop:
            self._client, self._link = connect_async(self.settings), None
        self._loop = loop
        if self._link is None:
            self._link = AsyncLink(self._client, self._speech)
        return self._link

    async def _greet(self, link: AsyncLink) -> None:
        roots = await asyncio.to_thread(self._blobs.perform, blobs.Roots())
        self._speech.heard(await link.perform(self._greeting(roots)))

    # --- the first seed: register files where they lie

    async def store(
        self,
        path: AnyPath,
        *,
        scope: str,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> Ref:
        """As `MediaStore.store`."""
        return await self._run(storing.store(self._ctx, _path_text(path), scope, _meta(meta), ttl))

    async def resolve(self, ref: str) -> Path:
        """As `MediaStore.resolve`."""
        return (await self._run(storing.resolve(ref)))[0]

    async def resolve_with_meta(self, ref: str) -> tuple[Path, MediaMeta]:
        """As `MediaStore.resolve_with_meta`."""
        return await self._run(storing.resolve(ref))

    async def release_all(self, scope: str, *, wait: bool = True) -> Released:
        """As `MediaStore.release_all`; once the cut is made, a cancelled call's rest is done by a sweep."""
        return await self._run(ending.release_all(self._ctx, scope, wait=wait))

    async def clean_expired(self) -> int:
        """As `MediaStore.clean_expired`."""
        return (await self._run(ending.expire(self._ctx))).expired

    async def sweep(self, budget: Duration | None = None) -> Swept:
        """As `MediaStore.sweep`."""
        return await self._run(ending.sweep(self._ctx, budget=budget))

    async def drain(self, budget: Duration | None = None) -> Swept:
        """As `MediaStore.drain`."""
        return await self._run(ending.sweep(self._ctx, budget=budget, expiry=False, tidy=False))

    async def start(self) -> None:
        """As `MediaStore.start`; a task of the running loop."""
        if self._sweeper is None:
            self._sweeper = AsyncSweeper(
                self._rhythm, lambda full: self.sweep() if full else self.drain()
            )
        self._sweeper.start(enabled=self.settings.cleanup_enabled)

    async def stop(self) -> None:
        """As `MediaStore.stop`; a pass in progress is cancelled, the next sweep finishes it."""
        if self._sweeper is not None:
            await self._sweeper.stop()

    # --- looking

    async def get(self, ref: str) -> Media:
        """As `MediaStore.get`."""
        return await self._run(storing.get(ref))

    async def refs(
        self, scope: str, *, limit: int = 100, after: str | Media | None = None
    ) -> list[Media]:
        """As `MediaStore.refs`."""
        return await self._run(listing.list_refs(scope, limit, after))

    async def scopes(self, prefix: str = "") -> list[str]:
        """As `MediaStore.scopes`."""
        return await self._run(listing.list_scopes(prefix))

    async def stats(self) -> Stats:
        """As `MediaStore.stats`."""
        return await self._run(listing.stats())

    async def plan_release(self, scope: str) -> ReleasePlan:
        """As `MediaStore.plan_release`."""
        return await self._run(listing.plan_release(scope))

    async def execute(self, plan: ReleasePlan) -> Released:
        """As `MediaStore.execute`."""
        return await self.release_all(_checked(plan).scope)

    async def close(self) -> None:
        """As `MediaStore.close`."""
        await self.stop()
        if self._link is not None:
            await self._link.close()
            self._link = None

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store; nothing is released."""
        await self.close()


def _meta(meta: MediaMeta | None) -> MediaMeta:
    if meta is None:
        return MediaMeta()
    if not isinstance(meta, MediaMeta):
        raise InvalidRequest(f"meta is a MediaMeta, not {type(meta).__name__}")
    return meta


def _checked(plan: ReleasePlan) -> ReleasePlan:
    if not isinstance(plan, ReleasePlan):
        raise InvalidRequest(f"not a plan: {type(plan).__name__}; make one with plan_release()")
    return plan
