"""What both clients say to Redis, and how they take the answer; no I/O.

Scripts go by digest and survive a flushed script cache; never inside MULTI.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from redis import exceptions as redis_errors

from .clocks import ClockWatch
from .errors import (
    Corrupt,
    IndexUnavailable,
    IndexVersion,
    InvalidPath,
    MediaStoreError,
    StaleCommand,
    StoreFull,
    as_value,
)
from .index.roots import was_forgotten
from .index.steps import (
    FORMAT,
    REPLAY_WINDOW_MS,
    Batch,
    Command,
    Marks,
    Read,
    digest,
    prefix,
    source,
)
from .refusals import proves_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .index.changes import Opened

#: How long the server's clock, once read, is carried forward by this host's: it drifts by milliseconds in that time.
_TIME_KEPT_S: Final = 60.0

#: How servers refuse a command for want of rights: by itself; inside a script; inside a script in Redis 7.0.
_DENIED: Final = ("NOPERM", "ACL failure in script", "The user executing the script can't")

#: What our scripts say of a key or an argument that is not as it should be.
_FAULT: Final = re.compile(r"(?:WRONGTYPE|WRONGKEY|BADARG|CORRUPT) .*?(?= script: |$)")
#: How a server says that a script failed by itself, rather than a command in it.
_IN_SCRIPT: Final = re.compile(r"(?<!@)user_script:\d+: ")

#: What reading an answer that is none comes to.
_FAULTS: Final = (
    *(KeyError, ValueError, TypeError, IndexError, AttributeError),
    *(ArithmeticError, RecursionError, OSError),
)

Step = Command[Any] | Batch[Any] | Read[Any]
Words = tuple[str | int | bytes, ...]


class Speech:
    """What both clients say and how they take the answer; no I/O. One per store."""

    def __init__(
        self, namespace: str, now: Callable[[], int] | None = None, jump_s: float = 600.0
    ) -> None:
        """Know the key prefix; `now` (milliseconds) replaces the server's clock in tests. `jump_s` as in `ClockWatch`."""
        self.clock = ClockWatch(jump_s)
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
        if not isinstance(step, Read) and step.changes:
            return time.monotonic() - self._heard > _TIME_KEPT_S or self.clock.must_ask
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

    def in_full(self, step: Step, unknown: list[int]) -> list[Words]:
        """Return these commands of a step for a server that knows none of their scripts: each text once."""
        said: set[str] = set()
        words = []
        for command in (commands_of(step)[i] for i in unknown):
            known = command.script in said
            words.append(self.by_digest(command) if known else self.by_text(command))
            said.add(command.script)
        return words

    def _tail(self, command: Command[Any]) -> Words:
        now = "" if self.now is None else str(self.now())
        return (1, self.prefix, self._not_after(command), now, command.op, *command.args)

    def words(self, step: Step, marks: Marks) -> list[Words]:
        """Return what one write says; a read's time comes first, so that every answer was true at that time."""
        if not isinstance(step, Read):
            return [self.by_digest(command) for command in commands_of(step)]
        return [*([("TIME",)] if step.timed else []), *step.build(self.prefix, marks)]

    def understand(self, step: Step, marks: Marks, replies: list[Any]) -> Any:
        """Return the step's answer.

        Raises:
            MediaStoreError: the server refused, or the answer is none that our scripts give.
        """
        if isinstance(step, Batch):
            return [self._value(step.commands[i], marks, reply) for i, reply in enumerate(replies)]
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
        except _FAULTS as error:
            of = f"the script {step.script}" if isinstance(step, Command) else "the index"
            raise Corrupt(
                f"{of} answered what nobody here writes ({type(error).__name__})"
            ) from None

    def _value(self, command: Command[Any], marks: Marks, reply: Any) -> Any:
        """Return one answer of a batch, or the error in its place."""
        try:
            return self.understand(command, marks, [reply])
        except MediaStoreError as error:
            return as_value(error)


def commands_of(step: Step) -> tuple[Command[Any], ...]:
    """Return the scripts of a step; none of a read."""
    if isinstance(step, Read):
        return ()
    return step.commands if isinstance(step, Batch) else (step,)


def unknown_scripts(step: Step, replies: list[Any]) -> list[int]:
    """Return which of a step's scripts the server did not know, so that they must be sent in full."""
    return [
        i
        for i, _ in enumerate(commands_of(step))
        if isinstance(replies[i], redis_errors.NoScriptError)
    ]


def translate(error: Exception) -> MediaStoreError:
    """Return the error of ours that says what a redis-py error means, without secrets."""
    meant = _meaning(error)
    meant.refused = proves_refusal(error)
    return meant


def _meaning(error: Exception) -> MediaStoreError:
    if isinstance(error, UnicodeDecodeError):
        return Corrupt("the index holds text that is not UTF-8")
    words = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    if isinstance(error, redis_errors.OutOfMemoryError) or "OOM command not allowed" in words:
        return StoreFull("Redis has no memory left for a new ref (maxmemory)")
    fault = _FAULT.search(words)
    if fault and fault[0].startswith("BADARG path"):
        return InvalidPath(fault[0])
    if fault:
        return Corrupt(fault[0])
    if "STALE" in words:
        return StaleCommand("the command reached Redis later than a minute after it was made")
    if words.startswith(_DENIED) or isinstance(error, redis_errors.NoPermissionError):
        return IndexUnavailable(f"Redis refuses this user: {words}")
    # The asyncio client passes a refused login on as a ConnectionError of these words.
    refused = "username-password" in words or "already authenticated" in words
    if refused or isinstance(error, redis_errors.AuthenticationError):
        return IndexUnavailable("Redis refuses the user name or password")
    if _IN_SCRIPT.search(words):
        # To call again would be to meet it again.
        return Corrupt(f"a script met what it cannot work with: {words}")
    return IndexUnavailable(f"Redis does not answer as it should: {type(error).__name__}: {words}")
