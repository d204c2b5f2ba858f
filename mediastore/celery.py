"""Sweeping by Celery: two tasks, the beat entries that call them, and a worker that needs no beat.

Celery is only an alarm clock here. A message says "sweep" or "drain" and carries no truth: it may be
lost, doubled or late, and the index decides what there is to do. So nothing below tries to deliver
exactly once, and any number of workers and beats give the same result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
import warnings
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, Task, bootsteps, signals
from celery.beat import Scheduler, SchedulingError
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from kombu.exceptions import OperationalError

from .client import MediaStore
from .errors import InvalidSettings, MediaStoreError
from .settings import Settings, mask
from .sweeper import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery.beat import ScheduleEntry
    from kombu import Producer

    from .model import Swept

SWEEP: Final = "mediastore.sweep"
DRAIN: Final = "mediastore.drain"
QUEUE: Final = "mediastore"

SOFT_LIMIT_S: Final = 50
HARD_LIMIT_S: Final = 60
#: A pass ends by itself before the soft limit, with ten seconds for the batch it is in.
BUDGET_AT_MOST_S: Final = 40.0
#: Twelve tries wait four seconds in all: a server that restarts is not worth a lost tick.
PATIENT_RETRIES: Final = 12
#: Expiry compares the clocks of two hosts; ticks must survive those being some seconds apart.
EXPIRES_AT_LEAST_S: Final = 30.0
#: One tick does all the work there is. More of them in the queue only fill the server's memory,
#: 1 kB each, when a beat runs for days without a worker.
WAITING_AT_MOST: Final = 8
MISSED_INTERVALS: Final = 3
MISSED_AT_LEAST_S: Final = 3.0
LOOK_S: Final = 1.0

logger = logging.getLogger("mediastore")


def make_app(settings: Settings | None = None) -> Celery:
    """Return the ready Celery application: configuration, tasks, beat entries, ticking worker.

    No I/O; several may live in one process, and none becomes Celery's current application.

    Args:
        settings: None: all defaults.

    Raises:
        InvalidSettings: `redis_url` cannot be turned into a broker's URL.
    """
    settings = settings or Settings()
    # Without fixups: DJANGO_SETTINGS_MODULE may be set for a neighbour, and is not meant for us.
    app = Celery("mediastore", set_as_current=False, fixups=[])
    app.conf.update(_config(settings))
    install(app, settings)
    return app


def install(app: Celery, settings: Settings) -> None:
    """Add the tasks to an application, and to its workers the habit of ticking by themselves.

    For an application of your own, whose workers must then consume `mediastore` too
    (`-Q celery,mediastore`). `beat_schedule` gives the entries for its beat.
    """
    stores = _Stores(settings)
    budget_s = min(settings.seconds("sweep_budget"), BUDGET_AT_MOST_S)
    every_s = _intervals(settings)

    # Not shared: Celery would hand these tasks to every other application of the process.
    @app.task(base=Tick, shared=False, name=SWEEP, every_s=every_s.get(SWEEP, 0.0))
    def sweep() -> None:
        """Expire, drain and delete what is due in the roots of this process."""
        _run("sweep", lambda: stores.mine().sweep(budget_s))

    @app.task(base=Tick, shared=False, name=DRAIN, every_s=every_s[DRAIN])
    def drain() -> None:
        """Delete what was released, in the roots of this process."""
        _run("drain", lambda: stores.mine().drain(budget_s))

    signals.worker_process_shutdown.connect(stores.close)
    app.steps["consumer"].add(Pulse)


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the beat entries: sweep and drain, or drain alone where sweeping is off.

    A release must be carried out whether or not anything expires.
    """
    return {
        name: {
            "task": name,
            "schedule": every_s,
            "options": {"queue": QUEUE, "expires": _expires_s(every_s)},
        }
        for name, every_s in _intervals(settings).items()
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


def _intervals(settings: Settings) -> dict[str, float]:
    """Return the ticks there are, and the seconds between two of each."""
    sweep_s = settings.seconds("sweep_interval")
    sweeping = {SWEEP: sweep_s} if settings.cleanup_enabled and sweep_s > 0 else {}
    return {**sweeping, DRAIN: settings.seconds("drain_interval")}


def _expires_s(every_s: float) -> float:
    return max(every_s, EXPIRES_AT_LEAST_S)


# --- configuration


def _config(settings: Settings) -> dict[str, Any]:
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
        "worker_consumer": f"{__name__}:Listener",
        "beat_schedule": beat_schedule(settings),
        "beat_scheduler": f"{__name__}:Clock",
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


# --- the work


class Receipt(Request):
    """A tick as the worker knows it while it is carried out."""

    def acknowledge(self) -> None:
        """Acknowledge the tick, unless the connection it came by is gone.

        With Celery 5.7 and kombu 5.7, acknowledging it there ends the worker.
        """
        if getattr(self.message.channel, "closed", False):
            self.acknowledged = True
        super().acknowledge()


class Tick(Task[[], None]):
    """A task without arguments: nothing in a message can say what is deleted."""

    every_s: float = 0.0  # 0: nobody ticks by itself
    Request = f"{__name__}:Receipt"
    queue = QUEUE
    serializer = "json"
    ignore_result = True  # the index counts; nobody waits for an answer
    acks_late = True  # a tick acknowledged early is lost with its process
    reject_on_worker_lost = True  # without it, the tick of a killed child is acknowledged
    soft_time_limit = SOFT_LIMIT_S
    time_limit = HARD_LIMIT_S


class _Stores:
    """One store in each process: a connection made before a fork must not be used after it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = dataclasses.replace(
            settings, retries=max(settings.retries, PATIENT_RETRIES)
        )
        self._by_pid: dict[int, MediaStore] = {}

    def mine(self) -> MediaStore:
        """Return this process's store; made at the first call."""
        pid = os.getpid()
        if pid in self._by_pid:
            return self._by_pid[pid]
        # Two threads may both come here; `setdefault` gives them one store.
        return self._by_pid.setdefault(pid, MediaStore.from_settings(self._settings))

    def close(self, **_: object) -> None:
        """Close this process's store if there is one; a later call makes another."""
        store = self._by_pid.pop(os.getpid(), None)
        if store is not None:
            store.close()


def _run(name: str, work: Callable[[], Swept]) -> None:
    """Do one pass. What cannot be done now is left to the next tick, with one line in the log."""
    try:
        swept = work()
    except MediaStoreError as error:
        logger.warning("a %s failed and will be tried again: %s", name, error)
    except SoftTimeLimitExceeded:
        logger.warning("a %s took over %d s; the next one goes on with it", name, SOFT_LIMIT_S)
    else:
        report(swept)


# --- the clocks


class Clock(Scheduler):
    """Beat's scheduler: in memory, no more ticks than a queue needs, one line for a lost one.

    There is no schedule file to lock, corrupt or leave behind. What a file would remember across
    restarts is when to tick next, and workers tick once when they start.
    """

    def apply_entry(self, entry: ScheduleEntry, producer: Producer | None = None) -> None:
        """Send a tick unless enough of them wait. Celery's own logs two tracebacks for a lost one."""
        try:
            if producer is None or not _crowded(self.app, producer):
                self.apply_async(entry, producer=producer, advance=False)
        except _broker_errors(self.app) as error:
            logger.warning("beat could not send %s and will try again: %s", entry.task, error)


class Listener(Consumer):
    """Celery's consumer, without what our workers have no use for.

    Workers here tell each other nothing: mingle costs a second at every start, and gossip logs an
    error of two hundred lines whenever the broker goes away (Celery 5.7).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        given = options.pop("worker_options", None) or {}
        options["worker_options"] = {**given, "without_mingle": True, "without_gossip": True}
        super().__init__(*args, **options)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say that the broker is gone, but not that a setting could be what we set it to be."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            # kombu 5.7 gives unacknowledged ticks back over the connection it has just dropped;
            # the AttributeError of that would end the worker. The index remembers their work.
            with contextlib.suppress(AttributeError):
                super().on_connection_error_after_connected(exc)


class Pulse(bootsteps.StartStopStep):
    """Ticks in a worker's main process when it starts, and when no beat's tick reached it.

    A tick missed three times in a row means that no beat runs, or that other workers took the
    ticks: then one more does no harm. Beat stands still when the wall clock is set back; this one
    is monotonic.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._app: Celery = consumer.app
        self._seen: dict[str, float] = {}
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Tick once, whatever waits in the queue: it may all have expired. Then watch."""
        signals.task_received.connect(self._received, sender=consumer)
        for task in self._tasks():
            self._publish(task, however_many=True)
        self._timer = consumer.timer.call_repeatedly(LOOK_S, self._look)

    def stop(self, consumer: Any) -> None:
        """Stop watching."""
        signals.task_received.disconnect(self._received, sender=consumer)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tasks(self) -> list[Tick]:
        ticks = [cast("Tick", self._app.tasks[name]) for name in (DRAIN, SWEEP)]
        return [tick for tick in ticks if tick.every_s]

    def _received(self, request: Request, **_: object) -> None:
        # Celery sends the signal for ticks that are not expired, and only those are carried out.
        if request.name == SWEEP:
            self._note(SWEEP)
        if request.name in (SWEEP, DRAIN):
            self._note(DRAIN)  # a sweep drains as well

    def _note(self, name: str) -> None:
        self._seen[name] = time.monotonic()

    def _look(self) -> None:
        for task in self._tasks():
            silence_s = time.monotonic() - self._seen[task.name]
            if silence_s > max(MISSED_INTERVALS * task.every_s, MISSED_AT_LEAST_S):
                self._publish(task)

    def _publish(self, task: Tick, *, however_many: bool = False) -> None:
        self._note(task.name)  # also when it fails: the next try comes three intervals later
        try:
            with self._app.producer_or_acquire() as producer:
                if however_many or not _crowded(self._app, producer):
                    expires_s = _expires_s(task.every_s)
                    # The worker's loop waits meanwhile, so there is no second try.
                    task.apply_async(producer=producer, expires=expires_s, retry=False)
        except _broker_errors(self._app) as error:
            logger.warning("the worker could not tick and will try again: %s", error)


def _crowded(app: Celery, producer: Producer) -> bool:
    """Return whether so many ticks wait in the queue that another would change nothing."""
    channel: Any = producer.channel
    declared: Any = app.amqp.queues[QUEUE].bind(channel).queue_declare()
    return int(declared.message_count) >= WAITING_AT_MOST


def _broker_errors(app: Celery) -> tuple[type[BaseException], ...]:
    broker = app.connection_for_write()
    return (SchedulingError, OperationalError, *broker.connection_errors, *broker.channel_errors)
