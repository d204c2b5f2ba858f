"""`mediastore roots`: ls, forget, adopt, as an operator meets them."""

from __future__ import annotations

import shutil

import pytest

from mediastore import Adopted, Forgotten, MediaStore, RootInfo, Settings
from mediastore.errors import BlobMissing

from .cli_fixtures import bot, env, lane, names, on_a_terminal, run, told  # noqa: F401 - fixtures


@pytest.fixture
def far(server_url, settings, tmp_path):
    """Give the store of a host that will not come back, with a live ref and a waiting file."""
    root = tmp_path / "far"
    root.mkdir()
    made = Settings(redis_url=server_url, namespace=settings.namespace, roots=(str(root),))
    with MediaStore.from_settings(made) as store:
        for name in ("live", "waits"):
            (root / name).write_text("four")
            store.store(root / name, scope=name)
        store.release_all("waits", wait=False)
        yield store


def root_of(store):
    return next(info.root for info in store.roots() if info.here)


def test_ls_shows_every_root_with_its_state(bot, far, cat):
    bot.store(cat, scope="s")

    listed = told("roots", "ls")["roots"]
    rows = [line.split("\t") for line in run("roots", "ls").stdout.splitlines()]

    assert set(listed[0]) == set(names(RootInfo))
    assert {row[0]: row[1] for row in rows} == {root_of(bot): "here", root_of(far): "elsewhere"}
    by_id = {each["root"]: each for each in listed}
    assert (by_id[root_of(far)]["blobs"], by_id[root_of(far)]["waiting"]) == (1, 1)
    assert by_id[root_of(bot)]["size_bytes"] == cat.stat().st_size


def test_ls_works_where_a_root_is_refused(bot, cat, media):
    bot.store(cat, scope="s")
    shutil.copytree(media, media.with_name("backup"))
    shutil.rmtree(media)
    media.with_name("backup").rename(media)

    assert run("stats").exit_code == 2
    assert run("roots", "ls").stdout.split("\t")[1] == "refused"


def test_forget_says_what_is_given_up_and_asks(far, settings):
    root = root_of(far)

    code, shown = on_a_terminal("roots", "forget", root, answer="n\n")
    assert code == 1
    assert "nothing was changed" in shown
    assert f"root {root}, last seen at" in shown
    assert "1 file waiting to be deleted there, 1 file of live refs" in shown

    code, shown = on_a_terminal("roots", "forget", root, answer="y\n")
    assert code == 0
    assert "is forgotten; 1 waiting file given up (4 bytes)" in shown
    assert run("roots", "ls").stdout.split("\t")[:2] == [root, "forgotten"]


def test_forget_asks_nobody_with_yes_and_refuses_where_there_is_nobody_to_ask(bot, far):
    (live,) = far.refs("live")
    refused = run("roots", "forget", root_of(far))

    done = told("roots", "forget", root_of(far), "--yes")

    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    assert set(done) == set(names(Forgotten))
    assert (done["lost_blobs"], done["lost_bytes"]) == (1, 4)
    assert run("resolve", live.ref).exit_code == 3
    with pytest.raises(BlobMissing, match="was forgotten"):
        bot.resolve(live.ref)


def test_forget_of_a_root_in_use_here_says_why_not(bot, cat):
    bot.store(cat, scope="s")

    code, shown = on_a_terminal("roots", "forget", root_of(bot))

    assert code == 2
    assert "is in use on this host" in shown
    assert "--yes" in shown
    assert told("roots", "forget", root_of(bot), "--yes")["root"] == bot.roots()[0].root
    refused = run("stats")
    assert (refused.exit_code, "mediastore roots adopt" in refused.stderr) == (2, True)


def test_forget_of_a_root_nobody_knows_is_a_wrong_request(far):
    done = run("roots", "forget", "nobody", "--yes")

    assert (done.exit_code, "`mediastore roots ls` names them" in done.stderr) == (2, True)


def test_adopt_asks_and_tells_what_it_found(bot, cat, make_file, media):
    ref = bot.store(cat, scope="s")
    lost = [bot.store(make_file(name), scope="s") for name in ("gone.jpg", "other.jpg")]
    bot.store(make_file("removed.jpg"), scope="s")
    root = root_of(bot)
    shutil.copytree(media, media.with_name("backup"))
    shutil.rmtree(media)
    media.with_name("backup").rename(media)
    for each in lost:
        (media / ".mediastore" / "held" / f"{bot.get(each).blob}.jpg").unlink()
    for name in ("gone.jpg", "removed.jpg"):
        (media / name).unlink()
    (media / "other.jpg").write_text("other")

    refused, (code, asked) = (
        run("roots", "adopt", media),
        on_a_terminal("roots", "adopt", media, answer="n\n"),
    )
    assert (refused.exit_code, code, "nothing was changed" in asked) == (2, 1, True)
    assert f"carries the marker of root {root}, last seen at" in asked
    assert run("resolve", ref).exit_code == 2

    code, shown = on_a_terminal("roots", "adopt", media, answer="y\n")
    assert code == 0
    assert (
        "1 file known again, 1 missing, 1 other than registered, 1 under held links only" in shown
    )
    assert "held link only: removed.jpg" in shown
    assert "missing: gone.jpg" in shown
    assert "other: other.jpg" in shown
    assert run("resolve", ref).stdout.strip() == str(cat)


def test_adopt_answers_in_json(bot, cat, media):
    bot.store(cat, scope="s")
    shutil.copytree(media, media.with_name("moved"))
    shutil.rmtree(media)

    done = told(
        "--root", media.with_name("moved"), "roots", "adopt", media.with_name("moved"), "--yes"
    )

    assert set(done) == set(names(Adopted))
    assert (done["rebound"], done["missing"], done["path"]) == (
        1,
        [],
        str(media.with_name("moved")),
    )


def test_adopt_of_a_directory_without_a_marker_is_a_wrong_request(tmp_path):
    (tmp_path / "plain").mkdir()

    done = run("roots", "adopt", tmp_path / "plain", "--yes")

    assert (done.exit_code, "no marker" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["ls", "forget", "adopt"])
def test_every_command_of_the_group_explains_itself_with_an_example(command):
    done = run("roots", command, "--help")

    assert done.exit_code == 0
    assert f"Example: mediastore roots {command}" in done.stdout
    assert "--json" in done.stdout


def test_the_group_alone_shows_its_commands():
    done = run("roots")

    assert done.exit_code == 2
    assert "forget" in done.stdout + done.stderr
