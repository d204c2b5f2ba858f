"""Steps on files of local and shared directories: registering, checking, deleting, tidying up."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mediastore import blobs as steps
from mediastore.errors import (
    BlobsUnavailable,
    FileMissing,
    InvalidPath,
    InvalidRoot,
    MediaStoreError,
    NotARegularFile,
    OutsideRoots,
    StoreFull,
)
from mediastore.journal import Bound, Held, Outcome
from mediastore.settings import default_root

from . import posix
from .adopting import adopting, held_blobs, rebind, unhold
from .deleting import destroy, held_name
from .reading import lasting, opened, registered
from .root import (
    HELD,
    HOME,
    NEW,
    PARKED,
    QUARANTINE,
    Root,
    again,
    drafts,
    inspect,
    remark,
    share,
    stands,
    verify,
)

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

logger = logging.getLogger("mediastore")

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class LocalBlobs:
    """The roots of this process, and what steps do in them. Verified at the first use, not before."""

    def __init__(
        self, roots: tuple[str, ...], namespace: str, *, wall: Callable[[], float] = time.time
    ) -> None:
        """Remember where the roots are; no I/O."""
        self._paths = roots or (str(default_root()),)
        self._namespace = namespace
        self._wall = wall
        self._roots: dict[str, Root] | None = None
        self._away: set[str] = set()
        self._do: dict[type, Callable[[Any], Any]] = {
            steps.Hold: self._hold,
            steps.Keep: self._keep,
            steps.Drop: self._drop,
            steps.Check: self._check,
            steps.Lasting: self._lasting,
            steps.Open: self._open,
            steps.Prepare: self._prepare,
            steps.Destroy: self._destroy,
            steps.Dismiss: self._dismiss,
            steps.Strays: self._strays,
            steps.Tidy: self._tidy,
            steps.Roots: lambda _: {root.id: root.path for root in self.roots().values()},
            steps.Standing: self._standing,
            steps.Inspect: lambda step: inspect(step.path, namespace),
            steps.Stands: lambda step: stands(step.root, step.path, step.beside),
            steps.Rebind: self._rebind,
            steps.HeldBlobs: self._held_blobs,
            steps.Unhold: self._unhold,
            steps.Remark: self._remark,
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
            words = f"{os.strerror(error.errno or 0)} ({errno.errorcode.get(error.errno or 0, 'unknown')})"
            if error.errno in _FULL:
                raise StoreFull(f"no space left in a root: {words}") from None
            raise BlobsUnavailable(f"a root does not answer as it should: {words}") from None

    def roots(self) -> dict[str, Root]:
        """Return the verified roots by id.

        Raises:
            InvalidRoot: one of them cannot be used; none is touched.
        """
        # Without a lock: verifying twice is harmless, a lock held across a fork is not.
        if self._roots is None:
            found = [verify(path, self._namespace) for path in self._paths]
            for one in found:
                for other in found:
                    if other.path.startswith(one.path + "/"):
                        raise InvalidRoot(
                            other.path, f"it lies inside the root {one.path}; roots do not nest"
                        )
            self._roots = {root.id: root for root in found}
        return self._roots

    @contextlib.contextmanager
    def _opened(self, root_id: str) -> Iterator[tuple[Root, int]]:
        """Open a root for one operation; one that has gone away, and one that is back, is told once.

        Raises:
            KeyError: the root is none of this process's.
            BlobsUnavailable: it is not there now.
        """
        roots = self.roots()
        root = roots[root_id]
        with contextlib.ExitStack() as stack:
            try:
                fd = stack.enter_context(root.opened())
            except BlobsUnavailable as error:
                adopted = again(root, self._namespace)
                if adopted is None:
                    if root_id not in self._away:
                        self._away.add(root_id)
                        logger.error("%s; nothing is deleted there until it is back", error)  # noqa: TRY400
                    raise
                root = roots[root_id] = adopted
                fd = stack.enter_context(root.opened())
            if root_id in self._away:
                self._away.discard(root_id)
                logger.warning("root %s is back; work goes on there", root.path)
            yield root, fd

    # --- registering

    def _place(self, path: str) -> tuple[Root, str]:
        """Return the root of a path and the path relative to it: aliases of one file come out the same."""
        _check_text(path)
        parent = os.path.realpath(
            os.path.dirname(path) or "."
        )  # before normalising: `link/..` is not `.`
        name = os.path.basename(path)
        if name in {"", ".", ".."}:
            raise NotARegularFile(f"{path} is a directory, not a regular file")
        real = os.path.join(parent, name)
        for root in self.roots().values():
            if real.startswith(root.path + "/"):
                relative = real[len(root.path) + 1 :]
                if relative.split("/")[0] == HOME:
                    raise InvalidPath(f"{path} lies in {HOME}, the store's own bookkeeping")
                return root, relative
        raise OutsideRoots(
            f"{path} is outside every root ({', '.join(r.path for r in self.roots().values())})"
        )

    def _hold(self, step: steps.Hold) -> Held:
        root, path = self._place(step.path)
        with self._opened(root.id) as (_, fd):
            try:
                with posix.walked(fd, path) as (parent, name):
                    seen = _regular(step.path, posix.look(name, at=parent))
                    linked = not step.borrow and self._link(step, fd, parent, name)
            except FileNotFoundError:
                raise FileMissing(step.path) from None
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise OutsideRoots(
                        f"{step.path} lies on another file system than its root"
                    ) from None
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    raise FileMissing(step.path) from None
                raise
            if linked:
                seen = self._linked(step, fd, linked)
        stat_form = f"{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}"
        identity = (
            f"link:{seen.st_ino}"
            if linked
            else f"inode:{seen.st_ino}"
            if step.borrow
            else f"stat:{stat_form}"
        )
        return Held(
            root.id,
            path,
            seen.st_size,
            identity,
            stat_form,
            "borrowed" if step.borrow else "adopted",
        )

    @staticmethod
    def _link(step: steps.Hold, fd: int, parent: int, name: str) -> str:
        """Take the second name; empty where the file system does not allow one."""
        target = f"{NEW}/{held_name(step.blob, name)}"
        try:
            posix.link(name, parent, target, fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno not in posix.NO_LINKS:
                raise
            return ""
        return target

    @staticmethod
    def _linked(step: steps.Hold, fd: int, target: str) -> os.stat_result:
        """Look at what the second name holds: between our look and the link another file may have come there."""
        try:
            return _regular(step.path, posix.look(target, at=fd))
        except NotARegularFile:
            posix.unlink(target, at=fd)
            raise

    def _keep(self, step: steps.Keep) -> bool:
        name = held_name(step.blob, step.held.path)
        with self._opened(step.held.root) as (_, fd):
            if step.held.identity.startswith("link:"):
                with contextlib.suppress(FileNotFoundError):
                    posix.rename(f"{NEW}/{name}", fd, f"{HELD}/{name}", fd)
            return _still_there(fd, step.held)

    def _drop(self, step: steps.Drop) -> bool:
        with self._opened(step.held.root) as (_, fd):
            # Looked at while the second name still pins the inode: the number cannot have come back.
            still_there = _still_there(fd, step.held)
            if step.held.identity.startswith("link:"):
                with contextlib.suppress(FileNotFoundError):
                    posix.unlink(f"{NEW}/{held_name(step.blob, step.held.path)}", at=fd)
        return still_there

    def _check(self, step: steps.Check) -> Path | None:
        with self._opened(step.root) as (root, fd):
            if step.seq is not None and step.seq <= root.adopted:
                return None  # said of another directory; its inode numbers mean nothing here
            same = registered(fd, step.path, step.identity)
        return Path(root.path, step.path) if same else None

    def _lasting(self, step: steps.Lasting) -> Path | None:
        with self._opened(step.root) as (root, fd):
            name = lasting(fd, step.blob, step.path, step.identity)
        return Path(root.path, name) if name else None

    def _open(self, step: steps.Open) -> io.FileIO | None:
        with self._opened(step.root) as (root, fd):
            return opened(fd, step.path, step.path[len(root.path) + 1 :], step.identity)

    # --- deleting

    def _prepare(self, step: steps.Prepare) -> bool:
        if step.root not in self.roots():
            return False
        try:
            with self._opened(step.root) as (_, fd):
                directory = f"{QUARANTINE}/{step.token}"
                posix.make_directory(directory, 0o700, at=fd)
                share(directory, os.fstat(fd), at=fd)
        except (BlobsUnavailable, OSError):
            return False
        return True

    def _destroy(self, step: steps.Destroy) -> tuple[Outcome, ...]:
        with self._opened(step.root) as (_, fd):
            return destroy(fd, step.token, step.claim)

    def _dismiss(self, step: steps.Dismiss) -> None:
        # An empty directory that stays goes with the strays.
        with contextlib.suppress(OSError, BlobsUnavailable), self._opened(step.root) as (_, fd):
            posix.remove_directory(f"{QUARANTINE}/{step.token}", at=fd)

    # --- tidying up after crashes

    def _old(self, fd: int, directory: str, age_s: float) -> list[str]:
        """Name the entries older than `age_s`, by this host's clock on both sides."""
        before = self._wall() - age_s
        found = (
            (name, posix.look_or_none(f"{directory}/{name}", at=fd))
            for name in posix.names(directory, at=fd)
        )
        return [name for name, seen in found if seen is not None and seen.st_ctime < before]

    def _strays(self, step: steps.Strays) -> tuple[str, ...]:
        with self._opened(step.root) as (_, fd):
            held = (name.split(".")[0] for name in self._old(fd, NEW, step.age_s))
            return (*held, *self._old(fd, QUARANTINE, step.age_s))

    def _tidy(self, step: steps.Tidy) -> int:
        removed = 0
        with self._opened(step.root) as (_, fd):
            for name in self._old(fd, NEW, step.age_s):
                with contextlib.suppress(FileNotFoundError):
                    if name.split(".")[0] in step.known:
                        posix.rename(f"{NEW}/{name}", fd, f"{HELD}/{name}", fd)
                    else:
                        posix.unlink(f"{NEW}/{name}", at=fd)
                        removed += 1
            for token in self._old(fd, QUARANTINE, step.age_s):
                if token not in step.known:
                    removed += _remove_empty(fd, f"{QUARANTINE}/{token}")
            for draft in drafts(fd):
                seen = posix.look_or_none(draft, at=fd)
                if seen is not None and seen.st_ctime < self._wall() - step.age_s:
                    posix.unlink(draft, at=fd)
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
        with adopting(step.path) as fd:
            return rebind(fd, step.blobs, step.drafts)

    def _held_blobs(self, step: steps.HeldBlobs) -> tuple[str, ...]:
        with adopting(step.path) as fd:
            return held_blobs(fd, copied=step.copied)

    def _unhold(self, step: steps.Unhold) -> tuple[int, int]:
        with adopting(step.path) as fd:
            return unhold(fd, step.blobs, copied=step.copied)

    def _remark(self, step: steps.Remark) -> None:
        with adopting(step.path) as fd:
            remark(fd, step.root, self._namespace, step.seq)

    def parked(self) -> list[Path]:
        """List the files that could not be put back where they were found; they are nobody's to delete but yours."""
        found: list[Path] = []
        for root in self.roots().values():
            with root.opened() as fd:
                found += [Path(root.path, PARKED, name) for name in posix.names(PARKED, at=fd)]
        return found


def _remove_empty(fd: int, directory: str) -> int:
    """Remove a directory of a forgotten claim if nothing but empty directories is in it: files are never guessed at."""
    for name in posix.names(directory, at=fd):
        with contextlib.suppress(OSError):
            _remove_empty(fd, f"{directory}/{name}")
    try:
        posix.remove_directory(directory, at=fd)
    except OSError:
        return 0
    return 1


def _still_there(fd: int, held: Held) -> bool:
    """Whether the file that was given a second name is at its path."""
    try:
        with posix.walked(fd, held.path) as (parent, name):
            return posix.look(name, at=parent).st_ino == int(held.stat.partition(":")[0])
    except OSError:
        return False


def _check_text(path: str) -> None:
    if "\x00" in path:
        raise InvalidPath(f"{path!r:.200} holds a NUL")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidPath(f"{path!r:.200} is not UTF-8") from None


def _regular(path: str, seen: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(seen.st_mode):
        raise NotARegularFile(f"{path} is a {posix.kind(seen.st_mode)}, not a regular file")
    return seen
