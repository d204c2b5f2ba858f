"""Names that users chose: wherever people read them, they neither steer the terminal nor mislead the reader."""

from __future__ import annotations

import json
import logging
import unicodedata

import pytest

from mediastore import MediaMeta
from mediastore.cli.output import show_fields, show_marked, show_table
from mediastore.escaping import printable
from mediastore.heartbeat import Heartbeat
from mediastore.logs import JsonLines

from .cli_fixtures import bot, env, lane, on_a_terminal, run, told  # noqa: F401 - fixtures

#: Turns what follows around, isolates it, hides, breaks the line, steers, forges a column, looks like markup.
TURNED = "cat\u202egpj.exe\u2066\u200b\u2028\u2029\ufeff\U000e0041"
CONTROLS = "\x9b31m\x1b[31m\n\t\r\x07\x7f"
MARKUP = "[red]é日本\U0001f600"
NAME = f"{TURNED}{CONTROLS}{MARKUP}"
SCOPE = f"chat:{TURNED}{MARKUP}"


def harmless(text):
    """Whether everything in it can be seen, but for the marks of our own lines."""
    steering = {
        c
        for c in text
        if c not in "\n\t" and unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp", "Cs"}
    }
    assert not steering, ascii(
        f"{len(steering)} of them: {''.join(sorted(steering))[:20]} in {text[:500]}"
    )
    return True


def test_all_that_hides_steers_or_turns_is_escaped_and_nothing_else():
    assert ascii(printable("a\u202eb\u2028\x9b\ud800")) == ascii(r"a\u202eb\u2028\x9b\ud800")
    assert printable(MARKUP + "\u00a0\u3000") == MARKUP + "\u00a0\u3000"
    assert printable("a\n\tb\r", keep="\n") == "a\n\\tb\\r"
    assert printable(printable(NAME)) == printable(NAME)
    everything = "".join(map(chr, range(0x110000)))
    assert harmless(printable(everything))


# --- the command line


@pytest.fixture
def hostile(bot, media, monkeypatch):
    """Give refs whose names, scopes, sources and paths are all hostile, alive and ended."""
    monkeypatch.setenv("MEDIASTORE_GRACE", "1h")
    path = media / f"{NAME}.jpg"
    path.write_text("a picture")
    meta = MediaMeta(filename=NAME, source=NAME, run_id=NAME, content_type=MARKUP + "\u202e")
    live = bot.store(path, scope=SCOPE, meta=meta)
    with type(bot).from_env() as graceful:
        dead = graceful.store_media(_content(b"dead"), scope=SCOPE, meta=meta)
        graceful.delete_media(dead)
    bot.scope(SCOPE, ttl="1h").__enter__()
    bot.set_quota(SCOPE, max_refs=10)
    return live, dead


def _content(data):
    from mediastore import MediaContent

    return MediaContent(data=data)


COMMANDS = {
    "show": ("show", "LIVE"),
    "show dead": ("show", "DEAD"),
    "ls": ("ls", SCOPE),
    "ls waiting": ("ls", SCOPE, "--waiting"),
    "ls nothing": ("ls", f"{SCOPE}/x"),
    "ls refused": ("ls", f"{SCOPE}{CONTROLS}"),
    "scopes": ("scopes",),
    "scopes nothing": ("scopes", "\u202e"),
    "deadline": ("deadline", SCOPE),
    "deadline of nothing": ("deadline", "\u202e"),
    "stats": ("stats",),
    "doctor": ("doctor",),
    "roots": ("roots", "ls"),
    "roots forget": ("roots", "forget", NAME, "--yes"),
    "roots adopt": ("roots", "adopt", NAME, "--yes"),
    "sweep": ("sweep", "--dry-run"),
    "release": ("release", SCOPE, "--dry-run"),
    "quota": ("quota", "show", "--scope", SCOPE),
    "quota refused": ("quota", "set", "--bytes", NAME),
    "policy": ("policy", "set", NAME, "1h"),
    "policy removed": ("policy", "rm", NAME),
    "touch": ("touch", "LIVE"),
    "touch refused": ("touch", NAME),
    "share": ("share", "LIVE", "--scope", f"{SCOPE}/x"),
    "transfer": ("transfer", "LIVE", "--scope", SCOPE),
    "restore": ("restore", "DEAD"),
    "delete": ("delete", "LIVE", "--dry-run"),
    "url": ("url", "LIVE"),
    "store": ("store", NAME, "--scope", SCOPE),
    "put": ("put", NAME, "--scope", SCOPE),
    "rebuild": ("rebuild",),
    "rebuild refused": ("rebuild", "--root", NAME),
    "accept": ("accept", NAME, "--", "true"),
    "health": ("health", "worker"),
    "health of nobody": ("health", "worker", "--node", NAME),
    "status": ("status",),
    "config": ("config",),
    "usage": (NAME,),
    "debug": ("--debug", "resolve", "LIVE", f"media://{NAME}"),
}  # fmt: skip


