"""Who is let in: asked as a stranger would ask, on a connection of its own without a name or a password."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.retry import Retry

from mediastore.errors import MediaStoreError
from mediastore.index.steps import pairs
from mediastore.speech import translate

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .server import Server

#: The server has just answered us: a stranger need not wait longer.
_PATIENCE_S: Final = 1.0
_LOCAL_ONLY: Final = "this connection is local; whether others reach the server is not checked"
_CLOSE: Final = (
    "Run ACL SETUSER default off (whoever administers the server keeps a user of his own), or set "
    "requirepass; and keep the server inside the fleet's network."
)


def findings(server: Server) -> Iterator[Finding]:
    """Look whether somebody without a password is let in.

    Raises:
        IndexUnavailable: a second connection cannot be made.
    """
    known = server.address
    host = str(known.get("host") or "")
    if known.get("path"):
        yield Finding("access", "ok", "a socket of this host, open to whom its mode lets in")
        return
    if not host:
        yield Finding("access", "ok", "as the client was made")
        return
    place, local = f"{host}:{known.get('port', 6379)}", _is_loopback(host)
    secret = bool(known.get("password") or known.get("credential_provider"))
    if not _lets_strangers_in(server.client.connection_pool.connection_class, known):
        yield Finding("access", "ok", f"{place} refuses whoever has no password")
    elif not local:
        detail = f"anybody who reaches {place} is let in without a password"
        yield Finding("access", "problem", detail, _CLOSE)
    elif secret:
        detail = f"anybody on this host is let in at {place} without a password, though this user has one"
        yield Finding("access", "warning", detail, _CLOSE)
    elif wider := _bound_wider(server):
        detail = f"no password, and the server listens beyond this host (bind {wider}, protected-mode no)"
        yield Finding("access", "warning", detail, _CLOSE)
    else:
        yield Finding("access", "ok", f"no password; {_LOCAL_ONLY}")


def _lets_strangers_in(kind: Any, known: Mapping[str, Any]) -> bool:
    """Send PING on a connection that has nothing of ours but the address and what TLS needs."""
    address = {k: v for k, v in known.items() if k in {"host", "port"} or k.startswith("ssl_")}
    stranger = kind(
        **address,
        protocol=2,  # greets with nothing: PING is the first that the server is asked
        retry=Retry(NoBackoff(), 0),
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
    )
    try:
        stranger.connect()
        stranger.send_command("PING", check_health=False)
        stranger.read_response()
    except (AuthenticationError, ResponseError):
        return False
    except (RedisError, OSError) as error:
        raise translate(error) from None
    else:
        return True
    finally:
        stranger.disconnect()


def _bound_wider(server: Server) -> str:
    """Return the addresses when some are not this host's alone and nothing protects them; empty too when it does not say."""
    try:
        said = pairs(server.call("config_get", "bind")) | pairs(
            server.call("config_get", "protected-mode")
        )
    except MediaStoreError:
        return ""
    addresses = said.get("bind", "127.0.0.1").split() or ["*"]
    wider = [each for each in addresses if not _is_loopback(each.removeprefix("-"))]
    return " ".join(wider) if said.get("protected-mode") == "no" else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
