"""What the tests of doctor share: settings on a real server, and ways to ask for findings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from mediastore.connection import Link
from mediastore.doctor import examine
from mediastore.index import presence
from mediastore.index.steps import prefix
from mediastore.speech import Speech

NOWHERE = "redis://bot:Pa55word@127.0.0.1:1/0"


@pytest.fixture
def lane():
    return "real"


@pytest.fixture
def mine(settings, server_url):
    return replace(settings, redis_url=server_url)


@pytest.fixture
def key(settings):
    """Spell a key of the test's namespace."""
    return lambda name: prefix(settings.namespace) + name


def staff(settings, *members, ago_s=0.0):
    """Let workers and beats have been seen; without names, one of each."""
    client = redis.Redis.from_url(settings.redis_url)
    link = Link(client, Speech(settings.namespace))
    at_ms = link.perform(presence.server_ms()) - round(ago_s * 1000)
    link.perform(presence.seen(members or ("worker:celery@here", "beat:beat@here"), at_ms))
    client.close()


def found(settings, name=None, **options):
    """Return the findings, or the only one of a name."""
    findings = examine(settings, **options)
    if name is None:
        return findings
    (one,) = [finding for finding in findings if finding.name == name]
    return one


def states(findings):
    return {finding.state for finding in findings}
