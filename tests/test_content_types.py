"""What bytes are: content is named by it, and whoever reads is told so, whatever was said of it."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from dataclasses import replace
from typing import Any

import pytest

from mediastore import MediaContent, MediaMeta, MediaStore
from mediastore.blobs import posix
from mediastore.errors import BlobsUnavailable, InvalidRequest
from mediastore.media_types import agree, by_extension, extension, settled, sniff, spelt

from .conftest import JPEG
from .lab import Crash
from .lanes import mostly_real
from .test_content import PNG, files
from .test_media_types import HTML, zipped


def box(major, *compatible):
    brands = b"".join(compatible)
    return (16 + len(brands)).to_bytes(4, "big") + b"ftyp" + major + bytes(4) + brands + bytes(64)


def packed(text):
    return gzip.compress(text + bytes(3000), mtime=0)


BINARY = bytes(range(256))
FORMATS = {
    "heic": (box(b"heic", b"mif1", b"heic"), "image/heic", ".heic"),
    "heix": (box(b"heix", b"mif1", b"heix"), "image/heic", ".heic"),
    "mif1": (box(b"mif1", b"mif1", b"heic"), "image/heic", ".heic"),
    "msf1": (box(b"msf1", b"msf1", b"hevc"), "image/heic", ".heic"),
    "msf1 of AV1": (box(b"msf1", b"avis"), "image/avif", ".avif"),
    "mif1 of neither": (box(b"mif1", b"mif1", b"jpeg"), "image/heif", ".heif"),
    "3gp4": (box(b"3gp4", b"3gp4"), "video/3gpp", ".3gp"),
    "3gp5": (box(b"3gp5", b"isom", b"mp42"), "video/3gpp", ".3gp"),
    "3g2a": (box(b"3g2a"), "video/3gpp2", ".3g2"),
    "isom": (box(b"isom", b"iso2", b"avc1"), "video/mp4", ".mp4"),
    "M4A": (box(b"M4A ", b"mp42"), "audio/mp4", ".m4a"),
    "M4V": (box(b"M4V ", b"mp42"), "video/x-m4v", ".m4v"),
    "qt": (box(b"qt  "), "video/quicktime", ".mov"),
    "AMR": (b"#!AMR\n" + BINARY, "audio/amr", ".amr"),
    "AMR-WB": (b"#!AMR-WB\n" + BINARY, "audio/amr-wb", ".awb"),
    "CAF": (b"caff\x00\x01\x00\x00desc" + bytes(32), "audio/x-caf", ".caf"),
    "SILK": (b"#!SILK_V3" + BINARY, "audio/silk", ".silk"),
    "SILK of WeChat": (b"\x02#!SILK_V3" + BINARY, "audio/silk", ".silk"),
    "JPEG XL": (b"\xff\x0a\xfa\x1f\x01" + BINARY, "image/jxl", ".jxl"),
    "JPEG XL in a box": (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(32), "image/jxl", ".jxl"),
    "late PDF": (b"\r\n\x00junk\n%PDF-1.4\n%\xe2\xe3\xcf\xd3", "application/pdf", ".pdf"),
    "PDF after white space": (b"\n\n %PDF-1.4\nonly text so far", "application/pdf", ".pdf"),
    "WebVTT": (b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello", "text/vtt", ".vtt"),
    "WebVTT with a mark": (b"\xef\xbb\xbfWEBVTT - title\r\n", "text/vtt", ".vtt"),
    "tgs": (packed(b'{"tgs":1,"v":"5.5.2","fr":60'), "application/x-tgsticker", ".tgs"),
    "Lottie": (packed(b'{"v":"5.5.2","fr":60,"ip":0,"op":180'), "application/x-tgsticker", ".tgs"),
}
OTHERS = {
    "gzip": (packed(b'{"v": 1, "name": "no animation"}'), "application/gzip"),
    "gzip of nothing": (gzip.compress(b""), "application/gzip"),
    "gzip that is broken": (b"\x1f\x8b\x08\x00" + BINARY, "application/gzip"),
    "talk of PDF": (b"A PDF begins with %PDF-1.4.\n", "text/plain"),
    "a PDF too late": (b"\xff\xfe\x00\xd8" * 300 + b"%PDF-1.4", ""),
    "talk of WebVTT": (b"WEBVTTX is none", "text/plain"),
    "talk of AMR": (b"#!AMR is a text", "text/plain"),
}


def test_formats_of_phones_and_messengers_are_known():
    assert {name: sniff(head) for name, (head, _, _) in FORMATS.items()} == {
        name: found for name, (_, found, _) in FORMATS.items()
    }
    for _, found, ending in FORMATS.values():
        assert extension(found) == ending
        assert by_extension(f"a{ending}") == found


def test_what_only_looks_like_them_is_not_taken_for_one():
    assert {name: sniff(head) for name, (head, _) in OTHERS.items()} == {
        name: found for name, (_, found) in OTHERS.items()
    }


def test_a_small_file_that_unpacks_to_gigabytes_is_looked_at_in_little_time():
    bomb = gzip.compress(bytes(50_000_000))[:8192]

    assert sniff(bomb) == "application/gzip"


SPELT = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "IMAGE/JPG; q=1": "image/jpeg; q=1",
    # Registered for themselves.
    "application/xhtml+xml": "application/xhtml+xml",
    "image/vnd.microsoft.icon": "image/vnd.microsoft.icon",
    "application/x-of-mine": "application/x-of-mine",
}


def test_a_type_is_spelt_as_it_is_registered():
    assert {said: spelt(said) for said in SPELT} == SPELT
    assert all(agree(said, kept) for said, kept in SPELT.items())


SETTLED = [
    ("", PNG, "a.txt", ("image/png", "")),
    ("application/octet-stream", PNG, "", ("image/png", "")),
    ("binary/octet-stream", PNG, "", ("image/png", "")),
    ("Application/Octet-Stream; x=1", PNG, "", ("image/png", "")),
    ("photo", PNG, "", ("image/png", "")),
    ("image/png", JPEG, "", ("image/png", "image/jpeg")),
    ("image/jpg", JPEG, "", ("image/jpeg", "")),
    ("", b"a;b\n", "a.csv", ("text/csv", "")),
    ("", zipped(), "a.docx", (by_extension("a.docx"), "")),
    ("", b"\x00\x01", "a.mp3", ("audio/mpeg", "")),
    ("", b"\x00\x01", "", ("application/octet-stream", "")),
    # What a browser would run is known by its bytes alone.
    ("", b"hello", "a.html", ("text/plain", "")),
    ("", HTML, "a.txt", ("text/html", "")),
]


def test_one_rule_says_what_counts():
    for said, head, name, expected in SETTLED:
        assert settled(said, sniff(head), name) == expected


# --- content


@mostly_real
@pytest.mark.parametrize("dedup", [False, True], ids=["organized", "dedup"])
def test_content_lies_under_the_extension_of_what_it_is(clients, settings, media, dedup):
    cases = (
        ("application/octet-stream", "", PNG, ".png", "image/png", ""),
        ("image/png", "cat.png", JPEG, ".jpg", "image/jpeg", "image/png"),
        ("image/jpg", "", JPEG + b"2", ".jpg", "image/jpeg", ""),
        ("audio/x-wav", "", b"\x00\x01", ".wav", "audio/wav", ""),
        ("", "table.csv", b"a;b\n", ".csv", "text/csv", ""),
    )
    with MediaStore(clients(), replace(settings, dedup=dedup)) as store:
        for said, filename, data, ending, truth, claim in cases:
            content = MediaContent(data=data, mime_type=said)
            ref = store.store_media(content, scope="s", meta=MediaMeta(filename=filename))

            found = store.retrieve_media(ref)
            assert found.file_path.suffix == ending
            assert (found.mime_type, found.said_type) == (truth, claim)
            assert store.get_data_url(ref).startswith(f"data:{truth};base64,")
            assert store.get(ref).detected_type == (truth if claim else "")


@mostly_real
@pytest.mark.parametrize("dedup", [False, True], ids=["organized", "dedup"])
def test_so_does_what_a_writer_has_written(clients, settings, media, dedup):
    with MediaStore(clients(), replace(settings, dedup=dedup)) as store:
        cases = {
            "": (PNG, ".png"),
            ".png": (JPEG, ".jpg"),
            ".JPG": (JPEG + b"2", ".jpg"),
            ".xyz": (b"\x00\x01", ".xyz"),
            ".csv": (b"a;b\n", ".csv"),
        }
        for suffix, (data, ending) in cases.items():
            with store.writer(scope="s", suffix=suffix) as draft:
                assert draft.path.suffix == (suffix.lower() or ".bin")
                draft.path.write_bytes(data)

            assert store.resolve(draft.ref).suffix == ending
            assert store.resolve(draft.ref).read_bytes() == data
        meta = MediaMeta(content_type="image/png")
        with store.writer(scope="s", meta=meta, suffix=".part") as draft:
            assert draft.path.suffix == ".part"
            draft.path.write_bytes(PNG)
        assert store.resolve(draft.ref).suffix == ".png"
        store.release_all("s")
        store.drain()
    assert files(media) == []


def test_a_suffix_that_is_none_is_refused(settings):
    with MediaStore.from_url("redis://localhost:1/0", roots=settings.roots) as store:
        for suffix in ("png", ".", ".meta", ".META", ".tar.gz", "/.png", ".p\x00"):
            with pytest.raises(InvalidRequest, match="suffix"):
                store.writer(scope="s", suffix=suffix)


def test_a_scope_has_the_same_writer(store):
    with store.scope("chat:1") as scope:
        with scope.writer(suffix=".png", size_bytes=len(PNG)) as draft:
            assert draft.path.suffix == ".png"
            draft.path.write_bytes(PNG)

        assert store.resolve(draft.ref).suffix == ".png"


@mostly_real
@pytest.mark.parametrize("step", ["its name changes", "it is published"])
def test_a_writer_that_lost_its_blob_and_is_killed_leaves_nothing(lab, monkeypatch, step):
    """A sweeper finds the temporary name by the extension of the path, whenever it comes."""
    store, rename = lab.process(), posix.rename
    nth = ["its name changes", "it is published"].index(step) + 1
    moves: list[tuple[Any, ...]] = []

    def renamed(*args):
        ours = args[0].startswith(blob)
        if ours:
            moves.append(args)
        if ours and len(moves) == nth:
            with monkeypatch.context() as patch:
                patch.setattr(posix, "rename", rename)
                lab.pass_time(31)
                lab.process().sweep()
        rename(*args)
        if ours and len(moves) >= nth:
            raise Crash(step)

    writer = store.writer(scope="s")
    path = writer.__enter__().path
    path.write_bytes(PNG)
    blob = path.stem
    monkeypatch.setattr(posix, "rename", renamed)

    with pytest.raises(BlobsUnavailable, match="lapsed"):
        writer.__exit__(None, None, None)

    assert moves[0][0].endswith(".bin")
    assert moves[0][2].endswith(".png")
    monkeypatch.undo()
    lab.settle()
    assert lab.leftovers() == []
    assert files(lab.root) == []


# --- files that are registered where they lie


def tarred():
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return held.getvalue()


def test_a_registered_file_is_looked_at_when_its_type_is_needed(store, make_file):
    cases = (
        ("a.bin", "", PNG, "image/png", ""),
        ("b.bin", "application/octet-stream", JPEG, "image/jpeg", ""),
        ("c.jpg", "image/jpg", JPEG, "image/jpeg", ""),
        ("d.jpg", "image/jpeg", PNG, "image/png", "image/jpeg"),
        ("e.png", "image/png", HTML, "text/html", "image/png"),
        ("f.csv", "", b"a;b\n", "text/csv", ""),
        ("g", "photo", b"\x00\x01", "application/octet-stream", ""),
        ("h.jpg", "", tarred(), "application/x-tar", ""),
    )
    for name, said, data, truth, claim in cases:
        path = make_file(name, data)
        ref = store.store(path, scope="s", meta=MediaMeta(content_type=said))

        found = store.retrieve_media(ref)
        assert (found.mime_type, found.said_type, found.size_bytes) == (truth, claim, len(data))
        whole = f"data:{truth};base64,{base64.b64encode(data).decode()}"
        assert store.get_data_url(ref) == whole
        assert store.get(ref).meta.content_type == said
