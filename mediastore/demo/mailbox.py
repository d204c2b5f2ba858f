"""How bots hand refs to each other: a list per bot, in a database of its own.

A fleet uses whatever it has for this; a ref is a short text that travels anywhere.
"""

from __future__ import annotations

import json
from typing import Any

import redis


class Mailbox:
    """Messages between the processes of the demo; each is a JSON object."""

    def __init__(self, index_url: str) -> None:
        """Use the index's server, but a database that neither the index nor Celery looks into."""
        self._client = redis.Redis.from_url(f"{index_url.partition('?')[0]}?db=2")

    def send(self, to: str, **message: Any) -> None:
        """Put a message into somebody's list; nobody needs to be there."""
        self._client.rpush(f"inbox:{to}", json.dumps(message))

    def receive(self, name: str, wait_s: float) -> dict[str, Any] | None:
        """Take the next message, or None after the wait."""
        # Redis reads 0 as "for ever".
        found: Any = self._client.blpop([f"inbox:{name}"], timeout=max(wait_s, 0.01))
        if found is None:
            return None
        message: dict[str, Any] = json.loads(found[1])
        return message

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
