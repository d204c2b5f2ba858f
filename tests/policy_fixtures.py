"""What the tests of retention policies have in common."""

from __future__ import annotations

from mediastore import MediaMeta
from mediastore.index import policies
from mediastore.index.steps import END_BATCH

from .conftest import keys_left

#: Refs enough for three steps of a mover.
MANY = 2 * END_BATCH + 1


def by(policy, **more):
    """Metadata that names a policy."""
    return MediaMeta(policy=policy, **more)


def length(store, ref):
    """Return how long a ref lives from when it was stored, in seconds; None for no end."""
    media = store.get(ref)
    return media.expires_at and (media.expires_at - media.stored_at).total_seconds()


def life(store, ref):
    """Return the policy that a ref shows, and how long it lives from when it was stored."""
    return store.get(ref).meta.policy, length(store, ref)


def known(store):
    """Return the policies by name: their length and how many refs live by them."""
    return {each.name: (each.lifetime_s, each.refs) for each in store.policies()}


def follows(client, settings):
    """Return what the index has of refs that live by policies, and of changes."""
    found = keys_left(client, settings.namespace)
    return {key for key in found if key == "changing" or key.startswith("under:")}


def policed(lab, store, number=MANY, seconds=600):
    """Store so many refs by a policy."""
    store.set_policy("p", seconds)
    cat = lab.file("a.jpg", "a")
    return store.store_many([cat] * number, scope="s", meta=by("p"))


def lengths(store, refs):
    return {length(store, ref) for ref in refs}


def begin(store, seconds, op="the change"):
    """Change the policy as somebody does who is killed right after."""
    return store._ask(policies.set_policy("p", "never" if seconds is None else seconds * 1000, op))
