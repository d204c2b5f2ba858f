"""Every error a caller can meet, as one tree.

    MediaStoreError
    ├── InvalidRequest (ValueError)      fix the call; nothing was changed
    │   ├── InvalidRef · InvalidScope · InvalidPolicy · InvalidSettings
    │   ├── InvalidPath · NotARegularFile · OutsideRoots · InvalidRoot
    │   ├── TooLarge · QuotaExceeded · ContentMismatch
    │   └── FileMissing (FileNotFoundError)
    ├── NotThere (KeyError)              skip; the thing asked for is not here
    │   ├── RefUnknown · RefGone · BlobMissing
    │   └── WrongHost
    ├── LeaseLost                        stop using the bytes; take a new lease
    ├── Unavailable                      call again later
    │   ├── IndexUnavailable · StoreFull · StaleCommand (IndexUnavailable)
    │   └── BlobsUnavailable
    └── Corrupt                          page someone
        └── IndexVersion

The family says what a caller can do, the class says what happened, `code` is stable for programs, `hint` is for people.
Messages are built from fields, so that every error survives pickling (Celery pickles them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from datetime import datetime

Reason = Literal["released", "expired", "deleted"]
E = TypeVar("E", bound=BaseException)


class MediaStoreError(Exception):
    """The base of every error this package raises on purpose."""

    code = "error"
    hint = ""
    http_status = 500
    exit_code = 1
    #: Whether Redis certainly did nothing of what it was sent, and never will: what was begun can be taken back at once.
    refused = False


class InvalidRequest(MediaStoreError, ValueError):
    """The call cannot be right as it stands; nothing was changed."""

    code = "invalid_request"
    hint = "Correct the arguments; calling again unchanged fails again."
    http_status = 400
    exit_code = 2

    def __init__(self, detail: str) -> None:
        """Keep what was wrong, in words."""
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        """Say what was wrong."""
        return self.detail


class InvalidSettings(InvalidRequest):
    """A setting has a value that cannot be used."""

    code = "invalid_settings"
    hint = "Correct the setting; docs/settings.md names each one, its unit and its default."


class InvalidRef(InvalidRequest):
    """The text is not a ref: `media://` and 16 to 64 characters of `[A-Za-z0-9_-]`."""

    code = "invalid_ref"
    hint = "Pass the ref that store() returned, as it was."


class InvalidScope(InvalidRequest):
    """The scope is not 1 to 8 non-empty segments joined by `/`, 512 bytes of UTF-8 at most."""

    code = "invalid_scope"
    hint = 'Use a path such as "telegram:42" or "chat:42/msg:7".'


class InvalidPolicy(InvalidRequest):
    """The cleanup or retention policy is not one we know; it is never guessed."""

    code = "invalid_policy"
    hint = (
        'Cleanup is "delete" or "forget"; retention reads "delete-after-10min" or "retain-30days", '
        "or is a name that `mediastore policy ls` lists."
    )


class InvalidPath(InvalidRequest):
    """The path cannot be registered: a NUL, bytes that are not UTF-8, or our own bookkeeping."""

    code = "invalid_path"
    hint = "Rename the file; paths are kept as UTF-8 text relative to their root. Of a ref's path, share() the ref."


class NotARegularFile(InvalidRequest):
    """A directory, symlink, FIFO, socket or device stands at the path."""

    code = "not_a_regular_file"
    hint = "Register the file itself; a final symlink is not followed."


class OutsideRoots(InvalidRequest):
    """The file lies outside every root of this store."""

    code = "outside_roots"
    hint = (
        "Add its directory to the roots (roots=[...] or MEDIASTORE_ROOTS), or hand the content over: "
        "store_media(MediaContent(file_path=...), move=True)."
    )


class InvalidRoot(InvalidRequest):
    """The directory cannot be a root here, so nothing in it is touched."""

    code = "invalid_root"
    hint = "A root is a directory of its own for media, such as /srv/media; this one was left as it is."

    def __init__(self, root: str, detail: str) -> None:
        """Keep the directory and why it was refused."""
        MediaStoreError.__init__(self, root, detail)
        self.root, self.detail = root, detail

    def __str__(self) -> str:
        """Name the directory and the reason."""
        return f"{self.root} cannot be a root: {self.detail}"


class TooLarge(InvalidRequest):
    """There are more bytes than the limit allows; nothing was kept."""

    code = "too_large"
    hint = "Hand over less, or raise max_file_size (MEDIASTORE_MAX_FILE_SIZE); to load more, limit=... (--limit)."
    http_status = 413

    def __init__(self, limit: int, size: int | None = None) -> None:
        """Keep the limit in bytes, and the size where it is known."""
        MediaStoreError.__init__(self, limit, size)
        self.limit, self.size = limit, size

    def __str__(self) -> str:
        """Name both numbers."""
        many = "more" if self.size is None else f"{self.size} bytes"
        return f"{many} exceeds the limit of {self.limit} bytes"


class QuotaExceeded(InvalidRequest):
    """It would be more than the namespace or the scope may hold; nothing was kept."""

    code = "quota_exceeded"
    hint = "Release what is not needed, or raise the quota: `mediastore quota set`."
    http_status = 507

    def __init__(self, what: str, scope: str, limit: int, used: int, more: int) -> None:
        """Keep "bytes" or "refs", the scope ("" for the namespace), and the numbers."""
        MediaStoreError.__init__(self, what, scope, limit, used, more)
        self.what, self.scope, self.limit, self.used, self.more = what, scope, limit, used, more

    def __str__(self) -> str:
        """Name whose limit it is, and the numbers."""
        whose = f"scope {self.scope!r}" if self.scope else "the namespace"
        held = f"{whose} holds {self.used} of {self.limit} {self.what}"
        return f"{held}; {self.more} more are too many"


class ContentMismatch(InvalidRequest):
    """The bytes that came are not those that were announced, as of a download that was cut; nothing was kept."""

    code = "content_mismatch"
    hint = "Fetch or read it once more; if it is right as it came, correct what was announced."
    http_status = 422

    def __init__(self, what: str, expected: int | str, got: int | str) -> None:
        """Keep "size_bytes" or "sha256", what was announced, and what came: of a size, as far as it was read."""
        MediaStoreError.__init__(self, what, expected, got)
        self.what, self.expected, self.got = what, expected, got

    def __str__(self) -> str:
        """Name both."""
        return f"the content is not what was announced: {self.what} {self.expected} was expected, got {self.got}"


class FileMissing(InvalidRequest, FileNotFoundError):
    """There is no file at the path that was to be registered."""

    code = "file_missing"
    hint = "Store the file before anything else removes it."
    http_status = 404

    def __str__(self) -> str:
        """Name the path."""
        return f"no such file: {self.detail}"


class NotThere(MediaStoreError, KeyError):
    """The ref leads nowhere from here; a bot skips it."""

    code = "not_there"
    hint = "Skip this media."
    http_status = 404
    exit_code = 3

    def __init__(self, ref: str) -> None:
        """Keep the ref that was asked for."""
        super().__init__(ref)
        self.ref = ref

    def __str__(self) -> str:
        """Name the ref."""
        return f"{self.ref} is not there"


class RefUnknown(NotThere):
    """The ref is well-formed, and nobody remembers it."""

    code = "ref_unknown"
    hint = "It was never stored in this namespace, or ended longer ago than tombstones are kept."

    def __str__(self) -> str:
        """Name the ref."""
        return f"{self.ref} is unknown"


class RefGone(NotThere):
    """The ref was valid once and has ended; its bytes go, or stay for a while in grace or under a lease.

    Distinct from `RefUnknown`, so that a bot can tell "too late" from "never existed".
    """

    code = "ref_gone"
    hint = (
        "Register the file again; if it ended too soon, with a longer ttl, or release its scope later. "
        "`mediastore show REF` says whether its bytes are still there to restore."
    )
    http_status = 410

    def __init__(
        self, ref: str, reason: Reason, when: datetime | None = None, by: str = ""
    ) -> None:
        """Keep the ref, what ended it, when (UTC), and which call of whom it was, where that is known."""
        MediaStoreError.__init__(self, ref, reason, when, by)
        self.ref, self.reason, self.when, self.by = ref, reason, when, by

    def __str__(self) -> str:
        """Name the ref, what ended it, when, and by which call."""
        when = f" at {self.when:%Y-%m-%d %H:%M:%S} UTC" if self.when else ""
        return f"{self.ref} is gone: {self.reason}{when}{f' by {self.by}' if self.by else ''}"


class BlobMissing(NotThere):
    """The ref lives, and its bytes are neither where they were registered nor under a held link.

    Or its root was forgotten, because its host is gone for ever; `detail` then says so.
    """

    code = "blob_missing"
    hint = "Another program removed or replaced the file; store it again."

    def __init__(self, ref: str, path: str, detail: str, root: str) -> None:
        """Keep the ref, where its file was, why it cannot be had or what is there now, and the id of its root."""
        MediaStoreError.__init__(self, ref, path, detail, root)
        self.ref, self.path, self.detail, self.root = ref, path, detail, root

    def __str__(self) -> str:
        """Name the ref, the path, the root and the reason."""
        return f"{self.ref}: {self.path} in root {self.root} {self.detail}"


class WrongHost(NotThere):
    """The file lies in a root that this process does not have."""

    code = "wrong_host"
    hint = "Resolve it where the root is, or share the directory and add it to the roots here."
    http_status = 421

    def __init__(self, ref: str, root: str, host: str) -> None:
        """Keep the ref, its root id and where that root was last seen (`host:path`)."""
        MediaStoreError.__init__(self, ref, root, host)
        self.ref, self.root, self.host = ref, root, host

    def __str__(self) -> str:
        """Name the ref and the root's last known place."""
        return f"{self.ref} lies in root {self.root}, last seen at {self.host or 'an unknown host'}"


