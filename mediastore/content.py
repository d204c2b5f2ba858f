"""Content that is handed over to the store, or that it hands back: bytes from one source, and what they are said to be."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from .errors import ContentMismatch, InvalidPath, InvalidRequest

Kind = Literal[
    "bytes", "base64", "data-url", "file", "iterator", "async", "response", "path", "url", "text"
]


class Reads(Protocol):
    """A binary file object, as far as it is used."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        ...


class ReadsAsync(Protocol):
    """A binary file object whose `read` is async, such as an upload of a web framework."""

    async def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        ...


class Responds(Protocol):
    """An HTTP response of requests, httpx or aiohttp, as far as it is known by."""

    @property
    def headers(self) -> Any:
        """Its headers, a mapping."""
        ...


Data = (
    bytes
    | bytearray
    | memoryview
    | str
    | Reads
    | ReadsAsync
    | Responds
    | Iterable[bytes]
    | AsyncIterable[bytes]
)

#: RFC 6838 §4.2: a type and a subtype of restricted characters; parameters are kept as they are.
_MIME: Final = re.compile(
    r"([a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126})\s*(;[\x20-\x7e]*)?",
    re.IGNORECASE,
)
_MIME_MAX_BYTES: Final = 1024
_DATA_URL: Final = re.compile(r"[ \t\r\n]*data:([^,]{0,2000}),", re.IGNORECASE)
_IS_DATA_URL: Final = re.compile(r"[ \t\r\n]*data:", re.IGNORECASE)
_BASE64_FLAG: Final = re.compile(r";[ ]*base64[ ]*\Z", re.IGNORECASE)
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_WAYS: Final = "give exactly one of data, file_path, url and text"


@dataclass(frozen=True, slots=True)
class DataUrl:
    """What a data URL says before its payload.

    Attributes:
        mime_type: As spelt there; empty if it names none.
        base64: The payload is base64; otherwise it is percent-encoded.
        start: Where the payload begins.
    """

    mime_type: str
    base64: bool
    start: int


def data_url(text: str) -> DataUrl:
    """Read the head of a data URL (RFC 2397); the payload is not looked at.

    Raises:
        InvalidRequest: it has no comma, or its head is longer than 2000 characters.
    """
    found = _DATA_URL.match(text)
    if not found:
        raise InvalidRequest(
            "a data URL reads data:[<type>][;base64],<payload>; this one has no comma in time"
        )
    head = found[1]
    plain = _BASE64_FLAG.sub("", head).strip()
    # RFC 2397: parameters without a type belong to text/plain.
    mime_type = f"text/plain{plain}" if plain.startswith(";") else plain
    return DataUrl(mime_type, plain != head.strip(), found.end())


