"""Named retention policies: set, changed, removed, applied to refs. A change that is stopped goes on with the next sweep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mediastore import blobs
from mediastore.blobs import drafting, inscriptions
from mediastore.errors import InvalidPolicy, InvalidRequest, NotThere, RefGone
from mediastore.index import policies, reads
from mediastore.lifetimes import parse_lifetime
from mediastore.model import Duration, Ref, is_named
from mediastore.policies import Policy, PolicyChange

from .retention import length_word, policy_word, unknown
from .storing import lookup

if TYPE_CHECKING:
    from datetime import datetime

    from .context import Context, Flow

#: How many refs of one file a policy is applied to.
_MOST_REFS: Final = 100


def _checked(name: str) -> str:
    if not isinstance(name, str) or not is_named(name):
        raise InvalidPolicy(
            f"not a name for a policy: {name!r:.80}; it is [a-z][a-z0-9._-]{{0,62}} and does not begin "
            "with delete-after- or retain-"
        )
    return name


def set_policy(ctx: Context, name: str, lifetime: Duration) -> Flow[PolicyChange]:
    """Give a policy its length, and move the refs that live by it."""
    length = length_word(parse_lifetime(lifetime))
    moving = yield from policies.set_policy(_checked(name), length, ctx.new_id())
    return (yield from _change(ctx, name)) if moving else PolicyChange(name)


def _change(ctx: Context, name: str) -> Flow[PolicyChange]:
    deadline = (yield from blobs.Elapsed()) + ctx.settings.seconds("release_budget")
    return (yield from _move(ctx, name, deadline))


def _move(ctx: Context, name: str, deadline: float) -> Flow[PolicyChange]:
    moved = left = 0
    while True:
        step = yield from policies.move_policy(name, ctx.new_id())
        moved, left = moved + step.moved, left + step.left
        if step.done or (yield from blobs.Elapsed()) > deadline:
            return PolicyChange(name, moved, left, pending=not step.done)


def go_on(ctx: Context, name: str, deadline: float) -> Flow[None]:
    """Go on with a change that was stopped halfway, or that somebody is at."""
    yield from _move(ctx, name, deadline)


def remove_policy(ctx: Context, name: str, *, force: bool) -> Flow[PolicyChange]:
    """Forget a policy; the refs that live by it keep their deadlines."""
    removed = yield from policies.remove_policy(_checked(name), ctx.new_id(), force=force)
    if removed.verdict == "unknown":
        if name in ctx.settings.lengths:
            raise InvalidPolicy(f"policy {name!r} is one of the settings: take it away there")
        raise (yield from unknown(ctx.settings, name))
    if removed.verdict == "used":
        live = "1 ref lives" if removed.refs == 1 else f"{removed.refs} refs live"
        raise InvalidRequest(
            f"{live} by policy {name!r}: removed by force, it leaves them the deadlines they have"
        )
    return (yield from _change(ctx, name)) if removed.refs else PolicyChange(name)


def listing(ctx: Context) -> Flow[list[Policy]]:
    """Read the policies of the index and the settings, by name."""
    index = yield from policies.listing()
    counts = (yield from policies.counts([each.name for each in index])) if index else []
    found = [replace(each, refs=count) for each, count in zip(index, counts, strict=True)]
    # A removed one that refs are leaving does not hide the settings': that is what new refs live by.
    heard = {each.name for each in found if not each.removed}
    found += [Policy(n, s, "settings") for n, s in ctx.settings.lengths.items() if n not in heard]
    return sorted(found, key=lambda each: (each.name, each.removed))


def apply_to_file(ctx: Context, path: str, policy: str | None) -> Flow[datetime | None]:
    """Let the refs of a file live by a policy, as far as sidecars tell which they are; returns the last of their deadlines."""
    root, relative = yield from drafting.Locate(path)
    [blob] = (yield from reads.holders_of([(root, relative)])) if root else [""]
    refs = (yield from inscriptions.RefsOf(root, relative, blob, _MOST_REFS)) if blob else ()
    if not refs:
        raise InvalidRequest(f"no sidecar tells which refs {path} has; name the ref")
    dues, dead = [], None
    for ref in refs:
        try:
            dues.append((yield from apply_policy(ctx, f"media://{ref}", policy)))
        except NotThere as error:  # it ended, and its sidecar goes with the next sweep
            dead = error
    if dead is not None and not dues:
        raise dead
    ends = [due for due in dues if due is not None]
    return max(ends) if len(ends) == len(dues) else None


def apply_policy(ctx: Context, ref: str, policy: str | None) -> Flow[datetime | None]:
    """Let a live ref live by a policy, counted from when it was stored; returns its deadline."""
    wanted = Ref.parse(ref)
    life = "" if policy is None or policy == "" else policy_word(ctx.settings, policy)
    applied = yield from policies.apply_policy(wanted.id, life, ctx.new_id())
    if applied.verdict == "dead":
        yield from lookup(wanted)
        raise RefGone(wanted, "expired")  # by a clock that has stepped back since
    if applied.verdict == "policy":
        raise (yield from unknown(ctx.settings, policy or ""))
    return applied.expires_at
