"""What is wrong here, for the person on call: the server, the journal, who sweeps, the roots.

Nothing is changed, with one exception: greeting an index that nobody has used writes its format number.
A directory that was never used is looked at and not marked, so that a missing mount stays noticeable.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mediastore.connection import connect
from mediastore.errors import MediaStoreError

from . import breaker, epochs, journal, presence, roots, server, spared
from .finding import Finding, human_bytes, human_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediastore.settings import Settings

__all__ = ["Finding", "examine", "human_bytes", "human_span"]


def examine(settings: Settings, client: Any = None) -> list[Finding]:
    """Look at everything a store with these settings needs; never raises for what it finds.

    Args:
        settings: As the bots and workers have them.
        client: A redis-py client to use; None: one is made from `settings.redis_url`, and closed.

    Returns:
        What was found. A server that does not answer comes first, and the roots are still looked at.
        With several namespaces, what is one's own begins with its name.
    """
    several = len(settings.served) > 1
    found: list[Finding] = []
    for name in settings.served:
        for each in _examine(settings.for_namespace(name), client):
            if each.name not in server.SHARED:
                found.append(replace(each, name=f"{name} {each.name}") if several else each)
            elif name == settings.served[0]:
                found.append(each)
    return found


def _examine(settings: Settings, client: Any) -> list[Finding]:
    found = list(_settings(settings))
    made = None
    places = journal.Places()
    try:
        made = connect(settings) if client is None else None
        answering = server.Server(client or made, settings)
        found += server.findings(answering)
        places, unread = journal.places(answering)
        found += [*unread, *journal.findings(answering, places.all, roots.here(settings))]
        found += spared.findings(answering, roots.trusted(settings))
        found += presence.findings(answering, places.all)
        found += epochs.findings(answering)
        found += breaker.findings(answering)
    except MediaStoreError as error:
        found.insert(0, server.dead(error))
    finally:
        if made is not None:
            made.close()
    told = roots.unknown_to_the_index(settings, places) if places.read else ()
    return [*found, *roots.findings(settings, places.in_use, places.lost), *told]


def _settings(settings: Settings) -> Iterator[Finding]:
    max_age = settings.seconds("max_age")
    life = f"refs live {human_span(max_age)}" if max_age else "refs live for ever"
    yield Finding(
        "settings", "ok", f"namespace {settings.namespace}; {life} unless stored with a ttl"
    )
    if not settings.cleanup_enabled or not settings.seconds("sweep_interval"):
        name = "sweep_interval is 0" if settings.cleanup_enabled else "cleanup_enabled is false"
        advice = "Change it, or be sure that workers with other settings sweep."
        yield Finding("settings", "warning", f"sweeping is off here: {name}", advice)
