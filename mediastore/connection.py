"""How steps reach Redis: one write and its replies on a connection of the user's own client, retried as a whole.

A held connection with packed commands costs two thirds of `redis.get`; retries, TLS, ACL users
and Sentinel stay redis-py's. Scripts go by digest and survive a flushed script cache; never inside MULTI.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from redis import exceptions as redis_errors

from .errors import (
    Corrupt,
    IndexUnavailable,
    IndexVersion,
    InvalidSettings,
    MediaStoreError,
    StaleCommand,
    StoreFull,
)
from .index.roots import was_forgotten
from .index.steps import FORMAT, REPLAY_WINDOW_MS, Command, Marks, Read, digest, prefix, source
from .settings import Settings, mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .index.changes import Opened

#: A bot learns within a second that the server is not there; the round trip itself may take `timeout`.
_CONNECT_S: Final = 0.8
#: How long the server's clock, once read, is carried forward by this host's: it drifts by milliseconds in that time.
_TIME_KEPT_S: Final = 60.0

#: How servers refuse a command for want of rights: by itself; inside a script; inside a script in Redis 7.0.
_DENIED: Final = ("NOPERM", "ACL failure in script", "The user executing the script can't")

Step = Command[Any] | Read[Any]
Words = tuple[str | int, ...]


class Speech:
    """What both clients say and how they take the answer; no I/O. One per store."""

    def __init__(self, namespace: str, now: Callable[[], int] | None = None) -> None:
        """Know the key prefix; `now` (milliseconds) replaces the server's clock in tests."""
        self.prefix = prefix(namespace)
        self.now = now
        self.shebang = True
        self._marks: WeakKeyDictionary[Any, Marks] = WeakKeyDictionary()
        self._server_ms = 0.0
        self._heard = float("-inf")
        self._rooted = False

    def marks_of(self, connection: Any) -> Marks:
        """Return what this connection has seen; it starts empty at every (re)connect."""
        marks = self._marks.get(connection)
        if marks is None:
            marks = self._marks[connection] = Marks()
            connection.register_connect_callback(marks.forget)
            # fakeredis knows no `#!lua` line.
            self.shebang = not type(connection).__module__.startswith("fakeredis")
        return marks

    # --- time

    @property
    def opened(self) -> bool:
        """Whether the index was greeted once."""
        return self._heard > float("-inf")

    def must_open(self, step: Step) -> bool:
        """Whether the index must be greeted (again) before this step."""
        if not (self._rooted or step.unrooted):
            return True
        if isinstance(step, Command) and step.changes:
            return time.monotonic() - self._heard > _TIME_KEPT_S
        return not self.opened

    def heard(self, opened: Opened, roots: Mapping[str, str] | None) -> None:
        """Take the index's greeting, which named these verified roots; None when it could not.

        Raises:
            IndexVersion: it is written in another format.
            InvalidRoot: one of the roots was forgotten.
        """
        if opened.format != FORMAT:
            raise IndexVersion(opened.format, FORMAT)
        for root, words in opened.forgotten:
            self._rooted = False  # so that every further call hears it as well
            raise was_forgotten((roots or {}).get(root, root), root, words)
        self._rooted = self._rooted or roots is not None
        self._server_ms, self._heard = float(opened.now_ms), time.monotonic()

    def distrust_time(self) -> None:
        """Greet the index again before the next change."""
        self._heard = min(self._heard, time.monotonic() - 2 * _TIME_KEPT_S)

    def _not_after(self, command: Command[Any]) -> str:
        if not command.changes or command.script == "open":
            return ""
        passed_ms = (time.monotonic() - self._heard) * 1000
        server = (
            self._server_ms + passed_ms if self.now is None else max(self._server_ms, self.now())
        )
        return str(int(server) + REPLAY_WINDOW_MS)

    # --- words

    def by_digest(self, command: Command[Any]) -> Words:
        """Return the command as it is usually sent."""
        return ("EVALSHA", digest(command.script, shebang=self.shebang), *self._tail(command))

    def by_text(self, command: Command[Any]) -> Words:
        """Return the command with the whole script, for a server that does not know it."""
        return ("EVAL", source(command.script, shebang=self.shebang), *self._tail(command))

    def _tail(self, command: Command[Any]) -> Words:
        now = "" if self.now is None else str(self.now())
        return (1, self.prefix, self._not_after(command), now, command.op, *command.args)

    def words(self, step: Step, marks: Marks) -> list[Words]:
        """Return what one write says; a read's time comes first, so that every answer was true at that time."""
        if isinstance(step, Command):
            return [self.by_digest(step)]
        return [*([("TIME",)] if step.timed else []), *step.build(self.prefix, marks)]

    def understand(self, step: Step, marks: Marks, replies: list[Any]) -> Any:
        """Return the step's answer.

        Raises:
            MediaStoreError: the server refused, or the answer is none that our scripts give.
        """
        for reply in replies:
            if isinstance(reply, redis_errors.ResponseError):
                raise translate(reply)
        try:
            if isinstance(step, Command):
                return step.parse(replies[0])
            if not step.timed:
                return step.parse(marks, replies, 0)
            server = int(replies[0][0]) * 1000 + int(replies[0][1]) // 1000
            return step.parse(marks, replies[1:], server if self.now is None else self.now())
        except MediaStoreError:
            raise
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise Corrupt(
                f"the index answered what nobody here writes ({type(error).__name__})"
            ) from None


