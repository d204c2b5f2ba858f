"""The same story twice: calm and live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mediastore.demo.ledger import Ledger, Row
    from mediastore.demo.processes import Child
    from mediastore.stats import Stats


@dataclass
class Scene:
    """What a view shows between events."""

    engine: str
    ledger: Ledger
    children: Mapping[str, Child]
    ready: set[str] = field(default_factory=set)
    stats: Stats | None = None
    started: float = field(default_factory=time.monotonic)

    def state(self, name: str) -> str:
        """Say in a word how a process is."""
        child = self.children[name]
        if child.killed:
            return "killed"
        if not child.alive:
            return "left"
        if name.startswith("worker") and name not in self.ready:
            return "starting"
        return "at work"

    def deeds(self, name: str) -> str:
        """Say what a bot has done so far, or a worker, by its own log."""
        if name.startswith("worker"):
            log = self.children[name].log.read_text(errors="replace")
            deleted = sum(map(int, re.findall(r"(\d+) files deleted", log)))
            return f"deleted {deleted} files"
        counts = self.ledger.counts.get(name)
        if counts is None:
            return ""
        return (
            f"stored {counts['stored']:>3} refs   read {counts['read right']:>3}"
            f"   released {counts['released']:>2} scopes"
        )

    def numbers(self) -> str:
        """Say how the store is."""
        if self.stats is None:
            return "starting"
        s = self.stats
        return (
            f"{s.refs:,} refs live, {s.released_refs:,} released, {s.expired_refs:,} expired; "
            f"{s.blobs:,} files, {s.size_bytes / 1e6:.1f} MB, {s.deleted_blobs:,} deleted"
        )


class Voice(Protocol):
    """Tells the story."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Fall silent."""

    def say(self, words: str) -> None:
        """Say something as it is."""

    def tell(self, at_s: float, who: str, what: str) -> None:
        """Say what has just happened."""

    def due(self) -> bool:
        """Whether it is time to show the scene again."""

    def show(self, scene: Scene) -> None:
        """Show how things are."""

    def rest(self) -> None:
        """Show nothing live any more."""

    def table(self, table: list[Row]) -> None:
        """Show what must add up."""


def make_voice(*, plain: bool) -> Voice:
    """Return the live voice for a terminal, the plain one for everything else."""
    console = Console(highlight=False)
    return Plain() if plain or not console.is_terminal else OnTerminal(console)


class Plain:
    """Lines for a pipe, a log or a dumb terminal."""

    EVERY_S = 4.0

    def __init__(self) -> None:
        """Show the first scene after a while."""
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def say(self, words: str) -> None:
        """Print it."""
        print(words, flush=True)  # noqa: T201 - a command talks

    def tell(self, at_s: float, who: str, what: str) -> None:
        """Print one line."""
        self.say(f"{at_s:5.1f} s  {who:<9} {what}")

    def due(self) -> bool:
        """Be quiet most of the time."""
        return time.monotonic() - self._last > self.EVERY_S

    def show(self, scene: Scene) -> None:
        """Print the numbers."""
        self._last = time.monotonic()
        self.tell(self._last - scene.started, "store", scene.numbers())

    def rest(self) -> None:
        """Nothing is live."""

    def table(self, table: list[Row]) -> None:
        """Print one line per row."""
        self.say("")
        for row in table:
            verdict = "OK" if row.ok else "MISMATCH"
            sign = "=" if row.ok else "!="
            numbers = f"{row.first:>12,} {sign:>2} {row.second:>12,}"
            self.say(f"{verdict:<8}  {row.what:<31}{numbers}   {row.meaning}".rstrip())
        self.say("")


class OnTerminal:
    """Events scroll by; below them, the fleet and its numbers stay in place."""

    EVERY_S = 0.25
    COLOURS: Final = {"at work": "green", "killed": "red", "starting": "yellow", "left": "dim"}

    def __init__(self, console: Console) -> None:
        """Draw on this console, in our own thread: the view must not outrun the story."""
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._last = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        self.rest()

    def say(self, words: str) -> None:
        """Print it above the live part."""
        self._console.print(Text(words))

    def tell(self, at_s: float, who: str, what: str) -> None:
        """Print one line above the live part."""
        line = Text.assemble((f"{at_s:5.1f} s  ", "dim"), (f"{who:<9} ", "bold"), what)
        self._console.print(line)

    def due(self) -> bool:
        """Four times a second is calm enough."""
        return time.monotonic() - self._last > self.EVERY_S

    def show(self, scene: Scene) -> None:
        """Draw the fleet."""
        self._last = time.monotonic()
        fleet = Table.grid(padding=(0, 2))
        for name in scene.children:
            state = scene.state(name)
            fleet.add_row(
                Text(f"  {name}", "bold"), Text(state, self.COLOURS[state]), Text(scene.deeds(name))
            )
        title = Text(f"\n  {self._last - scene.started:.0f} s   {scene.numbers()}", "cyan")
        self._live.update(Group(title, fleet), refresh=True)

    def rest(self) -> None:
        """Take the live part away."""
        with contextlib.suppress(OSError):  # the terminal may be gone: that is what SIGHUP says
            self._live.stop()

    def table(self, table: list[Row]) -> None:
        """Draw the table."""
        drawn = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
        for side in ("left", "left", "right", "right", "right"):
            drawn.add_column(justify=side, no_wrap=True)
        drawn.add_column()
        for row in table:
            verdict = Text("OK", "green") if row.ok else Text("MISMATCH", "bold red")
            numbers = f"{row.first:,}", "=" if row.ok else "≠", f"{row.second:,}"
            drawn.add_row(verdict, row.what, *numbers, Text(row.meaning, "dim"))
        self._console.print()
        self._console.print(drawn)
        self._console.print()
