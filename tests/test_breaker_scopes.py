"""How many refs the scopes hold that are due, as the breaker estimates it."""

from __future__ import annotations

from mediastore import NEVER
from mediastore.index import lives

from .epochs_clock import MINUTE_MS, clock, minutes  # noqa: F401 - fixtures
from .test_breaker import HOUR_MS, blocking, lived_a_day, settings  # noqa: F401 - fixtures


@blocking
def test_conversations_whose_refs_are_in_their_messages_are_not_taken_for_empty(
    store, clock, lived_a_day, make_file
):
    paths = []
    for chat in range(20):
        for message in range(3):
            paths.append(make_file(f"{chat}-{message}.jpg"))
            store.store(paths[-1], scope=f"chat{chat}/msg{message}", ttl=NEVER)
        store._ask(lives.limit(f"chat{chat}", 10 * MINUTE_MS, "", f"limit{chat}"))
    clock.pass_by(HOUR_MS)

    swept = store.sweep()

    assert (swept.deleted, store.stats().frozen) == (0, ("breaker",))
    assert all(path.exists() for path in paths)
