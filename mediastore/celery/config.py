"""How our application is configured, each setting with its reason; the broker's URL; the beat entries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from mediastore.errors import InvalidSettings
from mediastore.settings import mask

if TYPE_CHECKING:
    from mediastore.settings import Settings

#: Where Celery finds our classes by name: the package, whatever file they are in.
PACKAGE: Final = "mediastore.celery"

SWEEP: Final = "mediastore.sweep"
DRAIN: Final = "mediastore.drain"
QUEUE: Final = "mediastore"

SOFT_LIMIT_S: Final = 50
HARD_LIMIT_S: Final = 60
#: Expiry compares the clocks of two hosts; ticks must survive those being some seconds apart.
EXPIRES_AT_LEAST_S: Final = 30.0


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the beat entries: sweep and drain, or drain alone where sweeping is off.

    A release must be carried out whether or not anything expires.
    """
    return {
        name: {
            "task": name,
            "schedule": every_s,
            "options": {"queue": QUEUE, "expires": expires_s(every_s)},
        }
        for name, every_s in intervals(settings).items()
    }


def broker_url(settings: Settings) -> str:
    """Return the broker's URL as Celery spells it: the setting, else the same Redis.

    Raises:
        InvalidSettings: the URL cannot be read.
    """
    try:
        url = settings.broker_url or _from_redis_url(settings.redis_url)
    except ValueError:
        # The parser's own words could repeat a password.
        raise InvalidSettings(f"redis_url cannot be read: {mask(settings.redis_url)}") from None
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        url += f"{'&' if '?' in url else '?'}ssl_cert_reqs=required"
    return url


def _from_redis_url(url: str) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    user = unquote(parts.username or "") or query.get("username", "")
    password = unquote(parts.password or "") or query.get("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    if parts.scheme == "unix":
        return f"redis+socket://{login}{parts.path}?virtual_host={int(query.get('db', 0))}"
    database = int(query.get("db") or parts.path.strip("/") or 0)
    _ = parts.port  # raises ValueError now rather than at the first connection
    secure = urlencode({key: text for key, text in query.items() if key.startswith("ssl_")})
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{login}{host}/{database}{'?' if secure else ''}{secure}"


def intervals(settings: Settings) -> dict[str, float]:
    """Return the ticks there are, and the seconds between two of each."""
    sweep_s = settings.seconds("sweep_interval")
    sweeping = {SWEEP: sweep_s} if settings.cleanup_enabled and sweep_s > 0 else {}
    return {**sweeping, DRAIN: settings.seconds("drain_interval")}


def expires_s(every_s: float) -> float:
    """Return after how many seconds a tick that nobody took is worth nothing."""
    return max(every_s, EXPIRES_AT_LEAST_S)


def configuration(settings: Settings) -> dict[str, Any]:
    """Return what our application is configured with. An application of somebody else's gets none of it."""
    # Celery gives this variable, which `celery -b` sets, precedence over any configuration.
    broker = os.environ.get("CELERY_BROKER_URL") or broker_url(settings)
    on_redis = broker.startswith(("redis", "sentinel"))
    return {
        "broker_url": broker,
        "broker_transport_options": _transport_options(settings) if on_redis else {},
        # A server that is not up yet, or down for the night, is waited for.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Who can write to the queue must not be able to run code: no pickle, in or out.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        # One long sweep, and a drain beside it. One child a core would be 64 clocks on some hosts.
        "worker_concurrency": 2,
        # A tick taken by a busy worker waits; left in the queue, an idle one takes it.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": on_redis,  # Celery knows it for Redis only
        # A sweep goes on when the queue is gone: what it does is in the index.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,  # nothing is prefetched
        "worker_consumer": f"{PACKAGE}:Listener",
        "beat_schedule": beat_schedule(settings),
        "beat_scheduler": f"{PACKAGE}:Clock",
        "enable_utc": True,
    }


def _transport_options(settings: Settings) -> dict[str, Any]:
    return {
        # A worker deletes for one namespace, so its ticks must not reach another's.
        "global_keyprefix": f"mediastore:celery:{settings.namespace}:",
        # One list instead of four: all ticks are equal, and LLEN shows them all.
        "priority_steps": [0],
        # A dead worker's ticks come back after this; five hard limits, so never from a live one.
        "visibility_timeout": 5 * HARD_LIMIT_S,
        # By default kombu looks for them every 100 s, whatever the timeout: 10 s, each tenth time.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # A server that vanished without a word must not block the worker's loop for ever.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,  # kombu drops it for Unix sockets
        "health_check_interval": 25,
        "client_name": "mediastore-celery",
    }
