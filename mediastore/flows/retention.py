"""How long a new ref lives: what was said, a policy's length, or the settings; as one word, which a script understands."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mediastore.errors import InvalidPolicy, InvalidRequest
from mediastore.index import policies
from mediastore.model import Duration, MediaMeta, is_named, parse_duration, parse_retention

if TYPE_CHECKING:
    from mediastore.settings import Settings

    from .context import Flow

#: Without an end.
NO_END: Final = "never"


def length_word(seconds: float | None) -> str:
    """Return a lifetime in seconds as scripts read it: ms, or "never" for None."""
    return NO_END if seconds is None else str(max(1, round(seconds * 1000)))


def policy_word(settings: Settings, policy: str) -> str:
    """Return a policy as scripts read it: what the index says of the name wins, the settings' length comes after.

    Raises:
        InvalidPolicy: it is neither a name nor spelt as a retention policy.
    """
    if not is_named(policy):
        return f"@{policy}:{length_word(parse_retention(policy))}"
    known = settings.lengths
    return f"@{policy}:{length_word(known[policy])}" if policy in known else f"@{policy}"


def lifetime(settings: Settings, meta: MediaMeta, ttl: Duration | None) -> tuple[str, MediaMeta]:
    """Return how long a new ref lives: `ttl`, else its policy, else the setting `default_policy`, else `max_age`.

    Returns:
        The word for the script, and the metadata with the policy that it says.
    """
    if ttl is not None and meta.policy:
        raise InvalidRequest("give a ttl or a retention policy, not both")
    if ttl is not None:
        return length_word(parse_duration(ttl)), meta
    policy = meta.policy or settings.default_policy
    if not policy:
        return length_word(settings.seconds("max_age") or None), meta
    return policy_word(settings, policy), replace(meta, policy=policy)


def lifetime_of_copy(settings: Settings, meta: MediaMeta, ttl: Duration | None) -> str:
    """Return how long one more ref lives that takes over this metadata: a ttl that is said now wins over its policy.

    A policy that was removed since does not stop it: then it lives as if there had been none.
    """
    if ttl is not None:
        return length_word(parse_duration(ttl))
    rest, _ = lifetime(settings, MediaMeta(), None)
    return f"{policy_word(settings, meta.policy)} {rest}" if meta.policy else rest


def unknown(settings: Settings, policy: str) -> Flow[InvalidPolicy]:
    """Return the error about a policy that nobody knows, with the nearest one that somebody does."""
    index = yield from policies.listing()
    known = {each.name for each in index if not each.removed} | settings.lengths.keys()
    close = difflib.get_close_matches(policy, sorted(known), n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return InvalidPolicy(f"unknown retention policy: {policy!r:.80}{meant}")
