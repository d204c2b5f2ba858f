"""Settings: one name each, from Python or from MEDIASTORE_* variables, refused when they cannot be used."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mediastore import NEVER, AsyncMediaStore, MediaStore, Settings
from mediastore.errors import InvalidRequest, InvalidSettings
from mediastore.escaping import mask
from mediastore.model import parse_duration
from mediastore.settings import default_root, names

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


def test_the_defaults_are_the_seeds():
    settings = Settings()

    assert (settings.max_age, settings.sweep_interval, settings.cleanup_enabled) == (
        1800,
        300,
        True,
    )
    assert (settings.seconds("timeout"), settings.seconds("claim")) == (5, 30)


def test_a_duration_below_a_millisecond_is_one_and_a_size_may_have_a_fraction():
    settings = Settings(tombstone_ttl=0.0001, max_file_size="1.5 KiB")

    assert (settings.ms("tombstone_ttl"), settings.size_limit) == (1, 1536)


def test_variables_are_read_as_text():
    settings = Settings.from_env(
        {
            "MEDIASTORE_NAMESPACE": "bots",
            "MEDIASTORE_ROOTS": "/srv/a:/srv/b",
            "MEDIASTORE_MAX_AGE": "never",
            "MEDIASTORE_SWEEP_INTERVAL": "90s",
            "MEDIASTORE_CLEANUP_ENABLED": "no",
            "MEDIASTORE_RETRIES": "7",
            "HOME": "/somewhere",
        }
    )

    assert (settings.namespace, settings.roots) == ("bots", ("/srv/a", "/srv/b"))
    assert (settings.max_age, settings.sweep_interval) == (None, 90)
    assert (settings.cleanup_enabled, settings.retries) == (False, 7)


def test_an_unknown_variable_is_a_warning_with_the_nearest_name(caplog):
    Settings.from_env({"MEDIASTORE_MAXAGE": "1h", "MEDIASTORE_PORT_6379_TCP": "tcp://x"})

    assert "did you mean 'max_age'?" in caplog.text
    assert "6379" not in caplog.text


def test_an_unknown_keyword_is_a_type_error_with_the_nearest_name():
    with pytest.raises(TypeError, match="did you mean 'namespace'"):
        MediaStore.from_url("redis://localhost", namespacee="x")


def test_an_env_file_is_read_only_when_named_and_variables_win(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("MEDIASTORE_NAMESPACE=filed\nMEDIASTORE_RETRIES=9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDIASTORE_NAMESPACE", "said")

    assert Settings.from_env().retries == 3
    named = Settings.from_env(env_file=tmp_path / ".env")

    assert (named.namespace, named.retries) == ("said", 9)
    with pytest.raises(InvalidSettings, match="does not exist"):
        Settings.from_env(env_file=tmp_path / "absent")


@pytest.mark.parametrize(
    "values",
    [{"namespace": "Upper"}, {"namespace": ""}, {"namespace": "a" * 64}, {"namespace": "a{b}"},
     {"redis_url": "http://x"}, {"redis_url": "redis://a b"}, {"timeout": 0}, {"timeout": "never"},
     {"claim": "61s"}, {"retries": -1}, {"retries": True and "3"}, {"roots": "/srv/a"}, {"roots": 3},
     {"worker_concurrency": 0}, {"worker_max_tasks": -1}, {"soft_shutdown": "soon"}, {"soft_shutdown": "never"},
     {"grace": "never"}, {"grace": NEVER}, {"grace": -1}, {"grace": "soon"},
     {"log_format": "xml"}, {"health_dir": 3}, {"namespaces": "a,b"}, {"namespaces": ["a", "a"]},
     {"namespaces": [1]}, {"namespaces": ["a", "B"]}, {"namespaces": ["a", "b"]},
     {"namespaces": ["a", "b"], "roots": ["/srv/{namespace}", "/srv/b"]}, {"max_age": "soon"}, {"sweep_interval": "often"}, {"tombstone_ttl": -3},
     {"prune_empty": 59}, {"prune_empty": "30s"}, {"prune_empty": "soon"}],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_refused(values):
    with pytest.raises(InvalidSettings):
        Settings(**values)


ZEROS = [0, 0.0, -0.0, "0", "0.0", "0s", "0m", " 0 h", "0d", timedelta(0)]
LESS = [-1, -0.5, "-1", "-1s", "-2 h", timedelta(-1)]
NONE = [True, False, float("nan"), float("inf"), -float("inf"), "inf", "-inf", "1e400", 10**400, "9" * 400 + "s", "", b"5s", [], "soon"]  # fmt: skip


@pytest.mark.parametrize("zero", ZEROS, ids=repr)
def test_zero_means_what_each_setting_says_however_it_is_written(zero):
    settings = Settings(max_age=zero, sweep_interval=zero, grace=zero, soft_shutdown=zero)

    assert (settings.max_age, settings.sweep_interval) == (None, 0)
    assert (settings.grace, settings.soft_shutdown) == (0, 0)
    if isinstance(zero, str):
        assert Settings.from_env({"MEDIASTORE_GRACE": zero}).grace == 0
    for name in ("timeout", "claim", "release_budget", "sweep_budget", "drain_interval", "tombstone_ttl", "lease_max"):  # fmt: skip
        with pytest.raises(InvalidSettings, match=name):
            Settings(**{name: zero})
    with pytest.raises(InvalidRequest, match="above zero"):
        parse_duration(zero)


@pytest.mark.parametrize("less", LESS, ids=repr)
def test_less_than_zero_is_never_where_that_keeps_for_ever_and_else_refused(less):
    settings = Settings(max_age=less, sweep_interval=less)

    assert (settings.max_age, settings.sweep_interval) == (None, 0)
    for name in ("grace", "soft_shutdown", "timeout"):
        with pytest.raises(InvalidSettings, match=f"{name}: a duration lies above zero"):
            Settings(**{name: less})


@pytest.mark.parametrize("value", NONE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", ["max_age", "sweep_interval", "grace", "soft_shutdown", "timeout"])
def test_what_is_no_length_of_time_is_refused(name, value):
    with pytest.raises(InvalidSettings, match=name):
        Settings(**{name: value})
    with pytest.raises(InvalidRequest, match="not a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("variable", "text"),
    [("CLEANUP_ENABLED", "perhaps"), ("RETRIES", "many"), ("MAX_AGE", "old"), ("NAMESPACE", "A")],
)
def test_a_variable_that_cannot_be_used_is_refused(variable, text):
    with pytest.raises(InvalidSettings):
        Settings.from_env({f"MEDIASTORE_{variable}": text})


def test_no_password_is_shown():
    url = "rediss://bot:s3cret@db.example:6380/1"
    settings = Settings(redis_url=url)

    for shown in (repr(settings), repr(MediaStore(None, settings)), mask(url)):
        assert "s3cret" not in shown
        assert "bot:***@db.example" in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [("redis://h/0?password=s3cret&db=1", "redis://h/0?password=***&db=1"),
     ("redis://u:s3@cret@h:1", "redis://u:***@h:1"), ("redis://:s3/cret@h", "redis://:***@h"),
     ("unix:///run/a@b.sock?db=1", "unix:///run/a@b.sock?db=1"), ("redis://h:6379/0", "redis://h:6379/0"),
     ("redis://bot@h", "redis://bot@h"), ("nonsense", "nonsense")],
)  # fmt: skip
def test_passwords_are_masked_wherever_they_stand(url, shown):
    assert mask(url) == shown


def test_an_unreadable_url_is_refused_without_its_password():
    store = MediaStore.from_url("redis://:s3cret@host:notaport/0")

    with pytest.raises(InvalidSettings) as caught:
        store.stats()
    assert "s3cret" not in str(caught.value)


def test_the_default_root_is_in_the_state_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert default_root() == tmp_path / "mediastore" / "media"


def test_constructing_does_no_io(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIASTORE_REDIS_URL", "redis://192.0.2.1:1/0")
    monkeypatch.setenv("MEDIASTORE_ROOTS", str(tmp_path / "absent"))

    for kind in (MediaStore, AsyncMediaStore):
        assert kind.from_env().settings.roots == (str(tmp_path / "absent"),)


def test_every_setting_is_documented():
    text = DOCS.read_text()

    for name in names():
        assert f"`{name}`" in text
        assert name in (Settings.__doc__ or "")


# --- many namespaces


def test_each_of_several_namespaces_has_settings_and_roots_of_its_own():
    settings = Settings.from_env(
        {
            "MEDIASTORE_NAMESPACES": "bots, agents,",
            "MEDIASTORE_ROOTS": "/srv/{namespace}:/b/{namespace}",
        }
    )

    assert settings.served == ("bots", "agents")
    own = settings.for_namespace("agents")
    assert (own.namespace, own.namespaces) == ("agents", ())
    assert own.roots == ("/srv/agents", "/b/agents")
    with pytest.raises(InvalidSettings, match="bots, agents"):
        settings.for_namespace("others")


def test_settings_become_text_and_are_read_again():
    settings = Settings(
        namespaces=("a", "b"), roots=("/srv/{namespace}", "/b/{namespace}"), soft_shutdown=0,
        worker_max_tasks=5, log_format="json", health_dir="/run/h", max_age=None,
    )  # fmt: skip

    variables = {f"MEDIASTORE_{name.upper()}": text for name, text in settings.as_text().items()}

    assert Settings.from_env(variables) == settings


def test_one_namespace_needs_no_placeholder_and_may_have_it():
    assert Settings().served == ("default",)
    assert Settings(namespace="a", roots=("/srv/{namespace}",)).roots == ("/srv/a",)
    assert Settings(namespaces=("a",), roots=("/srv",)).for_namespace("a").roots == ("/srv",)


def test_a_root_that_several_namespaces_would_share_is_refused_in_words():
    with pytest.raises(InvalidSettings, match=r"each root must hold \{namespace\}"):
        Settings(namespaces=("a", "b"), roots=("/srv/media",))


@pytest.mark.parametrize("kind", [MediaStore, AsyncMediaStore])
def test_a_store_works_in_its_own_namespace_of_several(kind):
    several = Settings(namespaces=("a", "b"), namespace="b", roots=("/srv/{namespace}",))

    assert kind.from_settings(several).settings.roots == ("/srv/b",)
    with pytest.raises(InvalidSettings, match="'default' is none of a, b"):
        kind.from_url("redis://localhost", namespaces=("a", "b"), roots=("/srv/{namespace}",))


def test_the_settings_of_a_worker_are_read_as_text():
    settings = Settings.from_env(
        {
            "MEDIASTORE_WORKER_CONCURRENCY": "4",
            "MEDIASTORE_WORKER_MAX_TASKS": "0",
            "MEDIASTORE_SOFT_SHUTDOWN": "0",
            "MEDIASTORE_LOG_FORMAT": "json",
            "MEDIASTORE_HEALTH_DIR": "/run/health",
        }
    )

    assert (settings.worker_concurrency, settings.worker_max_tasks) == (4, 0)
    assert (settings.seconds("soft_shutdown"), settings.log_format) == (0, "json")
    assert settings.health_dir == "/run/health"


def test_a_host_goes_by_its_own_name_or_by_the_one_it_is_given(clients, settings, make_file):
    assert Settings().called == socket.gethostname()
    with MediaStore(clients(), replace(settings, host="node-7")) as store:
        store.store(make_file(), scope="s")
        (place,) = store.stats().roots.values()
    assert place.startswith("node-7:/")
    with pytest.raises(InvalidSettings, match="host is letters"):
        Settings(host="a:b")
