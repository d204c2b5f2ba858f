"""The application itself: what comes before every command, and how everything that goes wrong is told."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mediastore import __version__
from mediastore.errors import IndexUnavailable, MediaStoreError
from mediastore.escaping import printable

from .output import note, print_json, put

if TYPE_CHECKING:
    from mediastore import MediaStore, Settings
    from mediastore.settings import Said

#: What the parser raises; its module moved between the versions of typer that we allow.
UsageError: Any = typer.BadParameter.__mro__[1]
_ParserError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

_HELP = {"help_option_names": ["-h", "--help"]}
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Scope = Annotated[
    str, typer.Argument(metavar="SCOPE", help='Such as "telegram:42" or "chat:42/msg:7".')
]
OneRef = Annotated[str, typer.Argument(metavar="REF", help="media://...")]
Refs = Annotated[list[str], typer.Argument(metavar="REF", help="media://...; one or more.")]
Ttl = Annotated[
    str | None, typer.Option(metavar="TIME", help="Lifetime: 90s, 30m, 12h, 7d or never.")
]


@dataclass(frozen=True, slots=True)
class Session:
    """What was said before the command."""

    redis_url: str | None
    namespace: str | None
    roots: tuple[str, ...]
    env_file: Path | None
    debug: bool

    def settings(self) -> Settings:
        """Return the settings: the options, then MEDIASTORE_* variables, then the env file.

        Raises:
            InvalidSettings: a value cannot be used.
        """
        from mediastore.settings import Settings

        return Settings.of(self.said())

    def said(self) -> dict[str, Said]:
        """Return what was said of each setting, and where; a setting that nobody mentions is not in it.

        Raises:
            InvalidSettings: the env file cannot be read.
        """
        from mediastore.settings import gather

        options = self.options()
        said = gather({**os.environ, **options.variables}, self.found_env_file())
        return said | options.said

    def found_env_file(self) -> Path | None:
        """Return the file of settings: the one that was named, else .env where there is one."""
        return self.env_file or (Path(".env") if Path(".env").is_file() else None)

    def options(self) -> Options:
        """Return the settings that the options gave."""
        from mediastore.settings import PREFIX, Said, Settings

        given = {"redis_url": self.redis_url, "namespace": self.namespace}
        texts = {name: text for name, text in given.items() if text is not None}
        variables = {f"{PREFIX}{name.upper()}": text for name, text in texts.items()}
        said = {name: Said(text, f"--{name.replace('_', '-')}") for name, text in texts.items()}
        if self.roots:
            Settings(
                roots=self.roots
            )  # refuses what joining them would hide: an empty name, a separator
            said["roots"] = Said(os.pathsep.join(self.roots), "--root")
        return Options(variables, said)


@dataclass(frozen=True, slots=True)
class Options:
    """What the options say of the settings: as variables, which win over the others; and with their origin."""

    variables: dict[str, str]
    said: dict[str, Said]


class Commands(TyperGroup):
    """Tells everything that can go wrong in a line and a hint, and ends with the right exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run; never returns."""
        given = args[0] if args else extra.pop("args", None)
        words = _debug_first(list(sys.argv[1:] if given is None else given))
        extra |= {"prog_name": "mediastore", "standalone_mode": False}
        try:
            code = super().main(words, **extra) or 0
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has gone (`| head`)
            code = 1
        except Exception as error:  # noqa: BLE001 - the last place where a bug can be told in words
            code = tell(error, as_json="--json" in _ours(words))
            if words[:1] == ["--debug"]:
                note("".join(traceback.format_exception(error)).rstrip())
        _last_flush()
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is not an error to explain."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _debug_first(words: list[str]) -> list[str]:
    """Whoever is told to add --debug adds it at the end; there it means the same."""
    if "--debug" not in _ours(words):
        return words
    at = words.index("--debug")
    return ["--debug", *words[:at], *words[at + 1 :]]


def _ours(words: list[str]) -> list[str]:
    """Return the words that are meant for us; after `--` comes a command of somebody else's."""
    return words[: words.index("--")] if "--" in words else words


