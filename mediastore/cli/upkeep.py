"""The commands that end refs and look after the store: release, sweep, stats, doctor, demo."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediastore.errors import InvalidSettings, Unavailable
from mediastore.logs import JsonLines
from mediastore.model import Released, ReleasePlan, Swept, check_scope, parse_duration

from .app import Json, UsageError, log, opened, settings_of
from .media import Scope
from .output import is_terminal, note, print_json, printable, put, show_fields, show_marked

if TYPE_CHECKING:
    from mediastore import MediaStore, Settings
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
    words = f"{_count(done.refs, 'ref')} released, {_went(done)}"
    if done.closed:
        words = f"every ref is dead, and sweeps do the rest; so far {words}"
    _show(done, words, as_json=as_json)
    _leave(done, as_json=as_json)


def _planned(plan: ReleasePlan) -> str:
    kept = f"; {_count(plan.kept, 'file')} of them kept, shared or borrowed" if plan.kept else ""
    scopes = f" in {_count(plan.scopes, 'scope')}" if plan.scopes > 1 else ""
    refs = f"{printable(plan.scope)} holds {_count(plan.refs, 'ref')}{scopes}"
    return f"{refs} on {_count(plan.blobs, 'file')}, {_bytes(plan.size_bytes)}{kept}"


def somebody_there() -> bool:
    """Whether a question would be read and answered."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str) -> bool:
    """Ask; anything but yes is no."""
    typer.echo(f"{question} [y/N] ", err=True, nl=False)
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
    refs = f"{_count(done.expired, 'ref')} expired, {_count(done.drained, 'released ref')} drained"
    _show(done, f"{refs}, {_went(done)}", as_json=as_json)
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
        _first_look(media)
        media.start()
        try:
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


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep from here would find due now; the files that only expiring refs hold come on top.

    Attributes:
        expired: Refs whose deadline has passed.
        closed: Released scopes that are not drained yet.
        deleted: Files waiting to be deleted in the roots of this host.
        elsewhere: Files waiting in other roots, which a sweep from here cannot touch.
    """

    expired: int
    closed: int
    deleted: int
    elsewhere: int

    def in_words(self) -> str:
        """Say it."""
        due = f"{_count(self.expired, 'ref')} to expire, {_count(self.closed, 'released scope')} to drain"
        rest = f"; {_count(self.elsewhere, 'file')} in roots elsewhere" if self.elsewhere else ""
        return f"due now: {due}, {_count(self.deleted, 'file')} to delete{rest}"


def plan_sweep(settings: Settings) -> SweepPlan:
    """Count what is due, by reading; no root is marked and nothing is changed.

    Raises:
        InvalidRoot: a root cannot be trusted, so that nothing would be deleted.
        IndexUnavailable: the server does not answer.
    """
    from mediastore.connection import Link, connect
    from mediastore.doctor.roots import marked
    from mediastore.index.steps import Read, text
    from mediastore.speech import Speech

    settings = settings.for_namespace(settings.namespace)
    here = marked(settings)
    client = connect(settings)
    try:
        link = Link(client, Speech(settings.namespace))
        now_ms, roots = link.perform(
            Read(
                lambda p, _: [("GET", f"{p}clock"), ("HKEYS", f"{p}roots")],
                lambda _, found, now: (max(now, int(found[0] or 0)), [text(r) for r in found[1]]),
                timed=True,
            )
        )
        names = ("expiry", *(f"trash:{root}" for root in roots))
        expired, closed, *trash = link.perform(
            Read(
                lambda p, _: [
                    ("ZCOUNT", f"{p}{names[0]}", "-inf", now_ms),
                    ("ZCARD", f"{p}closed"),
                    *(("ZCOUNT", f"{p}{name}", "-inf", now_ms) for name in names[1:]),
                ],
                lambda _, found, __: [int(count) for count in found],
            )
        )
    finally:
        client.close()
    counted = dict(zip(roots, trash, strict=True))
    mine = sum(count for root, count in counted.items() if root in here)
    return SweepPlan(expired, closed, mine, sum(counted.values()) - mine)


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
        note(f"{_count(states['problem'], 'problem')}, {_count(states['warning'], 'warning')}")
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
    if not done.failed:
        return
    if not as_json:
        note(f"warning: {_count(done.failed, 'file')} could not be deleted and will be tried again")
        note("hint: `mediastore doctor` names those that are stuck, and why.")
    raise typer.Exit(1)


def _went(done: Released | Swept) -> str:
    parts = [f"{_count(done.deleted, 'file')} deleted ({_bytes(done.freed_bytes)})"]
    if done.kept:
        parts.append(f"{done.kept} kept, shared or borrowed")
    if done.pending:
        parts.append(f"{done.pending} left for a sweep")
    return ", ".join(parts)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _bytes(size: int) -> str:
    from mediastore.doctor import human_bytes

    return human_bytes(size)
