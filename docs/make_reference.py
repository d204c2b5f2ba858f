"""Write the table of docs/settings.md, and .env.example, from the docstring of `Settings`. `make docs` runs it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

from mediastore.reference import described  # noqa: E402 - found by the line before

BEGIN = "<!-- From the docstring of mediastore.Settings: change it there, then `make docs`. -->"
HEAD = """\
# Settings of mediastore. Copy to .env, and take the # away from what you change.
# The command line and the worker read .env in their working directory; variables win over it.
# systemd reads the same lines (EnvironmentFile), and so does Docker Compose.
# `mediastore config` says what counts, and who said it.
# `make docs` writes this file from the docstring of mediastore.Settings.
"""
END = "<!-- End of what is made. -->"


def table() -> str:
    """Return the settings as a table in Markdown."""
    rows = ["| name | default | meaning |", "|---|---|---|"]
    for each in described():
        default = f"`{each.default}`" if each.default else "empty"
        meaning = each.meaning[0].lower() + each.meaning[1:].removesuffix(".")
        rows.append(f"| `{each.name}` | {default} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def settings_page() -> str:
    """Return docs/settings.md with its table made anew; the text around it is written by hand."""
    text = (HERE / "docs" / "settings.md").read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def env_example() -> str:
    """Return .env.example: every setting as a comment, with its default."""
    parts = [HEAD]
    for each in described():
        meaning = textwrap.fill(
            each.meaning, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
        parts.append(f"{meaning}\n#{each.variable}={each.default}\n")
    parts.append(
        "# For docker-compose.yml alone: the server's password, letters and digits.\n"
        "#VALKEY_PASSWORD=\n"
    )
    return "\n".join(parts)


def files() -> dict[Path, str]:
    """Return what each file should hold."""
    return {
        HERE / "docs" / "settings.md": settings_page(),
        HERE / ".env.example": env_example(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
