"""The broker as our application reads it: kombu's transports for Redis, which let no poison through.

kombu 5.7 takes a message out of the list first and reads it afterwards, in the worker's loop, where an error
ends the worker; what it could read is kept among the unacknowledged and ends the next one. Brokers of other
kinds are kombu's own, and `Listener` looks at what comes from them.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import kombu
from celery.app.amqp import AMQP
from kombu.transport import redis as transports

from .poison import PoisonError, check_control, check_kept, check_raw, dropped

#: What answers with the message itself, or with the list's name before it.
_TAKE: Final = {"BRPOP": 1, "RPOP": None}


class Client(transports.PrefixedStrictRedis):
    """Answers that the list is empty where it has given poison."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read an answer of the server's."""
        answer = super().parse_response(connection, command_name, **options)
        if command_name not in _TAKE or not answer:
            return answer
        place = _TAKE[command_name]
        return answer if _passes(answer if place is None else answer[place]) else None

    def pubsub(self, **options: Any) -> PubSub:
        """Return the side that listens to remote control."""
        pool, prefix = self.connection_pool, self.global_keyprefix
        return PubSub(pool, global_keyprefix=prefix, **options)


class PubSub(transports.PrefixedRedisPubSub):
    """Hears no poison."""

    def parse_response(self, *args: Any, **options: Any) -> Any:
        """Read what was published, or an answer."""
        heard = super().parse_response(*args, **options)
        spoken = heard is not None and heard[0] in {b"message", b"pmessage", "message", "pmessage"}
        return None if spoken and not _passes(heard[-1], check_control) else heard


class QoS(transports.QoS):
    """Gives nothing back to the queue that nobody could take from it."""

    channel: Any

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002
        """Put a message back that nobody acknowledged, or drop it."""
        with self.channel.conn_or_acquire(client) as server:
            kept = server.hget(self.unacked_key, tag)
            if kept is None or _passes(kept, check_kept):
                super().restore_by_tag(tag, client=server, leftmost=leftmost)
            else:
                self.ack(tag)


class _Sieved:
    """A channel of Redis whose client lets no poison through."""

    def _get_client(self) -> Any:
        made: Any = super()._get_client()  # type: ignore[misc]  # a channel's
        # Without a prefix for all keys it is redis-py's own; our application always has one.
        if isinstance(made, functools.partial):
            return functools.partial(Client, **made.keywords)
        return made


class Channel(_Sieved, transports.Channel):
    """Redis."""

    QoS = QoS


class SentinelChannel(_Sieved, transports.SentinelChannel):
    """Redis behind Sentinel."""

    QoS = QoS


class Transport(transports.Transport):
    """Redis."""

    Channel = Channel


class SentinelTransport(transports.SentinelTransport):
    """Redis behind Sentinel."""

    Channel = SentinelChannel


_OURS: Final[dict[Any, type]] = {
    transports.Transport: Transport,
    transports.SentinelTransport: SentinelTransport,
}


class Connection(kombu.Connection):
    """A connection whose transport is ours, whatever way its URL names one, and after a failover too."""

    def get_transport_cls(self) -> Any:
        """Return the transport."""
        usual = super().get_transport_cls()
        return _OURS.get(usual, usual)


class Broker(AMQP):
    """What our application has for `app.amqp`."""

    Connection = Connection


def _passes(raw: Any, check: Any = check_raw) -> bool:
    try:
        check(raw)
    except PoisonError as why:
        dropped.note(why, raw)
        return False
    return True
