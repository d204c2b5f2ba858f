"""Facts about the demo: one real run, its end by a signal, and the table that must add up."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mediastore import demo
from mediastore.demo.ledger import Evidence, Ledger, adds_up, rows
from mediastore.demo.processes import Child, environment
from mediastore.demo.samples import samples
from mediastore.demo.view import Plain, Scene
from mediastore.embedded import NO_ENGINE, find_engine
from mediastore.stats import Stats

from .waiting import until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is left")
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path):
    """Start the demo as a user would, with its temporary directory below ours."""
    if find_engine() is None and os.environ.get("CI"):
        pytest.fail(NO_ENGINE)
    if find_engine() is None:
        pytest.skip(NO_ENGINE)
    started = []
    # A worker of the user's own, where Python would find it first.
    (tmp_path / "worker.py").write_text("raise AssertionError('not this one')\n")

    def start(before=""):
        code = f"{before}\nimport sys; from mediastore.demo import main; sys.exit(main(plain=True))"
        path = os.pathsep.join([str(REPOSITORY), str(tmp_path)])
        env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": path}
        env |= {"MEDIASTORE_NAMESPACE": "somebody-elses", "MEDIASTORE_ROOTS": "/nowhere"}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def processes_in(directory):
    """List the processes that name a directory in their command line or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(directory) in words or place.startswith(str(directory)):
            found.append(words)
    return found


def number_before(words, said):
    (number,) = re.findall(rf"([\d,]+) {words}", said)
    return int(number.replace(",", ""))


# --- the whole


#: The same story, told in half the time: shorter lives, shorter acts.
QUICKER = """
from mediastore.demo import fleet, story
fleet.PACE.update(max_age="3s", sweep_interval="0.5s", drain_interval="0.5s", claim="1s")
work = story.Story._work
story.Story._work = lambda self, seconds: work(self, seconds / 2)
"""


