"""Refs that move, the blocking half: deadlines, scopes, one more ref, the dead."""

from __future__ import annotations

from datetime import datetime

from mediastore.flows import ending, moving, places, scoping
from mediastore.lifetimes import ScopeDeadline, Tombstone, Waiting
from mediastore.model import Duration, Media, Ref, Released, check_scope

from .base import AnyPath, path_text
from .driver import Driver


class Moving(Driver):
    """What moves refs."""

    def touch(self, ref: str, ttl: Duration | None = None) -> datetime | None:
        """Give a ref a new deadline; returns it, None for no end.

        Args:
            ref: A live ref.
            ttl: The lifetime from now; `NEVER` for none: either takes it out of a named policy. None: as long as it was given
                the last time, again.
                Of a pinned ref, the lifetime that it gets when it is unpinned.

        Raises:
            RefGone, RefUnknown: it is dead; nothing was changed.
        """
        return self._run(moving.extend(self._ctx, ref, "touch", ttl))

    def pin(self, ref: str) -> None:
        """Exempt a ref from expiry until it is unpinned.

        Its release, its deletion by hand and the deadline of its scope still end it.

        Raises:
            RefGone, RefUnknown: it is dead; nothing was changed.
        """
        self._run(moving.extend(self._ctx, ref, "pin"))

    def unpin(self, ref: str) -> datetime | None:
        """End a ref's exemption from expiry: it lives from now on as long as it was given before; returns its deadline.

        Raises:
            RefGone, RefUnknown: it is dead; nothing was changed.
        """
        return self._run(moving.extend(self._ctx, ref, "unpin"))

    def transfer(self, ref: str, scope: str) -> None:
        """Move a ref to another scope; it keeps its id, its bytes and its deadline.

        A release of either scope at the same moment comes before or after: the ref moved and lives on, or it is dead.

        Raises:
            RefGone, RefUnknown: it is dead; nothing was changed.
            InvalidScope: `scope` is malformed.
        """
        self._run(moving.transfer(self._ctx, ref, check_scope(scope)))

    def promote(self, ref: str) -> str:
        """Move a ref to the parent of its scope, and return that: a result that outlives the step that made it.

        Raises:
            RefGone, RefUnknown: it is dead; nothing was changed.
            InvalidRequest: its scope has no parent.
        """
        return self._run(moving.transfer(self._ctx, ref, ""))

    def share(self, ref: str, scope: str, ttl: Duration | None = None) -> Ref:
        """Make one more ref of a ref's bytes, in another scope, with a copy of its metadata; each lives and ends by itself.

        Args:
            ref: A live ref.
            scope: Where the new ref belongs.
            ttl: Its lifetime; None: the metadata's policy, else the settings `default_policy`, `max_age`.

        Raises:
            RefGone, RefUnknown: it is dead; nothing was changed.
            InvalidScope: `scope` is malformed.
        """
        return self._run(moving.share(self._ctx, ref, scope, ttl))

    def delete_media(self, ref: str) -> Released:
        """End one ref by hand, and delete its bytes where nobody else holds them.

        Raises:
            RefGone, RefUnknown: it is dead already; nothing was changed.
        """
        return self._run(ending.delete(self._ctx, ref))

    def refs_at(self, path: AnyPath) -> list[Media]:
        """Return the live refs on the file at a path, in whatever scope they are; also if nothing is there any more.

        The index is not made for this question: where the path has refs, all refs of the namespace may be read.

        Args:
            path: A path below a root of this process, as it was registered, or an alias of it.

        Raises:
            InvalidPath, NotARegularFile, OutsideRoots: no file can be registered there.
        """
        return self._run(places.refs_at(path_text(path)))

    def delete_path(self, path: AnyPath) -> Released:
        """End every ref on the file at a path by hand, and delete its bytes where no lease and no grace keeps them.

        Removing a registered file does not erase it: its held link keeps the bytes until the last ref ends. This does.
        A file that came to the path since, and was not registered, is not touched. A path without refs is no error.
        It costs as much as `refs_at`.

        Args:
            path: As of `refs_at`.

        Raises:
            InvalidPath, NotARegularFile, OutsideRoots: no file can be registered there; nothing was changed.
            IndexUnavailable: Redis failed; call again, what was done stays done.
        """
        return self._run(places.delete(self._ctx, path_text(path)))

    def restore(self, ref: str, scope: str | None = None, ttl: Duration | None = None) -> Ref:
        """Make a new ref of a dead one's bytes, while they are there and no sweep has begun to delete them.

        That is as long as the setting `grace` says, or a lease or another ref holds them. The dead ref stays dead.
        A borrowed file has no grace: it is its owner's, who can store it again.

        Args:
            ref: A dead ref.
            scope: Where the new ref belongs; None: the scope that the dead one was in.
            ttl: Its lifetime; None: the metadata's policy, else the settings `default_policy`, `max_age`.

        Raises:
            RefGone: its bytes are gone or going.
            RefUnknown: nobody remembers it.
            InvalidRequest: it is alive.
        """
        return self._run(moving.restore(self._ctx, ref, scope, ttl))

    def tombstone(self, ref: str) -> Tombstone:
        """Return what is remembered of a dead ref: why, when and by which call it ended, and whether its bytes are still there.

        Raises:
            RefUnknown: nobody remembers it.
            InvalidRequest: it is alive.
        """
        return self._run(moving.tombstone(ref))

    def waiting(self, scope: str, *, limit: int = 100) -> list[Waiting]:
        """Return the files of ended refs of a scope whose bytes stay for a while, in grace or under a lease; soonest first.

        Args:
            scope: The scope that was released, or that the refs were in when they ended otherwise.
            limit: Most files to return.
        """
        return self._run(moving.waiting(scope, limit))

    def scope_deadlines(self, scope: str) -> list[ScopeDeadline]:
        """Return when a scope ends by itself: its own deadline and those of the scopes above it, the soonest first.

        The first of them ends the scope, whoever has it. One that has passed is carried out by the next sweep.
        """
        return self._run(scoping.deadlines(scope))