def translate(error: Exception) -> MediaStoreError:
    """Return the error of ours that says what a redis-py error means, without secrets."""
    if isinstance(error, UnicodeDecodeError):
        return Corrupt("the index holds text that is not UTF-8")
    words = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    if isinstance(error, redis_errors.OutOfMemoryError) or "OOM command not allowed" in words:
        return StoreFull("Redis has no memory left for a new ref (maxmemory)")
    if "WRONGTYPE" in words or "BADARG" in words or "WRONGKEY" in words:
        return Corrupt(words.partition(" script: ")[0])
    if "STALE" in words:
        return StaleCommand("the command reached Redis later than a minute after it was made")
    if words.startswith(_DENIED) or isinstance(error, redis_errors.NoPermissionError):
        return IndexUnavailable(f"Redis refuses this user: {words}")
    # The asyncio client passes a refused login on as a ConnectionError of these words.
    refused = "username-password" in words or "already authenticated" in words
    if refused or isinstance(error, redis_errors.AuthenticationError):
        return IndexUnavailable("Redis refuses the user name or password")
    return IndexUnavailable(f"Redis does not answer as it should: {type(error).__name__}: {words}")


class Link:
    """Steps over a blocking redis-py client."""

    def __init__(self, client: Any, speech: Speech) -> None:
        """Use the client's pool; no I/O."""
        self._client = client
        self._speech = speech

    def perform(self, step: Step) -> Any:
        """Do one step in one round trip (two after a script flush).

        Raises:
            MediaStoreError: never an error of redis-py.
        """
        pool = self._client.connection_pool
        try:
            connection = pool.get_connection()
            try:
                marks, replies = connection.retry.call_with_retry(
                    lambda: self._once(connection, step), lambda _: connection.disconnect()
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
            raise translate(error) from None

    def _once(self, connection: Any, step: Step) -> tuple[Marks, list[Any]]:
        # Does nothing on a live connection; a new one must not be asked with the marks of the old.
        try:
            connection.connect()
        except (redis_errors.RedisError, OSError) as error:
            raise translate(error) from None  # it has been tried again already
        marks = self._speech.marks_of(connection)
        connected = marks.connected
        replies = self._say(connection, self._speech.words(step, marks))
        if isinstance(step, Command) and isinstance(replies[0], redis_errors.NoScriptError):
            replies = self._say(connection, [self._speech.by_text(step)])
        if marks.connected != connected:
            # The marks asked for were newer than what the old connection had seen: ask again from the start.
            raise redis_errors.ConnectionError("reconnected in the middle of a call")
        return marks, replies

    @staticmethod
    def _say(connection: Any, commands: list[Words]) -> list[Any]:
        if not commands:
            return []
        connection.send_packed_command(connection.pack_commands(commands))
        replies = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except redis_errors.ResponseError as error:
                replies.append(error)
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

    async def perform(self, step: Step) -> Any:
        """Do one step. As `Link.perform`."""
        pool = self._client.connection_pool

        async def fail(_: Exception) -> None:
            await connection.disconnect()

        try:
            connection = await pool.get_connection()
            try:
                marks, replies = await connection.retry.call_with_retry(
                    lambda: self._once(connection, step), fail
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
            raise translate(error) from None

    async def _once(self, connection: Any, step: Step) -> tuple[Marks, list[Any]]:
        try:
            await connection.connect()
        except (redis_errors.RedisError, OSError) as error:
            raise translate(error) from None
        marks = self._speech.marks_of(connection)
        connected = marks.connected
        replies = await self._say(connection, self._speech.words(step, marks))
        if isinstance(step, Command) and isinstance(replies[0], redis_errors.NoScriptError):
            replies = await self._say(connection, [self._speech.by_text(step)])
        if marks.connected != connected:
            raise redis_errors.ConnectionError("reconnected in the middle of a call")
        return marks, replies

    @staticmethod
    async def _say(connection: Any, commands: list[Words]) -> list[Any]:
        if not commands:
            return []
        await connection.send_packed_command(connection.pack_commands(commands))
        replies = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except redis_errors.ResponseError as error:
                replies.append(error)
        return replies

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.aclose()


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
