"""What each kind of process may do in Redis, as access rules: a bot, a worker, a reader.

A script is no way around the rules: Redis checks every command inside it against the rights of the caller.
So a role is the commands it sends and the commands inside its scripts, on the keys of its namespaces. Tests run
every role on a real server: its log of refusals stays empty, and each command below is really used.

HELLO, AUTH, QUIT and RESET are in no list: a server allows them to everybody.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from .errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

RoleName = Literal["bot", "worker", "reader"]

#: In place of a password. No server accepts it, so that nobody runs with a password that all the world can read here.
PLACEHOLDER: Final = "#<SHA-256-OF-THE-PASSWORD>"
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
#: The first servers that know CLIENT SETINFO; to those before, naming it is an error.
_KNOWS_SETINFO: Final = (7, 2)
#: A longer list of namespaces is not spelt out in the name of each key.
_READABLE: Final = 100


@dataclass(frozen=True, slots=True)
class Group:
    """Commands that are needed for one reason."""

    reason: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """What one kind of process may do.

    Attributes:
        groups: The commands.
        keys: Key patterns of each namespace, with the access they give.
        queue: Key and channel patterns of the queue, which the namespaces of one worker share.
        one_each: Whether each namespace gets a user of its own.
    """

    groups: tuple[Group, ...]
    keys: tuple[str, ...]
    queue: tuple[str, ...] = ()
    one_each: bool = False

    @property
    def commands(self) -> tuple[str, ...]:
        """Every command once, in the order of the groups."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group.commands))


CONNECT: Final = Group(
    "Connections are named, so that CLIENT LIST says whose they are; databases other than 0 are chosen.",
    ("client|setname", "client|setinfo", "select"),
)
SCRIPTS: Final = Group(
    "Every change and some reads are scripts: sent by digest, in full to a server that does not know them. They ask the "
    "server who it is (INFO server), so that nothing is deleted just after another one took its place.",
    ("evalsha", "eval", "time", "info"),
)
READ: Final = Group(
    "What resolving, listing, and the scripts read.",
    (
        *("get", "exists", "type"),
        *("hget", "hgetall", "hmget", "hlen"),
        *("zcard", "zcount", "zmscore", "zrange", "zrangebyscore", "zscore"),
        *("sscan", "lrange"),
    ),
)
CHANGE: Final = Group(
    "What the scripts that change the index write. UNLINK, never DEL: a large value must not stop the server.",
    (
        *("set", "unlink"),
        *("hexists", "hset", "hdel", "hincrby", "hkeys"),
        *("zadd", "zrem"),
        *("sadd", "srem"),
        *("rpush", "llen", "ltrim"),
    ),
)
LOOK: Final = Group(
    "What `mediastore doctor` and `mediastore sweep --dry-run` ask: the server about itself, the journal about its length.",
    ("ping", "info", "hscan", "hkeys", "zcount", "lrange"),
)
PRESENCE: Final = Group(
    "Workers and beats note when they were alive, and forget who was not seen for a day.",
    ("zadd", "zremrangebyscore"),
)
QUEUE: Final = Group(
    "Celery's queue: ticks are sent, taken, kept while they are carried out, and counted.",
    (
        *("lpush", "brpop", "llen", "del", "ping"),
        *("hset", "hdel", "zadd", "zrem", "sadd", "srem"),
        *("multi", "exec"),
    ),
)
RESTORE: Final = Group(
    "The ticks of a worker that died come back: found by age, moved in a transaction, under a lock whose release is a script.",
    ("zrange", "hget", "rpush", "watch", "set", "script|load", "script|exists"),
)
CONTROL: Final = Group(
    "`celery inspect`, `celery control` and the warm shutdown reach workers by a channel.",
    ("publish", "psubscribe", "punsubscribe", "smembers"),
)

