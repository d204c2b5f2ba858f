"""What the tests of lifetimes have in common: looks at refs and the index, deadlines, leases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mediastore.errors import RefGone
from mediastore.flows import leasing
from mediastore.flows.scoping import open_scope
from mediastore.index.steps import END_BATCH, Command, prefix

from .test_index import dump
from .test_marks import ask, inner

HOUR = 3600
UNKNOWN = "media://" + "u" * 22
#: For what the kind of server makes no difference to.
one_lane = pytest.mark.parametrize("lane", ["real"], indirect=True)


def seconds_left(media_or_time):
    """Return how long it is until a deadline."""
    due = getattr(media_or_time, "expires_at", media_or_time)
    return (due - datetime.now(UTC)).total_seconds()


def index_of(client, settings):
    """Return what the index holds, without the records of answers and the time."""
    found = dump(client, settings.namespace)
    return {k: v for k, v in found.items() if not k.startswith("op:") and k != "clock"}


def is_gone(store, ref):
    with pytest.raises(RefGone):
        store.resolve(ref)
    return True


def fill(store, files, scope, number=END_BATCH + 1):
    """Store so many refs that a release closes the scope instead of ending them one by one.

    `files` makes them: the fixture `make_file`, or a laboratory.
    """
    make = files if callable(files) else lambda name: files.file(name, "x")
    name = scope.replace("/", "-")
    return [store.store(make(f"{name}{n}.jpg"), scope=scope, ttl="1d") for n in range(number)]


def give(store, scope, ttl=None, idle=None):
    """Give a scope deadlines; returns when it is due."""
    return ask(store, inner(store)._run(open_scope(inner(store)._ctx, scope, ttl, idle)))


def numbers(store):
    """Return how many files wait, and their bytes."""
    stats = store.stats()
    return stats.waiting, stats.waiting_bytes


def with_grace(lab, grace):
    lab.settings = replace(lab.settings, grace=grace)
    return lab


# --- leases by hand, before there are objects for them


def take(store, ref, ttl):
    return store._run(leasing.take(store._ctx, ref, ttl))


def renew(store, taken):
    return store._run(leasing.renew(store._ctx, [taken]))[0]


def end(store, taken):
    return store._run(leasing.end(store._ctx, taken))


# --- a laboratory's scopes


def due(lab, scope):
    """Return in how many seconds from the beginning a scope is due; None where it has no deadline."""
    ms = lab.client.zscore(f"{prefix(lab.namespace)}deadlines", scope)
    return None if ms is None else (ms - lab.base_ms) / 1000


def sweep(lab):
    return lab.process().sweep()


def put(lab, store, scope, name=None, **named):
    return store.store(lab.file(name or scope.replace("/", "-"), "x"), scope=scope, **named)


def slowly(lab, process, seconds):
    """Let every exchange of this process with Redis take so long."""
    perform = process._ask

    def ask(step):
        lab.pass_time(seconds)
        return perform(step)

    process._ask = ask


def watched(process):
    """Return a list that fills with the names of a process's scripts and their answers."""
    seen, perform = [], process._ask

    def ask_and_note(step):
        answer = perform(step)
        if isinstance(step, Command):
            seen.append((step.script, answer))
        return answer

    process._ask = ask_and_note
    return seen
