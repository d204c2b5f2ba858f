"""The commands that hold bytes, with real commands under them and real signals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sys

import pytest

from .cli_fixtures import (  # noqa: F401 - fixtures
    UNKNOWN,
    bot,
    env,
    lane,
    on_a_terminal,
    run,
    spawn,
    told,
)
from .waiting import until

#: Tells when it has begun, and how many bytes there were when it was told to go on.
READER = 'echo ready; read go; wc -c < "$MEDIASTORE_PATH"'


def holders(store, ref):
    return [each.holder for each in store.leases(ref)]


# --- lease


def test_a_command_reads_on_after_a_release_and_the_file_goes_when_it_ends(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    process = spawn("lease", ref, "--", "sh", "-c", READER)
    assert process.stdout.readline() == "ready\n"

    bot.release_all("chat:1")
    bot.sweep()
    held = cat.exists()
    out, talk = process.communicate("go\n", timeout=30)

    assert (process.returncode, out.strip(), talk) == (0, "102", "")
    assert (held, cat.exists()) == (True, False)


def test_the_path_stands_for_the_braces_and_in_a_variable(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    done = spawn("lease", ref, "--", "sh", "-c", 'echo "$1 $MEDIASTORE_PATH"', "sh", "file:{}")
    first, second = done.communicate(timeout=30)[0].split()

    assert first == f"file:{second}"
    assert os.path.basename(second) == f"{bot.get(ref).blob}.jpg"


def test_the_exit_code_is_the_commands_and_the_lease_ends_with_it(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    done = run("lease", ref, "--", "sh", "-c", "exit 7")

    assert (done.exit_code, done.output) == (7, "")
    assert holders(bot, ref) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("{ref}", "--", "no-such-program"), 127),
        (("{ref}", "--", "/"), 126),
        (("{ref}",), 2),
        (("{ref}", "wc", "-c"), 2),
        (("{ref}", "--ttl", "soon", "--", "true"), 2),
        (("{ref}", "--ttl", "never", "--", "true"), 2),
        (("nonsense", "--", "true"), 2),
        ((UNKNOWN, "--", "true"), 3),
    ],
)
def test_what_cannot_be_run_is_told_and_leaves_no_lease(words, code, cat, bot):
    ref = bot.store(cat, scope="chat:1")

    done = run("lease", *(word.format(ref=ref) for word in words))

    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert holders(bot, ref) == []


def test_whoever_forgets_the_dashes_is_told(cat, bot):
    done = run("lease", bot.store(cat, scope="chat:1"), "wc", "-c")

    assert done.stderr.endswith(
        "hint: What is to be run stands behind --: `mediastore lease ... -- COMMAND`.\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_the_command_and_the_lease_ends(number, code, cat, bot):
    ref = bot.store(cat, scope="chat:1")
    process = spawn("lease", ref, "--", "sh", "-c", "echo ready; exec sleep 60")
    assert process.stdout.readline() == "ready\n"

    process.send_signal(number)

    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == code
    assert holders(bot, ref) == []


#: Says each Ctrl-C, and ends well when it is told to.
LISTENER = """
import os, signal
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"got it "))
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
if {apart}:
    os.setpgid(0, 0)
os.write(1, b"ready ")
while True:
    signal.pause()
