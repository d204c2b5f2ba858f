"""Content for tests of what happens to it: who hands it over, who comes in between, and what must not be left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mediastore import MediaContent, MediaMeta

from .test_content import files

DATA = b"\x89PNG\r\n\x1a\n" + b"content" * 9
META = MediaMeta(session_id="42", filename="cat.png")


def pieces(data=DATA):
    """Hand it over in two pieces: its hash is not known before it is written."""
    yield data[:5]
    yield data[5:]


@pytest.fixture
def sharing(lab):
    """Give a laboratory whose processes keep equal content once."""
    lab.settings = replace(lab.settings, dedup=True)
    return lab


def all_names(lab):
    """Return what is in the root, apart from the marker and the directories of our bookkeeping."""
    found = {str(path.relative_to(lab.root)) for path in lab.root.rglob("*")}
    homes = {
        ".mediastore",
        *(
            f".mediastore/{name}"
            for name in ("root", "epoch", "new", "held", "tmp", "meta", "drafts")
        ),
    }
    spare = {name for name in found if name.startswith(".mediastore/spare")}
    return found - homes - spare - {".mediastore/quarantine", ".mediastore/parked"}


def nothing_is_left(lab):
    stats = lab.process().stats()
    assert (stats.refs, stats.blobs, stats.size_bytes, stats.trash) == (0, 0, 0, 0)
    assert reserved(lab) == (0, 0)
    lab.process().drain()  # the journal of sidecars tells of files that are gone
    assert all_names(lab) == set()
    assert lab.leftovers() == []


def reserved(lab):
    found = lab.client.hmget(f"mediastore:{{{lab.namespace}}}:stats", "reserved", "reserved_bytes")
    return tuple(int(each or 0) for each in found)


def blobs_of(lab, *refs):
    store = lab.process()
    return [store.get(ref).blob for ref in refs]


def beaten_at(script, lab, process, act, number=1):
    """Have another process act right before the n-th command of this name."""
    ask, said = process._ask, []

    def beaten(step):
        said.append(getattr(step, "script", ""))
        if said[-1] == script and said.count(script) == number:
            act()
        return ask(step)

    process._ask = beaten


def hand_over(process, scope="s", data=DATA, meta=None):
    return process.store_media(MediaContent(data=data), scope=scope, meta=meta)


def file_of(lab):
    """Return the one file of content that lies in the root, whether it has a ref or not."""
    [name] = [name for name in files(lab.root) if not name.endswith(".meta")]
    return Path(lab.root, name)
