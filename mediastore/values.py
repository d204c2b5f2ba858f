"""How text and Python values become the values of settings, and back; whatever cannot is InvalidSettings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from .errors import InvalidRequest, InvalidSettings
from .lifetimes import parse_lifetime
from .model import Duration, Never, is_named, parse_duration, parse_retention, seconds_of

#: The whole numbers, with the least and the most that make sense.
NUMBERS: Final = {
    "retries": (0, 100),
    "breaker_min": (0, 1_000_000_000),
    "tombstones": (0, 1_000_000_000),
    "worker_concurrency": (1, 64),
    "worker_max_tasks": (0, 1_000_000_000),
}
#: The parts of a whole, from 0 to 1.
SHARES: Final = ("breaker_share",)
_SHARE: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,18})?|\.[0-9]{1,18}")
#: What is on or off.
BOOLEANS: Final = ("cleanup_enabled", "dedup", "durable", "sidecars")
#: The numbers of bytes; those that may be less than nothing mean no limit by it.
SIZES: Final = {"max_file_size": -1, "min_free": 0}
DEFAULT_MAX_FILE_SIZE: Final = 50 << 20
_MOST_DIGITS: Final = 18
_MINUTE_S: Final = 60.0
_MOST_BYTES: Final = 9_000_000_000_000_000
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_UNITS: Final = {
    "b": 1,
    **{f"{letter}b": 1000**n for n, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**n for n, letter in enumerate("kmgt", 1)},
}
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def from_text(name: str, text: str, variable: str) -> object:
    """Return what a variable's text says of a setting; durations stay text."""
    if name == "roots":
        return tuple(part for part in text.split(os.pathsep) if part)
    if name == "namespaces":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name == "policies":
        return tuple(_pair(part.strip(), variable) for part in text.split(",") if part.strip())
    if name in BOOLEANS:
        if text.lower() not in _TRUE | _FALSE:
            raise InvalidSettings(f"{variable} is true or false, not {text!r:.60}")
        return text.lower() in _TRUE
    if name in NUMBERS:
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
            raise InvalidSettings(f"{variable} is a whole number, not {text!r:.60}")
        return int(text)
    if name in SHARES:
        if not _SHARE.fullmatch(text):
            raise InvalidSettings(f"{variable} is a number from 0 to 1, not {text!r:.60}")
        return float(text)
    return text


def check_number(name: str, value: object) -> None:
    """Refuse what is no whole number, or none that makes sense."""
    least, most = NUMBERS[name]
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidSettings(f"{name} is a whole number from {least} to {most}, not {value!r:.60}")


def checked_share(name: str, value: object) -> float:
    """Return a part of a whole."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not 0 <= value <= 1:  # type: ignore[operator]  # a number, as was just seen
        raise InvalidSettings(f"{name} is a number from 0 to 1, not {value!r:.60}")
    return float(value)  # type: ignore[arg-type]


def checked_boolean(name: str, value: object) -> bool:
    """Return what is on or off."""
    if not isinstance(value, bool):
        raise InvalidSettings(f"{name} is True or False, not {value!r:.60}")
    return value


def parse_size(name: str, value: object) -> int:
    """Return a number of bytes: 1048576, "1MiB", "1.5 GB".

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        try:
            if match:
                return int(float(match[1]) * _UNITS[match[2].lower()])
            return int(value)
        except (ValueError, OverflowError):
            pass
    raise InvalidRequest(f'{name} is a number of bytes, such as 1048576 or "1MiB": {value!r:.60}')


def checked_size(name: str, value: object) -> int:
    """Return a number of bytes that a setting gives; -1 for one that has no limit."""
    try:
        size = parse_size(name, value)
    except InvalidRequest as error:
        raise InvalidSettings(str(error)) from None
    if size < 0 and SIZES[name] == 0:
        raise InvalidSettings(f"{name} is not less than 0: {value!r:.60}")
    if size > _MOST_BYTES:
        raise InvalidSettings(f"{name} is at most {_MOST_BYTES} bytes: {value!r:.60}")
    return max(size, -1)


def to_text(name: str, value: object) -> str:
    """Return a setting's value as its variable would hold it, exactly."""
    if name == "roots":
        return os.pathsep.join(str(Path(root).absolute()) for root in value)  # type: ignore[attr-defined]
    if name == "namespaces":
        return ",".join(value)  # type: ignore[arg-type]
    if name == "policies":
        return ",".join(f"{n}={'never' if s is None else s}" for n, s in value)  # type: ignore[attr-defined]
    if name == "health_dir":
        return str(Path(str(value)).absolute())
    if value is None:
        return "never"
    return str(value).lower() if isinstance(value, bool) else str(value)


