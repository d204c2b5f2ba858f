"""The commands that hand content over and get it back: what each prints, its JSON, its exit code, what it leaves."""

from __future__ import annotations

import base64
import json
import signal
from urllib.parse import unquote, urlsplit

import pytest
from typer.testing import CliRunner

from mediastore import MediaMeta, MediaStore
from mediastore.cli import command_line

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
from .conftest import names_left
from .test_content import PNG, files
from .waiting import until

HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.fixture
def picture(tmp_path):
    """Give a file outside every root."""
    path = tmp_path / "cat #1.png"
    path.write_bytes(PNG)
    return path


@pytest.fixture
def ref(picture):
    return run("put", picture, "--session", "abc").stdout.strip()


def fed(*words, data=PNG):
    """Run a command with these bytes on stdin."""
    return CliRunner().invoke(command_line(), [str(word) for word in words], input=data)


# --- put


def test_put_prints_a_ref_of_a_copy_that_the_store_owns(picture, media, bot):
    done = run("put", picture, "--session", "abc", "--message", 3, "--part", 1)

    ref = done.stdout.strip()
    found = bot.get(ref)
    assert (done.exit_code, done.stderr) == (0, "")
    assert bot.resolve(ref).read_bytes() == picture.read_bytes() == PNG
    assert (found.scope, found.custody) == ("session/abc", "owned")
    assert (found.meta.filename, found.meta.content_type) == ("cat #1.png", "image/png")
    assert files(media)[0].startswith("sessions/abc/3_1_")


def test_put_takes_what_is_known_of_the_content(picture, bot):
    ids = ("--conversation", "c", "--run", "r", "--provider", "p", "--source", "telegram")
    about = ("--filename", "c.jpg", "--type", "Image/JPEG", "--policy", "retain-2days")

    found = bot.get(told("put", picture, "--scope", "chat:42", *ids, *about)["ref"])

    assert found.scope == "chat:42"
    assert (found.expires_at - found.stored_at).days == 2
    assert found.meta == MediaMeta(
        filename="c.jpg",
        content_type="image/jpeg",
        source="telegram",
        conversation_id="c",
        run_id="r",
        provider_id="p",
        policy="retain-2days",
    )


def test_put_streams_stdin(bot):
    done = fed("put", "-", "--scope", "chat:42", "--filename", "cat.png", "--ttl", "never")

    found = bot.get(done.stdout.strip())
    assert (done.exit_code, found.meta.filename, found.expires_at) == (0, "cat.png", None)
    assert bot.resolve(found.ref).read_bytes() == PNG


def test_put_keeps_to_what_is_said_of_the_bytes(media, bot):
    cut = fed("put", "-", "-s", "a", "--size-bytes", len(PNG) + 1)
    other = fed("put", "-", "-s", "a", "--sha256", "5" * 64)
    nothing = spawn("put", "-", "-s", "a")
    _, said = nothing.communicate("", timeout=30)

    assert (cut.exit_code, other.exit_code, nothing.returncode) == (2, 2, 2)
    assert "got" in cut.output
    assert "size_bytes=0" in said
    assert files(media) == []
    meant = fed("put", "-", "-s", "a", "--size-bytes", 0, data=b"")
    assert bot.resolve(meant.stdout.strip()).read_bytes() == b""


def test_a_file_that_is_moved_is_gone_from_where_it_was(picture, bot):
    ref = told("put", picture, "--scope", "chat:42", "--move")["ref"]

    assert not picture.exists()
    assert bot.resolve(ref).read_bytes() == PNG


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("cat.png",), "name a scope"),
        (("none.png", "-s", "a"), "no such file"),
        (("/", "-s", "a"), "is a directory"),
        (("cat.png", "-s", "a//b"), "empty segment"),
        (("cat.png", "-s", "a", "--ttl", "soon"), "not a duration"),
        (("cat.png", "-s", "a", "--type", "junk"), "type/subtype"),
        (("cat.png", "-s", "a", "--policy", "Keep it"), "policy"),
        (("cat.png", "-s", "a", "--ttl", "1h", "--policy", "retain-2days"), "policy"),
        (("cat.png", "-s", "a", "--message", "-1"), "--message"),
        (("-", "-s", "a", "--move"), "--move"),
        ((), "FILE"),
    ],
)
def test_put_refuses_a_wrong_request_and_stores_nothing(words, error, tmp_path, media, bot):
    (tmp_path / "cat.png").write_bytes(PNG)

    done = run("put", *words)

    assert (done.exit_code, done.stdout) == (2, "")
    assert error in done.stderr
    assert "\nhint: " in done.stderr
    assert (files(media), bot.scopes()) == ([], [])


