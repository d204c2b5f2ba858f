"""When an error proves that Redis carried nothing of a command out, and never will.

Only then may a call take back at once what it had begun. After any other error the command may have been
carried out, or may be later: a reply can get lost, and so can a command that arrives a minute late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from redis import exceptions as redis_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What a server answers before it runs anything. redis-py takes the code off those that it has a class for.
_BEFORE: Final = (
    redis_errors.ReadOnlyError,
    redis_errors.OutOfMemoryError,
    redis_errors.NoPermissionError,
    redis_errors.NoScriptError,
    redis_errors.BusyLoadingError,
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    redis_errors.MovedError,  # and AskError
    redis_errors.TryAgainError,
)
_CODES: Final = ("BUSY ", "MISCONF ", "NOREPLICAS ")
#: What our scripts say before their first write.
_OURS: Final = ("BADARG ", "WRONGKEY ", "WRONGTYPE mediastore:", "STALE this command is too old")
#: What a server adds to an error from inside a script, where something may have been written before.
_INSIDE: Final = " script: "


class Sends:
    """The sends of one step; of an unknown one, something may have been carried out, or may be later."""

    def __init__(self, *, unknown: bool = False) -> None:
        """Begin; `unknown`: it was sent before, and something of that is unknown."""
        self.unknown = unknown
        self._before = unknown
        self._commands = 0

    def sending(self, commands: int) -> Self:
        """Send so many commands in a block; unknown until all of their replies are there."""
        self._commands = commands
        return self

    def __enter__(self) -> None:
        """Begin to send."""
        self._before, self.unknown = self.unknown, True

    def __exit__(self, _: object, error: object, __: object) -> None:
        """Look at what went wrong."""
        if isinstance(error, redis_errors.BusyLoadingError):
            # That is the first reply. When the second command came, the server may have been ready.
            self.unknown = self._before or self._commands > 1

    def answered(self, replies: Iterable[Any]) -> None:
        """Take the replies. If an earlier send is unknown, an error among them proves nothing."""
        self.unknown = self._before
        for reply in replies if self.unknown else ():
            if isinstance(reply, Exception):
                vars(reply)["mediastore_doubtful"] = True


def proves_refusal(error: Exception) -> bool:
    """Whether the server answered a command so before it carried anything out, and had not been sent it before."""
    if vars(error).get("mediastore_doubtful"):
        return False
    words = str(error)
    if any(each in words for each in _OURS):
        return True
    return _INSIDE not in words and (isinstance(error, _BEFORE) or words.startswith(_CODES))
