"""The command for probes: health. It asks files, not servers, so that it answers at once."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mediastore.errors import MediaStoreError
from mediastore.escaping import printable
from mediastore.model import parse_duration

from .app import Json, Session, settings_of
from .output import note, print_json, put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediastore.heartbeat import Sign
    from mediastore.settings import Settings


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

    \b
    Example:
      mediastore health worker
      mediastore health beat --max-age 1m
    """
    code = _answer(settings_of(ctx, as_json=as_json), role, node, max_age, as_json=as_json)
    if code:
        raise typer.Exit(code)


def probe(words: Sequence[str]) -> int | None:
    """Answer the words of a usual probe and return the exit code; None for any other words.

    Those go to the parser, which explains what is wrong with them. It loads pydantic, and a probe
    every few seconds should not cost twice its time.
    """
    given = {"--max-age": "30s"}
    rest = [word for word in words[1:] if word != "--json"]
    if not rest or rest[0] not in _ADVICE or len(rest) % 2 == 0:
        return None
    given |= dict(zip(rest[1::2], rest[2::2], strict=True))
    if set(given) - {"--node", "--max-age"}:
        return None
    try:
        settings = Session(None, None, (), None, debug=False).settings()
        return _answer(
            settings, rest[0], given.get("--node"), given["--max-age"], as_json="--json" in words
        )
    except MediaStoreError:
        return None


def _answer(settings: Settings, role: str, node: str | None, max_age: str, *, as_json: bool) -> int:
    """Look, say what was found, and return the exit code."""
    from mediastore.heartbeat import health_directory, signs

    limit_s = parse_duration(max_age)
    limit_s = float("inf") if limit_s is None else limit_s
    directory = health_directory(settings)
    try:
        found = signs(directory, role, node)
    except PermissionError:
        note(f"error: {printable(str(directory))} cannot be read by this user")
        note(f"hint: Ask as the user of the {role}, or set MEDIASTORE_HEALTH_DIR for both.")
        return 4
    alive = [sign for sign in found if sign.fresh(limit_s)]
    if as_json:
        beats = [
            {"node": sign.node, "pid": sign.pid, "age_s": round(sign.age_s(), 3), "alive": sign in alive,
             "dropped": sign.dropped}
            for sign in found
        ]  # fmt: skip
        print_json({"role": str(role), "healthy": bool(alive), "heartbeats": beats})
        return 0 if alive else 4
    for sign in found:
        (put if sign in alive else note)(_line(sign, alive=sign in alive))
    if alive:
        return 0
    if not found:
        note(f"error: no {role} has left a heartbeat in {printable(str(directory))}")
    note(f"hint: {_ADVICE[role]}")
    return 4


_ADVICE: dict[str, str] = {
    "worker": "Start one with `celery -A worker worker`; where one runs, restart it if its log stands "
    "still, and give both the same MEDIASTORE_HEALTH_DIR and user.",
    "beat": "Start one with `celery -A worker beat`; where one runs, restart it if its log stands "
    "still, and give both the same MEDIASTORE_HEALTH_DIR and user.",
}


def _line(sign: Sign, *, alive: bool) -> str:
    age_s = sign.age_s()
    when = f"{age_s:.0f} s ago" if age_s >= 0 else f"{-age_s:.0f} s ahead of this clock"
    state = "alive:" if alive else "silent: its last heartbeat was"
    poison = f"; dropped {sign.dropped} messages that were no ticks" if sign.dropped else ""
    return f"{printable(sign.node)} is {state} {when}{poison}"
