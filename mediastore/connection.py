"""How steps reach Redis: one write and its replies on a connection of the user's own client, retried as a whole.

A held connection with packed commands costs two thirds of `redis.get`; retries, TLS, ACL users
and Sentinel stay redis-py's.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions as redis_errors

from .errors import InvalidSettings, MediaStoreError, as_value
from .escaping import mask
from .refusals import Sends
from .speech import Speech, Step, Words, translate, unknown_scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    from .index.steps import Marks
    from .settings import Settings

#: A bot learns within a second that the server is not there; the round trip itself may take `timeout`.
_CONNECT_S: Final = 0.8


class Link:
    """Steps over a blocking redis-py client."""

    def __init__(self, client: Any, speech: Speech) -> None:
        """Use the client's pool; no I/O."""
        self._client = client
        self._speech = speech

    def perform(self, step: Step, *, again: bool = False) -> Any:
        """Do one step in one round trip (two after a script flush); `again`: it was sent before.

        Raises:
            MediaStoreError: never an error of redis-py.
        """
        sends = Sends(unknown=again)
        pool = self._client.connection_pool
        try:
            connection = pool.get_connection()
            try:
                marks, replies = connection.retry.call_with_retry(
                    lambda: self._once(connection, step, sends), lambda _: connection.disconnect()
                )
                # Learnt before anybody else can have the connection: when it reconnects, it must forget.
                return self._speech.understand(step, marks, replies)
            except MediaStoreError:
                raise
            except BaseException:
                # A call that a signal interrupted leaves replies unread, which the next call would take for its own.
                connection.disconnect()
                raise
            finally:
                pool.release(connection)
        except (redis_errors.RedisError, UnicodeDecodeError, OSError) as error:
            raise _translated(error, sends) from None

    def _once(self, connection: Any, step: Step, sends: Sends) -> tuple[Marks, list[Any]]:
        # Does nothing on a live connection; a new one must not be asked with the marks of the old.
        try:
            connection.connect()
        except (redis_errors.RedisError, OSError) as error:
            raise _translated(error, sends) from None  # it has been tried again already
        marks = self._speech.marks_of(connection)
        connected, words = marks.connected, self._speech.words(step, marks)
        with sends.sending(len(words)):
            replies = self._say(connection, words)
            unknown = unknown_scripts(step, replies)
            if unknown:
                said = self._say(connection, self._speech.in_full(step, unknown))
                for i, reply in zip(unknown, said, strict=True):
                    replies[i] = reply
        if marks.connected != connected:
            # The marks asked for were newer than what the old connection had seen: ask again from the start.
            raise redis_errors.ConnectionError("reconnected in the middle of a call")
        sends.answered(replies)
        return marks, replies

    @staticmethod
    def _say(connection: Any, commands: list[Words]) -> list[Any]:
        if not commands:
            return []
        connection.send_packed_command(connection.pack_commands(commands))
        replies = []
        for _ in commands:
            try:
                # Bytes, whatever the client decodes: one text that is no UTF-8 must not hide the other replies.
                replies.append(connection.read_response(disable_decoding=True))
            except redis_errors.ResponseError as error:
                replies.append(as_value(error))
        return replies

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()


class AsyncLink:
    """Steps over an asyncio redis-py client. As `Link`, awaited."""

    def __init__(self, client: Any, speech: Speech) -> None:
        """Use the client's pool; no I/O."""
        self._client = client
        self._speech = speech

    async def perform(self, step: Step, *, again: bool = False) -> Any:
        """Do one step. As `Link.perform`."""
        sends = Sends(unknown=again)
        pool = self._client.connection_pool

        async def fail(_: Exception) -> None:
            await connection.disconnect()

        try:
            connection = await pool.get_connection()
            try:
                marks, replies = await connection.retry.call_with_retry(
                    lambda: self._once(connection, step, sends), fail
                )
                return self._speech.understand(step, marks, replies)
            except MediaStoreError:
                raise
            except BaseException:
                # A cancelled call leaves replies unread; the connection must not be used again.
                await connection.disconnect(nowait=True)
                raise
            finally:
                await pool.release(connection)
        except (redis_errors.RedisError, UnicodeDecodeError, OSError) as error:
            raise _translated(error, sends) from None

    async def _once(self, connection: Any, step: Step, sends: Sends) -> tuple[Marks, list[Any]]:
        try:
            await connection.connect()
        except (redis_errors.RedisError, OSError) as error:
            raise _translated(error, sends) from None
        marks = self._speech.marks_of(connection)
        connected, words = marks.connected, self._speech.words(step, marks)
        with sends.sending(len(words)):
            replies = await self._say(connection, words)
            unknown = unknown_scripts(step, replies)
            if unknown:
                said = await self._say(connection, self._speech.in_full(step, unknown))
                for i, reply in zip(unknown, said, strict=True):
                    replies[i] = reply
        if marks.connected != connected:
            raise redis_errors.ConnectionError("reconnected in the middle of a call")
        sends.answered(replies)
        return marks, replies

    @staticmethod
    async def _say(connection: Any, commands: list[Words]) -> list[Any]:
        if not commands:
            return []
        await connection.send_packed_command(connection.pack_commands(commands))
        replies = []
        for _ in commands:
            try:
                replies.append(await connection.read_response(disable_decoding=True))
            except redis_errors.ResponseError as error:
                replies.append(as_value(error))
        return replies

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.aclose()


def _translated(error: Exception, sends: Sends) -> MediaStoreError:
    """Return an error of the connection as one of ours: if no send is unknown, nothing has reached the server."""
    meant = translate(error)
    meant.refused = not sends.unknown
    return meant


def connect(settings: Settings) -> Any:
    """Return a blocking client for the settings; connects at the first command.

    Raises:
        InvalidSettings: the URL cannot be read.
    """
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    retry = Retry(
        ExponentialBackoff(cap=0.5, base=0.02), settings.retries, (redis_errors.ConnectionError,)
    )
    return _from_url(redis.Redis.from_url, settings, retry=retry)


def connect_async(settings: Settings) -> Any:
    """Return an asyncio client for the settings. As `connect`; at most 64 connections, further calls wait their turn."""
    import redis.asyncio as redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff

    retry = Retry(
        ExponentialBackoff(cap=0.5, base=0.02), settings.retries, (redis_errors.ConnectionError,)
    )

    def make(url: str, **options: Any) -> Any:
        pool = redis.BlockingConnectionPool.from_url(
            url, max_connections=64, timeout=settings.seconds("timeout"), **options
        )
        return redis.Redis.from_pool(pool)

    return _from_url(make, settings, retry=retry)


def _from_url(make: Callable[..., Any], settings: Settings, **options: Any) -> Any:
    timeout = settings.seconds("timeout")
    try:
        return make(
            settings.redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=min(timeout, _CONNECT_S),
            # None: a lost connection is noticed by the call itself, which is then sent again, and
            # with health checks redis-py repeats a login that was refused without an end.
            health_check_interval=0,
            client_name=f"mediastore:{socket.gethostname()}:{os.getpid()}".replace(" ", "-"),
            **options,
        )
    except (ValueError, TypeError):
        # The parser's own words could repeat a password.
        raise InvalidSettings(f"redis_url cannot be read: {mask(settings.redis_url)}") from None
