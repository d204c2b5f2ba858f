"""The commands that end refs and look after the store: what each prints, its JSON, its exit code."""

from __future__ import annotations

import json
import signal

import pytest

from mediastore import Released, ReleasePlan, Stats, Swept
from mediastore.blobs import posix
from mediastore.cli import upkeep
from mediastore.cli.planning import SweepPlan

from .cli_fixtures import (  # noqa: F401 - fixtures
    NOWHERE,
    bot,
    env,
    lane,
    names,
    on_a_terminal,
    run,
    spawn,
    told,
)
from .doctor_fixtures import staff
from .waiting import until

# --- release


def test_a_dry_run_of_release_changes_nothing(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    plan = told("release", "chat:1", "--dry-run")
    words = run("release", "chat:1", "--dry-run").stdout

    assert list(plan) == names(ReleasePlan)
    assert (plan["refs"], plan["blobs"]) == (1, 1)
    assert words.startswith("chat:1 holds 1 ref on 1 file, ")
    assert bot.resolve(ref) == cat


def test_release_deletes_the_files(cat, bot):
    bot.store(cat, scope="chat:1/msg:1")

    done = run("release", "chat:1", "--yes")

    assert (done.exit_code, done.stdout) == (0, "1 ref released, 1 file deleted (102 bytes)\n")
    assert not cat.exists()


def test_release_says_what_it_did_in_json(make_file, bot):
    shared, own = make_file("a"), make_file("b")
    for path, scope in ((shared, "chat:1"), (own, "chat:1"), (shared, "chat:2")):
        bot.store(path, scope=scope)

    done = told("release", "chat:1", "--yes")

    assert list(done) == names(Released)
    assert (done["refs"], done["deleted"], done["kept"]) == (2, 1, 1)
    assert told("release", "chat:1", "--yes")["refs"] == 0


def test_release_names_what_is_kept(cat, bot):
    for scope in ("chat:1", "chat:2"):
        bot.store(cat, scope=scope)

    plan, done = run("release", "chat:1", "--dry-run"), run("release", "chat:1", "--yes")

    assert plan.stdout.endswith("; 1 file of them kept, shared or borrowed\n")
    assert done.stdout.endswith(", 1 kept, shared or borrowed\n")
    assert cat.exists()


def test_release_without_a_terminal_wants_to_be_told_yes(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    done = run("release", "chat:1")

    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert bot.resolve(ref) == cat


@pytest.mark.parametrize(
    ("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), (signal.SIGINT, 130)]
)
def test_release_asks_on_a_terminal(answer, code, cat, bot):
    bot.store(cat, scope="chat:1")

    exit_code, shown = on_a_terminal("release", "chat:1", answer=answer)

    assert exit_code == code
    assert "chat:1 holds 1 ref on 1 file, 102 bytes" in shown
    assert cat.exists() is (code != 0)


def test_release_need_not_wait_for_the_files(cat, bot):
    ref = bot.store(cat, scope="chat:1")

    done = run("release", "chat:1", "--yes", "--no-wait")

    assert done.stdout == "1 ref released, 0 files deleted (0 bytes), 1 left for a sweep\n"
    assert run("resolve", ref).exit_code == 3
    assert cat.exists()


def test_release_of_a_tree_says_what_is_left_to_sweeps(make_file, bot):
    for scope in ("chat:1", "chat:1/msg:1"):
        bot.store(make_file(), scope=scope)

    done = run("release", "chat:1", "--yes", "--no-wait")

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("every ref is dead, and sweeps do the rest; so far 0 refs")


def test_a_file_that_cannot_be_deleted_is_a_failure_that_doctor_names(cat, bot, monkeypatch):
    bot.store(cat, scope="chat:1")

    def refuse(path, *, at):
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(posix, "unlink", refuse)
    done = run("release", "chat:1", "--yes")
    stuck = [
        f for f in json.loads(run("doctor", "--json").stdout)["findings"] if f["name"] == "stuck"
    ]

    assert done.exit_code == 1
    assert "1 file could not be deleted" in done.stderr
    assert "mediastore doctor" in done.stderr
    assert "cat.jpg" in stuck[0]["detail"]
    assert "EPERM" in stuck[0]["detail"]


# --- sweep, stats, doctor, demo


def test_a_dry_run_of_sweep_counts_what_is_due_and_changes_nothing(make_file, bot, tmp_path):
    bot.store(make_file("a"), scope="chat:1", ttl=0.001)
    bot.store(make_file("b"), scope="chat:2")
    bot.release_all("chat:2", wait=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    plan = until(lambda: (found := told("sweep", "--dry-run"))["expired"] and found)
    there = told("--root", elsewhere, "sweep", "--dry-run")

    assert list(plan) == names(SweepPlan)
    due = {"expired": 1, "closed": 0, "deleted": 1, "elsewhere": 0, "lapsed": 0}
    assert plan == {**due, "waiting": 0, "waiting_bytes": 0}
    assert (there["deleted"], there["elsewhere"]) == (0, 1)
    assert list(elsewhere.iterdir()) == []
    assert (bot.stats().refs, bot.stats().trash) == (1, 1)
    words = run("sweep", "--dry-run").stdout
    assert words == "due now: 1 ref to expire, 0 released scopes to drain, 1 file to delete\n"


def test_sweep_deletes_what_is_due(make_file, bot):
    paths = [make_file("a"), make_file("b")]
    bot.store(paths[0], scope="chat:1", ttl=0.001)
    bot.store(paths[1], scope="chat:2")
    bot.release_all("chat:2", wait=False)
    until(lambda: told("sweep", "--dry-run")["expired"])

    done = told("sweep", "--budget", "10s")

    assert list(done) == names(Swept)
    assert (done["expired"], done["deleted"]) == (1, 2)
    assert not any(path.exists() for path in paths)
    assert run("sweep").stdout.startswith(
        "0 refs expired, 0 released refs drained, 0 files deleted"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_sweep_watch_sweeps_until_a_signal_comes(number, code, cat, bot, monkeypatch):
    monkeypatch.setenv("MEDIASTORE_DRAIN_INTERVAL", "0.05s")
    process = spawn("sweep", "--watch", "--budget", "5s")
    assert process.stderr.readline() == "info: sweeping every 300s, max age 1800s\n"
    bot.store(cat, scope="chat:1")

    bot.release_all("chat:1", wait=False)
    until(lambda: not cat.exists())
    process.send_signal(number)

    _, talk = process.communicate(timeout=30)
    assert process.returncode == code
    assert "info: stopping" in talk


def test_sweep_watch_logs_json_when_asked(cat, bot, monkeypatch):
    monkeypatch.setenv("MEDIASTORE_LOG_FORMAT", "json")
    monkeypatch.setenv("MEDIASTORE_DRAIN_INTERVAL", "0.05s")
    process = spawn("sweep", "--watch")
    bot.store(cat, scope="chat:1")

    bot.release_all("chat:1", wait=False)
    until(lambda: not cat.exists())
    process.send_signal(signal.SIGTERM)

    lines = [json.loads(line) for line in process.communicate(timeout=30)[1].splitlines()]
    said = {line["message"].split(" ")[0]: line for line in lines}
    assert set(said) == {"sweeping", "swept:", "stopping;"}
    assert said["swept:"]["deleted"] == 1


def test_a_command_asks_which_of_several_namespaces_is_meant(settings, media, monkeypatch):
    monkeypatch.delenv("MEDIASTORE_NAMESPACE")
    monkeypatch.setenv("MEDIASTORE_NAMESPACES", f"{settings.namespace},other")
    monkeypatch.setenv("MEDIASTORE_ROOTS", f"{settings.roots[0]}/{{namespace}}")
    (media / settings.namespace).mkdir()

    for command in (("stats",), ("sweep",), ("sweep", "--dry-run"), ("sweep", "--watch")):
        done = run(*command)
        assert done.exit_code == 2
        assert "set namespace to the one you mean" in done.stderr
    assert run("--namespace", settings.namespace, "stats").exit_code == 0


def test_sweep_watch_logs_everything_with_debug():
    process = spawn("--debug", "sweep", "--watch")

    assert "sweeping every" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_sweep_watch_outlasts_a_server_that_is_not_there_yet():
    process = spawn("--redis-url", NOWHERE, "sweep", "--watch")

    first = process.stderr.readline()
    process.send_signal(signal.SIGTERM)

    _, rest = process.communicate(timeout=30)
    assert first.startswith("warning: ")
    assert first.endswith("sweeping begins when it answers\n")
    assert process.returncode == 0
    assert "Pa55word" not in first + rest


@pytest.mark.parametrize("name", ["SWEEP_INTERVAL", "CLEANUP_ENABLED"])
def test_sweep_watch_says_when_sweeping_is_switched_off(name, monkeypatch):
    monkeypatch.setenv(f"MEDIASTORE_{name}", "0")

    done = run("sweep", "--watch")

    assert done.exit_code == 2
    assert name.lower() in done.stderr


@pytest.mark.parametrize("other", ["--json", "--dry-run"])
def test_sweep_watch_stands_alone(other):
    assert run("sweep", "--watch", other).exit_code == 2


def test_stats_prints_the_namespace_in_numbers(cat, bot):
    bot.store(cat, scope="chat:1")

    found = told("stats")
    lines = dict(line.split(maxsplit=1) for line in run("stats").stdout.splitlines())

    assert list(found) == names(Stats)
    assert (found["refs"], found["stored_refs"]) == (1, 1)
    assert (lines["refs"], lines["size_bytes"]) == ("1", "102 bytes")


def test_doctor_exits_with_5_only_for_a_problem(cat, bot):
    bot.store(cat, scope="chat:1")
    staff(bot.settings)
    well = run("doctor")
    ill = run("--root", "/etc", "doctor")

    assert (well.exit_code, well.stderr) == (0, "0 problems, 0 warnings\n")
    assert "ok       eviction: noeviction\n" in well.stdout
    assert ill.exit_code == 5
    assert "problem  root /etc: " in ill.stdout
    assert "\n         -> A root is a directory of its own" in ill.stdout


def test_doctor_tells_findings_in_json(cat, bot):
    bot.store(cat, scope="chat:1")
    staff(bot.settings)

    found = told("doctor")["findings"]

    assert {tuple(each) for each in found} == {("name", "state", "detail", "advice")}
    assert {each["state"] for each in found} == {"ok"}


def test_doctor_takes_a_wrong_setting_for_a_finding(monkeypatch):
    monkeypatch.setenv("MEDIASTORE_REDIS_URL", "http://bot:Pa55word@127.0.0.1")

    done = run("doctor")

    assert done.exit_code == 5
    assert done.stdout.startswith("problem  settings: redis_url")
    assert "Pa55word" not in done.output


def test_demo_is_given_its_options_and_its_exit_code_is_kept(monkeypatch):
    seen = []

    def fake(**options):
        seen.append(options)
        return 1

    monkeypatch.setattr("mediastore.demo.main", fake)

    done = run("demo", "--plain", "--keep", "here")

    assert (done.exit_code, seen) == (1, [{"plain": True, "keep": "here"}])


def test_a_second_sigterm_does_not_cut_short_what_the_first_has_begun():
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(upkeep._Ended):
            upkeep._end()

        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
