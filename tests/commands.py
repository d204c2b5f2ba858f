"""Command lines in files and documents, read by the programs they are for; nothing is carried out."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import typer.main
from celery.bin.base import CLIContext
from celery.bin.celery import celery

from mediastore.celery import make_app
from mediastore.cli import command_line


def known(name: str) -> bool:
    """Whether this version of the command line has the command."""
    line: Any = typer.main.get_command(command_line())
    return name in line.commands


def check(words: list[str]) -> None:
    """Have the program read the words: an unknown option, or a value of the wrong kind, raises."""
    assert words, "no command"
    if words[0] == "celery":
        _check_celery(words)
    else:
        assert words[0] == "mediastore", words
        _check_ours(words[1:])


def _check_celery(words: list[str]) -> None:
    assert words[1:3] == ["-A", "worker"], words
    name, *args = words[3:]
    parent = click.Context(celery, obj=CLIContext(make_app(), no_color=True, workdir=None))
    with parent:
        # Flower adds a command of its own where it is installed, and needs no more than its name here.
        if name != "flower":
            celery.commands[name].make_context(name, args, parent=parent).close()


def _check_ours(words: list[str]) -> None:
    line: Any = typer.main.get_command(command_line())
    try:
        context = line.make_context("mediastore", [*words])
    except typer.Exit:  # --version has answered
        return
    left = [*getattr(context, "_protected_args", ()), *context.args]
    while left:
        name, *args = left
        assert name in line.commands, f"{name} is no command of mediastore"
        line = line.commands[name]
        context = line.make_context(name, args, parent=context)
        if not hasattr(line, "commands"):
            return
        left = [*getattr(context, "_protected_args", ()), *context.args]


def in_console_blocks(text: str) -> list[list[str]]:
    """Return the commands of ours and of Celery in a document's `console` blocks, word by word."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        joined = block.replace("\\\n", " ")
        for line in re.findall(r"^\$ (.*)$", joined, re.MULTILINE):
            found += _simple_commands(line)
    return found


def _simple_commands(line: str) -> list[list[str]]:
    """Return the commands of ours in a line of a shell, without the variables before and the files after them."""
    parser = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    parser.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in parser:
        if set(word) <= set("|&;<>"):
            found.append([])
        elif found[-1] or not re.fullmatch(r"[A-Z_]+=.*", word):
            found[-1].append(word)
    return [words for words in found if words and words[0] in {"mediastore", "celery"}]