@linux_only
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.xdist_group("celery")
@pytest.mark.parametrize(
    "before",
    [
        pytest.param(QUICKER, id="quicker"),
        pytest.param("", id="as it is", marks=pytest.mark.torture),
    ],
)
def test_the_demo_adds_up_and_leaves_nothing_behind(run, tmp_path, before):
    process = run(before)
    said, complaints = process.communicate(timeout=110)

    assert process.returncode == 0, said + complaints
    assert complaints == ""
    assert "It adds up" in said
    table = re.findall(r"^(OK|MISMATCH) +(.+?) +([\d,]+) +!?= +([\d,]+)", said, re.MULTILINE)
    assert len(table) == 13
    assert all(verdict == "OK" and left == right for verdict, _, left, right in table)
    numbers = {what: int(left.replace(",", "")) for _, what, left, _ in table}
    assert numbers["refs the bots stored"] > 200
    assert numbers["live refs listed by scope"] > 4
    assert number_before("read right", said) > 100
    assert number_before("were dead", said) > 50
    assert said.count("killed (SIGKILL)") == 2
    assert "have expired, and the workers have deleted their files" in said
    assert "HGETALL mediastore:{demo}:ref:" in said
    assert processes_in(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["worker.py"]


@linux_only
@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.xdist_group("celery")
@pytest.mark.parametrize(
    ("words", "number", "code"),
    [
        pytest.param("ana, ben", signal.SIGTERM, 143, marks=pytest.mark.torture),
        ("is ready", signal.SIGINT, 130),
    ],
    ids=["SIGTERM while it starts", "Ctrl-C at work"],
)
def test_a_signal_ends_the_demo_cleanly(run, tmp_path, words, number, code):
    process = run()
    assert any(words in line for line in process.stdout)

    process.send_signal(number)
    process.send_signal(number)
    _, complaints = process.communicate(timeout=30)

    assert (process.returncode, complaints) == (code, "")
    assert processes_in(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["worker.py"]


@linux_only
@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.xdist_group("celery")
def test_a_killed_demo_takes_its_processes_along(run, tmp_path):
    process = run()
    assert any("is ready" in line for line in process.stdout)

    process.kill()
    process.wait()

    until(lambda: processes_in(tmp_path) == [])


# --- what stops it before it starts


def test_a_machine_without_an_engine_is_told_how_to_get_one(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_engine", lambda: None)

    assert demo.main(plain=True) == 4
    assert NO_ENGINE in capsys.readouterr().err


def test_without_celery_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_engine", lambda: "an engine")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    assert demo.main(plain=True) == 1
    assert "mediastore[worker]" in capsys.readouterr().err


def test_a_directory_with_something_in_it_is_refused_and_left_alone(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(demo, "find_engine", lambda: "an engine")
    (tmp_path / "mine").touch()

    assert demo.main(plain=True, keep=str(tmp_path)) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_signal_handlers_are_given_back(monkeypatch):
    monkeypatch.setattr(demo, "find_engine", lambda: None)
    before = signal.getsignal(signal.SIGINT)

    demo.main(plain=True)

    assert signal.getsignal(signal.SIGINT) is before


# --- the ledger and the table


def intent(path, scope="chat:ana/msg:1", size_bytes=100):
    return {"path": path, "scope": scope, "size_bytes": size_bytes, "sha256": "0" * 64}


@pytest.fixture
def ledger():
    """Three refs on two files, one of them registered twice."""
    ledger = Ledger()
    for bot, ref, path in [("ana", "r1", "a"), ("ana", "r2", "b"), ("ben", "r3", "a")]:
        ledger.hear(bot, {"did": "storing", **intent(path)})
        ledger.hear(bot, {"did": "stored", "ref": ref})
    ledger.hear("ben", {"did": "read", "right": 2, "wrong": 0, "late": 1})
    ledger.hear("ben", {"did": "asked", "gone": 3, "alive": 0})
    return ledger


@pytest.fixture
def seen():
    """What the index and the disk say when all three refs have ended."""
    zero: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Stats)), 0)
    ended = {"released_refs": 2, "released_bytes": 200, "expired_refs": 1, "expired_bytes": 100}
    stats = Stats(**{**zero, **ended, "deleted_blobs": 2, "roots": {}})
    return Evidence(stats=stats, listed=(), whole=0, files=0, file_bytes=0, held=0, left=())


def test_two_refs_of_one_file_are_two_refs_and_one_file(ledger):
    assert (len(ledger.stored), ledger.size_bytes, ledger.files) == (3, 300, 2)


def test_a_table_in_which_everything_agrees_adds_up(ledger, seen):
    assert adds_up(rows(ledger, seen))


def test_no_table_is_no_proof():
    assert not adds_up([])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"files": 1}, "files on the disk"),
        ({"file_bytes": 1}, "bytes on the disk"),
        ({"held": 1}, "held links"),
        ({"left": ("new/x",)}, "names left by killed processes"),
        ({"whole": 1}, "live refs, byte for byte right"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_disk_that_disagrees_is_a_mismatch_in_its_own_line(ledger, seen, change, what):
    table = rows(ledger, dataclasses.replace(seen, **change))

    assert [row.what for row in table if not row.ok] == [what]
    assert not adds_up(table)


@pytest.mark.parametrize(
    ("counter", "what"),
    [
        ("released_refs", "refs the bots stored"),
        ("expired_refs", "refs the bots stored"),
        ("released_bytes", "bytes the bots stored"),
        ("expired_bytes", "bytes the bots stored"),
        ("deleted_blobs", "files the bots stored"),
        ("size_bytes", "bytes on the disk"),
        ("trash", "files waiting or stuck"),
        ("closed", "files waiting or stuck"),
        ("stuck", "files waiting or stuck"),
    ],
)
def test_an_index_that_miscounts_by_one_is_a_mismatch(ledger, seen, counter, what):
    wrong = dataclasses.replace(seen.stats, **{counter: getattr(seen.stats, counter) + 1})

    table = rows(ledger, dataclasses.replace(seen, stats=wrong))

    assert [row.what for row in table if not row.ok] == [what]


@pytest.mark.parametrize(
    ("report", "what"),
    [
        ({"did": "read", "right": 0, "wrong": 1, "late": 0}, "refs read with wrong bytes"),
        ({"did": "asked", "gone": 0, "alive": 1}, "refs alive after a release"),
        ({"did": "failed", "error": "IndexUnavailable: gone"}, "bots that failed"),
    ],
    ids=["wrong bytes", "alive after release", "failed"],
)
def test_a_bad_report_of_a_bot_is_a_mismatch(ledger, seen, report, what):
    ledger.hear("cleo", report)

    assert [row.what for row in rows(ledger, seen) if not row.ok] == [what]


def test_a_store_that_a_killed_bot_did_not_report_is_counted_once_it_is_found(ledger, seen):
    ledger.hear("dan", {"did": "storing", **intent("c")})
    assert adds_up(rows(ledger, seen))

    ledger.found("dan", "r4")

    assert (len(ledger.stored), ledger.files, ledger.begun) == (4, 3, {})
    assert not adds_up(rows(ledger, seen))


@pytest.mark.parametrize("end", ["never_stored", "forgone"])
def test_what_was_announced_and_not_done_is_not_counted(ledger, end):
    ledger.hear("dan", {"did": "storing", **intent("c")})

    if end == "forgone":
        ledger.hear("dan", {"did": "forgone"})
    else:
        ledger.never_stored("dan")

    assert (len(ledger.stored), ledger.begun) == (3, {})


def test_a_mismatch_is_printed_as_one(ledger, seen, capsys):
    Plain().table(rows(ledger, dataclasses.replace(seen, held=1)))

    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if not line.startswith("OK") and line]
    assert " ".join(line.split()) == "MISMATCH held links 1 != 0 live files in the index"


