"""Steps on files of local and shared directories: registering, checking, deleting, tidying up."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mediastore import blobs as steps
from mediastore.errors import BlobsUnavailable, InvalidRoot, MediaStoreError, StoreFull
from mediastore.journal import Prepared, Watched

from . import (
    drafting,
    epochs,
    hidden,
    inscribing,
    inscriptions,
    owned,
    posix,
    pruning,
    registering,
    rights,
    stamps,
    surveying,
    taking,
    tidying,
)
from .adopting import adopting, held_blobs, rebind, rebind_displaced, unhold
from .deleting import destroy, prepare
from .homes import PARKED, path_in, put_away
from .reaching import Reach
from .reading import encoded, lasting, located, occupant, opened
from .root import Root, freshen, inspect, remark, stands

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from mediastore.journal import Bound, Destroyed, Held, Hidden

logger = logging.getLogger("mediastore")

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def failure(error: OSError) -> MediaStoreError:
    """Return the typed error for what a file system said."""
    code = error.errno or 0
    words = f"{os.strerror(code)} ({errno.errorcode.get(code, 'unknown')})"
    if code in _FULL:
        return StoreFull(f"no space left in a root: {words}")
    return BlobsUnavailable(
        f"a root does not answer as it should: {words}", errno.errorcode.get(code, "")
    )


class LocalBlobs(Reach):
    """Performs steps in the roots of this process."""

    def __init__(
        self, roots: tuple[str, ...], namespace: str, *, wall: Callable[[], float] = time.time
    ) -> None:
        """Remember where the roots are; no I/O."""
        super().__init__(roots, namespace)
        self._wall = wall
        self._barred: dict[str, str] = {}
        self._counts: dict[str, hidden.Count] = {}
        self._walks: dict[str, pruning.Walk] = {}
        self._do: dict[type, Callable[[Any], Any]] = {
            steps.Hold: self._hold,
            steps.Place: self._place,
            steps.Keep: self._keep,
            steps.Drop: self._drop,
            steps.Check: self._check,
            steps.Occupant: self._occupant,
            steps.Lasting: self._lasting,
            steps.Open: self._open,
            steps.Shown: self._shown,
            **self._on_epochs(),
            steps.Prepare: self._prepare,
            steps.Destroy: self._destroy,
            steps.Dismiss: self._dismiss,
            steps.Strays: self._strays,
            steps.Tidy: self._tidy,
            steps.CountHidden: self._count_hidden,
            steps.Prune: self._prune,
            steps.Roots: lambda _: {root.id: root.path for root in self.roots().values()},
            steps.Standing: self._standing,
            steps.Inspect: lambda step: inspect(step.path, namespace),
            steps.Stands: lambda step: stands(step.root, step.path, step.beside),
            steps.Rebind: self._rebind,
            steps.RebindDisplaced: self._rebind_displaced,
            steps.HeldBlobs: self._held_blobs,
            steps.Unhold: self._unhold,
            steps.Remark: self._remark,
            **self._on_content(),
            **self._on_sidecars(),
        }

    def _on_epochs(self) -> dict[type, Callable[[Any], Any]]:
        return {
            steps.Watch: self._watch,
            steps.WatchAlone: self._watch_alone,
            steps.Show: self._show,
            steps.Unwatch: self._unwatch,
        }

    def _on_content(self) -> dict[type, Callable[[Any], Any]]:
        return {
            drafting.Begin: self._begin,
            drafting.Reopen: self._reopen,
            drafting.Rename: self._rename,
            drafting.Absorb: lambda step: owned.absorb(step.draft, step.size),
            drafting.Locate: lambda step: taking.locate(self.roots().values(), step.path),
            drafting.Take: self._take,
            drafting.Own: self._own,
            drafting.Identify: lambda step: taking.identify(step.path),
            drafting.Leave: lambda step: taking.leave(step.path, step.seen, step.marked),
            drafting.Head: lambda step: os.pread(step.file.fileno(), owned.HEAD, 0),
            drafting.Encode: lambda step: encoded(step.file, step.limit),
            drafting.Digest: lambda step: hashlib.sha256(step.data).hexdigest(),
            drafting.Write: self._write,
            drafting.Finish: lambda step: owned.finish(step.draft, durable=step.durable),
            drafting.Publish: self._publish,
            drafting.Same: self._same,
            drafting.Discard: self._discard,
        }

    def _on_sidecars(self) -> dict[type, Callable[[Any], Any]]:
        return {
            inscriptions.Announce: self._announce,
            inscriptions.Inscribe: self._inscribe,
            inscriptions.Survey: lambda step: surveying.Survey(self._there(step.root)),
            inscriptions.RefsOf: self._refs_of,
            inscriptions.Surveyed: lambda step: step.survey.next(step.refs),
        }

    def perform(self, step: steps.Step[Any]) -> Any:
        """Do one step.

        Raises:
            MediaStoreError: what the step says; no OSError leaves here.
        """
        try:
            return self._do[type(step)](step)
        except MediaStoreError:
            raise
        except OSError as error:
            raise failure(error) from None

    # --- registering

    def _hold(self, step: steps.Hold) -> Held:
        root, path = registering.place(self.roots().values(), step.path)
        with self._reach(root.id)[1] as there:
            return registering.hold(root, there, path, step)

    def _place(self, step: steps.Place) -> steps.Placement:
        root, path = registering.place(self.roots().values(), step.path)
        return steps.Placement(root.id, path)

    def _keep(self, step: steps.Keep) -> bool:
        with self._reach(step.held.root)[1] as there:
            return registering.keep(there, step.held, step.blob)

    def _drop(self, step: steps.Drop) -> bool:
        with self._reach(step.held.root)[1] as there:
            return registering.drop(there, step.held, step.blob)

    def _check(self, step: steps.Check) -> Path | None:
        root, there = self._reach(step.root)
        with there:
            if step.seq is not None and step.seq <= root.adopted:
                return None  # said of another directory; its inode numbers mean nothing here
            name = located(there, step.blob, step.path, step.identity)
        return Path(root.path, name) if name else None

    def _occupant(self, step: steps.Occupant) -> str:
        with self._there(step.root) as there:
            return occupant(there, step.path, step.identity)

    def _lasting(self, step: steps.Lasting) -> Path | None:
        with self._opened(step.root) as (root, there):
            name = lasting(there, step.blob, step.path, step.identity)
        return Path(root.path, name) if name else None

    def _open(self, step: steps.Open) -> io.FileIO | None:
        with self._opened(step.root) as (_, there):
            return opened(there, step.path, step.identity)

    # --- writing content

    def _begin(self, step: drafting.Begin) -> owned.Draft:
        with self._opened(step.root) as (_, there):
            return owned.begin(there, step)

    def _write(self, step: drafting.Write) -> int:
        return owned.write(step.draft, step.piece)

    def _reopen(self, step: drafting.Reopen) -> bytes:
        with self._opened(step.draft.root) as (_, there):
            return owned.reopen(there, step.draft, hashed=step.hashed)

    def _rename(self, step: drafting.Rename) -> bool:
        with self._opened(step.draft.root) as (_, there):
            return owned.rename(there, step.draft, step.extension)

    def _take(self, step: drafting.Take) -> bool:
        with self._opened(step.draft.root) as (_, there):
            return taking.take(there, step.draft, step.path)

    def _own(self, step: drafting.Own) -> None:
        # The ref is made: a file with the rights that it had is one all the same.
        with (
            contextlib.suppress(OSError, BlobsUnavailable),
            self._opened(step.draft.root) as (_, there),
        ):
            rights.own(there, step.draft, step.path)

    def _publish(self, step: drafting.Publish) -> str | None:
        with self._opened(step.draft.root) as (_, there):
            return owned.publish(there, step.draft, step.path, step.sidecar, durable=step.durable)

    def _same(self, step: drafting.Same) -> bool:
        with self._opened(step.root) as (_, there):
            return stamps.same(there, step.path, step.size, step.stamp, step.sha)

    def _discard(self, step: drafting.Discard) -> None:
        # What stays is the trash's business: the blob is in it.
        with (
            contextlib.suppress(OSError, BlobsUnavailable),
            self._opened(step.draft.root) as (_, there),
        ):
            owned.discard(there, step.draft, step.path)

    # --- sidecars

    def _refs_of(self, step: inscriptions.RefsOf) -> tuple[str, ...]:
        with self._opened(step.root) as (_, there):
            return surveying.refs_of(there, step.path, step.blob, step.most)

    def _announce(self, step: inscriptions.Announce) -> None:
        with self._opened(step.root) as (_, there):
            inscribing.announce(there, step.token, step.refs)

    def _inscribe(self, step: inscriptions.Inscribe) -> tuple[bool, ...]:
        with self._opened(step.root) as (_, there):
            return inscribing.inscribe(there, step.token, step.inscriptions, durable=step.durable)

    # --- deleting

    def _prepare(self, step: steps.Prepare) -> Prepared:
        if step.root not in self.roots():
            return Prepared(away=True)
        try:
            with self._opened(step.root) as (root, there):
                entry: str | None = None
                try:
                    entry = epochs.shown(there)
                    prepare(there, step.token)
                except OSError as error:
                    name = errno.errorcode.get(error.errno or 0, "EUNKNOWN")
                    barred = self._barrier(root, name)
                    # What cannot be read now must not be told as missing: that would freeze the namespace.
                    return replace(barred, shown=entry or "", away=entry is None)
        except BlobsUnavailable as error:
            return Prepared(error.errno, shut=True, away=not error.errno)
        if self._barred.pop(root.id, None):
            logger.warning("root %s: files that nobody holds can be deleted again", root.path)
        return Prepared(shown=entry)

    def _barrier(self, root: Root, name: str) -> Prepared:
        """Tell once what keeps us from deleting in a root."""
        if self._barred.get(root.id) != name:
            self._barred[root.id] = name
            words = "root %s: files that nobody holds cannot be deleted now: %s"
            logger.error(words, root.path, name)
        return Prepared(name)

    def _destroy(self, step: steps.Destroy) -> Destroyed:
        with self._opened(step.root) as (_, there):
            return destroy(there, step.token, step.claim)

    def _dismiss(self, step: steps.Dismiss) -> None:
        # An empty directory that stays goes with the strays.
        with contextlib.suppress(OSError, BlobsUnavailable), self._opened(step.root) as (_, there):
            put_away(there, step.token)

    # --- the chain of epochs

    def _shown(self, step: steps.Shown) -> dict[str, str]:
        found: dict[str, str] = {}
        for root in [step.root] if step.root else self.roots():
            with contextlib.suppress(OSError, BlobsUnavailable), self._there(root) as there:
                found[root] = epochs.shown(there)
        return found

    def _watch(self, step: steps.Watch) -> Watched | None:
        with contextlib.suppress(OSError, BlobsUnavailable), self._there(step.root) as there:
            draft = epochs.draft(there)
            return Watched(draft, epochs.shown(there))
        return None

    def _watch_alone(self, step: steps.WatchAlone) -> str | None:
        with contextlib.suppress(OSError, BlobsUnavailable), self._there(step.root) as there:
            return epochs.alone(there)
        return None

    def _show(self, step: steps.Show) -> None:
        with contextlib.suppress(OSError, BlobsUnavailable), self._there(step.root) as there:
            epochs.show(there, step.draft, step.before, step.entry)

    def _unwatch(self, step: steps.Unwatch) -> None:
        with contextlib.suppress(OSError, BlobsUnavailable), self._there(step.root) as there:
            epochs.remove(there, step.draft)

    # --- tidying up after crashes

    def _strays(self, step: steps.Strays) -> tuple[str, ...]:
        with self._opened(step.root) as (_, there):
            return tidying.strays(there, self._wall() - step.age_s)

    def _tidy(self, step: steps.Tidy) -> int:
        with self._opened(step.root) as (_, there):
            freshen(there, self._wall())
            return tidying.tidy(there, self._wall() - step.age_s, step.known)

    def _count_hidden(self, step: steps.CountHidden) -> Hidden | None:
        count = self._counts.pop(step.root, None) or hidden.Count()
        with self._there(step.root) as there:
            found = count.go_on(there)
        if found is None:
            self._counts[step.root] = count
        return found

    def _prune(self, step: steps.Prune) -> int:
        walk = self._walks.setdefault(step.root, pruning.Walk())
        with self._opened(step.root) as (root, there):
            removed = walk.go_on(there, self._wall() - step.age_s)
        if removed:
            logger.info("root %s: %d empty directories removed", root.path, removed)
        return removed

    # --- roots and hosts

    def _standing(self, _: steps.Standing) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for path in self._paths:
            with contextlib.suppress(InvalidRoot):
                seen = inspect(path, self._namespace)
                found[seen.root] = not seen.fault
        return found

    def _rebind(self, step: steps.Rebind) -> tuple[Bound, ...]:
        with adopting(step.path) as there:
            return rebind(there, step.blobs, step.drafts)

    def _rebind_displaced(self, step: steps.RebindDisplaced) -> tuple[Bound, ...]:
        with adopting(step.path) as there:
            return rebind_displaced(there, step.blobs)

    def _held_blobs(self, step: steps.HeldBlobs) -> tuple[str, ...]:
        with adopting(step.path) as there:
            return held_blobs(there, copied=step.copied)

    def _unhold(self, step: steps.Unhold) -> tuple[int, int]:
        with adopting(step.path) as there:
            return unhold(there, step.blobs, copied=step.copied)

    def _remark(self, step: steps.Remark) -> None:
        with adopting(step.path) as there:
            remark(there, step.root, self._namespace, step.seq)

    def parked(self) -> list[Path]:
        """List the files that could not be put back where they were found; they are nobody's to delete but yours."""
        found: list[Path] = []
        for root in self.roots().values():
            with root.opened() as there:
                names = posix.names(at=there.home(PARKED))
                found += [Path(root.path, path_in(PARKED, name)) for name in names]
        return found
