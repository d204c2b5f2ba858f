"""How our application is configured, each setting with its reason; the broker's URL; the beat entries."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from mediastore.errors import InvalidSettings
from mediastore.escaping import mask

if TYPE_CHECKING:
    from mediastore.settings import Settings

#: Where Celery finds our classes by name: the package, whatever file they are in.
PACKAGE: Final = "mediastore.celery"

SWEEP: Final = "mediastore.sweep"
DRAIN: Final = "mediastore.drain"
QUEUE: Final = "mediastore"

SOFT_LIMIT_S: Final = 50
HARD_LIMIT_S: Final = 60
#: A live worker renews its ticks long before; with a second to look, a dead one's come back within 10 s.
VISIBLE_S: Final = 7
#: The longest pause of beat, which says after each that it is alive.
BEAT_LOOP_S: Final = 5
#: The message header in which an entry of beat's says whose it is.
BEAT_HEADER: Final = "mediastore_beat"
_READABLE: Final = 100
_REDIS: Final = ("redis", "sentinel")
_RABBITMQ: Final = ("amqp", "pyamqp")
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
            "options": {
                "queue": QUEUE,
                "expires": expires_s(every_s),
                "headers": {BEAT_HEADER: f"beat@{settings.called}"},
            },
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
    return {
        **_broker(settings, broker),
        **_worker(settings),
        # Who can write to the queue must not be able to run code: no pickle, in or out.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "beat_schedule": beat_schedule(settings),
        "beat_scheduler": f"{PACKAGE}:Clock",
        # Its heartbeat must not become as old as the pause to the next tick.
        "beat_max_loop_interval": BEAT_LOOP_S,
        "enable_utc": True,
        **_redbeat(settings),
    }


def _broker(settings: Settings, broker: str) -> dict[str, Any]:
    return {
        "broker_url": broker,
        "broker_transport_options": transport_options(settings, broker),
        # A server that is not up yet, or down for the night, is waited for.
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,
        # So is one that refuses: a replica that was the primary, a right or a type that somebody changed.
        "broker_channel_error_retry": True,
        "task_default_queue": QUEUE,
        # On RabbitMQ, a queue that outlives one of its nodes; other brokers know no types.
        "task_default_queue_type": "quorum" if broker.startswith(_RABBITMQ) else "classic",
        # Quorum queues know no prefetch limit for a whole channel: Celery sets one a consumer.
        "worker_detect_quorum_queues": True,
        "worker_disable_prefetch": broker.startswith(_REDIS),  # Celery knows it for Redis only
    }


def _worker(settings: Settings) -> dict[str, Any]:
    return {
        # One long sweep, and a drain beside it. One child a core would be 64 clocks on some hosts.
        "worker_concurrency": settings.worker_concurrency,
        # What a library leaks is given back with the process that leaked it.
        "worker_max_tasks_per_child": settings.worker_max_tasks or None,
        # A tick taken by a busy worker waits; left in the queue, an idle one takes it.
        "worker_prefetch_multiplier": 1,
        # A sweep goes on when the queue is gone: what it does is in the index.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,  # nothing is prefetched
        # SIGTERM waits for the passes (warm). SIGQUIT, or SIGTERM with REMAP_SIGTERM=SIGQUIT, waits
        # this long and then ends them; what they did not finish is journalled.
        "worker_soft_shutdown_timeout": settings.seconds("soft_shutdown"),
        "worker_enable_soft_shutdown_on_idle": False,  # nothing waits for a time to come: no ETA
        "worker_consumer": f"{PACKAGE}:Listener",
    }


def transport_options(settings: Settings, broker: str) -> dict[str, Any]:
    """Return what the broker's transport is told, by kind of broker; others get nothing they do not know."""
    if broker.startswith(_RABBITMQ):
        # RabbitMQ gives a lost worker's ticks back by itself. A publish counts when it is confirmed.
        return {"confirm_publish": True}
    if not broker.startswith(_REDIS):
        return {}
    return {
        # A worker deletes for its namespaces alone, so its ticks must not reach another's.
        "global_keyprefix": key_prefix(settings),
        # One list instead of four: all ticks are equal, and LLEN shows them all.
        "priority_steps": [0],
        # A dead worker's ticks come back this long after its last sign of life, and are looked for
        # every second; by default kombu looks every 100 s. `Hold` renews those of a live worker.
        "visibility_timeout": VISIBLE_S,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # Who dies while looking must not keep the others from it for five minutes.
        "unacked_mutex_expire": 5,
        # A server that vanished without a word must not block the worker's loop for ever.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,  # kombu drops it for Unix sockets
        "health_check_interval": 25,
        "client_name": "mediastore-celery",
    }


def with_our_route(routes: Any) -> Any:
    """Return an application's routes with one for our tasks; what it says of them itself comes first."""
    ours = {f"{QUEUE}.*": {"queue": QUEUE}}
    if routes is None or routes == ours:
        return ours
    if isinstance(routes, dict):
        return {**routes, **{name: route for name, route in ours.items() if name not in routes}}
    routers = list(routes) if isinstance(routes, list | tuple) else [routes]
    return routers if ours in routers else [*routers, ours]


def key_prefix(settings: Settings) -> str:
    """Return what the broker's keys start with: workers of other namespaces, or of other lists, have another."""
    names = ",".join(sorted(settings.served))
    if len(names) > _READABLE:
        digest = hashlib.sha256(names.encode()).hexdigest()[:16]
        names = f"{len(settings.served)},{digest}"
    return f"mediastore:celery:{names}:"


def _redbeat(settings: Settings) -> dict[str, Any]:
    """Return what `celery -A worker beat -S redbeat.RedBeatScheduler` needs; nothing unless it is installed."""
    if find_spec("redbeat") is None:
        return {}
    return {
        # The index's server: whoever can tick knows it, and the broker may be no Redis.
        "redbeat_redis_url": settings.redis_url,
        "redbeat_key_prefix": key_prefix(settings).replace(":celery:", ":beat:"),
        # How long a standby waits for a dead leader; five loops, so that a slow one is not deposed.
        "redbeat_lock_timeout": 5 * BEAT_LOOP_S,
    }
