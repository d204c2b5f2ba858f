"""The commands that hold bytes: lease, handoff, accept, cat."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Annotated

import typer

from mediastore.errors import InvalidRequest, MediaStoreError
from mediastore.model import Ref, parse_duration

from .app import Json, OneRef, Refs, UsageError, opened, tell
from .carrying import carry_out
from .output import is_terminal, print_json, put

if TYPE_CHECKING:
    from collections.abc import Sequence

Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- COMMAND",
        help="What to run; {} in it stands for the path.",
        show_default=False,
    ),
]
LeaseTtl = Annotated[
    str,
    typer.Option(metavar="TIME", help="How long the bytes stay when this process is killed."),
]

_CHUNK = 1 << 16


def lease(ctx: typer.Context, ref: OneRef, command: Command = None, ttl: LeaseTtl = "1m") -> None:
    """Run a command while its file cannot go.

    The lease keeps the bytes through release, expiry and deletion, and is renewed until the command
    ends. The path stands for {} in the command, and in its variable MEDIASTORE_PATH. Signals reach
    the command, and its exit code is ours; 126 and 127 say that it could not be started. A lease
    that is lost ends the command, and the exit code is 1.

    \b
    Example:
      mediastore lease media://Jg-dwH-lv6qZQo18FeQAFw -- ffmpeg -i {} out.mp3
      mediastore lease media://Jg-dwH-lv6qZQo18FeQAFw -- sh -c 'wc -c < "$MEDIASTORE_PATH"'
    """
    words = _words(ctx, command, ttl)
    with opened(ctx, as_json=False) as media, media.lease(ref, ttl) as held:
        code = carry_out(words, held.path, lambda: held.lost)
    raise typer.Exit(code)


def accept(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="What `handoff` printed.")],
    command: Command = None,
    ttl: LeaseTtl = "1m",
) -> None:
    """Take over what was handed over, and run a command meanwhile.

    As `lease`, with a token instead of a ref: it works once, and also when the ref is dead by now.

    \b
    Example:
      mediastore accept "$TOKEN" -- ffmpeg -i {} out.mp3
    """
    words = _words(ctx, command, ttl)
    with opened(ctx, as_json=False) as media, media.accept(token, ttl).keep_renewed() as held:
        code = carry_out(words, held.path, lambda: held.lost)
    raise typer.Exit(code)


def _words(ctx: typer.Context, command: Sequence[str] | None, ttl: str) -> Sequence[str]:
    parse_duration(ttl)
    if not command:
        raise UsageError("say which command to run: after the options, behind --", ctx)
    return command


def handoff(
    ctx: typer.Context,
    ref: OneRef,
    ttl: Annotated[
        str, typer.Option(metavar="TIME", help="How long the token is good for.")
    ] = "5m",
    as_json: Json = False,
) -> None:
    """Print a token that keeps the bytes until somebody accepts it.

    Send it in a message; `accept`, or accept() in Python, swaps it for a lease, once. A message
    that is lost costs the --ttl, nothing more.

    \b
    Example:
      mediastore handoff media://Jg-dwH-lv6qZQo18FeQAFw --ttl 10m
    """
    with opened(ctx, as_json=as_json) as media:
        token = media.handoff(ref, ttl)
    if as_json:
        print_json({"ref": ref, "token": token})
    else:
        put(token)


def cat(ctx: typer.Context, refs: Refs) -> None:
    """Write the bytes of refs to stdout.

    A release does not cut them off. One ref that is not there does not stop the others; the exit
    code then is 3. What is not text is not written to a terminal: redirect it.

    \b
    Example:
      mediastore cat media://Jg-dwH-lv6qZQo18FeQAFw > cat.jpg
      mediastore cat media://Jg-dwH-lv6qZQo18FeQAFw | file -
    """
    wanted = [Ref.parse(ref) for ref in refs]
    first: MediaStoreError | None = None
    with opened(ctx, as_json=False) as media:
        for ref in wanted:
            try:
                with media.open(ref) as file:
                    write_out(file)
            except MediaStoreError as error:
                tell(error, as_json=False, hint=first is None)
                first = first or error
    if first is not None:
        raise typer.Exit(first.exit_code)


class _NoText(InvalidRequest):
    hint = "Redirect them: `mediastore cat REF > FILE`, or pipe them into a program."


def write_out(file: IO[bytes], *, force: bool = False, instead: str = "") -> None:
    """Write the rest of a file to stdout; what is no text not to a terminal, unless that is `force`d.

    Raises:
        InvalidRequest: it is no text; the hint names the command to use `instead`.
    """
    out, careful = sys.stdout.buffer, is_terminal() and not force
    while chunk := file.read(_CHUNK):
        if careful and (b"\0" in chunk or b"\x1b" in chunk):
            refused = _NoText("these bytes are no text and could steer a terminal")
            if instead:
                refused.hint = f"Write them to a file: `{instead}`; or add --force."
            raise refused
        out.write(chunk)
    out.flush()
