"""One bot of the demo: stores media, hands the refs on, reads what it is handed, releases.

    python -m mediastore.demo.bot NAME NEIGHBOUR ROOT

It reports each thing it does as one line of JSON on stdout, as it happens, so that the work of a
killed bot is counted too.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediastore import NEVER, MediaMeta, MediaStore
from mediastore.demo.mailbox import Mailbox
from mediastore.demo.samples import Sample, samples
from mediastore.errors import FileMissing, MediaStoreError, NotThere, RefGone

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediastore.model import Duration

PREVIEW_TTL = "2s"
PAUSE_S = (0.08, 0.2)
MESSAGES_A_CONVERSATION = 12
ALBUM = 40
PATIENCE_S = 1.5


def report(did: str, **facts: Any) -> None:
    """Say what was done, in one write that fits into a pipe: a kill cuts no line in two."""
    os.write(1, json.dumps({"did": did, **facts}).encode() + b"\n")


@dataclass
class Bot:
    """A bot at work. `unread`: refs of each message that the neighbour has not looked at yet."""

    name: str
    neighbour: str
    root: Path
    store: MediaStore
    mail: Mailbox
    samples: list[Sample] = field(default_factory=samples)
    unread: dict[int, list[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    messages: int = 0
    files: int = 0
    finishing: bool = False

    def __post_init__(self) -> None:
        """Behave the same in every run, as far as the others let it."""
        self.random = random.Random(self.name)  # noqa: S311 - not a secret
        self.folder = self.root / self.name
        self.folder.mkdir(exist_ok=True)

    def live(self) -> None:
        """Work until told to finish; then end the conversation, and leave some things behind."""
        self.put(self.pick(), f"library:{self.name}", NEVER)
        while not self.finishing:
            self.message()
            if self.messages % 3 == 0:
                self.put(self.pick(), f"preview:{self.name}", PREVIEW_TTL)
            if self.messages % MESSAGES_A_CONVERSATION == 0:
                self.end_conversation(wait=self.messages % (2 * MESSAGES_A_CONVERSATION) == 0)
            self.listen(self.random.uniform(*PAUSE_S))
        self.end_conversation(wait=True)
        for _ in range(2):
            # Nobody will release the first; nothing ends the second.
            self.put(self.pick(), f"chat:{self.name}/msg:{self.messages + 1}")
            self.put(self.pick(), f"library:{self.name}", NEVER)
        self.listen(PATIENCE_S / 2)

    # --- storing

    def pick(self) -> Sample:
        """Choose what somebody sent us."""
        return self.random.choice(self.samples)

    def put(self, sample: Sample, scope: str, ttl: Duration | None = None) -> str:
        """Save a file under a name of its own, as a download would, and register it."""
        self.files += 1
        path = self.folder / f"{self.files:04}-{sample.path.name}"
        self.intend(path, scope, sample.size_bytes, sample.sha256)
        shutil.copyfile(sample.path, path)
        meta = MediaMeta(
            filename=sample.path.name, content_type=sample.content_type, source="telegram"
        )
        ref = self.store.store(path, scope=scope, meta=meta, ttl=ttl)
        report("stored", ref=ref)
        return ref

    def intend(self, path: Path, scope: str, size_bytes: int, sha256: str) -> None:
        """Say what comes next: a kill between the store and its report must not hide the store."""
        place = str(path.relative_to(self.root))
        report("storing", path=place, scope=scope, size_bytes=size_bytes, sha256=sha256)

    def message(self) -> None:
        """Store what came with one message and hand it to the neighbour."""
        self.messages += 1
        number, scope = self.messages, f"chat:{self.name}/msg:{self.messages}"
        chosen = self.random.sample(self.samples, self.random.randint(1, 3))
        media = [{"ref": self.put(each, scope), "sha256": each.sha256} for each in chosen]
        self.unread[number] = [each["ref"] for each in media]
        self.said += self.unread[number]
        self.mail.send(self.neighbour, kind="look", sender=self.name, number=number, media=media)

    # --- releasing

    def release(self, scope: str, refs: list[str], *, wait: bool) -> None:
        """End a scope, and let the neighbour make sure that its refs are dead there too."""
        self.store.release_all(scope, wait=wait)
        report("released", scope=scope)
        if refs:
            self.mail.send(self.neighbour, kind="ended", refs=refs)

    def end_conversation(self, *, wait: bool) -> None:
        """Release `chat:<name>` and every message below it, whatever their number."""
        self.listen(PATIENCE_S, until=lambda: not self.unread)
        self.release(f"chat:{self.name}", self.said[-5:], wait=wait)
        self.unread.clear()
        self.said.clear()

    # --- what others say

    def listen(self, wait_s: float, until: Callable[[], bool] = lambda: False) -> None:
        """Answer messages for a while."""
        deadline = time.monotonic() + wait_s
        while not until() and (left := deadline - time.monotonic()) > 0:
            message = self.mail.receive(self.name, left)
            if message is not None:
                getattr(self, f"on_{message.pop('kind')}")(**message)

    def on_look(self, sender: str, number: int, media: list[dict[str, str]]) -> None:
        """Read what another bot stored; now and then put it into a conversation of our own too."""
        looks = [self.look(each["ref"], each["sha256"]) for each in media]
        report("read", **{word: looks.count(word) for word in ("right", "wrong", "late")})
        if number % 4 == 0:
            self.forward(media[0]["ref"], media[0]["sha256"])
        self.mail.send(sender, kind="seen", number=number)

    def look(self, ref: str, sha256: str) -> str:
        """Read a ref that another process made, even if that releases it meanwhile; compare it with what was stored."""
        try:
            with self.store.open(ref) as file:
                read = hashlib.file_digest(file, "sha256").hexdigest()
        except RefGone:
            return "late"
        return "right" if read == sha256 else "wrong"

    def forward(self, ref: str, sha256: str) -> None:
        """Register a file of another bot once more: it stays until both have released it."""
        try:
            path = self.store.resolve(ref)
            self.intend(
                path, f"chat:{self.name}/msg:{self.messages + 1}", path.stat().st_size, sha256
            )
            again = self.store.store(path, scope=f"chat:{self.name}/msg:{self.messages + 1}")
        except (NotThere, FileMissing, FileNotFoundError):
            report("forgone")
        else:
            report("stored", ref=again)

    def on_seen(self, number: int) -> None:
        """Release every second message as soon as it was read; the others wait for the end."""
        refs = self.unread.pop(number, [])
        if refs and number % 2:
            self.release(f"chat:{self.name}/msg:{number}", refs, wait=number % 4 == 1)

    def on_ended(self, refs: list[str]) -> None:
        """Ask for refs that another bot released; not one may answer."""
        alive = 0
        for ref in refs:
            try:
                self.store.resolve(ref)
            except NotThere:
                continue
            alive += 1
        report("asked", gone=len(refs) - alive, alive=alive)

    def on_album(self) -> None:
        """Take an album in, drop the whole conversation at once, leave the files to the workers."""
        for _ in range(ALBUM):
            self.put(self.pick(), f"chat:{self.name}/msg:{self.messages + 1}")
        self.release(f"chat:{self.name}", [], wait=False)
        self.unread.clear()
        self.said.clear()

    def on_neighbour(self, name: str) -> None:
        """Hand on to another bot from now on."""
        self.neighbour = name
        self.unread.clear()

    def on_finish(self) -> None:
        """Come to an end."""
        self.finishing = True


def main() -> int:
    """Live one bot's life."""
    name, neighbour, root = sys.argv[1:]
    with MediaStore.from_env() as store:
        mail = Mailbox(store.settings.redis_url)
        try:
            Bot(name, neighbour, Path(root), store, mail).live()
        except MediaStoreError as error:
            report("failed", error=f"{type(error).__name__}: {error}")
            return 1
        finally:
            mail.close()
    report("left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
