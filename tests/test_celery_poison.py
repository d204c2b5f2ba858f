"""How poison is known before Celery or kombu has it; `test_worker_poison` shows what a worker makes of it."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport.virtual import base as virtual

from mediastore import celery as ours
from mediastore.celery.poison import PoisonError, check_raw, check_task

from .celery_fixtures import app
from .poison import poison, tick

__all__ = ["app"]  # a fixture


def passes(raw, app):
    """Look at a message as a worker does: before kombu has it, and before Celery has it."""
    channel: Any = SimpleNamespace(codecs=virtual.Channel.codecs)
    channel.decode_body = functools.partial(virtual.Channel.decode_body, channel)
    try:
        message = virtual.Message(check_raw(raw), channel=channel, accept={"application/json"})
        check_task(message, app)
    except PoisonError:
        return False
    return True


def test_a_tick_passes_and_no_poison_does(app):
    assert passes(json.dumps(tick("1")).encode(), app)
    assert [name for name, raw in poison().items() if passes(raw, app)] == []


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("redis://h/1", "Transport"),
        ("rediss://h/1?ssl_cert_reqs=required", "Transport"),
        ("redis+socket:///tmp/socket?virtual_host=1", "Transport"),
        ("redis://a;redis://b", "Transport"),
        ("sentinel://a:26379;sentinel://b:26379", "SentinelTransport"),
    ],
)
def test_every_broker_on_redis_is_read_by_our_transport(app, url, transport):
    connection = app.connection_for_write(url)

    for _ in "ab":
        found = connection.get_transport_cls()
        assert (found.__module__, found.__name__) == ("mediastore.celery.broker", transport)
        connection.maybe_switch_next()  # a failover


def test_an_application_of_somebody_else_keeps_its_own(settings):
    import celery

    theirs = celery.Celery("theirs", broker="redis://h/1", set_as_current=False)
    ours.install(theirs, settings)

    assert theirs.connection_for_write().get_transport_cls().__module__ == "kombu.transport.redis"