# --- pieces


def test_the_samples_are_real_media_of_many_kinds():
    found = samples()

    kinds = {sample.content_type for sample in found}
    assert {"image/jpeg", "image/png", "audio/ogg", "audio/wav", "application/pdf"} <= kinds
    assert sum(sample.size_bytes for sample in found) < 1_000_000


def test_a_child_gets_our_settings_and_nobody_elses(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIASTORE_MAX_AGE", "never")
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere")
    monkeypatch.setenv("PYTHONPATH", f"relative{os.pathsep}{tmp_path}")

    env = environment(tmp_path, namespace="demo")

    ours = {name: text for name, text in env.items() if name.startswith(("MEDIASTORE_", "CELERY"))}
    health = {"MEDIASTORE_HEALTH_DIR": f"{tmp_path}/health"}
    assert (ours, env["TMPDIR"]) == ({"MEDIASTORE_NAMESPACE": "demo"} | health, str(tmp_path))
    first, *others = env["PYTHONPATH"].split(os.pathsep)
    assert Path(first, "mediastore", "demo").is_dir()
    assert others == [str(Path("relative").absolute()), str(tmp_path)]


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_kill_reaches_what_a_child_started(tmp_path):
    code = "import subprocess; subprocess.run(['sleep', '60'])"
    log = tmp_path / "child.log"
    child = Child("child", [sys.executable, "-c", code], log=log, env=os.environ, reports=False)
    group = child.process.pid
    until(lambda: b"sleep" in subprocess.check_output(["ps", "-eo", "pgid,args"]))

    child.kill()

    def gone():
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    until(gone)
    assert not child.alive


def test_the_scene_says_how_each_process_is(tmp_path, ledger):
    log = tmp_path / "worker-1.log"
    log.write_text("swept: 0 expired, 1 drained, 2 files deleted, 0 failed\n" * 2)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = Child("worker-1", command, log=log, env=os.environ, reports=False)
    scene = Scene("valkey 9.1.2", ledger, {"worker-1": child, "ana": child})
    try:
        states = [scene.state("worker-1"), scene.state("ana")]
        scene.ready.add("worker-1")
        states.append(scene.state("worker-1"))
    finally:
        child.kill()

    assert [*states, scene.state("ana")] == ["starting", "at work", "at work", "killed"]
    assert scene.deeds("worker-1") == "deleted 4 files"
    assert scene.deeds("ana").startswith("stored   2 refs")
