"""The crash argument with real processes: each dies by SIGKILL at one call, and another finishes what it left.

Beside the points of `test_crash.py` there is one that only a real death has: the command is sent, and nobody
reads its reply. The processes are forked by a script without threads, once for each point.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.connection import AbstractConnection

from .lab import CHANGES, CLAIM_S, Fuse, Lab
from .test_crash import SCENARIOS, Scenario, nothing, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent.parent
FINISHED, NO_SUCH_POINT, FAILED = 0, 3, 4


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Fuse):
    """Kills the process before its n-th call, or when the command of its n-th call is on its way to Redis."""

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 == self.at:
                self._strike(name)
            return call(*args, **named)

        return guarded

    def _strike(self, name: str) -> None:
        if not self.after:
            die()
        if name in CHANGES:
            os._exit(NO_SUCH_POINT)  # dead after one file call is dead before the next
        send = AbstractConnection.send_packed_command
        deadly = lambda *args, **named: die(send(*args, **named))  # noqa: E731
        setattr(AbstractConnection, send.__name__, deadly)


def fate(lab: Lab, scenario: Scenario, fuse: Fuse) -> int:
    """Act in a process of its own; return how it ended."""
    child = os.fork()
    if child == 0:
        ending = FAILED
        try:
            with lab.fused(fuse) as process:
                scenario.act(lab, process)
            ending = FINISHED
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(ending)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def rehearse(scenario: Scenario, url: str, directory: Path) -> None:
    """Let the server learn the scripts: of one it does not know, nothing happens when the digest alone is sent."""
    lab = Lab(lambda: redis.Redis.from_url(url), directory / "rehearsal")
    with lab.client:
        scenario.before(lab)
        assert fate(lab, scenario, Deadly()) == FINISHED


def kills(scenario: Scenario, url: str, directory: Path) -> int:
    """Kill the scenario's process at every point, one life each; return how many deaths were seen to the end."""
    rehearse(scenario, url, directory)
    deaths = 0
    for number in count():
        for sent in (False, True):
            lab = Lab(lambda: redis.Redis.from_url(url), directory / f"{number}{sent}")
            with lab.client:
                scenario.before(lab)
                end = fate(lab, scenario, Deadly(at=number, after=sent))
                if end == FINISHED:
                    return deaths
                assert end in {-signal.SIGKILL, NO_SUCH_POINT}, f"it failed by itself: {end}"
                if end == -signal.SIGKILL:
                    verdict(lab, scenario, f"killed at {number}, sent: {sent}")
                    deaths += 1
    raise AssertionError


def second_kills(scenario: Scenario, url: str, directory: Path) -> int:
    """Kill the scenario's process at every point, and the sweeper that takes over at every point, too."""
    deaths = 0
    sweep = Scenario("sweep", nothing, lambda _, process: process.sweep())
    for first in count():
        for second in count():
            lab = Lab(lambda: redis.Redis.from_url(url), directory / f"{first} {second}")
            with lab.client:
                scenario.before(lab)
                if fate(lab, scenario, Deadly(at=first)) == FINISHED:
                    return deaths
                lab.pass_time(CLAIM_S + 1)
                end = fate(lab, sweep, Deadly(at=second))
                verdict(lab, scenario, f"killed at {first}, the sweeper at {second}")
                deaths += 1
            if end == FINISHED:
                break
            assert end == -signal.SIGKILL, f"it failed by itself: {end}"
    raise AssertionError


def serve(url: str) -> None:
    """Answer each line (what to do, a scenario, a directory) with the number of deaths or with what went wrong."""
    for line in sys.stdin:
        do, name, directory = json.loads(line)
        scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
        try:
            answer: int | str = globals()[do](scenario, url, Path(directory))
        except BaseException:
            answer = traceback.format_exc()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


@pytest.fixture(scope="module")
def killer(server_url: str) -> Iterator[subprocess.Popen[str]]:
    """Run the script that forks and kills."""
    command = [sys.executable, "-m", "tests.test_kill", server_url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=HERE, stdin=pipe, stdout=pipe, text=True) as script:
        yield script
        script.stdin.close()
        assert script.wait(10) == 0


@pytest.fixture
def deaths(killer: subprocess.Popen[str], tmp_path: Path) -> Callable[[str, str], Any]:
    """Give a way to have a scenario's processes killed; tells how many deaths were seen to the end."""

    def ask(do: str, name: str) -> Any:
        killer.stdin.write(json.dumps([do, name, str(tmp_path)]) + "\n")
        killer.stdin.flush()
        return json.loads(killer.stdout.readline())

    return ask


#: Every scenario is stopped at every call by test_crash; with SIGKILL, these show that it is the same.
SHORT = {
    "store", "store what is half deleted", "release", "sweep what was released", "transfer", "restore",
    "lease, release, renew, end",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(s.name, marks=[pytest.mark.torture] if s.name not in SHORT else [])
        for s in SCENARIOS
    ],
)
def test_a_process_killed_at_any_call_leaves_nothing_after_the_sweeps(deaths, name):
    seen = deaths("kills", name)

    assert isinstance(seen, int), seen
    assert seen >= 2


@pytest.mark.parametrize(
    "name",
    ["release", pytest.param("store what is half deleted", marks=pytest.mark.torture)],
)
def test_a_sweeper_killed_while_it_takes_over_leaves_nothing_either(deaths, name):
    seen = deaths("second_kills", name)

    assert isinstance(seen, int), seen
    assert seen >= 80


if __name__ == "__main__":
    serve(sys.argv[1])
