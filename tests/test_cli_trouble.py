"""What the command line does when something goes wrong, and around every command: settings, help, colour."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from mediastore import MediaMeta, MediaStore
from mediastore.cli import main
from mediastore.index.steps import prefix

from .cli_fixtures import (  # noqa: F401 - fixtures
    NOWHERE,
    UNKNOWN,
    bot,
    env,
    lane,
    on_a_terminal,
    run,
    spawn,
    told,
)

COMMANDS = [
    *("store", "resolve", "put", "get", "url", "show"),
    *("ls", "scopes", "touch", "pin", "unpin", "deadline"),
    *("share", "transfer", "promote", "cat", "lease", "handoff"),
    *("accept", "delete", "restore", "release", "sweep", "stats"),
    *("doctor", "health", "demo", "rebuild", "up", "status"),
    *("down", "config", "acl", "roots", "policy", "quota"),
    *("epoch", "breaker"),
]


# --- what goes wrong


@pytest.mark.parametrize(
    "words",
    [
        ("store", "cat.jpg", "--scope", "a"),
        ("resolve", UNKNOWN),
        ("put", "cat.jpg", "--scope", "a"),
        ("get", UNKNOWN, "-o", "got.jpg"),
        ("url", UNKNOWN),
        ("show", UNKNOWN),
        ("ls", "a"),
        ("scopes",),
        ("release", "a", "--yes"),
        ("release", "a", "--dry-run"),
        ("sweep",),
        ("sweep", "--dry-run"),
        ("stats",),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_server_that_does_not_answer_is_told_within_a_second_and_without_its_password(
    words, cat, monkeypatch
):
    monkeypatch.chdir(cat.parent)
    if words[0] not in {"resolve", "sweep", "doctor"}:
        monkeypatch.setenv("MEDIASTORE_RETRIES", "0")  # they wait as those three
    waited: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", waited.append)

    plain = run("--redis-url", NOWHERE, *words)
    as_json = run("--redis-url", NOWHERE, "--debug", *words, "--json")

    assert sum(waited) < 2  # a second each; what a slow machine takes besides is not ours
    assert plain.exit_code == as_json.exit_code == (5 if words == ("doctor",) else 4)
    assert "Pa55word" not in plain.output + as_json.output
    if words != ("doctor",):
        assert re.search(r"^error: .+\nhint: .*mediastore doctor.*\n$", plain.stderr)
        assert '"code": "index_unavailable"' in as_json.stderr


def test_the_error_object_has_code_message_and_hint():
    done = run("show", UNKNOWN, "--json")

    error = json.loads(done.stderr)["error"]
    assert (done.stdout, list(error)) == ("", ["code", "message", "hint"])
    assert error["code"] == "ref_unknown"


def test_an_index_of_another_format_is_corrupt(client, settings):
    client.set(f"{prefix(settings.namespace)}format", "99")

    done = run("stats")

    assert done.exit_code == 5
    assert "format 99" in done.stderr


def test_a_root_that_is_not_there_is_a_wrong_request(tmp_path):
    done = run("--root", tmp_path / "none", "stats")

    assert done.exit_code == 2
    assert f"{tmp_path / 'none'} cannot be a root" in done.stderr


def test_a_bug_is_told_in_a_line_and_with_debug_in_full(monkeypatch):
    def fail(_):
        raise RuntimeError("boom")

    monkeypatch.setattr(MediaStore, "stats", fail)

    short, full = run("stats"), run("--debug", "stats")

    assert short.exit_code == full.exit_code == 1
    assert short.stderr.startswith("error: RuntimeError: boom\nhint: ")
    assert "Traceback" not in short.stderr
    assert "Traceback" in full.stderr
    assert run("stats", "--debug").stderr == full.stderr  # where whoever is told to add it adds it


def test_after_two_dashes_debug_is_an_argument():
    done = run("resolve", "--", "--debug")

    assert "not a ref: '--debug'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is always full")
def test_a_full_disk_under_stdout_is_not_called_a_bug():
    with open("/dev/full", "w") as full:
        process = spawn("--version", stdout=full)

    _, talk = process.communicate(timeout=30)

    assert process.returncode == 1
    assert talk == "error: [Errno 28] No space left on device\n"


def test_ctrl_c_ends_with_130_and_no_traceback(monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(MediaStore, "stats", interrupt)

    done = run("stats")

    assert (done.exit_code, done.output) == (130, "")


def test_ctrl_c_before_the_first_command_ends_with_130(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("mediastore.cli.command_line", interrupt)

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130


@pytest.mark.parametrize(
    "words", [("ls", "chat:1"), ("stats", "--json"), ("--help",)], ids=" ".join
)
def test_a_reader_that_goes_away_is_no_reason_to_complain(words, cat, bot):
    bot.store(cat, scope="chat:1")
    process = spawn(*words)
    process.stdout.close()

    talk = process.stderr.read()

    assert (process.wait(30), talk) == (1, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["stats", "--help"])
def test_a_closed_stream_is_as_good_as_dev_null(words, closed):
    """Without a file in its place, the connection to the server would become stdout."""
    line = f"exec {sys.executable} -m mediastore {words} {closed}"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    done = subprocess.run(
        ["/bin/sh", "-c", line], env=env, capture_output=True, text=True, check=False, timeout=30
    )

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


def test_an_empty_root_is_not_the_working_directory(tmp_path):
    done = run("--root", "", "stats")

    assert done.exit_code == 2
    assert "empty name" in done.stderr
    assert not (tmp_path / ".mediastore").exists()


def test_a_command_that_prints_by_itself_minds_a_reader_that_goes_away_too():
    code = (
        "import sys, mediastore.demo, mediastore.cli\n"
        "mediastore.demo.main = lambda **_: print('a line that waits in the buffer')\n"
        "sys.argv = ['mediastore', 'demo']\n"
        "mediastore.cli.main()"
    )
    process = spawn(program=("-c", code))
    process.stdout.close()

    talk = process.stderr.read()

    assert (process.wait(30), talk) == (1, "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("lss",), "`mediastore --help`"),
        (("ls",), "`mediastore ls --help`"),
        (("ls", "a", "--limit", "0"), "`mediastore ls --help`"),
        (("ls", "a", "--nonsense"), "`mediastore ls --help`"),
        (("ls", "a", "--namespace", "x"), "--namespace goes before the command"),
    ],
)
def test_wrong_usage_is_told_in_a_line_and_a_hint(words, hint):
    done, as_json = run(*words), run(*words, "--json")

    assert done.exit_code == as_json.exit_code == 2
    assert re.match(r"error: .+\nhint: .+\n$", done.stderr)
    assert hint in done.stderr
    assert json.loads(as_json.stderr)["error"]["code"] == "usage"


# --- settings


def test_the_env_file_of_the_working_directory_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDIASTORE_REDIS_URL")
    (tmp_path / ".env").write_text(f"MEDIASTORE_REDIS_URL={NOWHERE}\n")

    assert run("stats").exit_code == 4


def test_another_env_file_can_be_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDIASTORE_REDIS_URL")
    (tmp_path / "prod.env").write_text(f"MEDIASTORE_REDIS_URL={NOWHERE}\n")

    assert run("--env-file", tmp_path / "prod.env", "stats").exit_code == 4
    assert run("--env-file", tmp_path / "none.env", "stats").exit_code == 2


def test_options_win_over_variables(monkeypatch, server_url, tmp_path):
    monkeypatch.setenv("MEDIASTORE_REDIS_URL", "nonsense")
    monkeypatch.setenv("MEDIASTORE_NAMESPACE", "NONSENSE")
    (tmp_path / "b").mkdir()

    options = ("--redis-url", server_url, "--namespace", "t-options", "--root", tmp_path / "b")

    assert list(told(*options, "stats")["roots"].values())[0].endswith(str(tmp_path / "b"))  # noqa: RUF015


def test_an_unknown_variable_is_a_warning_and_silent_with_json(monkeypatch):
    monkeypatch.setenv("MEDIASTORE_ROOT", "/srv/media")

    assert run("stats").stderr.startswith("warning: MEDIASTORE_ROOT is not a setting")
    assert run("stats", "--json").stderr == ""


# --- help, colour


def test_help_names_every_command_and_loads_neither_redis_nor_celery_nor_asyncio():
    command = [sys.executable, "-X", "importtime", "-m", "mediastore", "--help"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)

    listed = re.findall(r"^  (\w+)  +\S", done.stdout.partition("Commands:")[2], re.MULTILINE)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert listed == COMMANDS
    assert "typer" in loaded
    assert loaded & {"redis", "celery", "asyncio", "rich", "kombu"} == set()


#: In an interpreter of its own each: a fork of one that has loaded the command line and no command.
HELP = """
import os, sys
from mediastore.cli import main
for command in sys.argv[1:]:
    if not os.fork():
        sys.argv = ["mediastore", command, "--help"]
        try: main()
        except SystemExit as end: assert end.code == 0
        found = sorted({"redis", "celery", "asyncio", "rich", "kombu"} & set(sys.modules))
        print("loaded", command, found, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.mark.torture
def test_the_help_of_a_command_loads_no_more_than_the_help_of_all():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    done = subprocess.run(
        [sys.executable, "-c", HELP, *COMMANDS],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip

    told = [line for line in done.stdout.splitlines() if line.startswith("loaded")]
    assert told == [f"loaded {command} []" for command in COMMANDS]
    assert done.stdout.count("Usage:") == len(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell, monkeypatch):
    monkeypatch.setenv("_MEDIASTORE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", "mediastore re")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "mediastore re")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    process = spawn()

    found, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert set(re.findall(r"\b(?:resolve|release|store)\b", found)) == {"resolve", "release"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = run(command, "-h")

    assert done.exit_code == 0
    assert f"Usage: mediastore {command}" in done.stdout
    silent = {
        "demo",
        "up",
        "down",
        "roots",
        "policy",
        "quota",
        "epoch",
        "breaker",
        "cat",
        "lease",
        "accept",
    }
    assert "--json" in done.stdout or command in silent
    assert re.search(rf"Example:\s+mediastore {command}\b", done.stdout)


def test_no_command_at_all_shows_the_help_and_is_wrong():
    done = run()

    assert (done.exit_code, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


def test_the_version_is_shown():
    assert re.fullmatch(r"mediastore \d+\.\d+\.\d+\n", run("--version").stdout)


def test_colour_is_for_terminals_that_want_it(cat, bot, monkeypatch):
    bot.store(cat, scope="chat:1", meta=MediaMeta("[red]c.jpg"))

    _, colourful = on_a_terminal("ls", "chat:1")
    _, findings = on_a_terminal("doctor")
    monkeypatch.setenv("NO_COLOR", "1")
    _, plain = on_a_terminal("ls", "chat:1")

    assert "\x1b[" in colourful
    assert "\x1b[32mok" in findings
    assert "\x1b" not in plain
    assert "[red]c.jpg" in plain
    assert re.match(r"ref +size +expires +filename +path", plain)