def _last_flush() -> None:
    """What stdout did not take before, it is not asked to take again: the interpreter would complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(error: Exception, *, as_json: bool, hint: bool = True) -> int:
    """Say on stderr what went wrong and what to do about it; return the exit code."""
    told = describe(error)
    if as_json:
        print_json({"error": told}, err=True)
    else:
        note(f"error: {told['message']}")
        if hint and told["hint"]:
            note(f"hint: {told['hint']}")
    return int(getattr(error, "exit_code", 1))


def describe(error: Exception) -> dict[str, str]:
    """Return an error as programs read it."""
    if isinstance(error, IndexUnavailable):  # its lines are ours: a log, or commands to choose from
        message = "\n".join(map(printable, str(error).split("\n")))
        return {"code": error.code, "message": message, "hint": error.hint}
    if isinstance(error, MediaStoreError):
        return {"code": error.code, "message": printable(str(error)), "hint": error.hint}
    if isinstance(error, _ParserError):
        message = printable(" ".join(error.format_message().split()))
        return {"code": "usage", "message": message, "hint": _usage_hint(error)}
    if isinstance(error, OSError):
        return {"code": "os_error", "message": printable(str(error)), "hint": ""}
    message = printable(f"{type(error).__name__}: {error}")
    hint = "This is a bug: run it again with --debug, and report what it prints."
    return {"code": "internal", "message": message, "hint": hint}


def _usage_hint(error: Any) -> str:
    ctx = getattr(error, "ctx", None)
    option = getattr(error, "option_name", "")
    if ctx and ctx.parent and any(option in each.opts for each in ctx.parent.command.params):
        return f"{option} goes before the command: mediastore {option} ... {ctx.info_name}"
    if ctx and any((each.metavar or "").startswith("-- ") for each in ctx.command.params):
        return f"What is to be run stands behind --: `{ctx.command_path} ... -- COMMAND`."
    return f"`{ctx.command_path if ctx else 'mediastore'} --help` shows what it takes."


class _Talk(logging.Handler):
    """What the library logs, on the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        plain = f"{record.levelname.lower()}: {printable(record.getMessage())}"
        note(self.format(record) if self.formatter else plain)


def log(level: int, formatter: logging.Formatter | None = None) -> None:
    """Let the library talk on stderr from this level on; None: in plain words."""
    logger = logging.getLogger("mediastore")
    logger.handlers = [each for each in logger.handlers if not isinstance(each, _Talk)]
    talk = _Talk()
    talk.setFormatter(formatter)
    logger.addHandler(talk)
    logger.setLevel(level)


def opened(ctx: typer.Context, *, as_json: bool) -> MediaStore:
    """Return a store for this session; nothing is connected yet.

    Raises:
        InvalidSettings: a setting cannot be used.
    """
    from mediastore import MediaStore

    return MediaStore.from_settings(settings_of(ctx, as_json=as_json))


def settings_of(ctx: typer.Context, *, as_json: bool) -> Settings:
    """Return the settings of this session.

    Raises:
        InvalidSettings: a setting cannot be used.
    """
    talk(ctx, as_json=as_json)
    session: Session = ctx.obj
    return session.settings()


def talk(ctx: typer.Context, *, as_json: bool) -> None:
    """Let the library talk, or not: who asked for JSON finds nothing on stderr but the error object."""
    log(logging.DEBUG if ctx.obj.debug else logging.CRITICAL if as_json else logging.WARNING)


def new_group(about: str, example: str) -> typer.Typer:
    """Return a group of commands, such as `mediastore roots`, without any yet."""
    return typer.Typer(
        rich_markup_mode=None,
        context_settings=_HELP,
        no_args_is_help=True,
        help=about,
        epilog=f"Example: {example}",
    )


def new() -> typer.Typer:
    """Return the application without its commands."""
    app = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(
        invoke_without_command=True,
        context_settings=_HELP,
        epilog="Examples: mediastore doctor; mediastore ls chat:42; mediastore COMMAND --help.\n\n"
        "Exit codes: 0 done, 1 failed, 2 wrong request, 3 not there, 4 no answer now, "
        "5 corrupt or a problem found, 130 Ctrl-C.",
    )(_before)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        put(f"mediastore {__version__}")
        raise typer.Exit


def _before(
    ctx: typer.Context,
    redis_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The index. A password here shows in the process list; in MEDIASTORE_REDIS_URL "
            "it does not.",
        ),
    ] = None,
    namespace: Annotated[str | None, typer.Option(metavar="NAME", help="The tenant.")] = None,
    root: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="A directory that holds media; may be repeated."),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read this file of settings, not ./.env."),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log everything, and show tracebacks.")
    ] = False,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Media files shared by a fleet of bots and agents.

    Settings are MEDIASTORE_* variables, or lines of .env in the working directory; the options
    here, which go before the command, win over both.
    """
    ctx.obj = Session(redis_url, namespace, tuple(root or ()), env_file, debug)
    if ctx.invoked_subcommand is None:
        note(ctx.get_help())
        raise typer.Exit(2)