class LeaseLost(MediaStoreError):
    """The lease does not hold any more, so the bytes may have been deleted; it never holds again.

    Its deadline passed before a renewal came: the process was stopped, cut off from Redis, or held it for too long.
    """

    code = "lease_lost"
    hint = "Do not trust what was read last; take a new lease, or have a new hand-over made, with a longer ttl."
    http_status = 409

    def __init__(self, ref: str, detail: str) -> None:
        """Keep the ref and how the lease was lost, in words."""
        super().__init__(ref, detail)
        self.ref, self.detail = ref, detail

    def __str__(self) -> str:
        """Name the ref, and how the lease was lost."""
        return f"the lease of {self.ref} does not hold any more: {self.detail}"


class Unavailable(MediaStoreError):
    """Something the store needs does not answer now; calling again later can succeed."""

    code = "unavailable"
    hint = "Call again later; what was done stays done."
    http_status = 503
    exit_code = 4

    def __init__(self, detail: str, errno: str = "") -> None:
        """Keep what did not answer, in words without secrets, and the system's error, such as "EROFS", if it was one."""
        super().__init__(detail, errno)
        self.detail, self.errno = detail, errno

    def __str__(self) -> str:
        """Say what did not answer."""
        return self.detail


class IndexUnavailable(Unavailable):
    """Redis does not answer, or refuses this client."""

    code = "index_unavailable"
    hint = (
        "Check MEDIASTORE_REDIS_URL and the server: `mediastore doctor` says what is wrong. "
        "Without a server, `mediastore up` starts one."
    )