"""


@pytest.mark.parametrize(("apart", "times"), [(False, 1), (True, 0)], ids=["together", "apart"])
def test_what_is_typed_on_a_terminal_is_left_to_the_terminal(apart, times, cat, bot):
    """It reaches a command of our process group without us: passed on, it would end who wants to be asked twice."""
    ref = bot.store(cat, scope="chat:1")
    command = [sys.executable, "-m", "mediastore", "lease", ref, "--", sys.executable, "-c"]
    child, terminal = pty.fork()
    if child == 0:
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execv(sys.executable, [*command, LISTENER.format(apart=apart)])
    read_until(terminal, b"ready ")

    os.write(terminal, b"\x03")
    shown = read_until(terminal, b"got it " if times else b"^C")
    os.kill(child, signal.SIGUSR1)  # what comes after it, and is passed on
    with contextlib.suppress(OSError):  # Linux says so when the last program has left the terminal
        while some := os.read(terminal, 4096):
            shown += some
    os.close(terminal)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shown.count(b"got it") == times


def read_until(terminal, words):
    shown = b""
    while words not in shown:
        shown += os.read(terminal, 4096)
    return shown


def test_a_command_may_take_a_signal_in_its_own_way(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    process = spawn("lease", ref, "--", "sh", "-c", script)
    assert process.stdout.readline() == "ready\n"

    process.terminate()

    assert process.communicate(timeout=30)[0] == "got it\n"
    assert process.returncode == 5


def test_the_lease_is_renewed_while_the_command_runs(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    process = spawn("lease", ref, "--ttl", "1s", "--", "sh", "-c", READER)
    assert process.stdout.readline() == "ready\n"
    (first,) = bot.leases(ref)

    until(lambda: (bot.leases(ref)[0].until - first.until).total_seconds() > 1)
    out, _ = process.communicate("go\n", timeout=30)

    assert (process.returncode, out.strip()) == (0, "102")


def test_a_lost_lease_ends_the_command_and_is_told(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    process = spawn("lease", ref, "--ttl", "0.5s", "--", "sh", "-c", "echo ready; exec sleep 60")
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGSTOP)
    until(lambda: not holders(bot, ref))
    process.send_signal(signal.SIGCONT)

    _, talk = process.communicate(timeout=30)
    assert process.returncode == 1
    assert talk.count("lease was lost") <= 1  # by the log, if the command was not quicker
    assert "the file may be gone: ending the command\n" in talk
    assert f"error: the lease of {ref} does not hold any more: " in talk


def test_a_holder_that_is_killed_keeps_the_bytes_no_longer_than_its_ttl(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    process = spawn("lease", ref, "--ttl", "1s", "--", "sh", "-c", "echo ready; read go")
    assert process.stdout.readline() == "ready\n"

    process.kill()
    bot.release_all("chat:1")
    held = cat.exists()
    until(lambda: not told("ls", "chat:1")["waiting"])
    bot.sweep()

    assert (held, cat.exists()) == (True, False)


def test_a_command_under_a_lease_may_be_ours(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    inner = ("python", "-m", "mediastore", "resolve", ref)

    done = spawn("lease", ref, "--", *inner)

    assert done.communicate(timeout=30) == (f"{cat}\n", "")


# --- handoff, accept


def test_a_token_is_accepted_once_also_when_the_ref_is_dead(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    token = run("handoff", ref).stdout.strip()
    bot.release_all("chat:1")
    held = cat.exists()

    first = spawn("accept", token, "--", "wc", "-c", "{}").communicate(timeout=30)
    again = run("accept", token, "--", "true")

    assert (held, first[0].split()[0], first[1]) == (True, "102", "")
    assert (again.exit_code, again.stderr.startswith("error: the lease of")) == (1, True)
    assert not cat.exists()


def test_handoff_tells_its_ref_in_json_and_its_holder_is_seen(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    handed = told("handoff", ref, "--ttl", "10m")

    assert list(handed) == ["ref", "token"]
    assert handed["ref"] == ref
    assert holders(bot, ref)[0].startswith("handoff:")


def test_an_accepted_lease_is_renewed_while_the_command_runs(cat, bot):
    ref = bot.store(cat, scope="chat:1")
    process = spawn("accept", bot.handoff(ref), "--ttl", "1s", "--", "sh", "-c", READER)
    assert process.stdout.readline() == "ready\n"
    (first,) = bot.leases(ref)

    until(lambda: (bot.leases(ref)[0].until - first.until).total_seconds() > 1)
    process.communicate("go\n", timeout=30)

    assert process.returncode == 0


@pytest.mark.parametrize("words", [("nonsense", "--", "true"), ("media-lease://x",), ()])
def test_accept_refuses_what_is_no_token(words):
    done = run("accept", *words)

    assert (done.exit_code, done.stderr.startswith("error: ")) == (2, True)


# --- cat


def test_cat_writes_the_bytes_of_each_ref_that_is_there(make_file, bot):
    one, two = make_file("a"), make_file("b")
    one.write_bytes(bytes(range(256)) * 1000)
    two.write_bytes(b"second")
    refs = [bot.store(path, scope="chat:1") for path in (one, two)]

    done = run("cat", refs[0], UNKNOWN, refs[1])

    assert done.stdout_bytes == one.read_bytes() + b"second"
    assert done.exit_code == 3
    assert done.stderr.startswith(f"error: {UNKNOWN} is unknown\n")
    assert holders(bot, refs[0]) == []


@pytest.mark.parametrize(("content", "code"), [(b"plain\ntext\n", 0), (b"\x1b]0;mine\x07", 2)])
def test_cat_keeps_what_is_no_text_from_a_terminal(content, code, cat, bot):
    cat.write_bytes(content)
    ref = bot.store(cat, scope="chat:1")

    exit_code, shown = on_a_terminal("cat", ref)

    assert exit_code == code
    assert (shown == "plain\r\ntext\r\n") is (code == 0)
    assert "\x1b" not in shown
    assert ("hint: Redirect them" in shown) is (code != 0)


def test_cat_ends_quietly_when_nobody_reads_on(cat, bot):
    cat.write_bytes(b"x" * 1_000_000)
    process = spawn("cat", bot.store(cat, scope="chat:1"))

    first = process.stdout.read(10)
    process.stdout.close()

    assert first == "x" * 10
    assert process.stderr.read() == ""
    assert process.wait(30) == 1


def test_json_after_the_dashes_is_the_commands(cat, bot):
    done = run("lease", UNKNOWN, "--", "echo", "--json")

    assert done.stderr.startswith("error: ")
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.stderr)
