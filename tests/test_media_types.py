"""Content types: extensions by a fixed table, types by the first bytes, and when the two can both be true."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mediastore.media_types import agree, by_extension, essence, extension, sniff

MEDIA = Path(__file__).parent.parent / "mediastore" / "demo" / "media"

#: PromptKit runtime/storage/local/filestore.go, getExtensionFromMIME and its reverse.
SEED = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/ogg": ".ogg",
    "audio/webm": ".weba",
    "audio/pcm": ".wav",
    "audio/L16": ".wav",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/ogg": ".ogv",
}
SEED_REVERSE = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "weba": "audio/webm",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "ogv": "video/ogg",
}
HTML = b"<!DOCTYPE html>\n<html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def zipped():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.txt", "a")
    return held.getvalue()


@pytest.mark.parametrize(("content_type", "ending"), SEED.items())
def test_the_types_of_the_seed_have_its_extensions(content_type, ending):
    assert extension(content_type) == ending
    assert extension(f"{content_type.upper()} ; rate=24000", "x.xyz") == ending


@pytest.mark.parametrize(("ending", "content_type"), SEED_REVERSE.items())
def test_the_extensions_of_the_seed_have_its_types(ending, content_type):
    assert by_extension(f"a.b.{ending}") == content_type
    assert by_extension(f"A.{ending.upper()}") == content_type


@pytest.mark.parametrize(
    ("content_type", "ending"),
    [
        ("application/pdf", ".pdf"),
        ("text/plain; charset=utf-8", ".txt"),
        ("text/markdown", ".md"),
        ("text/csv", ".csv"),
        ("application/json", ".json"),
        ("text/xml", ".xml"),
        ("text/html", ".html"),
        ("image/svg+xml", ".svg"),
        ("image/jpg", ".jpg"),
        ("audio/mp3", ".mp3"),
        ("audio/x-m4a", ".m4a"),
        ("audio/mp4", ".m4a"),
        ("audio/x-flac", ".flac"),
        ("application/x-gzip", ".gz"),
        ("application/x-tgsticker", ".tgs"),
        ("text/x-vcard", ".vcf"),
        ("video/quicktime", ".mov"),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ".docx",
        ),
    ],
)
def test_usual_types_have_their_usual_extension_whatever_the_name(content_type, ending):
    assert extension(content_type, "evil.exe") == ending


@pytest.mark.parametrize(
    ("filename", "ending"),
    [
        ("report.XYZ", ".xyz"),
        ("archive.tar.7zz", ".7zz"),
        ("", ".bin"),
        ("noend", ".bin"),
        (".bashrc", ".bin"),
        ("dir/.bashrc", ".bin"),
        ("a.", ".bin"),
        ("a.b c", ".bin"),
        ("a.x/../../y", ".bin"),
        ("a.12345678901234", ".bin"),
        ("a.é", ".bin"),
        ("a.\u212a", ".bin"),
        ("a.x\n", ".bin"),
        ("a.x\x00", ".bin"),
    ],
)
def test_an_unknown_type_takes_the_extension_of_the_name_if_it_is_a_plain_one(filename, ending):
    assert extension("", filename) == ending
    assert extension("application/x-unheard-of", filename) == ending
    assert extension("application/octet-stream", filename) == ending


@pytest.mark.parametrize("filename", ["evil.meta", "evil.META", "a.png.meta"])
def test_a_name_cannot_make_its_file_pass_for_a_sidecar(filename):
    assert extension("application/octet-stream", filename) == ".bin"


@pytest.mark.parametrize("name", ["", "noend", ".png", "a.xyz", "a.", "a.\u212a"])
def test_names_without_a_known_extension_have_no_type(name):
    assert by_extension(name) == ""


@given(st.text(), st.text())
def test_an_extension_is_always_one(content_type, filename):
    ending = extension(content_type, filename)

    assert ending.startswith(".")
    assert ending[1:].isalnum()
    assert ending.isascii()
    assert ending == ending.lower()
    assert len(ending) <= 13


@pytest.mark.parametrize(
    "name",
    [path.name for path in sorted(MEDIA.iterdir()) if path.suffix not in {".md", ".py"}],
)
def test_the_media_of_the_demo_look_like_what_they_are(name):
    with (MEDIA / name).open("rb") as file:
        found = sniff(file.read(8192))

    assert found == by_extension(name)
    assert agree(by_extension(name), found)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", ""),
        (b"hello\n", "text/plain"),
        (b"\x1b[1mbold\x1b[0m\ttab\f\r\n", "text/plain"),
        ("жук".encode(), "text/plain"),
        ("жук".encode()[:-1], "text/plain"),
        ("€".encode()[:1], ""),
        ("жук".encode("utf-16"), "text/plain"),
        ("\ufeffжук".encode("utf-16-be"), "text/plain"),
        ("жук".encode("utf-8-sig"), "text/plain"),
        ("жук".encode("koi8-r"), ""),
        (b"a\x00b", ""),
        (b"a\x07b", ""),
        (bytes(range(256)), ""),
        (b"%PDF-1.7\nonly text so far", "application/pdf"),
        (b"{\\rtf1 hello}", "application/rtf"),
        (gzip.compress(b"a", mtime=0), "application/gzip"),
        (zipped(), "application/zip"),
        # Two letters of magic are not enough for text to be something else.
        (b"BMW is a car, MZ a company", "text/plain"),
        (b"MZ is no program", "text/plain"),
        (b"GIF89a=1;alert(1)", "text/plain"),
    ],
)
def test_bytes_and_text_are_told_apart(head, found):
    assert sniff(head) == found


@pytest.mark.parametrize(
    "head",
    [
        HTML,
        HTML.lower(),
        b" \r\n\t<HTML>",
        b"<!DOCTYPE  html>hello",
        b"<!-- a -->\n<!-- b --><html lang=en>",
        b"<script>alert(1)</script>",
        b"<body onload=alert(1)>",
        b"<p>hello",
        b"<div align=center>",
        b"<iframe src=x>",
        b"<unknown><script>alert(1)</script></unknown>",
        b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">',
        b'<?xml version="1.0"?><x:html xmlns:x="http://www.w3.org/1999/xhtml">',
        HTML.decode().encode("utf-16"),
        HTML.decode().encode("utf-8-sig"),
        b"<html>\xe9t\xe9",
    ],
)
def test_html_is_found_in_every_dress(head):
    assert sniff(head) == "text/html"
    assert not agree("image/png", sniff(head))
    assert not agree("text/plain", sniff(head))


@pytest.mark.parametrize(
    "head",
    [
        SVG,
        b" \n" + SVG,
        b"<!-- a -->" + SVG,
        b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- made -->\n' + SVG,
        b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd">' + SVG,
        b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG,
        b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>',
        b"<SVG>",
        SVG.decode().encode("utf-16"),
    ],
)
def test_svg_is_found_in_every_dress(head):
    assert sniff(head) == "image/svg+xml"


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b'<?xml version="1.0"?><rss/>', "application/xml"),
        (b'<?xml version="1.0"?><a/>', "application/xml"),
        (b"a < b, and <html> is a tag", "text/plain"),
        (b"see <script>", "text/plain"),
        (b"<3 you", "text/plain"),
        (b"<paragraph>", "text/plain"),
    ],
)
def test_other_markup_and_talk_of_markup_are_neither(head, found):
    assert sniff(head) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": [1, 2.5, null, true, "x"]}', "application/json"),
        (" \n[]", "application/json"),
        ("[" + "9" * 5000 + "]", "application/json"),
        (json.dumps([{"a": "b" * 20}] * 100)[:1000], "application/json"),
        (json.dumps(["x" * 2000])[:1000], "application/json"),
        ("{", "text/plain"),
        ('{"a": ', "text/plain"),
        ("[link](https://example.org)", "text/plain"),
        ("[section]\nkey = 1", "text/plain"),
        ("{% template %}" + "x" * 1000, "text/plain"),
        ("[1] a footnote", "text/plain"),
        ('{"a":1}\n{"a":2}\n', "text/plain"),
        ("[" * 100_000, "text/plain"),
        ("42", "text/plain"),
    ],
)
def test_json_is_found_as_far_as_it_goes_and_not_guessed(text, found):
    assert sniff(text.encode()) == found


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [b"", b"<", b"<?xml", b"{", b"\xff\xfe", b"PK\x03\x04", b"RIFF", b"\x00\x00\x00\x18ftyp"]
    ),
)
def test_no_bytes_make_sniffing_fail(tail, start):
    found = sniff(start + tail)

    assert found == "" or "/" in found


@pytest.mark.parametrize(
    ("given_type", "sniffed"),
    [
        ("", "image/png"),
        ("application/octet-stream", "text/html"),
        ("image/png", ""),
        ("audio/pcm", ""),
        ("audio/L16; rate=24000", "application/octet-stream"),
        ("image/jpg", "image/jpeg"),
        ("IMAGE/JPEG; q=1", "image/jpeg"),
        ("audio/mp3", "audio/mpeg"),
        ("audio/x-wav", "audio/wav"),
        ("application/x-gzip", "application/gzip"),
        ("video/ogg", "audio/ogg"),
        ("application/ogg", "audio/ogg"),
        ("audio/mp4", "video/mp4"),
        ("audio/webm", "video/webm"),
        ("text/csv", "text/plain"),
        ("application/json", "text/plain"),
        ("application/ld+json", "application/json"),
        ("text/plain", "application/json"),
        ("application/rss+xml", "application/xml"),
        ("image/svg+xml", "application/xml"),
        ("text/markdown", "text/html"),
        ("application/xhtml+xml", "text/html"),
        ("application/epub+zip", "application/zip"),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/zip",
        ),
        ("application/vnd.oasis.opendocument.text", "application/zip"),
        ("application/x-tgsticker", "application/gzip"),
    ],
)
def test_types_that_can_both_be_true_agree(given_type, sniffed):
    assert agree(given_type, sniffed)


@pytest.mark.parametrize(
    ("given_type", "sniffed"),
    [
        ("image/png", "image/jpeg"),
        ("image/png", "text/html"),
        ("image/svg+xml", "text/html"),
        ("text/plain", "text/html"),
        ("text/plain", "image/svg+xml"),
        ("image/png", "image/svg+xml"),
        ("image/png", "text/plain"),
        ("application/pdf", "application/zip"),
        ("application/json", "application/xml"),
        ("image/png", "application/json"),
        ("audio/mpeg", "video/mp4"),
        ("text/plain", "application/zip"),
    ],
)
def test_types_that_contradict_each_other_do_not_agree(given_type, sniffed):
    assert not agree(given_type, sniffed)


def test_the_essence_of_a_type_has_no_parameters_and_one_spelling():
    assert essence(" Image/JPG ; a=b") == "image/jpeg"
    assert essence("") == ""


def test_importing_the_types_loads_no_matchers():
    code = "import sys, mediastore.media_types; print('filetype' in sys.modules)"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "False"


@pytest.mark.parametrize(
    "start", ["<!doctype", "<!--", "<!doctype [", "<?", "<a ", "[", '["', " \n"]
)
@pytest.mark.parametrize("filler", [" ", "]", "<", "<!--", "\\", "<? ", "] "])
def test_no_head_takes_long_to_look_at(start, filler):
    head = (start + filler * 65536)[:65536].encode()

    began = time.thread_time()  # not what others use of the machine meanwhile
    sniff(head)

    assert time.thread_time() - began < 5  # with a square of the length it is a minute