class StaleCommand(IndexUnavailable):
    """The command reached Redis later than the replay window allows; it was refused and changed nothing."""

    code = "stale_command"
    hint = "Call again; if it lasts, the clock of this host or of the server is stepping."


class StoreFull(Unavailable):
    """Redis refused memory, or a root has no space left; releasing still works."""

    code = "store_full"
    hint = "Release what is not needed, or give the server more memory (maxmemory) or the disk more space."
    http_status = 507


class BlobsUnavailable(Unavailable):
    """A root does not answer, or the file is being deleted by a process that has not finished."""

    code = "blobs_unavailable"
    hint = "Call again; if it lasts, `mediastore doctor` names the root, or the stuck blobs."


class Corrupt(MediaStoreError):
    """The index holds what no version of this package writes; nothing was changed."""

    code = "corrupt"
    hint = "Look at the key that the message names; somebody else wrote into this prefix."
    exit_code = 5

    def __init__(self, detail: str) -> None:
        """Keep what was found."""
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        """Say what was found."""
        return self.detail


class IndexVersion(Corrupt):
    """The index was written in a format this version does not speak."""

    code = "index_version"
    hint = "Run the version of mediastore that the rest of the fleet runs."

    def __init__(self, found: str, supported: str) -> None:
        """Keep the format found and the one this version speaks."""
        MediaStoreError.__init__(self, found, supported)
        self.found, self.supported = found, supported

    def __str__(self) -> str:
        """Name both formats."""
        return f"the index has format {self.found}, this version speaks {self.supported}"


def as_value(error: E) -> E:
    """Return an error that is kept as an answer, without its traceback: that would keep what the call named, such as a lease."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
