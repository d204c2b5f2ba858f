"""The command line: argument checks and words; the work is the library's.

Data goes to stdout, talk and errors to stderr. Exit codes:

    0    done
    1    failed: something could not be deleted, the reader of a pipe went away, a bug
    2    the command or the request cannot be right as it stands
    3    what was asked for is not there
    4    the server or a root does not answer; call again later
    5    the index is corrupt, or `doctor` found a problem
    130  Ctrl-C

Nothing here imports redis, asyncio or celery before a command needs it: `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer


def main() -> None:
    """Run the command that `sys.argv` names, and exit."""
    _fill_streams()
    try:
        if sys.argv[1:2] == ["health"]:
            from .health import probe

            code = probe(sys.argv[1:])
            if code is not None:
                sys.exit(code)
        command_line()()
    except KeyboardInterrupt:  # in the moment before the commands take care of it
        sys.exit(130)


def _fill_streams() -> None:
    """Put /dev/null where a stream is closed (`>&-`): the next file or socket would become stdout else."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            stream = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)


@cache
def command_line() -> typer.Typer:
    """Return the application with all its commands, in the order in which `--help` lists them."""
    from . import (
        acl,
        app,
        breaker,
        config,
        content,
        deleting,
        epochs,
        health,
        leasing,
        lifetimes,
        looking,
        media,
        policies,
        quotas,
        rebuilding,
        roots,
        running,
        upkeep,
    )

    line = app.new()
    commands: tuple[Callable[..., None], ...] = (
        *(media.store, media.resolve, content.put, content.get, content.url),
        *(looking.show, looking.ls, looking.scopes),
        *(lifetimes.touch, lifetimes.pin, lifetimes.unpin, lifetimes.deadline),
        *(lifetimes.share, lifetimes.transfer, lifetimes.promote),
        *(leasing.cat, leasing.lease, leasing.handoff, leasing.accept),
        *(deleting.delete, lifetimes.restore),
        *(upkeep.release, upkeep.sweep, upkeep.stats, upkeep.doctor, health.health, upkeep.demo),
        *(rebuilding.rebuild,),
        *(running.up, running.status, running.down),
        *(config.config, acl.acl),
    )
    for command in commands:
        line.command()(command)
    groups = roots, policies, quotas, epochs, breaker
    for name, each in zip(("roots", "policy", "quota", "epoch", "breaker"), groups, strict=True):
        line.add_typer(each.group(), name=name)
    return line