#: Those of the commands that are refused, or find nothing.
UNDONE = {
    "show dead", "ls refused", "roots forget", "roots adopt", "quota refused", "policy", "policy removed", "touch refused",
    "store", "put", "rebuild refused", "accept", "health of nobody", "status", "usage", "debug",
}  # fmt: skip


def named(words, refs):
    return [dict(zip(("LIVE", "DEAD"), refs, strict=True)).get(word, word) for word in words]


def test_no_command_prints_what_misleads(hostile, media, tmp_path, monkeypatch):
    health = tmp_path / "\u202ehealth"
    monkeypatch.setenv("MEDIASTORE_HEALTH_DIR", str(health))
    Heartbeat(health, "worker", f"w@{NAME}").write()
    (media / "scopes" / f"{NAME}.meta").write_text("junk")

    for which, words in COMMANDS.items():
        done = run(*named(words, hostile))

        assert done.stdout + done.stderr, which
        assert harmless(done.stdout), which
        assert harmless(done.stderr), which
        assert (done.exit_code != 0) == (which in UNDONE), which


@pytest.mark.parametrize("words", [("ls", SCOPE), ("resolve", "LIVE"), ("delete", "LIVE")], ids=str)
def test_a_terminal_shows_no_name_that_misleads(hostile, words):
    _, shown = on_a_terminal(*named(words, hostile), answer="n\n")

    ours = shown.replace("\r\n", "\n").replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert harmless(ours)
    assert r"\u202e" in ours
    assert "[red]" in ours


def test_a_program_gets_the_path_as_it_is(hostile, media):
    shown = run("resolve", hostile[0]).stdout

    assert ascii(shown) == ascii(f"{media}/{NAME}.jpg\n")


def test_json_has_names_exactly(hostile, media):
    shown = told("show", hostile[0])

    assert (shown["meta"]["filename"], shown["scope"], shown["path"]) == (
        NAME,
        SCOPE,
        f"{media}/{NAME}.jpg",
    )
    assert run("show", hostile[0], "--json").stdout.isascii()


@pytest.mark.parametrize("terminal", [True, False])
def test_tables_and_fields_are_harmless(capsys, monkeypatch, terminal):
    monkeypatch.setattr("mediastore.cli.output.is_terminal", lambda: terminal)

    show_table(("size_bytes", "name"), [(1, NAME)])
    show_fields({"name": NAME})
    show_marked("ok", "green", NAME)

    shown = capsys.readouterr().out
    assert harmless(shown)
    assert shown.replace("\n", "").replace(" ", "").count(r"\x7f[red]") == 3


# --- the log


def test_the_log_is_harmless_whatever_handlers_a_program_gave_it(caplog):
    logger = logging.getLogger("mediastore")

    logger.warning("%s could not be removed: %s", NAME, OSError(NAME))
    logger.error("failed for %s", SCOPE, exc_info=ValueError(NAME))
    logger.warning("100%% of %s", "it")

    assert harmless(caplog.text)
    assert [message.count("\n") for message in caplog.messages] == [0, 0, 0]
    assert caplog.messages[2] == "100% of it"
    assert r"\u202e" in caplog.messages[0]
    assert r"ValueError: cat\u202e" in caplog.text


def test_a_log_in_json_has_fields_and_traceback_exactly(caplog):
    logging.getLogger("mediastore").error(
        "failed", exc_info=ValueError(NAME), extra={"scope": SCOPE}
    )

    line = JsonLines().format(caplog.records[0])

    assert line.isascii()
    assert json.loads(line)["scope"] == SCOPE
    assert TURNED in json.loads(line)["error"]


def test_a_message_that_does_not_fit_its_arguments_is_logging_s_to_tell(caplog):
    record = logging.LogRecord("mediastore", logging.INFO, "", 0, "%d", ("\u202e",), None)

    assert logging.getLogger("mediastore").filter(record)
    assert record.args == ("\u202e",)
