"""The main job on real input, on this machine alone: `mediastore demo`, also `make run`.

Five bots store photos, voice notes and documents, hand the refs to each other, and release them.
Two Celery workers and a beat clean up behind them. One bot and one worker are killed in the middle.
At the end a table shows whether anything was lost, kept too long or left behind.

    bot        the program of one bot: a process of its own
    mailbox    how bots hand refs to each other, and how they are told to finish
    samples    the real media that bots store
    processes  children that never outlive the demo
    fleet      the server, the workers, the beat and the bots, and what they report
    story      what happens, in order
    ledger     what the bots said they did, and the table it must add up in
    evidence   what the index and the disk say
    view       the same story on a terminal and as plain lines
"""

from __future__ import annotations

import errno
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mediastore.embedded import NO_ENGINE, find_engine
from mediastore.errors import MediaStoreError

from .processes import Failed, Interrupted, Interruption

if TYPE_CHECKING:
    from mediastore.embedded import Engine

NO_CELERY = 'The demo runs real Celery workers: pip install "mediastore[worker]"'
ADDS_UP, DOES_NOT, USAGE, NO_SERVER = 0, 1, 2, 4


def main(*, plain: bool = False, keep: str | None = None) -> int:
    """Run the demo; it takes about half a minute.

    Args:
        plain: Print plain lines even on a terminal.
        keep: A directory, empty or not there yet, that holds everything and stays afterwards.
            None: a temporary one, which is removed. No process and no socket stays in either case.

    Returns:
        0 when everything adds up, 1 when it does not, 2 when `keep` cannot be used, 4 when this
        machine has no server to run, 130 after Ctrl-C, 143 after SIGTERM.
    """
    # From here on a signal waits for a moment in which nothing is half started.
    with Interruption() as interruption:
        engine = find_engine()
        if engine is None:
            return _refuse(NO_ENGINE, NO_SERVER)
        if importlib.util.find_spec("celery") is None:
            return _refuse(NO_CELERY, DOES_NOT)
        try:
            directory = _directory(keep)
        except OSError as error:
            return _refuse(f"{keep or 'a temporary directory'}: {error.strerror}", USAGE)
        try:
            return _run(directory, engine, interruption, plain=plain, kept=keep is not None)
        finally:
            if keep is None:
                shutil.rmtree(directory, ignore_errors=True)


def _directory(keep: str | None) -> Path:
    """Make the directory of this run; an old run's would bring its counts along."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="mediastore-demo-")).resolve()
    directory = Path(keep).expanduser().resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(errno.ENOTEMPTY, "the directory is not empty")
    return directory


def _run(
    directory: Path, engine: Engine, interruption: Interruption, *, plain: bool, kept: bool
) -> int:
    # Bots import this package too; what only the stage needs waits until here.
    from .story import Story
    from .view import make_voice

    with make_voice(plain=plain) as voice:
        story = Story(directory, engine, voice, interruption.check)
        try:
            story.perform(kept=kept)
        except Interrupted as signal:
            voice.say("Interrupted: ending every process.")
            return 128 + signal.number
        except Failed as failure:
            voice.say(str(failure))
            return DOES_NOT
        except MediaStoreError as error:
            voice.say(f"{error}\n{error.hint}")
            return error.exit_code
        finally:
            story.end()
        story.conclude(kept=kept)
        return ADDS_UP if story.adds_up else DOES_NOT


def _refuse(words: str, code: int) -> int:
    print(words, file=sys.stderr)  # noqa: T201 - a command talks
    return code
