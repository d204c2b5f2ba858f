"""What runs between the supervisor and Celery in each child: `python -m mediastore.supervisor.child FD ARGS...`.

Celery's own end is asked for when the lifeline breaks, because the supervisor is gone; a worker whose
broker has gone as well would wait for it for ever, so the whole process group ends soon after.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Final

import mediastore

#: Time for a batch in progress, when nobody is left who would wait for more.
GRACE_S: Final = 5.0


def main() -> None:
    """Watch the lifeline, and be Celery."""
    lifeline, arguments = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - its own signature
    threading.Thread(target=_watch, args=(lifeline,), daemon=True, name="lifeline").start()
    # The `worker` of our own distribution, whatever lies in PYTHONPATH.
    sys.path.insert(0, str(Path(mediastore.__file__).parents[1]))
    sys.argv = ["celery", *arguments]
    # Eight lines of Celery's about root; the supervisor says it in one.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser")
    runpy.run_module("celery", run_name="__main__", alter_sys=True)


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)  # nobody writes: it returns when the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