@pytest.mark.parametrize("way", ["file", "pipe", "stdin"])
def test_too_much_is_a_wrong_request_and_leaves_nothing(way, picture, media, monkeypatch, bot):
    monkeypatch.setenv("MEDIASTORE_MAX_FILE_SIZE", str(len(PNG) - 1))

    if way == "file":
        done = run("put", picture, "-s", "a")
    elif way == "pipe":
        done = fed("put", "-", "-s", "a")
    else:
        with picture.open("rb") as file:
            process = spawn("put", "-", "-s", "a", stdin=file)
            assert f"{len(PNG)} bytes" in process.communicate(timeout=30)[1]
            assert process.returncode == 2
        done = None

    if done is not None:
        assert (done.exit_code, done.stdout) == (2, "")
        assert "error: " in done.stderr
    assert (files(media), names_left(media)) == ([], [])
    assert bot.stats().reserved == 0


def test_a_root_without_room_is_no_answer_now(picture, monkeypatch):
    monkeypatch.setenv("MEDIASTORE_MIN_FREE", "1000TB")

    done = run("put", picture, "-s", "a", "--json")

    assert (done.exit_code, done.stdout) == (4, "")
    assert json.loads(done.stderr)["error"]["code"] == "store_full"


def test_ctrl_c_while_stdin_is_read_leaves_nothing(media, bot):
    process = spawn("put", "-", "-s", "a", text=False)
    process.stdin.write(PNG * 1000)
    process.stdin.flush()
    until(lambda: bot.stats().reserved == 1)

    process.send_signal(signal.SIGINT)
    code = process.wait(30)  # whoever writes into the pipe goes on having it open

    assert (code, process.communicate(timeout=30)) == (130, (b"", b""))
    assert (files(media), names_left(media)) == ([], [])
    assert (bot.stats().reserved, bot.stats().trash) == (0, 0)


def test_ctrl_c_that_comes_after_the_last_byte_takes_the_ref_back(media, bot, monkeypatch):
    store_media = MediaStore.store_media

    def interrupted_at_last(self, content, **said):
        ref = store_media(self, content, **said)
        signal.raise_signal(signal.SIGINT)
        return ref

    monkeypatch.setattr(MediaStore, "store_media", interrupted_at_last)

    done = fed("put", "-", "-s", "a")

    assert (done.exit_code, done.output) == (130, "")
    assert (files(media), bot.stats().refs) == ([], 0)


def test_what_is_being_written_is_seen_in_stats_and_only_then(bot):
    before = told("stats"), run("stats").stdout
    process = spawn("put", "-", "-s", "a", text=False)
    process.stdin.write(PNG * 1000)
    process.stdin.flush()
    until(lambda: bot.stats().reserved == 1)

    during = run("stats").stdout
    process.communicate(timeout=30)

    assert (before[0]["reserved"], before[0]["reserved_bytes"]) == (0, 0)
    assert "reserved" not in before[1]
    assert "1 (being written)\n" in during
    assert process.returncode == 0
    assert (bot.stats().reserved, bot.stats().refs) == (0, 1)


# --- get


def test_get_writes_the_bytes(ref):
    done = run("get", ref)

    assert (done.exit_code, done.stdout_bytes, done.stderr) == (0, PNG, "")


def test_get_reads_under_a_lease(tmp_path, bot):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 1_000_000)
    ref = run("put", path, "-s", "a").stdout.strip()
    process = spawn("get", ref, text=False)
    first = process.stdout.read(10)

    held = bot.leases(ref)
    bot.release_all("a")
    rest = process.stdout.read()

    assert held
    assert len(first + rest) == 1_000_000
    assert process.wait(30) == 0


