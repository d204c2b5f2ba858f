"""HTTP responses of urllib, urllib3, requests, httpx and aiohttp: how long their bodies are said to be, and how they are read.

They are known by their shape; none of these libraries is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_PIECE: Final = 1 << 20


def announced(response: Any) -> int | None:
    """Return how many bytes a response is to give, as its headers say; None if they do not, or if it is no response.

    A body that its library decodes (`Content-Encoding`) has another length than was sent, and one that comes in chunks has none.
    """
    said = _headers(response)
    length, reads = said.get("content-length", "").strip(), _reads(response)
    left = getattr(response, "length", getattr(response, "length_remaining", None))
    if not (length.isascii() and length.isdigit()) or (reads and not isinstance(left, int)):
        return None
    if "chunked" in said.get("transfer-encoding", "").lower():
        return None
    coded = said.get("content-encoding", "").strip().lower() not in {"", "identity"}
    if coded and (not reads or getattr(response, "decode_content", False)):
        return None
    # What is read like a file counts what is left of it: somebody may have read a part.
    return left if reads and left else int(length)


def pieces(response: Any) -> Iterator[bytes]:
    """Return the body of a response of requests, or of a blocking httpx client."""
    if hasattr(response, "iter_content"):
        return iter(response.iter_content(_PIECE))
    return iter(response.iter_bytes())


def is_awaited(response: Any) -> bool:
    """Whether its body has to be awaited: of aiohttp, or of an httpx.AsyncClient that has not read it yet."""
    if hasattr(response, "iter_bytes"):
        stream = getattr(response, "stream", None)
        blocking = hasattr(stream, "__iter__") or getattr(response, "is_closed", False)
        return hasattr(stream, "__aiter__") and not blocking
    return not hasattr(response, "iter_content")


async def apieces(response: Any) -> AsyncIterator[bytes]:
    """As `pieces`, of one that is awaited."""
    if hasattr(response, "aiter_bytes"):
        async for piece in response.aiter_bytes():
            yield piece
    elif response.content.at_eof():
        # Somebody has read it, and it has kept what was read.
        yield await response.read()
    else:
        while piece := await response.content.read(_PIECE):
            yield piece


def _headers(response: Any) -> dict[str, str]:
    headers = getattr(response, "headers", None)
    items = getattr(headers, "items", None)
    if not callable(items):
        return {}
    return {str(name).lower(): str(value) for name, value in items()}


def _reads(response: Any) -> bool:
    """Whether it is read like a file: of urllib, which decodes nothing, or urllib3, which decodes if it was told to."""
    return not any(hasattr(response, name) for name in ("iter_content", "iter_bytes", "content"))
