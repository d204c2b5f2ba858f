"""Making an index again from the sidecars in a root, after Redis was lost."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mediastore import blobs
from mediastore.blobs import inscriptions
from mediastore.errors import InvalidRequest
from mediastore.hosts import Rebuilt
from mediastore.index import changes, lives, roots as hosts, sidecars as index
from mediastore.index.steps import BATCH, END_BATCH

from .storing import was_forgotten

if TYPE_CHECKING:
    from mediastore.blobs.surveying import Survey
    from mediastore.sidecars import Kin, Sidecar

    from .context import Context, Flow

logger = logging.getLogger("mediastore")

#: As many of what cannot be read are named in the result; the log names all of them.
_NAMED: Final = 100


@dataclass(slots=True)
class _Tally:
    """What one call has come to so far."""

    refs: int = 0
    blobs: int = 0
    known: int = 0
    dead: int = 0
    missing: int = 0
    broken: int = 0
    named: list[str] = field(default_factory=list)

    def told(self) -> Rebuilt:
        return Rebuilt(
            self.refs,
            self.blobs,
            self.known,
            self.dead,
            self.missing,
            self.broken,
            tuple(self.named),
        )


def rebuild(ctx: Context, root: str | None, host: str, *, dry_run: bool) -> Flow[Rebuilt]:
    """Go through the sidecars of one root, given by its path or id, or of all, and make the refs of which they tell."""
    roots = yield from blobs.Roots()
    tally = _Tally()
    if not dry_run:
        # Whoever was greeted before the loss says no more where its roots are.
        yield from changes.open_index({each: f"{host}:{path}" for each, path in roots.items()})
    for each in _chosen(roots, root):
        if (yield from hosts.place_of(each)).forgotten_ms:
            raise (yield from was_forgotten(each))
        survey = yield from inscriptions.Survey(each)
        try:
            yield from _Rebuilding(ctx, each, tally, dry_run=dry_run).go(survey)
        finally:
            survey.close()
    return tally.told()


def _chosen(roots: dict[str, str], root: str | None) -> list[str]:
    """Return the ids of the roots that are meant.

    Raises:
        InvalidRequest: it is none of this process's.
    """
    if root is None:
        return list(roots)
    path = root.rstrip("/") or "/"
    found = [each for each, place in roots.items() if root == each or path == place]
    if not found:
        named = ", ".join(roots.values())
        raise InvalidRequest(f"{root!r:.200} is none of the roots of this process: {named}")
    return found


class _Rebuilding:
    """One root on its way back into the index."""

    def __init__(self, ctx: Context, root: str, tally: _Tally, *, dry_run: bool) -> None:
        self._ctx, self._root, self._tally, self._dry = ctx, root, tally, dry_run
        self._pending: list[tuple[Sidecar, bool]] = []
        self._token = ""
        #: The blobs of the file whose refs come in several calls: one, unless sidecars contradict each other.
        self._large: dict[str, None] = {}
        self._counted = False

    def go(self, survey: Survey) -> Flow[None]:
        while found := (yield from inscriptions.Surveyed(survey, BATCH)):
            for kin in found:
                self._note(kin)
                yield from self._take(kin)
        yield from self._revive()

    def _note(self, kin: Kin) -> None:
        self._tally.missing += kin.missing
        self._tally.broken += len(kin.broken)
        for path in kin.broken:
            logger.warning(
                "%s in root %s cannot be read as a sidecar; left alone", path, self._root
            )
            if len(self._tally.named) < _NAMED:
                self._tally.named.append(path)

    def _take(self, kin: Kin) -> Flow[None]:
        """Collect refs for the next script; those of one file come together, or one after the other under a lease."""
        if len(self._pending) + len(kin.told) > END_BATCH or kin.more or self._token:
            yield from self._revive()
        self._pending += kin.told
        if not (kin.more or self._token):
            return
        if not self._token:
            self._token = self._ctx.new_id()
        yield from self._revive()
        if not kin.more:
            for blob in () if self._dry else self._large:
                yield from lives.end_lease(blob, self._token, self._ctx.new_id())
            self._token, self._large, self._counted = "", {}, False

    def _revive(self) -> Flow[None]:
        told, self._pending = self._pending, []
        if not told:
            return
        ctx, tally = self._ctx, self._tally
        keeping = index.Keeping(ctx.claim_ms, f"rebuild:{ctx.who()}", self._token)
        op = "" if self._dry else ctx.new_id()
        done = yield from index.revive(self._root, told, keeping, op)
        if "forgotten" in done.verdicts:
            raise (yield from was_forgotten(self._root))
        made = [each for (each, _), said in zip(told, done.verdicts, strict=True) if said == "made"]
        tally.refs += len(made)
        # A dry run finds the blob of several calls missing at each of them.
        tally.blobs += 0 if self._dry and self._counted else done.blobs
        if self._token:
            self._counted = self._counted or done.blobs > 0
            self._large |= dict.fromkeys(each.blob for each, _ in told)
        tally.known += done.verdicts.count("known")
        tally.dead += done.verdicts.count("dead")
        if not self._dry:
            yield from self._look_again(made)

    def _look_again(self, made: list[Sidecar]) -> Flow[None]:
        """Take back the refs whose file went between the look at it and the script: its writer had given it up."""
        for path in dict.fromkeys(each.path for each in made):
            mine = [each for each in made if each.path == path]
            blob, identity = mine[0].blob, f"owned:{mine[0].size}"
            if (yield from blobs.Check(self._root, blob, path, identity)) is not None:
                continue
            for each in mine:
                yield from changes.withdraw(each.ref.id, self._ctx.new_id(), self._ctx.terms)
            self._tally.refs -= len(mine)
            self._tally.missing += len(mine)
