"""A root that this user may not enter: named as such, by every command, and in nobody else's way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from mediastore import MediaStore
from mediastore.embedded import EmbeddedServer
from mediastore.errors import BlobsUnavailable, InvalidRoot

from .cli_fixtures import env, lane, run  # noqa: F401 - fixtures

NOBODY = 65534


@contextlib.contextmanager
def as_nobody():
    """Be a user without privileges for a while; who is one already stays so."""
    if os.geteuid():
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def place(monkeypatch):
    """Give a directory that everybody can reach, unlike pytest's own."""
    made = Path(tempfile.mkdtemp()).resolve()
    made.chmod(0o755)
    monkeypatch.chdir(made)
    yield made
    (made / "barred").chmod(0o700)
    shutil.rmtree(made)


@pytest.fixture
def barred(place, monkeypatch, env, server_url, tmp_path_factory):
    """Give a root that nobody may enter, beside one that is well, and a server that everybody reaches."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for name in ("barred", "well"):
        (place / name).mkdir()
        (place / name / "a.jpg").write_bytes(b"x")
    with EmbeddedServer(tmp_path_factory.mktemp("tcp"), config={"port": str(port)}):
        monkeypatch.setenv("MEDIASTORE_REDIS_URL", f"redis://127.0.0.1:{port}/0")
        monkeypatch.setenv("MEDIASTORE_ROOTS", f"{place}/barred:{place}/well")
        with MediaStore.from_env() as store:
            store.store(place / "barred/a.jpg", scope="s")
            store.store(place / "well/a.jpg", scope="s")
        for name in (
            "well",
            *(f"well/{each.relative_to(place / 'well')}" for each in (place / "well").rglob("*")),
        ):
            (place / name).chmod(0o777)
        run("doctor"), run("roots", "ls")  # imports what nobody may not
        (place / "barred").chmod(0o000)
        yield place / "barred"


def test_doctor_names_it_and_goes_on(barred):
    with as_nobody():
        done = run("doctor")
        uid = os.geteuid()

    assert done.exit_code == 5
    detail = f"this user (uid {uid}) may not use {barred} (mode 0000, owner "
    assert detail in done.stdout
    assert "Give the user or its group access." in done.stdout
    assert "adopt" not in done.stdout
    assert "journal: " in done.stdout
    assert f"root {barred.parent}/well: " in done.stdout


def test_roots_ls_goes_on_without_it(barred):
    with as_nobody():
        done = run("roots", "ls", "--json")

    assert done.exit_code == 0, done.output
    seen = {Path(each["place"]).name: each["verified"] for each in json.loads(done.stdout)["roots"]}
    assert seen == {"barred": False, "well": True}


def test_store_names_it(barred):
    with as_nobody(), MediaStore.from_env() as store, pytest.raises(InvalidRoot) as refused:
        store.store(barred.parent / "well/a.jpg", scope="s")

    assert str(barred) in str(refused.value)
    assert "may not enter" in str(refused.value)


def test_one_that_is_closed_under_a_running_store_is_named(barred):
    barred.chmod(0o700)
    with MediaStore.from_env() as store:
        store.store(barred / "a.jpg", scope="s")
        barred.chmod(0o000)
        with as_nobody(), pytest.raises(BlobsUnavailable, match=str(barred)):
            store.store(barred / "a.jpg", scope="t")


def test_one_behind_a_closed_directory_is_not_said_to_be_missing(barred, monkeypatch):
    monkeypatch.setenv("MEDIASTORE_ROOTS", f"{barred}/inner")

    with as_nobody():
        done = run("doctor")

    assert f"may not use {barred} (mode 0000" in done.stdout
    assert "no such directory" not in done.stdout
