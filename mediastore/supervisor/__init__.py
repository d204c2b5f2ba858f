"""`mediastore up`: a server, a worker and a beat on this machine, looked after by one process.

One state directory has at most one supervisor: it holds the lock `up.lock` while it lives. What it looks
after ends with it, however it ends. The server gets SIGTERM from the kernel (`embedded`); worker and beat
each hold one end of a pipe, their lifeline, whose other end only the supervisor has.

A SIGKILL of any of them, or of all at once, loses nothing that the server had on its disk: files and
index are brought together again by the next sweep. Nothing here is needed for that to be true.
"""

from .fleet import AlreadyRunning, Fleet, detach, down
from .up import Supervisor

__all__ = ["AlreadyRunning", "Fleet", "Supervisor", "detach", "down"]