def test_get_ends_quietly_when_nobody_reads_on(tmp_path, bot):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 1_000_000)
    process = spawn("get", run("put", path, "-s", "a").stdout.strip())

    first = process.stdout.read(10)
    process.stdout.close()

    assert (first, process.stderr.read(), process.wait(30)) == ("x" * 10, "", 1)


@pytest.mark.parametrize("force", [False, True])
def test_binary_is_kept_from_a_terminal_unless_that_is_wanted(ref, force):
    code, shown = on_a_terminal("get", ref, *(["--force"] if force else []))

    assert code == (0 if force else 2)
    assert ("PNG" in shown) is force
    assert ("hint: Write them to a file" in shown) is not force


def test_text_may_go_to_a_terminal(tmp_path):
    (tmp_path / "a.txt").write_text("plain\n")
    ref = run("put", "a.txt", "-s", "a").stdout.strip()

    assert on_a_terminal("get", ref) == (0, "plain\r\n")


def test_a_ref_that_is_not_there_makes_no_file(tmp_path):
    plain, to_file = run("get", UNKNOWN), run("get", UNKNOWN, "-o", tmp_path / "got.png")

    assert (plain.exit_code, to_file.exit_code) == (3, 3)
    assert not (tmp_path / "got.png").exists()
    assert run("get", "nonsense").exit_code == 2
    assert run("get", UNKNOWN, "--json").exit_code == 2


# --- url


def test_url_prints_a_url_that_leads_to_the_file(ref, bot):
    plain, as_json = run("url", ref).stdout.strip(), told("url", ref)

    assert unquote(urlsplit(plain).path) == str(bot.resolve(ref))
    assert as_json == {"ref": ref, "url": plain}


def test_url_prints_the_bytes_where_that_is_wanted(ref):
    text = base64.b64encode(PNG).decode()

    assert run("url", ref, "--data").stdout == f"data:image/png;base64,{text}\n"
    assert run("url", ref, "--base64").stdout == f"{text}\n"
    assert told("url", ref, "--base64", "--limit", "1KiB") == {"ref": ref, "base64": text}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("{ref}", "--data", "--limit", str(len(PNG) - 1)), 2),
        (("{ref}", "--base64", "--limit", "little"), 2),
        (("{ref}", "--base64", "--data"), 2),
        (("nonsense",), 2),
        ((UNKNOWN,), 3),
        ((UNKNOWN, "--data"), 3),
    ],
)
def test_url_refuses_what_it_cannot_give(ref, words, code):
    done = run("url", *(word.format(ref=ref) for word in words))

    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")


# --- store --move, show


def test_store_takes_files_that_lie_elsewhere(picture, tmp_path, bot):
    done = run("store", picture, tmp_path / "none", "--scope", "chat:42", "--move")

    [ref] = done.stdout.split()
    assert (done.exit_code, picture.exists()) == (2, False)
    assert (bot.get(ref).custody, bot.get(ref).meta.filename) == ("owned", "cat #1.png")


def test_a_file_that_is_taken_cannot_be_one_that_is_never_deleted(picture):
    done = run("store", picture, "-s", "a", "--move", "--forget")

    assert (done.exit_code, picture.exists()) == (2, True)
    assert done.stderr.startswith("error: --move makes a file")


def test_show_tells_what_the_bytes_look_like_where_that_was_not_said(tmp_path):
    for name, data in (("cat.png", HTML), ("dog.png", PNG)):
        (tmp_path / name).write_bytes(data)
    fake = run("put", "cat.png", "-s", "a", "--type", "image/png").stdout.strip()
    real = run("put", "dog.png", "-s", "a", "--type", "image/png").stdout.strip()

    lines = dict(line.split(maxsplit=1) for line in run("show", fake).stdout.splitlines())

    assert (lines["content_type"], lines["detected_type"]) == ("image/png", "text/html")
    assert (lines["custody"], lines["size_bytes"]) == ("owned", f"{len(HTML)} bytes")
    assert told("show", fake)["detected_type"] == "text/html"
    assert "detected_type" not in run("show", real).stdout
