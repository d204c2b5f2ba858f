"""The real store beside the oracle: processes that share nothing in memory, files, and every command that was sent."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import redis

from mediastore import Cleanup, MediaMeta
from mediastore.errors import MediaStoreError, RefGone
from mediastore.index.steps import Batch, Command

from .lab import Crash, Fuse, Lab
from .lifetimes_oracle import Bytes, Life, Oracle, below
from .test_index import dump

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from mediastore import Media

    from .lab import LabStore

SCOPES = ("a", "a/x", "a/x/y", "b", "b/x")
#: The last of them is always registered to be forgotten, never deleted.
NAMES = ("1.jpg", "2.jpg", "sub/3.jpg", "lent.jpg")
#: Where the time stands in an EVALSHA: after the digest, the number of keys, the prefix and `not_after`.
NOW = 5
PROCESSES = 3
#: Its clock runs at half the pace, so that it learns from the server only that it has lost a lease.
SLOW = 2
MAX_AGE_S, LEASE_MAX_S = 3600, 300
WINDOW_MS = 60_000


@dataclass
class Sent:
    """One changing command as it went over the wire, and what was answered."""

    script: str
    words: tuple[Any, ...]
    answer: Any
    when_ms: int


def ms(moment: Any) -> int | None:
    """A datetime in milliseconds; None stays None."""
    return None if moment is None else round(moment.timestamp() * 1000)


class World:
    """One namespace, three processes over clients of their own, and the oracle."""

    def __init__(self, make_client: Callable[[], redis.Redis], root: Path, grace_s: int) -> None:
        self.clients: list[redis.Redis] = []

        def client() -> redis.Redis:
            self.clients.append(make_client())
            return self.clients[-1]

        self.lab = Lab(client, root)
        self.lab.settings = replace(
            self.lab.settings, grace=grace_s, lease_max=LEASE_MAX_S, max_age=MAX_AGE_S
        )
        self.oracle = Oracle(grace_s * 1000, MAX_AGE_S * 1000, LEASE_MAX_S * 1000)
        self.oracle.now = self.lab.now_ms()
        self.sent: list[Sent] = []
        self.calls: list[str] = []
        self.labels: dict[Any, str] = {}
        #: What lies at each path, by content; each writing is a new file.
        self.current: dict[str, str] = {}
        self.written = 0
        self.processes = [self.start(number) for number in range(PROCESSES)]

    def close(self) -> None:
        for process in self.processes:
            process.close()
        for client in self.clients:
            client.close()

    # --- processes and what they send

    def start(self, number: int) -> LabStore:
        """Start a process whose connection is its own: what it has seen of the marks, no other has."""
        self.lab.client = self.lab.clients()
        process = self.lab.process()
        if number == SLOW:
            process._clock = lambda: self.lab.base_ms / 1000 + self.lab.offset_s / 2
        ask = process._ask

        def keep(command: Command[Any]) -> Command[Any]:
            words = process._speech.by_digest(command)

            def parse(reply: Any) -> Any:
                self.sent.append(Sent(command.script, words, reply, self.lab.now_ms()))
                return command.parse(reply)

            return replace(command, parse=parse)

        def watched(step: Any) -> Any:
            if isinstance(step, Batch):
                step = replace(step, commands=tuple(map(keep, step.commands)))
            elif isinstance(step, Command) and step.changes and step.script != "open":
                step = keep(step)
            return ask(step)

        process._ask = watched  # type: ignore[method-assign]
        return process

    def restart(self, number: int) -> None:
        self.calls.append(f"p{number} starts again")
        self.processes[number].close()
        self.processes[number] = self.start(number)

    def die_in_a_sweep(self, at: int) -> None:
        """Start a process that sweeps, and is killed after some call, to Redis or to the file system."""
        self.lab.client = self.lab.clients()
        self.calls.append(f"another process sweeps and is killed after {at} calls")
        with self.lab.fused(Fuse(at=at, after=True)) as process, suppress(Crash):
            process.sweep()
        process.close()

    def send_again(self, number: int) -> None:
        """Send a kept command as it was, at the server's present time: nothing changes, and the answer is the same."""
        sent = self.sent[number]
        self.calls.append(f"once more: {sent.script} {sent.words[NOW + 1 :]}")
        late = self.lab.now_ms() > sent.when_ms + WINDOW_MS
        before = dump(self.lab.client, self.lab.namespace)
        words = (*sent.words[:NOW], self.lab.now_ms(), *sent.words[NOW + 1 :])
        answer = self.say(words)
        after = dump(self.lab.client, self.lab.namespace)
        assert after == before, f"{sent.script} sent again changed something"
        if late:
            assert "STALE" in str(answer), f"{sent.script} was not refused for its age: {answer}"
        elif sent.script != "store":  # of a ref that is gone it says less than it did (test_replay)
            assert answer == sent.answer, f"{sent.script}: {sent.answer} became {answer}"

    def say(self, words: tuple[Any, ...]) -> Any:
        try:
            return self.lab.client.execute_command(*words)
        except redis.ResponseError as error:
            return error

    # --- calls

    def label(self, thing: Any, kind: str) -> str:
        return self.labels.setdefault(thing, f"{kind}{len(self.labels)}")

    def said(self, value: Any) -> str:
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self.said, value))}]"
        if isinstance(value, PurePath):
            return repr(str(value.relative_to(self.lab.root)))
        if isinstance(value, MediaMeta):
            return f"{value.cleanup}{value.policy and f', {value.policy}'}"
        return self.labels.get(value, repr(value)) if isinstance(value, str) else repr(value)

    def call(self, number: int, verb: str, *args: Any, **named: Any) -> Any:
        """Return what a method of a process answers; an error of ours is an answer."""
        words = [self.said(a) for a in args] + [f"{k}={self.said(v)}" for k, v in named.items()]
        process = self.processes[number]
        return self.hear(
            f"p{number}.{verb}({', '.join(words)})", lambda: getattr(process, verb)(*args, **named)
        )

    def hear(self, words: str, call: Callable[[], Any]) -> Any:
        """Log the words and return what the call answers; no call may wait, since nobody else is at work."""
        self.calls.append(words)
        before = self.lab.now_ms()
        try:
            answer = call()
        except MediaStoreError as error:
            answer = error
        self.calls[-1] += f" -> {self.said(answer):.150}"
        assert self.lab.now_ms() == before, f"the call waited {self.lab.now_ms() - before} ms"
        return answer

    # --- files

    def write(self, name: str) -> None:
        """Put a new file at the path, another inode than what may lie there."""
        self.written += 1
        content = f"{name} {self.written}"
        fresh = self.lab.file(f"{name}.new", content)
        os.replace(fresh, self.lab.root / name)
        self.calls.append(f"write {content!r}")
        self.current[name] = content
        for each in self.oracle.bytes:
            if each.name == name:
                each.at_path = False

    def bytes_at(self, name: str) -> Bytes:
        """What a registration of the path means now: the bytes that are known there, or new ones."""
        if name not in self.current:
            self.write(name)
        for each in self.oracle.bytes:
            if each.name == name and each.at_path and not each.gone:
                return each
        made = Bytes(name, self.current[name], lent=name.startswith("lent"))
        self.oracle.bytes.append(made)
        return made

    def meta_of(self, bytes_: Bytes, policy_s: int | None = None) -> MediaMeta:
        cleanup = Cleanup.FORGET if bytes_.lent else Cleanup.DELETE
        policy = f"delete-after-{policy_s // 60}min" if policy_s else ""
        return MediaMeta(filename=f"{len(self.calls)}.jpg", cleanup=cleanup, policy=policy)

    def read(self, path: Path) -> str | None:
        try:
            return path.read_text()
        except FileNotFoundError:
            return None

    def held(self, bytes_: Bytes) -> Path:
        suffix = os.path.splitext(bytes_.name)[1]
        return self.lab.root / ".mediastore" / "held" / f"{bytes_.blob}{suffix}"

    def path(self, bytes_: Bytes) -> Path:
        return self.lab.root / bytes_.name

    def found(self, bytes_: Bytes) -> Path | None:
        """Where a reader finds the bytes; nowhere, of a file that was only lent and has been replaced."""
        if bytes_.at_path:
            return self.path(bytes_)
        return None if bytes_.lent else self.held(bytes_)

    # --- looking

    def check_bytes(self, bytes_: Bytes) -> None:
        """Bytes that are claimed are there; bytes that are not may have gone, and then wholly."""
        here = self.read(self.path(bytes_)) == bytes_.content if bytes_.at_path else None
        if bytes_.lent:
            assert here in {True, None}, f"{bytes_.content!r} was only lent, and is gone"
            return
        held = self.read(self.held(bytes_)) == bytes_.content
        if self.oracle.must_stay(bytes_):
            assert held, f"{bytes_.content!r} is claimed, and its held link is gone"
            assert here is not False, f"{bytes_.content!r} is claimed, and its file is gone"
        if held:
            assert here is not False, f"{bytes_.content!r} is half gone: its held link is left"
            return
        assert here is not True, f"{bytes_.content!r} is half gone: its file is left"
        bytes_.gone = True
        if bytes_.at_path:
            self.current.pop(bytes_.name, None)
            bytes_.at_path = False

    def check_files(self) -> None:
        for bytes_ in self.oracle.bytes:
            if not bytes_.gone:
                self.check_bytes(bytes_)
        assert self.lab.files() == self.current, "somebody's file is gone, or one is left"

    def versions(self, name: str) -> int:
        return sum(each.name == name and not each.gone for each in self.oracle.bytes)

    def check_gone(self, chosen: Callable[[Bytes], bool]) -> None:
        """Of the chosen bytes nothing is left that nobody claims."""
        for bytes_ in self.oracle.bytes:
            if bytes_.gone or not self.oracle.must_go(bytes_) or not chosen(bytes_):
                continue
            if self.versions(bytes_.name) > 1:
                continue  # they take turns at their path, a second apart
            left = self.held(bytes_).exists() or (
                bytes_.at_path and self.read(self.path(bytes_)) == bytes_.content
            )
            assert not left, f"nobody claims {bytes_.content!r}, and it is still there"

    def check_ref(self, number: int, life: Life) -> None:
        """Whether, and as what, a process sees a ref."""
        name, media = self.labels[life.ref], self.look_at(number, life)
        if isinstance(media, MediaStoreError):
            assert isinstance(media, RefGone), f"p{number}: {name}: {media!r}"
            assert life.end is not None, f"p{number}: {name} should live, but: {media!r}"
            self.check_end(life, media.reason, media.when, media.by)
            return
        assert life.end is None, f"p{number}: {name} lives, but should be {life.end}"
        seen: tuple[Any, ...] = (
            media.scope,
            ms(media.expires_at),
            media.pinned,
            media.meta.filename,
        )
        live = (life.scope, self.oracle.expires(life), life.pinned, life.filename)
        assert seen == live, f"p{number}: {name} is {seen}, should be {live}"
        assert (media.blob, media.path) == (life.bytes.blob, self.path(life.bytes)), name

    def look_at(self, number: int, life: Life) -> Media | MediaStoreError:
        try:
            return self.processes[number].get(life.ref)
        except MediaStoreError as error:
            return error

    def check_end(self, life: Life, reason: str, when: datetime | None, by: str) -> None:
        """Why, when and by what a dead ref is said to have ended."""
        told, ends = (reason, ms(when)), (life.end, *life.end.others) if life.end else ()
        assert any(
            told == (end.reason, end.when_ms) and f"{by} of ".startswith(f"{end.by} of ")
            for end in ends
        ), f"{self.labels[life.ref]} is {told} by {by!r}, should be {ends}"

    def check_remains(self, bytes_: Bytes, kept_for: str, until: datetime | None) -> None:
        """Why, and how long at least, the bytes of dead refs are said to stay."""
        said = f"{bytes_.content!r} is kept for {kept_for!r} until {until}"
        if bytes_.gone or bytes_.lent:
            assert bytes_.lent or (kept_for, until) == ("", None), said
        elif bytes_.referred():
            assert (kept_for, until) == ("refs", None), said
        elif kept_for == "" and self.oracle.may_have_waited(bytes_):
            assert until is None, said
        elif self.oracle.waits(bytes_):
            low, high, leased = self.oracle.stay(bytes_)
            assert max(low, leased) <= (ms(until) or 0) <= max(high, leased), (said, low, high)
            right = {"lease" if leased > low else "grace", "lease" if leased > high else "grace"}
            assert kept_for in right, said

    def check_waiting(self, bytes_: Bytes) -> None:
        """What waits is shown once, in a scope in which it ended or whose release ended it."""
        shown = {scope: self.processes[0].waiting(scope) for scope in SCOPES}
        found = [
            (scope, each)
            for scope, waiting in shown.items()
            for each in waiting
            if each.blob == bytes_.blob
        ]
        assert len(found) == 1, f"{bytes_.content!r} waits, and is shown {len(found)} times"
        scope, waiting = found[0]
        homes = {life.scope for life in bytes_.lives if life.end}
        assert any(below(home, scope) for home in homes), (scope, homes)
        assert (waiting.path, waiting.size_bytes) == (self.path(bytes_), len(bytes_.content))
        self.check_remains(bytes_, waiting.kept_for, waiting.until)

    def check_lists(self, number: int) -> None:
        process = self.processes[number]
        for scope in SCOPES:
            seen = [str(media.ref) for media in process.refs(scope)]
            right = [life.ref for life in self.oracle.live(scope)]
            assert seen == right, (
                f"p{number}.refs({scope!r}): {self.said(seen)}, {self.said(right)}"
            )
        scopes = sorted({life.scope for life in self.oracle.live()})
        assert process.scopes() == scopes, process.scopes()
        live, known = len(self.oracle.live()), len(self.oracle.lives)
        assert live <= process.stats().refs <= known