def positive(name: str, value: Duration) -> float:
    """Return a duration in seconds that must have an end."""
    try:
        seconds = parse_duration(value)
    except InvalidRequest as error:
        raise InvalidSettings(f"{name}: {error}") from None
    if seconds is None:
        raise InvalidSettings(f"{name} cannot be never")
    return seconds


def or_none(name: str, value: Duration | None) -> float | None:
    """Return a duration in seconds; zero or less means never, as in picoclaw's `MediaCleanerConfig`."""
    seconds = seconds_of(value)
    if value is None or isinstance(value, Never) or (seconds is not None and seconds <= 0):
        return None
    try:
        return parse_duration(value)
    except InvalidRequest as error:
        raise InvalidSettings(f"{name}: {error}") from None


def minute_or_off(name: str, value: Duration | None) -> float:
    """Return a duration in seconds, at least a minute; 0 for off, which is also said by None, "never", and less than nothing."""
    seconds = or_none(name, value) or 0.0
    if 0 < seconds < _MINUTE_S:
        raise InvalidSettings(f"{name} is 0 for off, or at least a minute, not {value!r:.60}")
    return seconds


def or_zero(name: str, value: Duration | None) -> float:
    """Return a duration in seconds, 0 for none at all.

    Negative values and `never` are refused: a longer one keeps more, so reading them as 0 would do the opposite.
    """
    if value is None or seconds_of(value) == 0:
        return 0.0
    return positive(name, value)


def checked_namespaces(names: object) -> tuple[str, ...]:
    """Return the names of namespaces, each once."""
    if isinstance(names, str) or not isinstance(names, list | tuple):
        raise InvalidSettings(f"namespaces is a list of names, not {names!r:.60}")
    if not all(isinstance(name, str) for name in names):
        raise InvalidSettings("namespaces is a list of names, each of them text")
    if len(set(names)) < len(names):
        raise InvalidSettings(f"namespaces names one twice: {', '.join(names):.200}")
    return tuple(names)


def _pair(part: str, variable: str) -> tuple[str, str]:
    name, sign, lifetime = part.partition("=")
    if not sign:
        raise InvalidSettings(f"{variable} is name=lifetime,name=lifetime, not {part!r:.60}")
    return name.strip(), lifetime.strip()


def checked_policies(policies: object) -> tuple[tuple[str, float | None], ...]:
    """Return named policies as pairs of a name and seconds, None for no end."""
    items = policies.items() if isinstance(policies, Mapping) else policies
    if not isinstance(items, Iterable) or isinstance(items, str | bytes):
        raise InvalidSettings(f"policies is a mapping of names to lifetimes, not {items!r:.60}")
    found: dict[str, float | None] = {}
    for item in items:
        if not isinstance(item, tuple) or len(item) != 2:  # noqa: PLR2004
            raise InvalidSettings(f"policies holds names with lifetimes, not {item!r:.60}")
        name, lifetime = item
        if not isinstance(name, str) or not is_named(name):
            raise InvalidSettings(
                f"policies: {name!r:.80} is not of the form [a-z][a-z0-9._-]{{0,62}}, or begins like a spelt policy"
            )
        if name in found:
            raise InvalidSettings(f"policies names {name!r} twice")
        try:
            found[name] = None if lifetime is None else parse_lifetime(lifetime)
        except InvalidRequest as error:
            raise InvalidSettings(f"policies: {name}: {error}") from None
    return tuple(found.items())


def checked_default_policy(policy: object) -> None:
    """Refuse what is neither empty nor a retention policy, spelt or named."""
    if not isinstance(policy, str):
        raise InvalidSettings(f"default_policy is text, not {policy!r:.60}")
    try:
        if policy and not is_named(policy):
            parse_retention(policy)
    except InvalidRequest as error:
        raise InvalidSettings(f"default_policy: {error}") from None


def usable_path(text: str) -> bool:
    """Return whether the system takes a text as a path: without NUL and without half characters."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def checked_roots(roots: object) -> tuple[str, ...]:
    """Return the directories as text."""
    if isinstance(roots, str | os.PathLike):
        raise InvalidSettings("roots is a list of directories, not one path")
    try:
        named = tuple(os.fsdecode(root) for root in roots)  # type: ignore[attr-defined]
    except TypeError:
        raise InvalidSettings(f"roots is a list of directories, not {roots!r:.60}") from None
    if not all(map(usable_path, named)):
        raise InvalidSettings(f"roots holds what cannot be a path: {named!r:.100}")
    if any(os.pathsep in name for name in named):
        raise InvalidSettings(f"a root's path cannot hold {os.pathsep!r}, which separates roots")
    if not all(named):  # it would be the working directory, whatever that is
        raise InvalidSettings("roots holds an empty name; name each directory")
    return named
