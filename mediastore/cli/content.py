"""The commands that hand content over and get it back: put, get, url."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediastore.content import MediaContent
from mediastore.escaping import printable
from mediastore.model import MediaMeta, Ref, check_scope, parse_duration
from mediastore.values import parse_size

from .app import Json, OneRef, Ttl, UsageError, opened
from .destination import Destination
from .leasing import write_out
from .output import print_json, put as put_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from mediastore import MediaStore

_STREAM = "-"


def put(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file anywhere; - for stdin.")],
    scope: Annotated[
        str | None,
        typer.Option("--scope", "-s", metavar="SCOPE", help="None: session/<id>, as settings say."),
    ] = None,
    session: Annotated[str, typer.Option(metavar="ID", help="The session it is of.")] = "",
    conversation: Annotated[str, typer.Option(metavar="ID", help="The conversation.")] = "",
    run: Annotated[str, typer.Option(metavar="ID", help="The run.")] = "",
    message: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The message in it, from 0.")
    ] = None,
    part: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The part of the message, from 0.")
    ] = None,
    provider: Annotated[str, typer.Option(metavar="ID", help="Who made it.")] = "",
    filename: Annotated[
        str, typer.Option(metavar="NAME", help="The name people know it by; of a FILE, its own.")
    ] = "",
    content_type: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="Such as image/png; else it is looked at.")
    ] = "",
    source: Annotated[str, typer.Option(metavar="NAME", help="Where it came from.")] = "",
    policy: Annotated[
        str,
        typer.Option(metavar="POLICY", help="A retention policy, spelt or named; no --ttl then."),
    ] = "",
    ttl: Ttl = None,
    size_bytes: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="How many bytes there are; others are refused."),
    ] = None,
    sha256: Annotated[
        str, typer.Option(metavar="HEX", help="Their SHA-256; other bytes are refused.")
    ] = "",
    move: Annotated[
        bool, typer.Option("--move", help="Take FILE itself; it is gone from where it was.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hand content over, print its ref.

    The store keeps it in a file of its own; FILE may lie outside the roots, and stays as it is
    without --move. The ref is there once the whole file is. Ctrl-C while stdin is read leaves
    nothing; what is left of a process that is killed goes with a sweep. Stdin without a byte, as
    of a download that failed, is refused without --size-bytes 0.

    \b
    Example:
      mediastore put cat.png --session abc --message 3
      curl -s https://example.org/cat.png | mediastore put - --scope chat:42 --filename cat.png
      mediastore put /tmp/voice.ogg --scope chat:42/msg:7 --policy delete-after-10min --move
    """
    if move and file == _STREAM:
        raise UsageError("--move takes a FILE; stdin has no name to lose", ctx)
    if scope is not None:
        check_scope(scope)
    if ttl is not None:
        parse_duration(ttl)
    meta = MediaMeta(
        filename=filename,
        source=source,
        run_id=run,
        conversation_id=conversation,
        session_id=session,
        message_idx=message,
        part_idx=part,
        provider_id=provider,
        policy=policy,
    )
    said = {"scope": scope, "meta": meta, "ttl": ttl}
    bytes_said: Any = {"mime_type": content_type, "size_bytes": size_bytes, "sha256": sha256}
    with opened(ctx, as_json=as_json) as media:
        if file == _STREAM:
            ref = _put_stdin(media, bytes_said, said)
        else:
            content = MediaContent(file_path=file, **bytes_said)
            ref = media.store_media(content, **said, move=move)  # type: ignore[arg-type]
    if as_json:
        print_json({"ref": ref})
    else:
        put_line(ref)


def _put_stdin(media: MediaStore, bytes_said: dict[str, Any], said: dict[str, Any]) -> Ref:
    stream = _Stdin(sys.stdin.buffer)
    try:
        with stream.heeding_ctrl_c():
            ref = media.store_media(MediaContent(data=stream, **bytes_said), **said)
    except _Interrupted:
        raise KeyboardInterrupt from None
    if stream.interrupted:
        media.delete_media(ref)
        raise KeyboardInterrupt
    return ref