_INDEX: Final = "~mediastore:{{{namespace}}}:*"
ROLES: Final[dict[RoleName, Role]] = {
    "bot": Role((CONNECT, SCRIPTS, READ, CHANGE, LOOK), (_INDEX,), one_each=True),
    "worker": Role(
        (CONNECT, SCRIPTS, READ, CHANGE, LOOK, PRESENCE, QUEUE, RESTORE, CONTROL),
        (_INDEX,),
        # A pattern that is subscribed to must be granted literally, the number of the database included.
        ("~{queue}*", "&{queue}*", "&{queue}/{database}.celery.pidbox"),
    ),
    # A script is called with the bare prefix as its key, and Redis takes every key of a script for one that is
    # written. No key has that name; on those that exist a reader may only read.
    "reader": Role(
        (CONNECT, SCRIPTS, READ, LOOK),
        ("~mediastore:{{{namespace}}}:", "%R~mediastore:{{{namespace}}}:*"),
    ),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One user's rules; `words` are what follows the user's name in ACL SETUSER and in an ACL file."""

    role: RoleName
    user: str
    namespaces: tuple[str, ...]
    words: str

    @property
    def command(self) -> str:
        """The rules as a command for redis-cli or valkey-cli."""
        return f"ACL SETUSER {self.user} {self.words}"

    @property
    def line(self) -> str:
        """The rules as a line of an ACL file."""
        return f"user {self.user} {self.words}"


def queue_prefix(namespaces: Sequence[str]) -> str:
    """Return what the keys and channels of the queue start with, for a worker that serves these namespaces."""
    names = ",".join(sorted(namespaces))
    if len(names) > _READABLE:
        names = f"{len(namespaces)},{hashlib.sha256(names.encode()).hexdigest()[:16]}"
    return f"mediastore:celery:{names}:"


def default_user(password: str | None = None) -> str:
    """Return the first line of an ACL file: who is let in without a name.

    A server whose ACL file says nothing of the user `default` lets everybody in with all rights, whatever
    `requirepass` says.

    Args:
        password: The administrator's, who then has all rights under that name. None: nobody has.
    """
    return f"user default on {_secret(password)} ~* &* +@all" if password else "user default off"


def _secret(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def rules(
    role: RoleName,
    namespaces: Sequence[str],
    *,
    user: str | None = None,
    password: str | None = None,
    database: int = 0,
    server: tuple[int, int] = _KNOWS_SETINFO,
) -> list[Rule]:
    """Return the least a role needs: a user for each namespace for bots, else one for all of them.

    Args:
        role: "bot", "worker" or "reader".
        namespaces: One or more.
        user: The user's name; None: `mediastore-<role>`, for bots `mediastore-bot-<namespace>`.
        password: Only its SHA-256 is in the rules. None: a placeholder that no server accepts.
        database: The number in the URL of the queue; workers subscribe to channels named after it.
        server: The oldest server that is to take the rules.

    Raises:
        InvalidRequest: the user's name cannot be one, or is one name for several users.
    """
    known = ROLES[role]
    groups = [(name,) for name in namespaces] if known.one_each else [tuple(namespaces)]
    if user is not None and not _USER.fullmatch(user):
        raise InvalidRequest(f"{user!r:.80} cannot be a user: letters, digits and ._@- are allowed")
    if user is not None and len(groups) > 1:
        raise InvalidRequest("each namespace has a bot user of its own: give one namespace a name")
    secret = _secret(password) if password else PLACEHOLDER
    commands = [
        f"+{name}"
        for name in known.commands
        if name != "client|setinfo" or server >= _KNOWS_SETINFO
    ]
    found = []
    for group in groups:
        places = [
            *(key.format(namespace=namespace) for namespace in group for key in known.keys),
            *(p.format(queue=queue_prefix(group), database=database) for p in known.queue),
        ]
        default = f"mediastore-{role}" + (f"-{group[0]}" if known.one_each else "")
        words = " ".join(("reset", "on", secret, *places, *commands))
        found.append(Rule(role, user or default, group, words))
    return found
