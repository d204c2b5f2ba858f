"""The commands of a fleet on this machine: up, status, down."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediastore.escaping import printable

from .app import Json, talk
from .output import note, print_json, put, show_table

if TYPE_CHECKING:
    from mediastore.state import Running

_NOT_RUNNING = 4


def up(
    ctx: typer.Context,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is up; it goes on by itself.")
    ] = False,
) -> None:
    """Run a fleet on this machine: a server, a worker, a beat.

    With MEDIASTORE_REDIS_URL the server is that one. Otherwise an installed one is started, or the
    one of the [embedded] extra, and its data lies in the state directory. Every process of this
    user that names no server then finds this one. Ctrl-C or SIGTERM ends it, and nothing is lost.

    \b
    Example:
      mediastore up
      mediastore up --detach
    """
    from mediastore import supervisor
    from mediastore.settings import Settings
    from mediastore.state import Running
    from mediastore.supervisor.up import Log

    fleet = supervisor.Fleet()
    if detach:
        _in_background(ctx, fleet)
        return
    with fleet.locked():
        # What a killed supervisor left says where its server was, and that may be gone.
        Running.remove(fleet.directory)
        talk(ctx, as_json=False)
        said = ctx.obj.said()
        settings, ours = Settings.of(said), "redis_url" not in said
        number = supervisor.Supervisor(fleet, settings, own_server=ours, say=Log()).run()
    raise typer.Exit(130 if number == signal.SIGINT else 0)


def _in_background(ctx: typer.Context, fleet: Any) -> None:
    from mediastore import supervisor

    said = ctx.obj
    arguments = [word for root in said.roots for word in ("--root", root)]
    arguments += ["--env-file", str(said.env_file)] if said.env_file else []
    arguments += ["--debug"] if said.debug else []
    if fleet.supervisor is not None:
        put(f"mediastore up runs already, as process {fleet.supervisor}")
        return
    environ = {**os.environ, **said.options().variables}
    running = supervisor.detach(fleet, arguments, environ)
    put(f"mediastore up runs as process {running.pid}; its log is {printable(str(fleet.log))}")
    note("`mediastore status` shows it, `mediastore down` ends it.")


def status(as_json: Json = False) -> None:
    """Show what `mediastore up` runs here, and whether all of it is up.

    The exit code is 4 when something is down.

    \b
    Example:
      mediastore status
    """
    from mediastore import supervisor

    fleet = supervisor.Fleet()
    running = fleet.running()
    if as_json:
        print_json({"state_directory": fleet.directory, "running": running})
    elif running is None:
        note(f"nothing runs here (state directory {printable(str(fleet.directory))})")
        note("hint: `mediastore up` starts a server, a worker and a beat.")
    else:
        _show(running)
    if running is None or not all(each.pid for each in running.processes):
        raise typer.Exit(_NOT_RUNNING)


def _show(running: Running) -> None:
    rows: list[tuple[Any, ...]] = [("up", "up", running.pid, _moment(running.since), 0)]
    rows += [
        (each.name, each.state, each.pid or "-", _moment(each.since), each.restarts)
        for each in running.processes
    ]
    show_table(("name", "state", "pid", "since_at", "restarts"), rows)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def down() -> None:
    """End what `mediastore up` runs here, in order: beat, worker, server.

    Files that wait to be deleted are deleted by the next sweep, wherever it runs.

    \b
    Example:
      mediastore down
    """
    from mediastore import supervisor

    fleet = supervisor.Fleet()
    put("mediastore up has ended" if supervisor.down(fleet) else "nothing was running here")
