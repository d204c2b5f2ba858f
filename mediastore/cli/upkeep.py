"""The commands that end refs and look after the store: release, sweep, stats, doctor, demo."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediastore.errors import InvalidSettings, Unavailable
from mediastore.escaping import printable
from mediastore.logs import JsonLines
from mediastore.model import Released, ReleasePlan, Swept, check_scope, parse_duration

from .app import Json, Scope, UsageError, log, opened, settings_of
from .output import is_terminal, note, print_json, put, show_fields, show_marked
from .planning import plan_sweep
from .waits import counted, what_waits

if TYPE_CHECKING:
    from mediastore import MediaStore
    from mediastore.doctor import Finding

logger = logging.getLogger("mediastore")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would go, and stop.")]


def release(
    ctx: typer.Context,
    scope: Scope,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="Return once the refs are dead; a sweep deletes the files."),
    ] = False,
    as_json: Json = False,
) -> None:
    """End every ref of a scope and below it.

    Files that nobody else holds are deleted. On a terminal it shows what would go, and asks.

    \b
    Example:
      mediastore release chat:42
      mediastore release chat:42 --dry-run
      mediastore release run:9 --yes --no-wait
    """
    check_scope(scope)
    if not (dry_run or yes or somebody_there()):
        raise UsageError("there is no terminal to ask on: add --yes to release without asking", ctx)
    with opened(ctx, as_json=as_json) as media:
        if dry_run or not yes:
            plan = media.plan_release(scope)
            if dry_run:
                _show(plan, _planned(plan), as_json=as_json)
                return
            note(_planned(plan))
            if not confirmed("Release?"):
                note("nothing was released")
                raise typer.Exit(1)
        done = media.release_all(scope, wait=not no_wait)
        stay = media.waiting(scope) if done.pending and not (as_json or no_wait) else []
    words = f"{counted(done.refs, 'ref')} released, {went(done)}"
    if done.closed:
        words = f"every ref is dead, and sweeps do the rest; so far {words}"
    _show(done, words, as_json=as_json)
    if stay:
        note(f"{what_waits(stay)}: `mediastore ls {printable(scope)} --waiting` lists them")
    _leave(done, as_json=as_json)


def _planned(plan: ReleasePlan) -> str:
    kept = f"; {counted(plan.kept, 'file')} of them kept, shared or borrowed" if plan.kept else ""
    scopes = f" in {counted(plan.scopes, 'scope')}" if plan.scopes > 1 else ""
    refs = f"{printable(plan.scope)} holds {counted(plan.refs, 'ref')}{scopes}"
    return f"{refs} on {counted(plan.blobs, 'file')}, {_bytes(plan.size_bytes)}{kept}"


def somebody_there() -> bool:
    """Whether a question would be read and answered."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str) -> bool:
    """Ask; anything but yes is no."""
    typer.echo(f"{printable(question)} [y/N] ", err=True, nl=False)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def sweep(
    ctx: typer.Context,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long one pass may work, such as 10s or 5m."),
    ] = None,
    dry_run: DryRun = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Keep sweeping until Ctrl-C or SIGTERM, as a service does."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what expired or was released.

    One pass: refs past their deadline end, released scopes are drained, and the files go that lie
    in the roots of this host.

    \b
    Example:
      mediastore sweep
      mediastore sweep --dry-run
      mediastore sweep --watch
    """
    if watch and (dry_run or as_json):
        raise UsageError(
            "--watch goes with neither --dry-run nor --json; its log is on stderr", ctx
        )
    if budget is not None:
        parse_duration(budget)
    if watch:
        _watch(ctx, budget)
        return
    if dry_run:
        plan = plan_sweep(settings_of(ctx, as_json=as_json))
        _show(plan, plan.in_words(), as_json=as_json)
        return
    with opened(ctx, as_json=as_json) as media:
        done = media.sweep(budget)
    refs = (
        f"{counted(done.expired, 'ref')} expired, {counted(done.drained, 'released ref')} drained"
    )
    _show(done, f"{refs}, {went(done)}", as_json=as_json)
    _leave(done, as_json=as_json)


def _watch(ctx: typer.Context, budget: str | None) -> None:
    """Sweep at the intervals of the settings until a signal comes; a pass in progress is finished."""
    from mediastore import MediaStore

    settings = settings_of(ctx, as_json=False)
    if not settings.cleanup_enabled or not settings.seconds("sweep_interval"):
        name = "sweep_interval is 0" if settings.cleanup_enabled else "cleanup_enabled is false"
        raise InvalidSettings(f"sweeping is switched off: {name}")
    lines = JsonLines() if settings.log_format == "json" else None
    log(logging.DEBUG if ctx.obj.debug else logging.INFO, lines)
    # Not an Event that the handler sets: its lock may be held by the very wait that was interrupted.
    before = signal.signal(signal.SIGTERM, _end)
    with (
        contextlib.suppress(_Ended),
        MediaStore.from_settings(
            replace(settings, sweep_budget=budget or settings.sweep_budget)
        ) as media,
    ):
        try:
            _first_look(media)
            media.start()
            threading.Event().wait()
        finally:
            logger.info("stopping; a pass in progress is finished first")
    signal.signal(signal.SIGTERM, before)


class _Ended(BaseException):
    """SIGTERM came."""


def _end(*_: object) -> None:
    # It is being done; a second one must not cut it short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Ended


def _first_look(media: MediaStore) -> None:
    """Let a wrong root or a foreign index end us now; the sweeper would log it for ever."""
    try:
        media.stats()
    except Unavailable as error:
        logger.warning("%s; sweeping begins when it answers", error)


def stats(ctx: typer.Context, as_json: Json = False) -> None:
    """Print the namespace in numbers.

    \b
    Example:
      mediastore stats
      mediastore stats --json | jq .oldest_trash_s
    """
    with opened(ctx, as_json=as_json) as media:
        found = media.stats()
    if as_json:
        print_json(found)
        return
    numbers = {name: value for name, value in asdict(found).items() if name != "roots"}
    if found.waiting:
        numbers["waiting"] = f"{found.waiting} (of the trash: they stay for grace or a lease)"
    if found.hidden:
        numbers["hidden"] = f"{found.hidden} (under held links only: `mediastore delete PATH`)"
    if found.reserved:
        numbers["reserved"] = f"{found.reserved} (being written)"
    else:
        del numbers["reserved"], numbers["reserved_bytes"]
    roots = {f"root {root}": place for root, place in found.roots.items()}
    show_fields({**numbers, **roots})


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Say what is wrong, and what to do.

    Looks at the server, the journal and the roots. The exit code is 5 when there is a problem.

    \b
    Example:
      mediastore doctor
      mediastore doctor --json | jq '.findings[] | select(.state != "ok")'
    """
    from mediastore.doctor import Finding, examine

    try:
        settings = settings_of(ctx, as_json=as_json)
    except InvalidSettings as error:
        found = [Finding("settings", "problem", str(error), error.hint)]
    else:
        found = examine(settings)
    states = Counter(finding.state for finding in found)
    if as_json:
        print_json({"findings": found})
    else:
        for finding in found:
            _show_finding(finding)
        note(f"{counted(states['problem'], 'problem')}, {counted(states['warning'], 'warning')}")
    if states["problem"]:
        raise typer.Exit(5)


