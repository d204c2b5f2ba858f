"""Whatever a caller or the environment passes, each call answers or refuses with an error of ours; a refusal changes nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from mediastore import MediaContent, Settings
from mediastore.errors import InvalidSettings, MediaStoreError
from mediastore.model import ReleasePlan

from .sidecar_fixtures import put
from .test_index import dump

HOSTILE: dict[str, Any] = {
    "None": None, "bytes": b"x", "number": 5, "true": True, "nan": float("nan"), "list": [], "dict": {}, "object": object(),
    "empty": "", "half": "\ud800", "NUL": "x\0", "long": "x" * 100_000, "line": "x\n", "turned": "\u202e",
}  # fmt: skip
CALLS = {
    "accept": lambda store, _, value: store.accept(value),
    "accept in a token": lambda store, _, value: store.accept(
        f"media-lease://{value}.{'b' * 22}.{'c' * 22}"
    ),
    "execute": lambda store, _, value: store.execute(value),
    "execute a plan": lambda store, _, value: store.execute(ReleasePlan(value, 0, 0, 0, 0, 0)),
    "set_policy": lambda store, _, value: store.set_policy(value, "1h"),
    "remove_policy": lambda store, _, value: store.remove_policy(value),
    "apply_policy": lambda store, ref, value: store.apply_policy(ref, value),
    "apply_policy to": lambda store, _, value: store.apply_policy(value, "retain-2hours"),
    "tombstone": lambda store, _, value: store.tombstone(value),
    "restore": lambda store, _, value: store.restore(value),
    "get": lambda store, _, value: store.get(value),
    "quota": lambda store, _, value: store.quota(value),
    "refs": lambda store, _, value: store.refs(value),
    "refs after": lambda store, _, value: store.refs("s", after=value),
    "refs limit": lambda store, _, value: store.refs("s", limit=value),
    "scopes": lambda store, _, value: store.scopes(value),
    "waiting": lambda store, _, value: store.waiting(value),
    "rebuild": lambda store, _, value: store.rebuild(value, dry_run=True),
    "forget_root": lambda store, _, value: store.forget_root(value),
    "adopt_root": lambda store, _, value: store.adopt_root(value),
    "store": lambda store, _, value: store.store(value, scope="s"),
    "share": lambda store, ref, value: store.share(ref, value),
}
#: What these mean that is no mistake: nothing given, the empty prefix, a policy of no name, one ref.
MEANT = {
    ("apply_policy", "None"), ("apply_policy", "empty"), ("quota", "None"), ("refs after", "None"), ("refs limit", "number"),
    ("scopes", "empty"), ("scopes", "NUL"), ("scopes", "long"), ("scopes", "line"), ("scopes", "turned"),
    ("rebuild", "None"), ("share", "turned"), ("refs", "turned"), ("quota", "turned"), ("waiting", "turned"),
    ("execute a plan", "turned"),
}  # fmt: skip


def kept(client, settings):
    """Return what the index holds, but for the time and for the answers of calls."""
    found = dump(client, settings.namespace)
    return {key: value for key, value in found.items() if key.split(":")[0] not in {"clock", "op"}}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_argument_is_refused_in_words_and_nothing_changes(other, client, settings, call):
    ref = put(other)

    for name, value in HOSTILE.items():
        before = kept(client, settings)
        if (call, name) in MEANT:
            CALLS[call](other, ref, value)
            continue
        with pytest.raises(MediaStoreError):
            CALLS[call](other, ref, value)
        assert kept(client, settings) == before, name


@pytest.mark.parametrize("name", ["redis_url", "broker_url", "namespace", "namespaces", "roots", "policies", "default_policy", "health_dir", "host", "max_file_size", "retries", "dedup"])  # fmt: skip
def test_a_setting_is_taken_or_refused_in_words(name):
    for value in [
        *HOSTILE.values(),
        [None],
        ["x\0"],
        ["\ud800"],
        [("a", "\ud800")],
        {"a": []},
        10**400,
    ]:
        with suppress(InvalidSettings):
            Settings(**{name: value})
        if isinstance(value, str):
            with suppress(InvalidSettings):
                Settings.from_env({f"MEDIASTORE_{name.upper()}": value})


@pytest.mark.parametrize(("name", "value"), [
    ("RETRIES", "9" * 5000), ("RETRIES", "²"), ("ROOTS", "/srv/x\0"), ("ROOTS", "/srv/\ud800"), ("HEALTH_DIR", "x\0"),
    ("POLICIES", "a=" + "9" * 5000), ("POLICIES", "a"), ("POLICIES", "=1h"), ("POLICIES", "a=1h,a=2h"), ("POLICIES", "a=1e999"),
    ("POLICIES", "a=nan"), ("MAX_FILE_SIZE", "9" * 400 + "TB"), ("MAX_FILE_SIZE", "9" * 5000), ("REDIS_URL", "\ud800"),
])  # fmt: skip
def test_a_variable_that_cannot_be_used_is_refused(name, value):
    with pytest.raises(InvalidSettings):
        Settings.from_env({f"MEDIASTORE_{name}": value})


def test_content_with_metadata_that_is_none_is_refused(other, media):
    for value in HOSTILE.values():
        if value is not None:
            with pytest.raises(MediaStoreError):
                other.store_media(MediaContent(data=b"x"), scope="s", meta=value)

    assert other.stats().refs == 0
