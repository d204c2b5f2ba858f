"""When the clocks tick: beat, and a worker that no beat's tick reaches; on a broker in memory."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from celery.worker import state
from kombu.exceptions import OperationalError
from redis.exceptions import ResponseError

from mediastore import celery as ours
from mediastore.celery import clocks
from mediastore.celery.consumer import renew

from .celery_fixtures import Consumer, app, consumer, let_pass, pulse, pulse_of, receive, waiting

__all__ = ["app", "consumer", "pulse"]  # fixtures


@pytest.mark.parametrize(
    ("silence_s", "ticks"),
    [
        (14, []),  # drain_interval is 5 s
        (16, [ours.DRAIN]),
        (901, [ours.DRAIN, ours.SWEEP]),  # sweep_interval is 300 s
    ],
)
def test_a_worker_ticks_after_three_silent_intervals(app, consumer, pulse, silence_s, ticks):
    let_pass(pulse, silence_s)

    consumer.timer.calls[0]()
    consumer.timer.calls[0]()  # once

    assert waiting(app) == ticks


@pytest.mark.parametrize(
    ("received", "ticks"),
    [
        (ours.SWEEP, []),  # a sweep drains as well
        (ours.DRAIN, [ours.SWEEP]),
        ("somebody.elses", [ours.DRAIN, ours.SWEEP]),
    ],
)
def test_a_tick_that_came_makes_another_needless(app, consumer, pulse, received, ticks):
    let_pass(pulse, 901)

    receive(consumer, received)
    consumer.timer.calls[0]()

    assert waiting(app) == ticks


def test_a_tick_of_another_worker_in_this_process_is_not_ours(app, consumer, pulse):
    let_pass(pulse, 901)

    receive(Consumer(app), ours.SWEEP)
    consumer.timer.calls[0]()

    assert len(waiting(app)) == 2


def test_ticks_by_a_worker_itself_expire(app, pulse):
    let_pass(pulse, 16)
    pulse._look()

    with app.connection_for_write() as connection:
        queue = app.amqp.queues[ours.QUEUE].bind(connection.default_channel)
        assert queue.get(no_ack=True).headers["expires"]


def test_a_beat_without_workers_does_not_fill_the_server(app):
    clock = ours.Clock(app)

    for _ in range(20):
        clock.apply_entry(clock.schedule[ours.DRAIN], producer=clock.producer)

    assert len(waiting(app)) == clocks.WAITING_AT_MOST
    clock.close()


def test_a_worker_that_starts_late_ticks_among_expired_ones(app, consumer):
    clock = ours.Clock(app)
    for _ in range(20):
        clock.apply_entry(clock.schedule[ours.DRAIN], producer=clock.producer)
    pulse = pulse_of(app)

    pulse.start(consumer)

    assert waiting(app)[-2:] == [ours.DRAIN, ours.SWEEP]
    pulse.stop(consumer)
    clock.close()


def test_a_broker_that_is_gone_costs_a_clock_one_line(app, pulse, monkeypatch, caplog):
    def gone(*_):
        raise OperationalError("nobody listens")

    clock = ours.Clock(app)
    monkeypatch.setattr(clocks, "_crowded", gone)
    let_pass(pulse, 16)

    clock.apply_entry(clock.schedule[ours.SWEEP], producer=clock.producer)
    pulse._look()

    lines = [line for line in caplog.records if line.name == "mediastore"]
    assert [line.levelno for line in lines] == [logging.WARNING] * 2
    assert [line.exc_info for line in lines] == [None, None]
    assert waiting(app) == []
    clock.close()


# --- ticks that are held


class Channel:
    """What holding sees of a channel to Redis."""

    unacked_index_key = "unacked_index"
    connection_errors = (OSError,)
    ResponseError = ResponseError

    def __init__(self, error=None):
        self.error, self.said = error, []

    @contextmanager
    def conn_or_acquire(self):
        if self.error:
            raise self.error
        yield SimpleNamespace(zadd=lambda *said, xx: self.said.append((*said, xx)))


@pytest.fixture
def held(monkeypatch):
    request = SimpleNamespace(message=SimpleNamespace(delivery_tag="tag"))
    monkeypatch.setattr(state, "reserved_requests", [request])


def test_what_is_carried_out_is_renewed_and_nothing_is_added(held):
    channel = Channel()

    renew(channel)

    ((key, tags, existing_only),) = channel.said
    assert (key, list(tags), existing_only) == ("unacked_index", ["tag"], True)


def test_with_nothing_to_carry_out_nothing_is_said(monkeypatch):
    monkeypatch.setattr(state, "reserved_requests", [])

    renew(Channel(AssertionError("said")))


@pytest.mark.parametrize("error", [OSError("gone"), ResponseError("READONLY")])
def test_a_broker_that_is_gone_or_refuses_ends_no_renewal_for_good(held, error):
    renew(Channel(error))