class _Interrupted(Exception):
    """Ctrl-C came. No BaseException: the store takes back what it has begun, as for any source that fails."""


class _Stdin:
    """Standard input, whose end by Ctrl-C is an error of the source: nothing is broken off in the middle of a call."""

    def __init__(self, file: Any) -> None:
        self.interrupted = False
        self._file = file
        self._reading = False

    def __getattr__(self, name: str) -> Any:
        # Where stdin is a file, the store learns its size.
        return getattr(self._file, name)

    def read(self, size: int) -> bytes:
        self._reading = True
        try:
            # Looked at only now: from here on Ctrl-C itself ends the wait.
            if self.interrupted:
                raise _Interrupted
            piece: bytes = self._file.read(size)
        finally:
            self._reading = False
        return piece

    @contextmanager
    def heeding_ctrl_c(self) -> Iterator[None]:
        """Take the first Ctrl-C orderly; a second one ends hard. Whoever ignores it goes on ignoring it."""
        before = signal.getsignal(signal.SIGINT)
        if before == signal.SIG_IGN:
            yield
            return
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        if self._reading:
            raise _Interrupted


def get(
    ctx: typer.Context,
    ref: OneRef,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write it there; of a directory, by its name."
        ),
    ] = _STREAM,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite; write binary data to a terminal.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the bytes of a ref to stdout or to a file.

    A release does not cut them off. With -o they get their name once they are complete, and the
    path is printed; in a directory the name is that of the metadata, without what no name may hold.

    \b
    Example:
      mediastore get media://Jg-dwH-lv6qZQo18FeQAFw > cat.png
      mediastore get media://Jg-dwH-lv6qZQo18FeQAFw -o ~/Pictures/
      mediastore get media://Jg-dwH-lv6qZQo18FeQAFw | head -c 10 | xxd
    """
    if as_json and output == _STREAM:
        raise UsageError("--json tells where the file is: it goes with -o FILE", ctx)
    wanted = Ref.parse(ref)
    with opened(ctx, as_json=as_json) as media:
        if output == _STREAM:
            with media.open(wanted) as file:
                write_out(file, force=force, instead=f"mediastore get {wanted} -o FILE")
            return
        found = media.get(wanted)
        place = Destination.of(output, found, overwrite=force)
        with media.open(wanted) as file:
            place.fill(file)
    if as_json:
        print_json({"ref": wanted, "path": place.path, "size_bytes": found.size_bytes})
    else:
        put_line(printable(str(place.path)))


def url(
    ctx: typer.Context,
    ref: OneRef,
    data: Annotated[
        bool, typer.Option("--data", help="A data URL, which holds the bytes.")
    ] = False,
    base64: Annotated[bool, typer.Option("--base64", help="The bytes as base64 text.")] = False,
    limit: Annotated[
        str, typer.Option(metavar="SIZE", help="The most bytes to load; -1 for any number.")
    ] = "20MiB",
    as_json: Json = False,
) -> None:
    """Print a URL of a ref's file.

    It is a file:// URL, good on this host for as long as the file is there. With --data or --base64
    the bytes themselves are printed, for a request that carries them; never more than --limit.

    \b
    Example:
      mediastore url media://Jg-dwH-lv6qZQo18FeQAFw
      mediastore url media://Jg-dwH-lv6qZQo18FeQAFw --data --limit 4MiB
      mediastore url media://Jg-dwH-lv6qZQo18FeQAFw --base64 --json | jq -r .base64
    """
    if data and base64:
        raise UsageError("--data and --base64 exclude each other", ctx)
    wanted, most = Ref.parse(ref), parse_size("--limit", limit)
    with opened(ctx, as_json=as_json) as media:
        if base64:
            found = media.get_base64(wanted, most)
        else:
            found = media.get_data_url(wanted, most) if data else media.get_url(wanted)
    if as_json:
        print_json({"ref": wanted, "base64" if base64 else "url": found})
    else:
        put_line(printable(found))
