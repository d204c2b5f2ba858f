"""Coming from PromptKit: every name of the seed and every row of its checklist has its place, and the script works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mediastore import MediaMeta, MediaStore

from .test_content import PNG, files
from .test_docs import DOCS, HERE, blocks

PAGE = DOCS["coming-from-promptkit.md"]
MAPPED, _, ABSENT = PAGE.partition("## What is not here")
#: Of runtime/storage/types.go, interfaces.go, local/filestore.go, policy/*.go, instrumented.go and types/content.go.
NAMES = """
    MediaStorageService PolicyHandler StoreMedia RetrieveMedia DeleteMedia GetURL ApplyPolicy
    EnforcePolicy Reference OrganizationMode by-session by-conversation by-run run_id
    conversation_id session_id message_idx part_idx mime_type size_bytes provider_id timestamp
    policy_name FileStoreConfig BaseDir Organization EnableDeduplication DefaultPolicy
    MaxFileSize WithMaxFileSize NewFileStore ErrFileTooLarge Flush .dedup_index.json Data
    FilePath URL StorageReference MIMEType PolicyName Format SizeKB Detail Caption Duration
    BitRate Channels Width Height FPS Validate GetBase64Data ReadData Config RegisterPolicy
    Rules ParsePolicyName ExpiresAt CreatedAt NewTimeBasedPolicyHandler WithBaseDir
    WithAutoStart StartEnforcement Stop BuildExpiryIndex TrackFile UntrackFile ExpiryIndexLen
    InstrumentedStorage SetBus
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_every_name_of_the_seed_is_mapped(name):
    left = [line.split("|")[1] for line in MAPPED.splitlines() if line.startswith("| ")]

    assert any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", cell) for cell in left)


def test_every_row_is_complete():
    for line in PAGE.splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            assert len(cells) == (2 if line in ABSENT else 3), line
            assert cells[0].strip()
            assert cells[1].strip()


def old_file(home, name, data=PNG, **said):
    """Put a file where PromptKit did, with its sidecar."""
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    known = {"run_id": "r1", "message_idx": 2, "part_idx": 1, "mime_type": "image/png", **said}
    known |= {"size_bytes": len(data), "timestamp": "2025-11-24T10:00:00Z"}
    Path(f"{path}.meta").write_text(json.dumps(known, indent=2))
    return path


@pytest.fixture
def lane():
    return "real"


@pytest.fixture
def script(server_url, settings, tmp_path):
    """Give a run of the page's script on a PromptKit directory of the test's own; it returns what it printed."""
    [code] = blocks("coming-from-promptkit.md")
    where = f'"{server_url}", namespace="{settings.namespace}"'
    code = code.replace('"redis://localhost/0"', where)
    code = code.replace("/srv/media", settings.roots[0]).replace("/srv/promptkit", str(tmp_path))

    def run():
        return subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=HERE, capture_output=True, text=True
        ).stdout.splitlines()

    return run


def test_a_directory_is_brought_over_with_what_is_known_of_each_file(
    script, tmp_path, media, other: MediaStore
):
    old = tmp_path / "old"
    one = old_file(old, "sessions/abc/2_1_17.png", session_id="abc", policy_name="retain-30days")
    two = old_file(old, "sessions/b/0_0_18.png", session_id="b", provider_id="imagen")

    printed = dict(line.split() for line in script())

    kept, named = other.get(printed[str(one)]), other.get(printed[str(two)])
    assert kept.meta == MediaMeta(
        filename=one.name, content_type="image/png", run_id="r1", session_id="abc",
        message_idx=2, part_idx=1, policy="retain-30days",
    )  # fmt: skip
    assert (kept.scope, kept.custody) == ("session/abc", "owned")
    assert kept.expires_at == kept.stored_at + timedelta(days=30)
    assert (named.meta.provider_id, named.expires_at) == ("imagen", None)
    assert other.resolve(kept.ref).read_bytes() == PNG
    assert files(old) == []
    assert len([name for name in files(media) if not name.endswith(".meta")]) == 2


def test_what_cannot_be_taken_stays_and_is_named(script, tmp_path, media):
    old = tmp_path / "old"
    junk = old_file(old, "sessions/abc/junk.png", session_id="abc", policy_name="retain")
    nowhere = old_file(old, "runs/r1/nowhere.png")
    broken = old_file(old, "sessions/abc/broken.png")
    Path(f"{broken}.meta").write_text("{")
    Path(f"{old}/sessions/abc/lost.png.meta").write_text('{"mime_type": "image/png"}')
    fine = old_file(old, "sessions/abc/zz.png", session_id="abc")

    printed = {line.split()[0]: line for line in script()}

    assert "stays: " in printed[str(broken)]
    assert "retention policy" in printed[str(junk)]
    assert "session_id" in printed[str(nowhere)]
    assert "no such file" in printed[f"{old}/sessions/abc/lost.png"]
    assert "media://" in printed[str(fine)]
    assert [path.exists() for path in (junk, nowhere, broken, fine)] == [True, True, True, False]
    assert len(files(media)) == 2