def _show_finding(finding: Finding) -> None:
    style = {"ok": "green", "warning": "yellow", "problem": "bold red"}[finding.state]
    show_marked(finding.state, style, f"{finding.name}: {finding.detail}")
    if finding.advice:
        show_marked("", "", f"-> {finding.advice}")


def demo(
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain lines instead of a live view.")
    ] = False,
    keep: Annotated[
        str | None, typer.Option(metavar="DIR", help="Work in it and leave everything there.")
    ] = None,
) -> None:
    """Show it all at work on this machine.

    Bots, a worker and a server of its own, for less than a minute; nothing is left behind.

    \b
    Example:
      mediastore demo
    """
    from mediastore.demo import main

    raise typer.Exit(main(plain=plain or not is_terminal(), keep=keep))


def _show(result: Any, words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        put(words)


def _leave(done: Released | Swept, *, as_json: bool) -> None:
    """Exit with 1 when a file that should be gone is still there."""
    frozen = done.frozen if isinstance(done, Swept) else 0
    if frozen and not as_json:
        note(
            f"warning: {frozen} due and not done: `mediastore epoch show` or `mediastore breaker show` says why"
        )
    if not done.failed:
        return
    if not as_json:
        note(
            f"warning: {counted(done.failed, 'file')} could not be deleted and will be tried again"
        )
        note("hint: `mediastore doctor` names those that are stuck, and why.")
    raise typer.Exit(1)


def went(done: Released | Swept) -> str:
    """Say what became of the files."""
    parts = [f"{counted(done.deleted, 'file')} deleted ({_bytes(done.freed_bytes)})"]
    if done.kept:
        parts.append(f"{done.kept} kept, shared or borrowed")
    if done.gone:
        parts.append(f"{done.gone} gone already")
    if done.spared:
        parts.append(
            f"{done.spared} spared, not the registered file (`mediastore doctor` names it)"
        )
    if done.pending:
        parts.append(f"{done.pending} left for a sweep")
    return ", ".join(parts)


def _bytes(size: int) -> str:
    from mediastore.doctor import human_bytes

    return human_bytes(size)
