"""Documentation that cannot fall behind: settings, errors, keys and commands are named, README's examples run."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from mediastore import Settings, errors
from mediastore.settings import gather, names

from . import commands

HERE = Path(__file__).parent.parent
DOCS = {path.name: path.read_text() for path in [*(HERE / "docs").glob("*.md"), HERE / "README.md"]}
#: Built beside these pages; a name that is known is checked like every other.
LATER: set[str] = set()
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


# --- what is made from the code


def test_the_reference_of_the_settings_is_what_the_code_says():
    """`make docs` writes it."""
    made = runpy.run_path(str(HERE / "docs" / "make_reference.py"))["files"]()

    assert len(made) == 2
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name} is stale: run `make docs`"


def test_the_example_of_an_env_file_holds_every_setting_at_its_default(tmp_path):
    text = (HERE / ".env.example").read_text()
    said = re.sub(r"^#(MEDIASTORE_\w+=)", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "env").write_text(said)

    assert Settings.from_env({}, env_file=HERE / ".env.example") == Settings()
    assert Settings.from_env({}, env_file=tmp_path / "env") == Settings()
    assert set(gather({}, tmp_path / "env")) == set(names())


# --- what names code


def test_every_line_of_the_doctor_is_explained_and_no_other():
    found = set()
    for path in (HERE / "mediastore" / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                first = node.args[0] if node.args else None
                if node.func.id in {"Finding", "looked"} and isinstance(first, ast.Constant):
                    found.add(first.value)
        found |= set(re.findall(r'^        "(\w+)": _\w+,$', path.read_text(), re.MULTILINE))
        roles = re.search(r"for role in \(([^)]*)\)", path.read_text())
        found |= set(re.findall(r'"(\w+)"', roles[1] if roles else ""))
        found |= {"root"} if 'f"root {' in path.read_text() else set()
    page = DOCS["operating.md"].partition("## What each line of `doctor` means")[2]
    rows = re.findall(r"^\| `(\w+)`", page.partition("\n## ")[0], re.MULTILINE)

    assert {"server", "scripts", "journal", "stuck", "root"} <= found
    assert set(rows) == found
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", DOCS)
def test_every_command_that_a_page_shows_is_one_that_the_program_takes(name):
    for words in commands.in_console_blocks(DOCS[name]):
        if commands.known(words[1]) or words[0] == "celery" or words[1].startswith("-"):
            commands.check(words)
        else:
            assert words[1] in LATER, words


@pytest.mark.parametrize("name", DOCS)
def test_every_variable_that_a_page_names_is_a_setting(name):
    said = set(re.findall(r"\bMEDIASTORE_[A-Z_]*[A-Z]\b", DOCS[name]))

    given = {"path"}  # by `lease` to its command
    assert {word.removeprefix("MEDIASTORE_").lower() for word in said} <= set(names()) | given


def blocks(page):
    return re.findall(r"```python\n(.*?)```", DOCS[page], re.DOTALL)


EXAMPLES = [
    (page, block)
    for page in ("README.md", "deploying.md", "content.md", "policies.md")
    for block in blocks(page)
]
#: Here each goes on where the one before has ended.
EXAMPLES += [("lifetimes.md", "".join(blocks("lifetimes.md")))]


@pytest.mark.parametrize(("page", "block"), EXAMPLES)
def test_the_examples_run(server_url, tmp_path, page, block):
    media = tmp_path / "media"
    media.mkdir()
    for name in set(re.findall(r"/srv/media/([\w-]+\.\w+)", block)):
        (media / name).write_bytes(b"\xff\xd8")
    namespace = f"readme-{secrets.token_hex(4)}"
    code = block.replace(
        '"redis://localhost/0"', f'"{server_url}", namespace="{namespace}"'
    ).replace("/srv/media", str(media))

    told = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=HERE, capture_output=True, text=True
    )

    assert told.returncode == 0, told.stderr
    assert told.stdout.strip()
    assert not told.stderr


def test_there_are_examples_to_run():
    pages = ["README.md"] * 3 + ["deploying.md"] * 2 + ["content.md", "policies.md", "lifetimes.md"]

    assert [page for page, _ in EXAMPLES] == pages
    assert len(blocks("lifetimes.md")) >= 5


def test_every_heading_that_a_page_links_to_is_there():
    for name, text in DOCS.items():
        headings = {
            re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-")
            for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(#([^)]+)\)", text):
            assert target in headings, (name, target)
