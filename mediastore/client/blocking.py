"""The blocking client."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from mediastore.flows import content, ending, hosting, listing, storing, sweeping
from mediastore.hosts import Adopted, Forgotten, RootInfo
from mediastore.model import Duration, Media, MediaMeta, Ref, Released, ReleasePlan, Swept
from mediastore.stats import Stats
from mediastore.sweeper import Sweeper

from .base import AnyPath, checked_meta, checked_plan, path_text
from .breaker import Breakers
from .content import Content
from .epochs import Epochs
from .leasing import Leasing
from .many import Many
from .moving import Moving
from .policies import Policies
from .quotas import Quotas
from .rebuilding import Rebuilding
from .scope import Scope
from .scoping import Scoping


class MediaStore(
    Scoping[Scope], Content, Moving, Leasing, Many, Policies, Quotas, Rebuilding, Epochs, Breakers
):
    """The store, blocking. Safe to share between threads; a forked child may go on using it."""

    _scopes = Scope
    _sweeper: Sweeper | None = None

    # --- the first seed: register files where they lie

    def store(
        self,
        path: AnyPath,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        move: bool = False,
    ) -> Ref:
        """Register a file where it lies, under `scope`; it is neither copied nor moved, unless that is asked for.

        Several registrations of one file share its bytes, whatever alias of the path they use.
        The file goes when the last ref on it ends, unless one of them said `Cleanup.FORGET`.

        Args:
            path: An existing regular file inside one of the roots.
            scope: A scope path such as ``"telegram:42"`` or ``"chat:42/msg:7"``; of a scope object, its `name`.
                None: the current scope, the innermost `with store.scope(...)` around the call.
            meta: What is known about the file.
            ttl: Lifetime from now; `NEVER` for none. None: the metadata's policy, else the settings `default_policy`, `max_age`.
            move: Take the file into the store's own custody instead, from wherever it lies, as
                `store_media(MediaContent(file_path=path), move=True)` does.

        Returns:
            A new ref at each call.

        Raises:
            InvalidRequest: InvalidScope, InvalidPolicy, InvalidPath, FileMissing, NotARegularFile, OutsideRoots, InvalidRoot; nothing changed.
            StoreFull: Redis or the root has no room; nothing changed.
            IndexUnavailable: Redis failed; the ref was made or not, and if it was, it expires.
            BlobsUnavailable: the path's last registration is being deleted and that does not end.

        Extends picoclaw `Store` (pkg/media/store.go), which accepts directories and outside paths.
        """
        named, meta = self._scope_meant(scope), checked_meta(meta)
        if move:
            return self._run(content.take_over(self._ctx, path_text(path), named, meta, ttl))
        return self._run(storing.store(self._ctx, path_text(path), named, meta, ttl))

    def resolve(self, ref: str) -> Path:
        """Return an absolute path of the ref's bytes. As `resolve_with_meta`, without the metadata."""
        return self._run(storing.resolve(self._ctx, ref))[0]

    def resolve_with_meta(self, ref: str) -> tuple[Path, MediaMeta]:
        """Return an absolute path of the ref's bytes, which exists, and its metadata.

        It is where the file was registered. If somebody removed or replaced the file there, it is the path of its held
        link, in `.mediastore`: the registered bytes, under another name with the same extension.
        An expired or released ref does not resolve, swept or not.

        Raises:
            InvalidRef: the text is not a ref.
            RefGone: it was released, has expired or was deleted; `reason` says which.
            RefUnknown: it was never stored here, or ended longer ago than tombstones are kept.
            BlobMissing: the bytes are at neither place. A borrowed file, content of the store's own, and a file on
                a file system without hard links have no held link.
            WrongHost: the file lies in a root that this process does not have.
            IndexUnavailable, BlobsUnavailable: Redis or the root does not answer.
        """
        return self._run(storing.resolve(self._ctx, ref))

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
            What this call did: `refs` ended, `deleted` blobs, `freed_bytes`; what was not its to delete: `kept`
            (shared or borrowed), `gone` (somebody had removed it), `spared` (not, or not provably, the registered
            file); and what it could not do now: `pending` (another root, claimed by another), `failed`.

        Raises:
            InvalidScope: `scope` is malformed; nothing was sent.
            IndexUnavailable: Redis failed; call again, what was done stays done.

        Extends picoclaw `ReleaseAll` (pkg/media/store.go), which forgets a file it failed to remove.
        """
        return self._run(ending.release_all(self._ctx, scope, wait=wait))

    def clean_expired(self) -> int:
        """End every ref whose deadline has passed and delete the files only they held; returns the number of refs."""
        return self._run(sweeping.expire(self._ctx)).expired

    def sweep(self, budget: Duration | None = None) -> Swept:
        """Do one pass: expire, drain what was released, delete what this process's roots allow.

        Args:
            budget: How long to work; None: the setting `sweep_budget`.

        Raises:
            IndexUnavailable: Redis failed; what was done stays done. A file that cannot be deleted never raises.
        """
        return self._run(sweeping.sweep(self._ctx, budget=budget))

    def drain(self, budget: Duration | None = None) -> Swept:
        """Do the quick part of a sweep: what was released and is not deleted yet; nothing expires."""
        return self._run(sweeping.sweep(self._ctx, budget=budget, expiry=False, tidy=False))

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
        return self.release_all(checked_plan(plan).scope)

    # --- roots and hosts

    def roots(self) -> list[RootInfo]:
        """Return every root the index knows, wherever it is, with what it holds; cheap, whatever is stored.

        Works where a root of this process is refused, too: that one is `here` and not `verified`.
        """
        return self._run(hosting.list_roots())

    def forget_root(self, root: str, *, even_here: bool = False) -> Forgotten:
        """Give a root up whose host is gone for ever.

        What waits to be deleted there leaves the journal and is counted as lost. Its live refs stay until they
        are released or expire, but resolve as BlobMissing; their files then count as lost, too.
        Should it come back, it is refused until `adopt_root` takes it back.

        Args:
            root: The root's id, as `roots()` tells it.
            even_here: Also when this very process has the root and it can be used.

        Raises:
            InvalidRequest: the index knows no such root, or it is in use here; nothing was changed.
        """
        return self._run(hosting.forget(self._ctx, root, even_here=even_here))

    def adopt_root(self, path: AnyPath) -> Adopted:
        """Take a directory as the root that its marker names: a restored backup, a moved copy, a forgotten root that is back.

        Each file that is still the registered one is known again, at its path or by its held link; nothing is deleted but
        second names of which no blob is known. Afterwards
        the directory is the root, and no other is: any copy elsewhere must not be used any more.
        Stopped halfway, the directory stays refused; call again.

        Raises:
            InvalidRoot: it has no marker, the index does not know the root, or the root stands elsewhere on this host.
            BlobsUnavailable: the files cannot be read, or another process has begun to adopt the root as well.
        """
        return self._run(hosting.adopt(self._ctx, path_text(path), self._host))

    def close(self) -> None:
        """Stop the background sweeper and close the connections this store made; a client you passed in stays yours.

        Leases that are still held are renewed no more, and lapse. A later call opens new connections.
        """
        self.stop()
        self._renewer.stop(self.settings.seconds("timeout"))
        self._hang_up()

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store; nothing is released."""
        self.close()
