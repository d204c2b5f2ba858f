"""Names and lifetimes that cannot be, and policies as settings."""

from __future__ import annotations

import pickle

import pytest

from mediastore import MediaMeta, Settings
from mediastore.errors import InvalidPolicy, InvalidRequest, InvalidSettings
from mediastore.index.steps import prefix

NOT_NAMES = ["", "Upper", "1st", "a b", "a" * 64, "delete-after-x", "retain-", "a\n", "é", "a/b", "@a", "a:b"]  # fmt: skip


# --- what cannot be


@pytest.mark.parametrize("name", NOT_NAMES)
def test_what_is_no_name_is_refused(other, name, client, settings):
    for call in (lambda: other.set_policy(name, 60), lambda: other.remove_policy(name)):
        with pytest.raises(InvalidPolicy):
            call()
    with pytest.raises(InvalidSettings):
        Settings(policies={name: 60})
    if name:
        with pytest.raises(InvalidPolicy):
            MediaMeta(policy=name)

    assert client.exists(f"{prefix(settings.namespace)}policies") == 0


@pytest.mark.parametrize("lifetime", [0, -1, "soon", "retain-0days", "delete-after-5days", None, True, "200000d"])  # fmt: skip
def test_what_is_no_lifetime_is_refused(other, lifetime):
    with pytest.raises(InvalidRequest):
        other.set_policy("p", lifetime)

    assert other.policies() == []


# --- the settings


def test_policies_are_read_from_a_variable_and_written_back():
    said = {"MEDIASTORE_POLICIES": "thumbnails=retain-2hours, voice=delete-after-10min,kept=never,x=1.5"}  # fmt: skip

    settings = Settings.from_env({**said, "MEDIASTORE_DEFAULT_POLICY": "voice"})

    assert settings.lengths == {"thumbnails": 7200, "voice": 600, "kept": None, "x": 1.5}
    assert settings.default_policy == "voice"
    text = {f"MEDIASTORE_{name.upper()}": value for name, value in settings.as_text().items()}
    assert Settings.from_env(text) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings)


@pytest.mark.parametrize(
    "values",
    [{"policies": "a=1h"}, {"policies": 3}, {"policies": ["a"]}, {"policies": {"a": "soon"}}, {"policies": {"a": 0}},
     {"policies": {"a": "retain-5min"}}, {"policies": {"A": 60}}, {"policies": {3: 60}}, {"policies": (("a", 1), ("a", 2))},
     {"default_policy": "Junk"}, {"default_policy": "retain-0days"}, {"default_policy": None}, {"default_policy": 3}],
)  # fmt: skip
def test_settings_that_cannot_be_policies_are_refused(values):
    with pytest.raises(InvalidSettings):
        Settings(**values)


@pytest.mark.parametrize("text", ["a", "a=", "=1h", "a=1h,a=2h", "a=1h b=2h", "retain-1days=1h"])
def test_a_variable_that_cannot_be_policies_is_refused(text):
    with pytest.raises(InvalidSettings):
        Settings.from_env({"MEDIASTORE_POLICIES": text})
