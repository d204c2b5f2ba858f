"""Documentation that cannot fall behind: settings, errors, keys and commands are named, README's examples run."""

from __future__ import annotations

import inspect
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from mediastore import errors

HERE = Path(__file__).parent.parent
DOCS = {path.name: path.read_text() for path in [*(HERE / "docs").glob("*.md"), HERE / "README.md"]}
CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.MediaStoreError)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_error_is_documented_with_its_numbers(cls):
    row = next(line for line in DOCS["errors.md"].splitlines() if f"`{cls.code}`" in line)

    assert f"`{cls.__name__}`" in row
    assert f"| {cls.http_status} | {cls.exit_code} |" in row


def test_every_key_a_script_writes_is_documented():
    written = set()
    for path in (HERE / "mediastore" / "lua").glob("*.lua"):
        written |= set(re.findall(r'P \.\. "([a-z]+)', path.read_text()))

    assert written
    for kind in written:
        assert re.search(rf"`{kind}[:`]", DOCS["keys.md"]), kind


def test_every_command_is_documented():
    told = subprocess.run(
        [sys.executable, "-m", "mediastore", "--help"],
        cwd=HERE, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    commands = re.findall(r"^  ([a-z]+)  ", told.partition("Commands:")[2], re.MULTILINE)

    assert len(commands) >= 10
    for command in commands:
        assert f"`{command}`" in DOCS["operating.md"], command


def test_every_link_leads_somewhere():
    for name, text in DOCS.items():
        folder = HERE if name == "README.md" else HERE / "docs"
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (folder / target).exists(), (name, target)


@pytest.mark.parametrize("number", [0, 1])
def test_the_readmes_examples_run(server_url, tmp_path, number):
    blocks = re.findall(r"```python\n(.*?)```", DOCS["README.md"], re.DOTALL)
    media = tmp_path / "media"
    media.mkdir()
    for name in ("cat.jpg", "dog.jpg"):
        (media / name).write_bytes(b"\xff\xd8")
    namespace = f"readme-{secrets.token_hex(4)}"
    code = (
        blocks[number]
        .replace('"redis://localhost/0"', f'"{server_url}", namespace="{namespace}"')
        .replace("/srv/media", str(media))
    )

    told = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=HERE, capture_output=True, text=True
    )

    assert told.returncode == 0, told.stderr
    assert told.stdout.strip()
    assert len(blocks) == 2
