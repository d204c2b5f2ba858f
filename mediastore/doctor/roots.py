"""The roots of this host: the right directories, writable, with room, and nothing parked in them."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mediastore.blobs import hidden, numbers, posix
from mediastore.blobs.homes import HELD, NEW, PARKED, Opened, path_in
from mediastore.blobs.root import (
    MARKER,
    Root,
    inspect,
    refuse_nested,
    refuse_unsuitable,
    verify,
)
from mediastore.blobs.surveying import Survey
from mediastore.errors import InvalidRoot, MediaStoreError
from mediastore.index.roots import was_forgotten
from mediastore.settings import default_root

from . import aging
from .finding import NAMED_AT_MOST, Finding, counted, human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mediastore.settings import Settings

    from .journal import Places

_SCARCE: Final = 0.05
_COUNTED: Final = 1000
_HELD_S: Final = 120.0
#: Of so many held links it is known whether their files are at their paths.
_LOOKED_AT: Final = 200_000


def findings(
    settings: Settings, recorded: Mapping[str, str], lost: Mapping[str, str] | None = None
) -> list[Finding]:
    """Look at the roots that these settings name.

    Args:
        settings: As the bots and workers have them.
        recorded: Where the index last saw each root that holds something, as "host:path"; empty
            when it cannot be asked.
        lost: The roots that were forgotten, as the index has them.
    """
    paths = settings.roots or (str(default_root()),)
    namespace = settings.namespace
    places = {root: place.partition(":") for root, place in recorded.items()}
    mine = {root: path for root, (host, _, path) in places.items() if host == settings.called}
    each = [found for path in paths for found in _root(path, namespace, mine, lost or {})]
    return [*each, *_nested(paths)]


def here(settings: Settings) -> frozenset[str]:
    """Return the roots whose markers are in the directories of these settings, trusted or not."""
    found = set()
    for path in settings.roots or (str(default_root()),):
        with contextlib.suppress(InvalidRoot):
            found.add(inspect(path, settings.namespace).root)
    return frozenset(found)


def trusted(settings: Settings) -> dict[str, str]:
    """Return root id -> path of those roots that are here and can be trusted; one that is wrong is left to its own line."""
    found = {}
    for path in settings.roots or (str(default_root()),):
        with contextlib.suppress(InvalidRoot):
            seen = inspect(path, settings.namespace)
            if not seen.fault:
                found[seen.root] = seen.path
    return found


def marked(settings: Settings) -> dict[str, str]:
    """Return root id -> path of those roots that were used before and can be trusted; none is marked by looking."""
    found = {}
    for path in settings.roots or (str(default_root()),):
        if _has_marker(os.path.realpath(path)):
            root = verify(path, settings.namespace)
            found[root.id] = root.path
    return found


def _has_marker(real: str) -> bool:
    """Whether there is a marker; where this user may not look, verifying says so."""
    try:
        return Path(real, MARKER).is_file()
    except PermissionError:
        return True


def _root(
    path: str, namespace: str, recorded: Mapping[str, str], lost: Mapping[str, str]
) -> list[Finding]:
    name, real = f"root {path}", os.path.realpath(path)
    try:
        if not _has_marker(real):
            return list(_unmarked(name, path, real, recorded))
        root = verify(path, namespace)
        troubles = [
            *_forgotten(name, root, lost),
            *_strangers(name, real, root.id, recorded),
            *_unwritable(name, real, path_in(NEW, ".")),
            *_scarce(name, real),
            *_parked(name, root),
            *aging.findings(name, real),
        ]
    except InvalidRoot as error:
        return [_refused(name, path, namespace, error)]
    except (MediaStoreError, OSError) as error:
        advice = "Mount it again, and look at the log of this host."
        return [Finding(name, "problem", str(error), advice)]
    own = troubles or [Finding(name, "ok", f"{root.id}, {_room(real)}")]
    return [*own, *_hidden(name, root)]


def _refused(name: str, path: str, namespace: str, error: InvalidRoot) -> Finding:
    """Say why a directory is not taken as a root, with the advice that fits the reason."""
    real = os.path.realpath(path)
    barrier = _barrier(real)
    if barrier:
        detail = f"this user (uid {os.geteuid()}) may not use {barrier} ({_rights(barrier)})"
        return Finding(name, "problem", detail, "Give the user or its group access.")
    if not Path(real).exists():
        advice = "Create it, or mount what belongs there."
        return Finding(name, "problem", "there is no such directory", advice)
    return Finding(name, "problem", error.detail, _advice(path, real, namespace))


def _advice(path: str, real: str, namespace: str) -> str:
    try:
        refuse_unsuitable(path, real)
        refuse_nested(path, real)
    except InvalidRoot:
        return "A root is a directory of its own, such as /srv/media."
    with contextlib.suppress(OSError):
        if any(_unknowable("", real)):
            return numbers.ADVICE
    usual = "Use the directory this namespace has always used, or an empty one of its own"
    with contextlib.suppress(InvalidRoot, OSError):
        if inspect(path, namespace).fault:
            adopt = f"`mediastore roots adopt {path}`"
            return f"{usual}; if a copy is to be the root from now on: {adopt}."
    return f"{usual}."


def _barrier(real: str) -> str:
    """Return what this user may not enter or read on the way to the marker; empty when nothing is in the way."""
    root, marker = Path(real), Path(real, MARKER)
    home = marker.parent
    for place in (*reversed(root.parents), root, home):
        if place.is_dir() and not os.access(place, os.X_OK):
            return str(place)
    return str(marker) if marker.exists() and not os.access(marker, os.R_OK) else ""


def _rights(place: str) -> str:
    seen = Path(place).stat()
    try:
        owner = pwd.getpwuid(seen.st_uid).pw_name
    except KeyError:
        owner = "unknown"
    mode = stat.S_IMODE(seen.st_mode)
    return f"mode {mode:04o}, owner {owner}, uid {seen.st_uid}, gid {seen.st_gid}"


def _forgotten(name: str, root: Root, lost: Mapping[str, str]) -> Iterator[Finding]:
    if root.id in lost:
        detail = was_forgotten(root.path, root.id, lost[root.id]).detail
        advice = f"`mediastore roots adopt {root.path}`, or take it out of MEDIASTORE_ROOTS."
        yield Finding(name, "problem", detail, advice)


def _unmarked(name: str, path: str, real: str, recorded: Mapping[str, str]) -> Iterator[Finding]:
    """Look at a directory that nobody has used, without marking it."""
    if path == str(default_root()) and not Path(real).exists():
        yield Finding(name, "ok", "not there yet; the first use makes it")
        return
    refuse_unsuitable(path, real)
    refuse_nested(path, real)
    troubles = [
        *_unknowable(name, real),
        *_strangers(name, real, "", recorded),
        *_unwritable(name, real, "."),
        *_scarce(name, real),
        *aging.findings(name, real),
    ]
    yield from troubles or [
        Finding(name, "ok", f"not used yet, the first use marks it; {_room(real)}")
    ]


def _unknowable(name: str, real: str) -> Iterator[Finding]:
    """Look whether files can be known again by their inode numbers."""
    with Opened(real, posix.open_root(real)) as root:
        why = numbers.fault(root)
    if why:
        yield Finding(name, "problem", why, numbers.ADVICE)


def _strangers(name: str, real: str, root: str, recorded: Mapping[str, str]) -> Iterator[Finding]:
    """Another root was last seen at this very place: what is mounted here, or is not, may be the wrong thing."""
    for other, place in recorded.items():
        if place == real and other != root:
            now = f"it is root {root}" if root else "it has no marker"
            detail = f"root {other} was last seen here, and now {now}: is something not mounted?"
            advice = "Mount what belongs here before anything is stored; the other root's files are out of reach."
            yield Finding(name, "problem", detail, advice)


def _unwritable(name: str, real: str, inner: str) -> Iterator[Finding]:
    """Write a file without a name: quotas, mounts and network file systems answer no other question truly."""
    advice = "Give this user write access to it, or mount it for writing."
    if not os.access(real, os.W_OK | os.X_OK):
        yield Finding(name, "problem", "this user cannot write in it", advice)
        return
    try:
        with tempfile.TemporaryFile(dir=f"{real}/{inner}") as probe:
            probe.write(b"\0")
    except OSError as error:
        detail = f"nothing can be written in it: {os.strerror(error.errno or 0)}"
        yield Finding(name, "problem", detail, advice)


def _free(real: str) -> dict[str, float]:
    seen = os.statvfs(real)
    return {
        "space": seen.f_bavail / seen.f_blocks if seen.f_blocks else 1.0,
        # Some file systems make inodes as they need them, and count none.
        "inodes": seen.f_favail / seen.f_files if seen.f_files else 1.0,
    }


def _scarce(name: str, real: str) -> Iterator[Finding]:
    for what, share in _free(real).items():
        if share < _SCARCE:
            advice = "Release what is not needed, or give it more room."
            yield Finding(name, "warning", f"{share:.1%} of its {what} free", advice)


def _room(real: str) -> str:
    seen, free = os.statvfs(real), _free(real)
    size = human_bytes(seen.f_bavail * seen.f_frsize)
    return f"{size} ({free['space']:.0%}) and {free['inodes']:.0%} of the inodes free"


def _hidden(name: str, root: Root) -> Iterator[Finding]:
    """Count what is in use and invisible: no trouble, but whoever wants room must know of it."""
    try:
        with root.opened() as there:
            found, more = hidden.count(there, _LOOKED_AT)
    except (MediaStoreError, OSError):
        return  # the root's own line tells
    if found.blobs:
        some = f"{counted(found.blobs, 'file')} ({human_bytes(found.size_bytes)})"
        those = f"of {_LOOKED_AT} that were looked at, {some}" if more else some
        verb = "lives" if found.blobs == 1 else "live"
        detail = (
            f"{those} {verb} only under held links: removed or replaced at their paths, and kept until their refs end; "
            "`mediastore delete PATH` ends them"
        )
        yield Finding(name, "ok", detail)


def _parked(name: str, root: Root) -> Iterator[Finding]:
    with root.opened() as there:
        files = sorted(posix.names(at=there.home(PARKED)))
    if files:
        shown = ", ".join(files[:NAMED_AT_MOST]) + (" ..." if len(files) > NAMED_AT_MOST else "")
        detail = f"{counted(len(files), 'parked file')} in {root.path}/{path_in(PARKED, '')[:-1]}: {shown}"
        advice = "Somebody else's, moved aside and not put back: take them out, or remove them."
        yield Finding(name, "warning", detail, advice)


def unknown_to_the_index(settings: Settings, places: Places) -> Iterator[Finding]:
    """Files we hold in a root for which the index counts none: it was emptied, or is not the one it was."""
    for path in settings.roots or (str(default_root()),):
        with contextlib.suppress(MediaStoreError, OSError):  # the root's own line tells
            if not _has_marker(os.path.realpath(path)):
                continue
            root = verify(path, settings.namespace)
            if root.id in {*places.in_use, *places.lost}:
                continue
            yield from _told_by_sidecars(path, root)
            count = _held(root.path)
            if count:
                files = counted(count, "file") if count < _COUNTED else f"{count} files or more"
                verb = "is" if count == 1 else "are"
                detail = f"{files} {verb} held that the index does not know (was it emptied or restored?)"
                advice = "Restore the index, or register the files again: nobody will delete them."
                yield Finding(f"root {path}", "warning", detail, advice)


def _told_by_sidecars(path: str, root: Root) -> Iterator[Finding]:
    """Content for which the index counts none, and that it can be told of again."""
    survey = Survey(root.opened())
    try:
        count = sum(len(kin.told) for kin in survey.next(_COUNTED))
    finally:
        survey.close()
    if count:
        refs = counted(count, "ref") if count < _COUNTED else f"{_COUNTED} refs or more"
        detail = (
            f"sidecars tell of {refs} that the index does not know (was it emptied or restored?)"
        )
        advice = "`mediastore rebuild --dry-run` shows what would come back, `mediastore rebuild` brings it back."
        yield Finding(f"root {path}", "warning", detail, advice)


def _held(real: str) -> int:
    """Count what has been held for a while: a bot holds a file a moment before it registers it."""
    with os.scandir(f"{real}/{path_in(HELD, '.')}") as entries:
        first = list(islice(entries, _COUNTED))
    return sum(each.stat(follow_symlinks=False).st_ctime <= time.time() - _HELD_S for each in first)


def _nested(paths: tuple[str, ...]) -> Iterator[Finding]:
    for outer in paths:
        for inner in paths:
            if os.path.realpath(inner).startswith(os.path.realpath(outer) + "/"):
                detail = f"it lies inside the root {outer}; roots do not nest"
                yield Finding(
                    f"root {inner}",
                    "problem",
                    detail,
                    "Take one of the two out of MEDIASTORE_ROOTS.",
                )
