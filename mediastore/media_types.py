"""Content types: what bytes look like, what a name says, and whether what was given can be true.

The tables are fixed: those of the system differ from host to host, and the hosts of a fleet must name a file alike.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final

from . import signatures

#: Extension and type; of several lines with one type the first names the file, of several with one extension the first is its type.
_TABLE: Final = """
.jpg image/jpeg         .jpeg image/jpeg        .png image/png          .gif image/gif
.webp image/webp        .svg image/svg+xml      .heic image/heic        .heif image/heif
.avif image/avif        .tiff image/tiff        .tif image/tiff         .bmp image/bmp
.ico image/x-icon       .apng image/apng        .psd image/vnd.adobe.photoshop
.jxl image/jxl          .jxr image/vnd.ms-photo .jpx image/jpx          .cr2 image/x-canon-cr2
.mp3 audio/mpeg         .wav audio/wav          .ogg audio/ogg          .oga audio/ogg
.weba audio/webm        .pcm audio/pcm          .flac audio/flac        .m4a audio/mp4
.aac audio/aac          .opus audio/opus        .amr audio/amr          .mid audio/midi
.awb audio/amr-wb       .caf audio/x-caf        .silk audio/silk
.aiff audio/aiff        .3ga audio/3gpp         .mka audio/x-matroska
.mp4 video/mp4          .webm video/webm        .ogv video/ogg          .mov video/quicktime
.3g2 video/3gpp2        .vtt text/vtt           .srt application/x-subrip
.mkv video/x-matroska   .avi video/x-msvideo    .3gp video/3gpp         .m4v video/x-m4v
.mpg video/mpeg         .mpeg video/mpeg        .wmv video/x-ms-wmv     .flv video/x-flv
.txt text/plain         .log text/plain         .md text/markdown       .markdown text/markdown
.csv text/csv           .tsv text/tab-separated-values                  .html text/html
.htm text/html          .css text/css           .js text/javascript     .vcf text/vcard
.ics text/calendar      .py text/x-python       .yaml application/yaml  .yml application/yaml
.json application/json  .xml application/xml    .pdf application/pdf    .rtf application/rtf
.zip application/zip    .gz application/gzip    .tar application/x-tar  .bz2 application/x-bzip2
.xz application/x-xz    .zst application/zstd   .7z application/x-7z-compressed
.rar application/vnd.rar                        .epub application/epub+zip
.tgs application/x-tgsticker                    .ps application/postscript
.apk application/vnd.android.package-archive    .jar application/java-archive
.sqlite application/vnd.sqlite3                 .wasm application/wasm  .ogx application/ogg
.doc application/msword .xls application/vnd.ms-excel                   .ppt application/vnd.ms-powerpoint
.docx application/vnd.openxmlformats-officedocument.wordprocessingml.document
.xlsx application/vnd.openxmlformats-officedocument.spreadsheetml.sheet
.pptx application/vnd.openxmlformats-officedocument.presentationml.presentation
.odt application/vnd.oasis.opendocument.text
.ods application/vnd.oasis.opendocument.spreadsheet
.odp application/vnd.oasis.opendocument.presentation
.woff font/woff         .woff2 font/woff2       .ttf font/ttf           .otf font/otf
"""
_PAIRS: Final[tuple[tuple[str, str], ...]] = tuple(zip(*[iter(_TABLE.split())] * 2, strict=True))
_TYPE_OF: Final[dict[str, str]] = dict(reversed(_PAIRS))
#: Raw samples are named as the seed names them (PromptKit local/filestore.go).
_EXTENSION_OF: Final[dict[str, str]] = {
    content_type: extension for extension, content_type in reversed(_PAIRS)
} | {
    "audio/pcm": ".wav",
    "audio/l16": ".wav",
}

#: One spelling for each type that has several.
_ALIASES: Final = {
    other: usual
    for usual, others in {
        "image/jpeg": "image/jpg image/pjpeg",
        "image/png": "image/x-png",
        "image/x-icon": "image/vnd.microsoft.icon image/ico",
        "image/bmp": "image/x-bmp image/x-ms-bmp",
        "image/tiff": "image/tif",
        "image/heic": "image/heic-sequence",
        "audio/mpeg": "audio/mp3 audio/x-mp3 audio/mpeg3 audio/x-mpeg audio/mpg",
        "audio/wav": "audio/x-wav audio/wave audio/vnd.wave audio/x-pn-wav",
        "audio/mp4": "audio/m4a audio/x-m4a audio/mp4a-latm",
        "audio/flac": "audio/x-flac",
        "audio/aac": "audio/x-aac audio/aacp",
        "audio/midi": "audio/x-midi audio/mid",
        "audio/aiff": "audio/x-aiff",
        "audio/amr": "audio/amr-nb audio/x-amr",
        "audio/amr-wb": "audio/x-amr-wb",
        "audio/x-caf": "audio/caf",
        "audio/silk": "audio/x-silk audio/silk-v3",
        "application/x-subrip": "text/srt text/x-subrip application/x-srt",
        "video/x-msvideo": "video/avi video/msvideo",
        "video/x-matroska": "video/matroska",
        "video/mpeg": "video/mpg",
        "text/markdown": "text/x-markdown",
        "text/vcard": "text/x-vcard text/directory",
        "text/javascript": "application/javascript application/x-javascript",
        "application/json": "text/json",
        "application/xml": "text/xml",
        "application/yaml": "application/x-yaml text/yaml text/x-yaml",
        "application/rtf": "text/rtf",
        "application/pdf": "application/x-pdf",
        "application/zip": "application/x-zip-compressed application/x-zip",
        "application/gzip": "application/x-gzip",
        "application/x-tar": "application/tar",
        "application/x-bzip2": "application/bzip2",
        "application/vnd.rar": "application/x-rar-compressed application/x-rar",
        "application/vnd.sqlite3": "application/x-sqlite3",
        "text/html": "application/xhtml+xml",
        "font/woff": "application/font-woff",
        "font/ttf": "application/font-sfnt application/x-font-ttf",
        "font/otf": "application/x-font-otf",
    }.items()
    for other in others.split()
}
#: Spellings above that are registered for themselves, with another meaning than the usual one or as its better name.
_REGISTERED: Final = frozenset(
    {"application/xhtml+xml", "image/heic-sequence", "image/vnd.microsoft.icon", "video/matroska"}
    | {"audio/mp4a-latm", "audio/vnd.wave", "audio/aacp", "text/xml", "text/rtf", "text/directory"}
)
#: One container, several contents: the first bytes do not tell which.
_KIN: Final = tuple(
    frozenset(group.split())
    for group in (
        "audio/ogg video/ogg application/ogg audio/opus audio/vorbis audio/speex",
        "audio/mp4 video/mp4 video/x-m4v video/quicktime audio/aac video/3gpp audio/3gpp video/3gpp2",
        "video/3gpp2 audio/3gpp2",
        "audio/webm video/webm audio/x-matroska video/x-matroska",
        "audio/x-ms-wma video/x-ms-wmv video/x-ms-asf",
        "image/heic image/heif image/avif",
        "image/png image/apng",
        "image/tiff image/x-canon-cr2",
        "font/woff font/woff2",
        "font/ttf font/otf",
        "application/gzip application/x-tgsticker application/x-compressed-tar application/x-tgz",
        "application/msword application/vnd.ms-excel application/vnd.ms-powerpoint",
        "image/svg+xml application/xml",
        "text/markdown text/html",
    )
)
_ZIPPED: Final = re.compile(
    r"application/(?:vnd\.(?:openxmlformats-officedocument|oasis\.opendocument|ms-\w+)\..*|.*\+zip"
    r"|vnd\.android\.package-archive|java-archive)"
)
#: Written as text, whatever its name: `sniff` sees only that.
_TEXTUAL: Final = re.compile(
    r"text/.*|.*\+(?:xml|json)|application/(?:json|xml|yaml|x-sh|sql|toml|x-ndjson|jsonl|x-subrip|rtf)"
)
_UNKNOWN: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
#: What a more special format is written as; a name may say which. Not of markup that a browser would run.
_GENERIC: Final = frozenset(
    {"text/plain", "application/zip", "application/gzip", "application/xml"}
)
_MARKUP: Final = frozenset({"text/html", "image/svg+xml"})
#: An extension that a name may lend.
_LENT: Final = re.compile(r"(?<=[^/\\])\.[A-Za-z0-9]{1,12}\Z")
#: Never lent: a stored file called so would pass for a sidecar, which `rebuild` believes.
_SIDECAR: Final = ".meta"

#: Formats of which the first bytes can be nothing but text.
_TEXT_FORMATS: Final = frozenset(
    {"application/pdf", "application/rtf", "application/postscript", "application/x-deb"}
    | {"application/x-unix-archive"}
)
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
#: What may stand before the first element.
_PROLOG: Final = re.compile(r"(?:\s+|<!--.*?-->|<\?.*?\?>|<!doctype(?!\s+html)[^>\[]*(?:\[.*?\]\s*)?>)+", re.DOTALL | re.IGNORECASE)  # fmt: skip
_SVG: Final = re.compile(r"<(?:[a-z_][\w.-]*:)?svg[\s/>]", re.IGNORECASE)
_HTML: Final = re.compile(
    r"<(?:!doctype\s+html|html|head|body|script|iframe|style|title|meta|link|object|embed|form"
    r"|h1|div|font|table|img|a|b|br|p)(?![\w:.-])",
    re.IGNORECASE,
)
#: Anywhere in what begins as markup, these make a browser run it.
_ACTIVE: Final = re.compile(
    r"<(?:html|script|iframe|body)(?![\w:.-])|http://www\.w3\.org/1999/xhtml", re.IGNORECASE
)
#: A shorter head is the whole file, so JSON that ends early is none.
_CUT_BYTES: Final = 512


def essence(content_type: str) -> str:
    """Return the type without its parameters, in lower case, in its usual spelling: "image/jpeg" for "image/JPG; q=1"."""
    plain = content_type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def says_nothing(content_type: str) -> bool:
    """Whether a content type says nothing of the bytes: it is empty or `application/octet-stream`, or no type at all."""
    return essence(content_type) in _UNKNOWN or "/" not in content_type


def spelt(content_type: str) -> str:
    """Return a content type in its registered spelling, with its parameters: "image/jpeg; q=1" for "image/JPG; q=1"."""
    said, semicolon, parameters = content_type.partition(";")
    plain = said.strip().lower()
    usual = plain if plain in _REGISTERED else _ALIASES.get(plain, plain)
    return f"{usual}{semicolon}{parameters.rstrip()}"


def settled(said: str, sniffed: str, name: str) -> tuple[str, str]:
    """Return the type that counts and, if the bytes contradict it, what they are.

    What was said counts. If nothing was, what the bytes look like does, or what the name says if that is a special case of
    it, such as ".csv" of text; else the name's type, else `application/octet-stream`.

    Args:
        said: The content type that was given with the bytes; may be empty.
        sniffed: What `sniff` says of them.
        name: A file name; may be empty.
    """
    if not says_nothing(said):
        return spelt(said), "" if agree(said, sniffed) else sniffed
    named = by_extension(name)
    special = sniffed in _GENERIC and named not in _MARKUP and agree(named, sniffed)
    return (named if named and special else sniffed or named or "application/octet-stream"), ""


def extension(content_type: str, filename: str = "") -> str:
    """Return the extension for a file: that of its type, else its name's own in lower case, else ".bin".

    A name's own counts if it is 1 to 12 ASCII letters or digits, and is not "meta", which is ours.
    """
    known = _EXTENSION_OF.get(essence(content_type))
    if known:
        return known
    found = _LENT.search(filename)
    lent = found[0].lower() if found else _SIDECAR
    return ".bin" if lent == _SIDECAR else lent


def by_extension(name: str) -> str:
    """Return the content type that the extension of a name stands for; "" if it is none that we know."""
    stem, dot, end = name.rpartition(".")
    return _TYPE_OF.get(f".{end.lower()}", "") if dot and stem else ""


def agree(given: str, sniffed: str) -> bool:
    """Whether bytes that look like `sniffed` can be what was `given`; a type nobody knows agrees with every other.

    Case, parameters and other spellings do not count. Text can be of any textual type, and a container of any that it holds;
    a document with markup that a browser would run is no picture and no plain text.
    """
    ours, theirs = essence(given), essence(sniffed)
    if ours == theirs or ours in _UNKNOWN or theirs in _UNKNOWN:
        return True
    if any(ours in group and theirs in group for group in _KIN):
        return True
    if theirs == "application/zip":
        return bool(_ZIPPED.fullmatch(ours))
    if theirs in {"text/plain", "text/vtt"}:
        return bool(_TEXTUAL.fullmatch(ours))
    if theirs == "application/json":
        return bool(_TEXTUAL.fullmatch(ours)) and ours not in {"application/xml", "text/html"}
    if theirs == "application/xml":
        return ours.endswith("+xml") or ours.startswith("text/")
    return False


def sniff(head: bytes) -> str:
    """Return the content type that the first bytes of a file look like; "" when they look like none, or there are none.

    A few kilobytes are enough. Nothing is guessed from a name. Markup that a browser would run is found rather than missed.
    """
    if not head:
        return ""
    text = _text(head)
    found = (text is None and signatures.of_bytes(head)) or _magic(head)
    if found and (text is None or found in _TEXT_FORMATS):
        return found
    markup = _markup(head.decode("latin-1") if text is None and b"\x00" not in head else text or "")
    if markup:
        return markup
    if signatures.is_late_pdf(head, text=text is not None):
        return "application/pdf"
    return "" if text is None else _of_text(text, len(head))


def _of_text(text: str, size: int) -> str:
    if signatures.is_webvtt(text):
        return "text/vtt"
    return "application/json" if _json(text, size) else "text/plain"


def _magic(head: bytes) -> str:
    # Imported here: `import mediastore` need not load eighty classes.
    import filetype

    try:
        found: Any = filetype.guess(head)
    except Exception:  # noqa: BLE001, its parsers trust what they read
        return ""
    return essence(found.mime) if found else ""


def _text(head: bytes) -> str | None:
    """Return the head as text, without a byte order mark; None when it is not text. Its last character may be cut."""
    encoding = "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text or None


def _markup(text: str) -> str:
    """Return the type of a document that begins as markup, or ""."""
    prolog = _PROLOG.match(text)
    start = prolog.end() if prolog else 0
    if _SVG.match(text, start):
        return "image/svg+xml"
    # A letter is a tag of HTML, and a name like others in XML.
    xml = text.lstrip().startswith("<?xml")
    if not xml and _HTML.match(text, start):
        return "text/html"
    if not text[: start + 1].lstrip().startswith("<"):
        return ""
    if _ACTIVE.search(text):
        return "text/html"
    if _SVG.search(text):
        return "image/svg+xml"
    return "application/xml" if xml else ""


def _json(text: str, size: int) -> bool:
    """Whether the text is an object or a list of JSON, as far as it goes."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text, parse_int=str)
    except json.JSONDecodeError as error:
        # Cut in the middle: everything was right up to the last few characters, or to a string that does not end.
        near = error.pos >= len(text.rstrip()) - 8
        return size >= _CUT_BYTES and (near or error.msg.startswith("Unterminated string"))
    except RecursionError:
        return False
    return True