@dataclass(frozen=True, slots=True)
class Announced:
    """What is said of bytes before they come, and is kept to.

    Attributes:
        size_bytes: How many there are; None if nobody knows.
        sha256: Their SHA-256 in lower-case hex; empty if nobody knows.

    Raises:
        InvalidRequest: `size_bytes` is no whole number from 0, or `sha256` is none.
    """

    size_bytes: int | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse what no bytes can have."""
        size = self.size_bytes
        if size is not None and (not isinstance(size, int) or size < 0):
            raise InvalidRequest(f"size_bytes is a whole number from 0, not {size!r:.60}")
        if not isinstance(self.sha256, str) or (self.sha256 and not _SHA256.fullmatch(self.sha256)):
            raise InvalidRequest(f"sha256 is 64 hexadecimal digits, not {self.sha256!r:.80}")
        object.__setattr__(self, "sha256", self.sha256.lower())

    def allow(self, size: int) -> None:
        """Refuse more bytes than were announced.

        Raises:
            ContentMismatch: there are.
        """
        if self.size_bytes is not None and size > self.size_bytes:
            raise ContentMismatch("size_bytes", self.size_bytes, size)

    def check(self, size: int, sha: str) -> None:
        """Refuse other bytes than were announced, now that all are there; `sha` may be empty if none was announced.

        Raises:
            ContentMismatch: their number or their SHA-256 is another one.
        """
        if self.size_bytes is not None and size != self.size_bytes:
            raise ContentMismatch("size_bytes", self.size_bytes, size)
        if self.sha256 and sha != self.sha256:
            raise ContentMismatch("sha256", self.sha256, sha)


@dataclass(frozen=True, slots=True, repr=False)
class MediaContent:
    """The bytes of one media file and what is known of them.

    Give exactly one of `data`, `file_path`, `url` and `text`. PromptKit's MediaContent allows `data` with `file_path`, as a hint
    where the data came from; here it is refused, because one of the two would be ignored.

    Attributes:
        data: Bytes or another buffer; base64 text, standard or URL-safe, padded or not; the text of a data URL;
            a file object opened with "rb", read from its position on and never closed; an iterator of bytes.
            AsyncMediaStore also takes an async iterator, or an object whose `read` is async.
            A response of urllib, urllib3, requests, httpx or aiohttp itself: the length that it announces is kept to.
            Empty bytes are an empty file, empty text is no source. A file object at its end, an iterator or a response
            that gives nothing is refused, unless `size_bytes` is 0.
        file_path: A file to copy, anywhere; symlinks are followed. Kept as a Path.
        url: A data URL is decoded. Others are not fetched: store_media refuses them.
        mime_type: The content type; in lower case, with its parameters. Empty (default): that of the data URL,
            else what the bytes look like.
        policy: The retention policy; empty (default) is the store's own.
        size_bytes: How many bytes there are; None (default) if nobody knows. store_media keeps to it, whatever the source;
            retrieve_media fills it in.
        text: Text to be stored as UTF-8. Empty text counts as a source if `size_bytes` is 0.
        sha256: The SHA-256 that the bytes must have, in hex; empty (default) if nobody knows.
        said_type: Filled in by retrieve_media if the bytes contradict it: the content type that was said. Not used when storing.

    Raises:
        InvalidRequest: no source or several, a source of a wrong type, a file object in text mode,
            a `mime_type` that is not `type/subtype`, a `sha256` that is none, or `text` with half a character.
        InvalidPath: `file_path` holds a NUL.
    """

    data: Data | None = None
    file_path: str | Path | None = None
    url: str = ""
    mime_type: str = ""
    policy: str = ""
    size_bytes: int | None = None
    text: str | None = None
    sha256: str = ""
    said_type: str = ""

    def __post_init__(self) -> None:
        """Refuse what could never be stored."""
        for name in ("url", "mime_type", "policy", "sha256", "said_type"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InvalidRequest(f"{name} is text, not {type(value).__name__}")
        path = _path(self.file_path)
        object.__setattr__(self, "file_path", path)
        object.__setattr__(self, "sha256", Announced(self.size_bytes, self.sha256).sha256)
        sources = (
            *(self.data is not None and self.data != "", path is not None, self.url != ""),
            _is_text(self.text) and (self.text != "" or self.size_bytes == 0),
        )
        if sum(sources) != 1:
            found = "several sources" if any(sources) else "no source"
            raise InvalidRequest(f"this content has {found}: {_WAYS}")
        said = self.mime_type
        if self.kind == "data-url":
            said = said.strip() or data_url(self.spelt).mime_type
        object.__setattr__(self, "mime_type", _mime(said))

    @property
    def kind(self) -> Kind:
        """What the source is."""
        if self.file_path is not None:
            return "path"
        if self.data is not None and self.data != "":
            return _kind(self.data)
        if self.url:
            return "data-url" if _IS_DATA_URL.match(self.url) else "url"
        return "text"

    @property
    def spelt(self) -> str:
        """The base64 text, the URL or the text; empty where the source is none of them."""
        return (
            self.data if isinstance(self.data, str) and self.data else self.url or self.text or ""
        )

    @property
    def announced(self) -> Announced:
        """What is said of the bytes."""
        return Announced(self.size_bytes, self.sha256)

    def __repr__(self) -> str:
        """Show everything but the data: of a source only its kind and length, because URLs may hold secrets."""
        said = {name: _shape(self.kind, getattr(self, name)) for name in ("data", "url", "text")}
        for name in ("file_path", "mime_type", "policy", "size_bytes", "sha256", "said_type"):
            value = getattr(self, name)
            said[name] = "" if value is None or value == "" else repr(value)
        told = ", ".join(f"{name}={value}" for name, value in said.items() if value)
        return f"MediaContent({told})"


def _kind(data: object) -> Kind:
    """Name the kind of `data`, cheapest test first; nothing is read."""
    if isinstance(data, str):
        return "data-url" if _IS_DATA_URL.match(data) else "base64"
    if isinstance(data, io.TextIOBase):
        raise InvalidRequest('the file object is in text mode; open it with "rb"')
    read = getattr(data, "read", None)
    if _is_response(data, read):
        return "response"
    if callable(read) and not isinstance(data, bytes | bytearray | memoryview):
        return "async" if inspect.iscoroutinefunction(read) else "file"
    if _is_buffer(data):
        return "bytes"
    if hasattr(data, "__aiter__"):
        return "async"
    if hasattr(data, "__iter__") and not isinstance(data, type):
        return "iterator"
    raise InvalidRequest(
        "data is bytes, base64 text, a binary file object or an iterator of bytes, "
        f"not {type(data).__name__}{'; for a path, say file_path' if hasattr(data, '__fspath__') else ''}"
    )


def _is_response(data: Any, read: object) -> bool:
    """Whether it is an HTTP response that is read otherwise than a file: of requests, httpx or aiohttp."""
    if not hasattr(data, "headers"):
        return False
    # The content of one of requests must not be asked for here: that would fetch it.
    if hasattr(data, "iter_content") or hasattr(data, "iter_bytes"):
        return True
    return inspect.iscoroutinefunction(read) and hasattr(getattr(data, "content", None), "at_eof")


def _is_text(text: object) -> bool:
    if text is None:
        return False
    if not isinstance(text, str):
        raise InvalidRequest(f"text is text, not {type(text).__name__}; bytes are data")
    if found := _SURROGATE.search(text):
        raise InvalidRequest(f"text holds half a character at position {found.start()}")
    return True


def _is_buffer(data: Any) -> bool:
    try:
        view = memoryview(data)
    except TypeError:
        return False
    except ValueError as error:
        raise InvalidRequest(f"data cannot be read: {error}") from None
    with view:
        if not view.c_contiguous:
            raise InvalidRequest("data is a buffer with gaps; give bytes(data)")
    return True


def _path(value: object) -> Path | None:
    if value is None or value == "":
        return None
    spelt = value.__fspath__() if hasattr(value, "__fspath__") else value
    if not isinstance(spelt, str):
        raise InvalidRequest(f"file_path is text or a Path, not {type(value).__name__}")
    if "\x00" in spelt:
        raise InvalidPath(f"{spelt!r:.200} holds a NUL")
    return Path(spelt)


def is_mime(text: str) -> bool:
    """Whether it reads `type/subtype`, with parameters or without."""
    return bool(_MIME.fullmatch(text)) and len(text) <= _MIME_MAX_BYTES


def _mime(said: str) -> str:
    said = said.strip()
    found = _MIME.fullmatch(said)
    if not said:
        return ""
    if not found or len(said) > _MIME_MAX_BYTES:
        raise InvalidRequest(f"mime_type reads type/subtype, such as image/png, not {said!r:.100}")
    return found[1].lower() + (found[2] or "").rstrip(" ;")


def _shape(kind: Kind, value: Any) -> str:
    """Describe a source without showing it."""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        named = {"base64": "base64 text", "data-url": "data URL", "text": "text"}.get(kind, "URL")
        return f"<{named} of {len(value)} characters>"
    if kind == "bytes":
        return f"<{memoryview(value).nbytes} bytes>"
    return f"<{type(value).__name__}>"
