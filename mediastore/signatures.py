"""First bytes by which formats are known that the library `filetype` does not know, or knows under one of their names only."""

from __future__ import annotations

import re
import zlib
from typing import Final

#: ISO/IEC 14496-12: what a file with a box `ftyp` is, by its major brand.
_BRANDS: Final = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heic"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"3gp", b"3gr", b"3gs", b"3ge", b"3gg", b"3gh"), "video/3gpp"),
    **dict.fromkeys((b"3g2",), "video/3gpp2"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "), "audio/mp4"),
    **dict.fromkeys((b"M4V ", b"M4VH", b"M4VP"), "video/x-m4v"),
    b"qt  ": "video/quicktime",
    **dict.fromkeys((b"F4V ", b"dash", b"avc1", b"MSNV", b"NDSC", b"mmp4"), "video/mp4"),
    **dict.fromkeys((b"iso", b"mp4"), "video/mp4"),
}
#: ISO/IEC 23008-12: these say only that there are pictures; what they are, a compatible brand says.
_PICTURES: Final = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})
_STARTS: Final = (
    (b"#!AMR-WB", "audio/amr-wb"),  # RFC 4867 §5
    (b"#!AMR", "audio/amr"),
    (b"#!SILK_V3", "audio/silk"),
    (b"\x02#!SILK_V3", "audio/silk"),  # as WeChat and QQ write it
    (b"caff\x00\x01", "audio/x-caf"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\xff\x0a", "image/jxl"),  # ISO/IEC 18181-1: the codestream without a container
)
_GZIP: Final = b"\x1f\x8b\x08"
#: How much of a packed file is unpacked to see what it is: a few bytes of gzip can become gigabytes.
_UNPACKED_BYTES: Final = 512
#: What a Lottie animation says of itself first: Telegram's mark, or its version, frame rate and first and last frame.
_LOTTIE: Final = re.compile(rb'\s*\{(?=.*"tgs"\s*:|(?=.*"v"\s*:)(?=.*"fr"\s*:)(?=.*"ip"\s*:).*"op"\s*:)', re.DOTALL)  # fmt: skip
#: Where readers of PDF look for its header (ISO 32000-1, Annex H.3.4.1).
_PDF_BYTES: Final = 1024
_PDF: Final = re.compile(rb"%PDF-\d\.\d")
#: W3C WebVTT §4.1.
_WEBVTT: Final = re.compile(r"WEBVTT(?:[ \t\r\n]|\Z)")


def of_bytes(head: bytes) -> str:
    """Return the type of a binary format by its first bytes, "" if they are of none of these."""
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    for start, content_type in _STARTS:
        if head.startswith(start):
            return content_type
    if head.startswith(_GZIP) and _LOTTIE.match(_unpacked(head)):
        return "application/x-tgsticker"
    return ""


def is_late_pdf(head: bytes, *, text: bool) -> bool:
    """Whether a PDF begins behind other bytes; in a `text`, which may speak of one, only behind white space."""
    found = _PDF.search(head, 0, _PDF_BYTES)
    return found is not None and (not text or not head[: found.start()].strip())


def is_webvtt(text: str) -> bool:
    """Whether a text is subtitles in WebVTT."""
    return bool(_WEBVTT.match(text))


def _by_brand(head: bytes) -> str:
    major = head[8:12]
    found = _BRANDS.get(major) or _BRANDS.get(major[:3], "")
    if found or major not in _PICTURES:
        return found
    end = min(int.from_bytes(head[:4], "big"), len(head))
    others = [head[at : at + 4] for at in range(16, end - 3, 4)]
    pictures = [_BRANDS[brand] for brand in others if _BRANDS.get(brand, "").startswith("image/")]
    return pictures[0] if pictures else "image/heif"


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _UNPACKED_BYTES)
    except zlib.error:
        return b""
