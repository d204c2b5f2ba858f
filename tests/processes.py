"""Processes for tests: a stage on which one acts between two file calls of another, and crews of real ones.

On the `Stage` several processes live in one, and each step of their interleaving is ours. A `Crew` is made
of real processes that set out at one moment; their interleaving is the machine's.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mediastore import MediaStore
from mediastore.blobs import posix

from .lab import CHANGES, Crash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mediastore import Settings

    Act = Callable[[str, tuple[Any, ...]], Any]
    When = Callable[[str, tuple[Any, ...]], bool]

CALLS = (*CHANGES, "open_directory", "look", "names")


class Stage:
    """Runs an act of the test's before every file call of a thread; the act's own calls are not watched."""

    def __init__(self, monkeypatch) -> None:
        self._thread = threading.local()
        for name in CALLS:
            monkeypatch.setattr(posix, name, self._watched(name, getattr(posix, name)))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            act = getattr(self._thread, "act", None)
            if act is not None:
                with self.during(None):
                    act(name, spoken(name, args, named))
            return call(*args, **named)

        return watched

    @contextmanager
    def during(self, act: Act | None) -> Iterator[None]:
        """Run the act before each file call made here."""
        kept = getattr(self._thread, "act", None)
        self._thread.act = act
        try:
            yield
        finally:
            self._thread.act = kept


def spoken(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of a file call with each name in one of our directories as its path in the root.

    Names elsewhere stay as they are.
    """
    if name in {"link", "rename"}:
        source, source_at, target, target_at = args
        return _path(source, source_at), source_at, _path(target, target_at), target_at
    if "at" not in named:
        return args
    return _path(args[0] if args else ".", named["at"]), *args[1:]


def _path(name: str, at: int) -> str:
    """Return a name in an open directory of ours as its path in the root."""
    place = os.readlink(f"/proc/self/fd/{at}")
    _, ours, below = f"{place}/{name}".rpartition("/.mediastore/")
    return f".mediastore/{below}" if ours else name


class Once:
    """An act that happens before the n-th of the calls that count, and never again."""

    def __init__(self, act: Callable[[], Any], at: int = 0, *, when: When | None = None) -> None:
        self._act, self._left, self._when = act, at, when
        self.done = False

    def __call__(self, name: str, args: tuple[Any, ...]) -> None:
        if self.done or (self._when and not self._when(name, args)):
            return
        self.done = self._left == 0
        self._left -= 1
        if self.done:
            self._act()


def unlinks(name: str, args: tuple[Any, ...]) -> bool:
    """Tell the removal of a file: not of a draft of what a root shows, which a sweep makes and removes before all else."""
    return name == "unlink" and "/epoch." not in args[0]


class Paused:
    """A process that stops before its n-th file call, of those that count, until it is told to go on."""

    def __init__(
        self, stage: Stage, act: Callable[[], Any], at: int, *, when: When | None = None
    ) -> None:
        self._here, self._go_on = threading.Event(), threading.Event()
        self._stop = Once(self._wait, at, when=when)
        self._thread = threading.Thread(target=self._run, args=(stage, act))
        self.error: BaseException | None = None
        self._thread.start()
        assert self._here.wait(10)

    @property
    def stopped(self) -> bool:
        """Whether it came to its n-th call at all."""
        return self._stop.done

    def _wait(self) -> None:
        self._here.set()
        assert self._go_on.wait(10)

    def _run(self, stage: Stage, act: Callable[[], Any]) -> None:
        try:
            with stage.during(self._stop):
                act()
        except BaseException as error:
            self.error = error
        finally:
            self._here.set()

    def finish(self) -> None:
        """Let it go on to its end; raises what it raised."""
        self._go_on.set()
        self._thread.join(10)
        if self.error is not None:
            raise self.error


def changes(name, _):
    return name in CHANGES


def around_changes():
    """Tell the calls right before and right after a change: in between, nobody could tell the difference."""
    last = [""]

    def when(name, _):
        before, last[0] = last[0], name
        return name in CHANGES or before in CHANGES

    return when


def identity(path):
    seen = path.lstat()
    return seen.st_ino, seen.st_mode, os.readlink(path) if path.is_symlink() else None


def there(path):
    """Return what is at the path, as a list of nothing or one."""
    return [identity(path)] if os.path.lexists(path) else []


def replace(path, content):
    """Put another file at the path, as a download that is renamed into place does."""
    draft = path.with_name("draft")
    draft.write_text(content)
    draft.rename(path)
    return identity(path)


def no_link(*_):
    """Stand in for `posix.link` where the file system has no hard links."""
    raise PermissionError(errno.EPERM, "no links here")


def both(first: Act, second: Act) -> Act:
    """Return an act made of two."""

    def act(name: str, args: tuple[Any, ...]) -> None:
        first(name, args)
        second(name, args)

    return act


def crash():
    """End the process here, as far as the world can see."""
    raise Crash


def _serve(pipe, number, start):
    """Do tasks for a crew until the pipe closes; each with a store of its own, opened before the start."""
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            task, settings, args = pipe.recv()
            try:
                with MediaStore(None, settings) as store:
                    store.stats()
                    start.wait(30)
                    pipe.send((task(store, number, *args), ""))
            except Exception:
                start.abort()
                pipe.send((None, traceback.format_exc()))


class Crew:
    """Real processes, spawned once and used by many tests."""

    def __init__(self, size: int) -> None:
        make = multiprocessing.get_context("spawn")
        self.size, self._start = size, make.Barrier(size)
        ends = [make.Pipe() for _ in range(size)]
        self._pipes = [ours for ours, _ in ends]
        self._processes = [
            make.Process(target=_serve, args=(theirs, number, self._start), daemon=True)
            for number, (_, theirs) in enumerate(ends)
        ]
        for process, (_, theirs) in zip(self._processes, ends, strict=True):
            process.start()
            theirs.close()

    def run(
        self, task: Callable[..., Any], settings: Settings, *args: Any, limit_s: float = 50
    ) -> list[Any]:
        """Have every process do `task(store, number, *args)`, all from one moment on; return their answers."""
        self._start.reset()
        for pipe in self._pipes:
            pipe.send((task, settings, args))
        answers = [
            pipe.recv() if pipe.poll(limit_s) else (None, "no answer") for pipe in self._pipes
        ]
        assert not any(error for _, error in answers), "\n".join(error for _, error in answers)
        return [answer for answer, _ in answers]

    def close(self) -> None:
        """Send everybody home."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(60)
            process.close()
