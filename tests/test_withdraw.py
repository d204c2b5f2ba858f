"""A path that is deleted for its last registration just while it is registered anew.

The second name is taken, then another process deletes the path, then the script runs and knows nothing of it: the
ref would live and its file be gone. PROTOCOL's store looks at the path before the script only.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from mediastore import Cleanup, MediaMeta
from mediastore.blobs import posix
from mediastore.errors import FileMissing

from .lab import Lab
from .lifetimes import HOUR, with_grace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def lab(clients, tmp_path):
    """Give a laboratory with one file, registered once."""
    made = Lab(clients, tmp_path / "lab")
    made.process().store(made.file("a.jpg", "first"), scope="s")
    return made


@contextmanager
def meanwhile(name: str, act: Callable[[], None]) -> Iterator[None]:
    """Let others act once, right after this process's next call of a function of `posix`."""
    call = getattr(posix, name)

    def then(*args, **named):
        setattr(posix, name, call)
        result = call(*args, **named)
        act()
        return result

    setattr(posix, name, then)
    try:
        yield
    finally:
        setattr(posix, name, call)


def test_a_file_deleted_while_it_is_stored_is_missing(lab):
    store, other = lab.process(), lab.process()

    with meanwhile("link", lambda: other.release_all("s")), pytest.raises(FileMissing):
        store.store(lab.root / "a.jpg", scope="t")

    assert store.refs("t") == []
    assert store.stats().refs == 0
    assert lab.leftovers() == []


def test_what_came_to_the_path_meanwhile_is_registered_instead(lab):
    store, other = lab.process(), lab.process()

    def act():
        other.release_all("s")
        lab.file("a.jpg", "second")

    with meanwhile("link", act):
        ref = store.store(lab.root / "a.jpg", scope="t")

    assert store.resolve(ref).read_text() == "second"
    assert store.stats().stored_refs == 2
    assert store.release_all("t").deleted == 1
    assert lab.leftovers() == []


def test_the_path_is_looked_at_while_the_second_name_pins_the_inode(lab, stage):
    """Without it the number may be another file's by then."""
    path, new = lab.root / "a.jpg", lab.root / ".mediastore/new"
    pinned = []

    def note(name, args):
        if name == "look" and args[0] == path.name:
            pinned.append(any(new.iterdir()))

    with stage.during(note):
        lab.process().store(path, scope="t")

    assert pinned[-1]


def test_two_that_store_the_deleted_file_at_once_both_learn_it(lab):
    """The second joins the first one's blob before the first has looked: it must look for itself."""
    first, second, other = lab.process(), lab.process(), lab.process()
    found = []

    def release_then_store():
        other.release_all("s")

    def second_stores():
        with meanwhile("link", release_then_store):
            # Its second name is taken while the file is there; then the file goes; then it registers a new blob.
            ask = second._ask

            def asked(step):
                answer = ask(step)
                if getattr(step, "script", "") == "store":
                    second._ask = ask
                    found.append("registered")
                    raise KeyboardInterrupt  # killed before it could look
                return answer

            second._ask = asked
            with pytest.raises(KeyboardInterrupt):
                second.store(lab.root / "a.jpg", scope="t")

    with meanwhile("link", second_stores), pytest.raises(FileMissing):
        first.store(lab.root / "a.jpg", scope="u")

    assert found == ["registered"]
    assert first.refs("u") == []
    lab.end()
    assert lab.leftovers() == []


def test_a_borrowed_file_deleted_while_it_is_stored_is_missing(lab):
    store, other = lab.process(), lab.process()

    with (
        meanwhile("look", lambda: other.release_all("s")),
        pytest.raises(FileMissing),
    ):
        store.store(lab.root / "a.jpg", scope="t", meta=MediaMeta(cleanup=Cleanup.FORGET))

    assert store.refs("t") == []
    assert lab.leftovers() == []


def test_a_withdrawn_ref_never_counted_and_cannot_come_back(lab):
    store, other = lab.process(), lab.process()
    sent = []
    ask = store._ask

    def asked(step):
        sent.append(step)
        return ask(step)

    store._ask = asked
    with meanwhile("link", lambda: other.release_all("s")), pytest.raises(FileMissing):
        store.store(lab.root / "a.jpg", scope="t")
    before = store.stats()

    for step in [s for s in sent if getattr(s, "script", "") in {"store", "withdraw"}]:
        ask(step)

    assert store.stats() == before
    assert (before.stored_refs, before.released_refs, before.refs) == (1, 1, 0)


def test_a_store_that_came_to_nothing_does_not_cut_the_grace_of_what_it_joined(clients, tmp_path):
    lab = with_grace(Lab(clients, tmp_path / "grace"), "1h")
    path, store = lab.file("a.jpg", "first"), lab.process()
    dead = store.store(path, scope="s")
    store.release_all("s")

    with meanwhile("link", path.unlink), pytest.raises(FileMissing):
        store.store(path, scope="t")

    assert store.tombstone(dead).kept_for == "grace"
    with store.open(store.restore(dead, "u")) as file:
        assert file.read() == b"first"
    store.release_all("u")
    lab.pass_time(HOUR)
    lab.process().sweep()
    assert (lab.leftovers(), store.stats().waiting) == ([], 0)


def test_a_new_blob_whose_file_has_gone_needs_no_grace(clients, tmp_path):
    lab = with_grace(Lab(clients, tmp_path / "grace"), "1h")
    path, store = lab.file("a.jpg", "first"), lab.process()

    with meanwhile("link", path.unlink), pytest.raises(FileMissing):
        store.store(path, scope="t")

    assert lab.leftovers() == []
