"""What the tests of the renewing thread share: what answers for the server, leases, and a clock of their own."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path

from mediastore import MediaMeta, Ref
from mediastore.clocks import elapsed_s
from mediastore.lifetimes import Taken
from mediastore.renewer import Renewer, Term


class Server:
    """Answers renewals as it is told, and remembers each call."""

    def __init__(self, answer=lambda taken: int(time.time() * 1000) + taken.ttl_ms):
        self.answer = answer
        self.calls: list[list[str]] = []
        self.threads: set[str] = set()

    def __call__(self, terms):
        self.calls.append([term.taken.token for term in terms])
        self.threads.add(threading.current_thread().name)
        return [self.answer(term.taken) for term in terms]

    def calls_of(self, token):
        return [call for call in self.calls if token in call]


#: Longer than any clock here goes while a test looks away.
FOR_EVER_S = 1e12


def term(token, ttl_s, *, age_s=0.0, longest_s=FOR_EVER_S, clock=elapsed_s):
    """Make a lease of which `age_s` has passed."""
    taken = Taken(
        ref=Ref("media://" + "x" * 22), blob="b", root="r", token=token, path=Path("/f"),
        meta=MediaMeta(), identity="", ttl_ms=round(ttl_s * 1000), until_ms=0,
    )  # fmt: skip
    return Term(taken, clock() - age_s, longest_s, clock)


class Waited:
    """A clock that goes on by what the renewing thread waits, and by nothing else: a slow machine is never late."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def drives(self, renewer):
        wake = renewer._watch().wake
        let_others_in = wake.wait

        def wait(timeout_s):
            self.now_s += timeout_s
            let_others_in(0)

        wake.wait = wait


@contextmanager
def renewing(server, *terms, clock=elapsed_s):
    renewer = Renewer(server, clock)
    if isinstance(clock, Waited):
        clock.drives(renewer)
    with renewer._watch().wake:  # the thread begins with all of them
        for each in terms:
            renewer.add(each)
    try:
        yield renewer
    finally:
        renewer.stop()
