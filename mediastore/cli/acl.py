"""The command that prints access rules for Redis."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlsplit

import typer

from mediastore.acl import ROLES, Rule, default_user, rules
from mediastore.settings import Settings

from .app import Json, UsageError, settings_of
from .output import note, print_json, put

if TYPE_CHECKING:
    from mediastore.acl import RoleName

_WITH_ADMIN = (
    "hint: the user default keeps all rights, with the administrator's password; "
    "requirepass counts no more."
)
_WITHOUT_ADMIN = (
    "hint: the user default is off, so that none but these users gets in; for one who "
    "administers the server add --admin-password-from-env."
)


def acl(
    ctx: typer.Context,
    role: Annotated[
        str | None,
        typer.Argument(metavar="ROLE", help="bot, worker or reader; without it, all three."),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            metavar="NAME",
            help="May be repeated: a bot user for each, one worker and one reader for all.",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="The user's name, for one role.")
    ] = None,
    password_from_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Where the password stands; only its SHA-256 is printed. Without it, a "
            "placeholder that no server accepts.",
        ),
    ] = None,
    acl_file: Annotated[
        bool,
        typer.Option(
            "--acl-file",
            help="A whole ACL file, not commands; its first line shuts out whoever has no name.",
        ),
    ] = False,
    admin_password_from_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="With --acl-file: the user `default` keeps all rights, with the password that stands there.",
        ),
    ] = None,
    server: Annotated[
        str, typer.Option(metavar="VERSION", help="7.0 for a Redis older than 7.2.")
    ] = "7.2",
    as_json: Json = False,
) -> None:
    """Print the least rights a bot, worker or reader needs.

    One line for each user, for Redis 7.0, Valkey 7.2 and newer. A bot stores, resolves, releases
    and sweeps; a worker does so for Celery too; a reader changes nothing.

    \b
    Example:
      mediastore acl worker --password-from-env WORKER_PASSWORD | valkey-cli
      mediastore acl bot --namespace sales --namespace support
      mediastore acl --acl-file --admin-password-from-env ADMIN_PASSWORD > users.acl
    """
    settings = settings_of(ctx, as_json=as_json)
    if user is not None and role is None:
        raise UsageError("--user names one user; say whether it is a bot, worker or reader", ctx)
    if admin_password_from_env is not None and (as_json or not acl_file):
        raise UsageError("--admin-password-from-env is for --acl-file: add it, without --json", ctx)
    namespaces = list(dict.fromkeys(namespace or settings.served))
    for name in namespaces:
        Settings.build(namespace=name)
    found = [
        rule
        for each in _roles(role, ctx)
        for rule in rules(
            each,
            namespaces,
            user=user,
            password=_password(password_from_env, ctx),
            database=_database(settings),
            server=_version(server, ctx),
        )
    ]
    first = default_user(_password(admin_password_from_env, ctx)) if acl_file else ""
    _show(found, first=first, as_json=as_json)
    if acl_file and not as_json:
        note(_WITH_ADMIN if admin_password_from_env else _WITHOUT_ADMIN)
    if password_from_env is None and not as_json:
        note("hint: put each user's password in by --password-from-env, or its SHA-256 by hand.")


def _show(found: list[Rule], *, first: str, as_json: bool) -> None:
    """Print the rules; with a first line, as the file that it begins."""
    if as_json:
        print_json({"rules": found})
        return
    if first:
        put(first)
    for rule in found:
        put(rule.line if first else rule.command)


def _roles(role: str | None, ctx: typer.Context) -> list[RoleName]:
    if role is None:
        return list(ROLES)
    found = [name for name in ROLES if name == role]
    if not found:
        raise UsageError(f"{role!r} is no role: bot, worker or reader", ctx)
    return found


def _password(variable: str | None, ctx: typer.Context) -> str | None:
    if variable is None:
        return None
    password = os.environ.get(variable, "")
    if not password:
        raise UsageError(f"the variable {variable} is empty: put the password into it", ctx)
    return password


def _version(text: str, ctx: typer.Context) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+)?", text)
    if found is None or (int(found[1]), int(found[2])) < (7, 0):
        raise UsageError(f"--server is a version from 7.0 on, not {text!r:.40}", ctx)
    return int(found[1]), int(found[2])


def _database(settings: Settings) -> int:
    """Return the number of the database that the queue's URL names."""
    url = urlsplit(settings.broker_url or settings.redis_url)
    query = dict(parse_qsl(url.query))
    path = "" if url.scheme in {"unix", "redis+socket"} else url.path.strip("/")
    number = query.get("db") or query.get("virtual_host") or path
    return int(number) if number.isdecimal() else 0
