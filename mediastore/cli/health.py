"""The command for probes: health. It asks files, not servers, so that it answers at once."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mediastore.model import parse_duration

from .app import Json, settings_of
from .output import note, print_json, printable, put

if TYPE_CHECKING:
    from mediastore.heartbeat import Sign


class Role(StrEnum):
    """Who leaves a heartbeat."""

    worker = "worker"
    beat = "beat"


def health(
    ctx: typer.Context,
    role: Annotated[Role, typer.Argument(metavar="worker|beat", help="Whose heartbeat.")],
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="This one, such as celery@host; otherwise any of them."),
    ] = None,
    max_age: Annotated[
        str, typer.Option(metavar="TIME", help="How old its last heartbeat may be.")
    ] = "30s",
    as_json: Json = False,
) -> None:
    """Say whether a worker or a beat of this host is alive.

    For probes of containers and the like: it looks at heartbeat files and asks no server. The exit
    code is 0 when one is alive, otherwise 4. A worker that waits for its broker is alive.
    """
    from mediastore.heartbeat import health_directory, signs

    limit_s = parse_duration(max_age)
    limit_s = float("inf") if limit_s is None else limit_s
    directory = health_directory(settings_of(ctx, as_json=as_json))
    found = signs(directory, role, node)
    alive = [sign for sign in found if sign.fresh(limit_s)]
    if as_json:
        beats = [
            {"node": sign.node, "pid": sign.pid, "age_s": round(sign.age_s(), 3), "alive": sign in alive}
            for sign in found
        ]  # fmt: skip
        print_json({"role": str(role), "healthy": bool(alive), "heartbeats": beats})
    else:
        for sign in found:
            (put if sign in alive else note)(_line(sign, alive=sign in alive))
    if alive:
        return
    if not as_json:
        if not found:
            note(f"error: no {role} has left a heartbeat in {printable(str(directory))}")
        note(f"hint: {_ADVICE[role]}")
    raise typer.Exit(4)


_ADVICE = {
    Role.worker: "Start one with `celery -A worker worker`; where one runs, restart it if its log stands "
    "still, and give both the same MEDIASTORE_HEALTH_DIR and user.",
    Role.beat: "Start one with `celery -A worker beat`; where one runs, restart it if its log stands "
    "still, and give both the same MEDIASTORE_HEALTH_DIR and user.",
}


def _line(sign: Sign, *, alive: bool) -> str:
    age_s = sign.age_s()
    when = f"{age_s:.0f} s ago" if age_s >= 0 else f"{-age_s:.0f} s ahead of this clock"
    state = "alive:" if alive else "silent: its last heartbeat was"
    return f"{printable(sign.node)} is {state} {when}"
