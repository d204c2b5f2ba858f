"""What happens in the demo, in order."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final

from mediastore.demo import evidence
from mediastore.demo.fleet import BOTS, PACE, WORKERS, Fleet
from mediastore.demo.ledger import Ledger, adds_up, rows
from mediastore.demo.processes import Failed
from mediastore.demo.view import Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from mediastore.demo.ledger import Row
    from mediastore.demo.view import Voice
    from mediastore.embedded import Engine
    from mediastore.model import Media

VICTIM: Final = "dan"
START_LIMIT_S = 40.0
FINISH_LIMIT_S = 15.0
SETTLE_LIMIT_S = 25.0
#: A deletion takes milliseconds; a claim's directory that outlasts this is the frozen worker's.
FROZEN_S = 0.06
CERTAIN_S = 0.3
HUNT_LIMIT_S = 7.0
ALBUM_EVERY_S = 2.0
TAKEOVER_LIMIT_S = 10.0


class Story:
    """The demo from the first process to the table."""

    def __init__(
        self, directory: Path, engine: Engine, voice: Voice, check: Callable[[], None]
    ) -> None:
        """Set the stage; nothing runs yet.

        Args:
            directory: Everything of this run lies in it.
            engine: The server to run.
            voice: Who tells the story.
            check: Raises when the demo is to end early.
        """
        self._directory, self._engine = directory, engine
        self._voice, self._check = voice, check
        self._ledger = Ledger()
        self._fleet = Fleet(directory, engine, self._hear)
        self._scene = Scene(str(engine), self._ledger, self._fleet.children)
        self._table: list[Row] = []
        self._last_words: list[str] = []
        self._doomed = ""
        self._abandoned: list[Media] = []

    @property
    def adds_up(self) -> bool:
        """Whether the table does."""
        return adds_up(self._table)

    def perform(self, *, kept: bool) -> None:
        """Tell it.

        Raises:
            Failed: a process did not do what the story needs.
            Interrupted: a signal asked us to end.
        """
        stays = "and stays there" if kept else "and is gone at the end"
        self._voice.say(
            "Five bots share one media store; two Celery workers delete what is released or due.\n"
            "One bot and one worker get killed at the worst moment. In the end it must add up.\n"
            f"Everything lies in {self._directory} {stays}."
        )
        self._check()
        self._open()
        self._work(3.0)
        self._kill_a_bot()
        self._work(2.0)
        self._kill_a_worker()
        self._work(2.0)
        self._finish()
        self._look(settled=self._settle())

    def end(self) -> None:
        """End every process, whatever has happened."""
        try:
            self._voice.rest()
        finally:
            self._fleet.end()

    def conclude(self, *, kept: bool) -> None:
        """Show the table, and where the person on call would look."""
        self._voice.table(self._table)
        for failure in self._ledger.failures:
            self._voice.say(failure)
        if self._last_words:
            self._voice.say("For the person on call, one live ref as redis-cli and ls show it:")
            self._voice.say("\n".join(f"  {line}" for line in self._last_words))
        seconds = time.monotonic() - self._scene.started
        verdict = "It adds up" if self.adds_up else "It does NOT add up"
        self._voice.say(f"{verdict}, after {seconds:.0f} s. No process is left.")
        if kept:
            self._voice.say(f"The files, the journal and the logs stay in {self._directory}.")
        elif not self.adds_up:
            self._voice.say("Run it again with --keep DIRECTORY to have the files and the logs.")

    # --- the acts

    def _open(self) -> None:
        self._store = self._fleet.start_server()
        self._tell("server", f"{self._engine} answers on a Unix socket and keeps a journal")
        self._fleet.start_workers()
        self._fleet.start_bots()
        self._tell("bots", f"{', '.join(BOTS)} store files and hand each other refs of 30 letters")
        waiting = list(WORKERS)
        self._until(lambda: self._all_ready(waiting), START_LIMIT_S, "a worker did not get ready")

    def _all_ready(self, waiting: list[str]) -> bool:
        for name in [name for name in waiting if self._fleet.ready(name)]:
            waiting.remove(name)
            self._scene.ready.add(name)
            self._tell(name, "is ready: a real Celery worker, one sweep every second")
        return not waiting

    def _kill_a_bot(self) -> None:
        """Kill it in the middle of a store: in the moment in which it has announced one."""
        victim = self._fleet.children[VICTIM]
        self._doomed = VICTIM
        self._until(lambda: victim.killed, 5.0, f"{VICTIM} stores nothing")
        before = BOTS[BOTS.index(VICTIM) - 1]
        self._fleet.tell(before, "neighbour", name=BOTS[(BOTS.index(VICTIM) + 1) % len(BOTS)])
        self._until(lambda: self._fleet.said_all(VICTIM), 5.0, f"{VICTIM}'s pipe stays open")
        self._wait(0.1)  # the server may still be reading its last command
        self._abandoned = [media for media in self._of(VICTIM) if media.expires_at is not None]
        number = len(self._abandoned)
        self._tell(VICTIM, f"killed (SIGKILL) in mid-work; nobody will release its {number} refs")
        self._reconcile()

    def _reconcile(self) -> None:
        """Find out what became of the store that the killed bot had announced.

        A file that never got into the store is the bot's own, and the store destroys nothing it was
        not given; so the demo removes it, as whoever restarts a bot would.
        """
        intent = self._ledger.begun.get(VICTIM)
        if intent is None:
            return
        of_scope = self._store.refs(intent.scope)
        path = self._fleet.root / intent.path
        unreported = [
            m.ref for m in of_scope if m.path == path and m.ref not in self._ledger.stored
        ]
        if unreported:
            self._ledger.found(VICTIM, unreported[0])
            self._tell(VICTIM, "its last store had reached the index; the ledger counts it")
            return
        self._ledger.never_stored(VICTIM)
        if all(known.path != intent.path for known in self._ledger.stored.values()):
            path.unlink(missing_ok=True)
        self._tell(VICTIM, "its last file had not got into the store; nothing refers to it")

    def _kill_a_worker(self) -> None:
        """Kill one while it deletes."""
        self._tell("bots", "each takes in an album of 40 and drops it: work for both workers")
        start, albums, turn = time.monotonic(), 0, 0
        while True:
            name, passed = WORKERS[turn % len(WORKERS)], time.monotonic() - start
            if passed > albums * ALBUM_EVERY_S:
                albums += 1
                for bot in BOTS:
                    self._fleet.tell(bot, "album")
            if (busy := self._claims()) or passed > HUNT_LIMIT_S:
                turn += 1
                caught = self._freeze(name, busy)
                if caught or passed > HUNT_LIMIT_S:
                    break
            self._wait(0.002)
        self._fleet.children[name].kill()
        self._after_the_worker(name, caught)

    def _freeze(self, name: str, busy: set[str]) -> set[str]:
        """Stop a worker for a moment; returns which of these claims were its own.

        The index does not say which process made a claim; what stands still with the worker is its.
        """
        worker = self._fleet.children[name]
        worker.signal_all(signal.SIGSTOP)
        self._wait(FROZEN_S)
        caught = busy & self._claims()
        if not caught:
            worker.signal_all(signal.SIGCONT)
        return caught

    def _after_the_worker(self, name: str, caught: set[str]) -> None:
        self._wait(CERTAIN_S)
        mine = caught & self._claims()
        if not mine:
            self._tell(name, "killed (SIGKILL); the other worker goes on alone")
            return
        self._tell(name, f"killed (SIGKILL) while deleting; its claim lapses in {PACE['claim']}")
        deadline = time.monotonic() + TAKEOVER_LIMIT_S
        while mine & self._claims() and time.monotonic() < deadline:
            self._wait(0.05)
        if mine & self._claims():
            return  # the table will show what is left
        other = next(worker for worker in WORKERS if worker != name)
        self._tell(other, f"has taken over what {name} had half deleted, and finished it")

    def _finish(self) -> None:
        living = [name for name in BOTS if name != VICTIM]
        for name in living:
            self._fleet.tell(name, "finish")
        self._until(
            lambda: all(self._fleet.said_all(name) for name in living),
            FINISH_LIMIT_S,
            "a bot does not finish",
        )
        alive = self._fleet.alive
        self._until(lambda: not any(map(alive, living)), 5.0, "a bot does not end")
        for name in living:
            child = self._fleet.children[name]
            code = child.process.returncode
            if code != 0 and not self._ledger.failures:
                self._ledger.failures.append(f"{name} ended with {code}:{child.log_tail()}")
        self._tell("bots", "have left; what they did not release expires, what has no end stays")

    def _settle(self) -> bool:
        """Wait until everything that has an end has ended; False when that takes too long."""
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while time.monotonic() < deadline:
            listed = list(evidence.live(self._store))
            stats = self._store.stats()
            # What has expired is not listed any more, but counted until a sweep has ended it.
            swept = len(listed) == stats.refs and not stats.trash and not stats.closed
            endless = all(media.expires_at is None for media in listed)
            if swept and endless and not self._claims():
                return True
            self._wait(0.3)
        return False

    def _look(self, *, settled: bool) -> None:
        """Stop the workers, do what a sweep would do ten minutes later, and count.

        What the workers have not done in time is not done for them here: the table shall show it.
        """
        self._fleet.end_workers()
        if settled and (left := len(evidence.left(self._fleet.root))):
            with evidence.Later(None, self._fleet.settings) as later:
                later.sweep()
            names = f"{left} name{'s' if left > 1 else ''}"
            self._tell(
                "sweep", f"ten minutes later (a moved clock) it removes {names} the kills left"
            )
        quiet = "all is quiet" if settled else f"not at rest after {SETTLE_LIMIT_S:.0f} s"
        self._tell("demo", f"{quiet}; counting")
        seen = evidence.gather(self._store, self._fleet.root, self._ledger)
        self._table = rows(self._ledger, seen)
        if seen.listed:
            self._last_words = evidence.for_the_person_on_call(self._fleet.settings, seen.listed[0])

    # --- between the acts

    def _hear(self, bot: str, report: dict[str, Any]) -> None:
        self._ledger.hear(bot, report)
        # Not a preview: what is looked up afterwards must still live then.
        if (
            report["did"] == "storing"
            and bot == self._doomed
            and report["scope"].startswith("chat:")
        ):
            self._doomed = ""
            self._fleet.children[bot].kill()

    def _mourn(self) -> None:
        """Tell when nothing is left of what the killed bot can no longer release."""
        if not self._abandoned or any(media.path.exists() for media in self._abandoned):
            return
        number, self._abandoned = len(self._abandoned), []
        self._tell(VICTIM, f"all {number} have expired, and the workers have deleted their files")

    def _of(self, bot: str) -> list[Media]:
        scopes = (f"chat:{bot}", f"preview:{bot}", f"library:{bot}")
        return [media for scope in scopes for media in evidence.live(self._store, scope)]

    def _claims(self) -> set[str]:
        """Name the claims that have files in their hands now."""
        return evidence.claims(self._fleet.root)

    def _tell(self, who: str, what: str) -> None:
        self._voice.tell(time.monotonic() - self._scene.started, who, what)

    def _work(self, seconds: float) -> None:
        self._wait(seconds)
        for name in BOTS:
            child = self._fleet.children[name]
            if not child.alive and not child.killed:
                raise Failed(f"{name} ended too soon; its log ends:{child.log_tail()}")

    def _wait(self, seconds: float) -> None:
        """Listen to the bots and keep the view fresh for a while."""
        deadline = time.monotonic() + seconds
        while True:
            self._check()
            left = deadline - time.monotonic()
            self._fleet.listen(min(max(left, 0.0), 0.1))
            self._mourn()
            if self._voice.due():
                self._scene.stats = self._store.stats()
                self._voice.show(self._scene)
            if left <= 0:
                return

    def _until(self, done: Callable[[], bool], limit_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > deadline:
                raise Failed(f"{otherwise} within {limit_s:.0f} s")
            self._wait(0.05)
