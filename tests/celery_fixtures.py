"""What the tests of the Celery half share: an application on a broker in memory, and its parts one by one."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import celery
import pytest

from mediastore import Settings, celery as ours

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[celery.Celery]:
    """Give an application whose broker is this process's memory."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    made = ours.make_app(dataclasses.replace(settings, broker_url="memory://"))
    waiting(made, purge=True)
    yield made
    made.close()


def waiting(app: celery.Celery, *, purge: bool = False) -> list[str]:
    """Return the names of the tasks in the queue, and take them out."""
    names = []
    with app.connection_for_write() as connection:
        queue = app.amqp.queues[ours.QUEUE].bind(connection.default_channel)
        queue.declare()
        while message := queue.get(no_ack=True):
            names.append(message.headers["task"])
    return [] if purge else names


def pulse_of(app: celery.Celery) -> ours.Pulse:
    return ours.Pulse(SimpleNamespace(app=app))


class Timer:
    """A worker's timer that waits for nothing."""

    def __init__(self):
        self.calls = []

    def call_repeatedly(self, _seconds, call):
        self.calls.append(call)
        return SimpleNamespace(cancel=lambda: self.calls.remove(call))


class Consumer:
    """What a pulse sees of Celery's consumer."""

    def __init__(self, app: celery.Celery) -> None:
        self.app, self.timer = app, Timer()


@pytest.fixture
def consumer(app):
    return Consumer(app)


@pytest.fixture
def pulse(app, consumer):
    """Give the pulse of a worker that has just started, its first ticks taken."""
    pulse = pulse_of(app)
    pulse.start(consumer)
    assert waiting(app) == [ours.DRAIN, ours.SWEEP]
    yield pulse
    pulse.stop(consumer)
    assert consumer.timer.calls == []


def receive(consumer: Any, name: str) -> None:
    celery.signals.task_received.send(sender=consumer, request=SimpleNamespace(name=name))


def let_pass(pulse: ours.Pulse, seconds: float) -> None:
    for name in pulse._seen:
        pulse._seen[name] -= seconds
