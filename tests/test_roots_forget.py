"""Forgetting a root whose host is gone for ever: what waited there is lost visibly, and nothing acts on half of it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import count

import pytest

from mediastore import Cleanup, Forgotten, MediaMeta, MediaStore
from mediastore.doctor import examine
from mediastore.errors import BlobMissing, InvalidRequest, InvalidRoot, RefGone

from .conftest import keys_left, names_left
from .lab import Crash, Fuse, Lab
from .test_hosts import write
from .test_roots import at  # noqa: F401 - a fixture

FORGET = MediaMeta(cleanup=Cleanup.FORGET)


@pytest.fixture
def far(at, tmp_path):
    """Give the store of a host that will not come back."""
    (tmp_path / "far").mkdir()
    return at(tmp_path / "far")


@pytest.fixture
def near(store):
    """Give a store of each kind that has another root."""
    return store


def root_of(store):
    """Return the id of a store's only root."""
    (root,) = getattr(store, "_store", store)._blobs.roots()
    return root


def info(store, root):
    (found,) = [each for each in store.roots() if each.root == root]
    return found


# --- what waits there


def test_what_waits_in_the_trash_is_given_up_and_counted(near, far, settings, client, tmp_path):
    for number in range(70):  # three batches
        far.store(write(far, f"{number}.jpg"), scope="s")
    assert near.release_all("s").pending == 70
    root = root_of(far)

    done = near.forget_root(root)

    assert (done.root, done.lost_blobs, done.lost_bytes) == (root, 70, 280)
    stats = near.stats()
    assert (stats.trash, stats.lost_blobs, stats.lost_bytes, stats.deleted_blobs) == (0, 70, 280, 0)
    assert stats.roots.keys() == {root_of(near)}
    known = info(near, root)
    assert (known.lost, known.waiting, known.blobs) == (70, 0, 0)
    assert known.forgotten_at == done.forgotten_at
    assert known.place.endswith(str(tmp_path / "far"))
    assert keys_left(client, settings.namespace) == set()


def test_a_waiting_release_does_not_wait_for_what_was_given_up(near, far):
    far.store(write(far), scope="s")
    near.release_all("s")
    near.forget_root(root_of(far))

    done = near.release_all("s")

    assert (done.refs, done.pending, done.closed) == (0, 0, False)


def test_claims_in_progress_are_ended_and_a_late_worker_counts_nothing(lab, stage):
    for name in ("a.jpg", "b.jpg"):
        lab.process().store(lab.file(name, "ours"), scope="s")
    worker, operator = lab.process(), lab.process()
    told: list[Forgotten] = []

    def give_up(name, _):
        if name == "unlink" and not told:
            told.append(operator.forget_root(root_of(worker), even_here=True))

    with stage.during(give_up):
        done = worker.release_all("s")

    assert [each.lost_blobs for each in told] == [2]
    assert (done.refs, done.deleted) == (2, 0)
    stats = lab.client.hgetall(f"mediastore:{{{lab.namespace}}}:stats")
    assert (stats[b"lost_blobs"], stats.get(b"deleted_blobs", b"0")) == (b"2", b"0")
    assert keys_left(lab.client, lab.namespace) == set()


def test_stuck_blobs_are_given_up_too(lab, stage):
    lab.process().store(lab.file("a.jpg", "ours"), scope="s")

    def refuse(name, _):
        if name == "unlink":
            raise PermissionError(1, "no")

    with stage.during(refuse):
        lab.process().release_all("s")
    process = lab.process()

    process.forget_root(root_of(process), even_here=True)

    (known,) = process.roots()
    assert (known.stuck, known.waiting, known.lost) == (0, 0, 1)
    assert keys_left(lab.client, lab.namespace) == set()


# --- live refs


def test_a_live_ref_there_is_missing_with_the_reason_until_it_is_released(
    near, far, settings, client, tmp_path
):
    ref = far.store(write(far), scope="s")
    near.forget_root(root_of(far))

    with pytest.raises(BlobMissing, match=r"was forgotten on") as caught:
        near.resolve(ref)

    assert str(tmp_path / "far") in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert [media.ref for media in near.refs("s")] == [ref]
    assert near.stats().lost_blobs == 0
    done = near.release_all("s")
    assert (done.refs, done.deleted, done.pending) == (1, 0, 0)
    assert (near.stats().lost_blobs, near.stats().lost_bytes, near.stats().blobs) == (1, 4, 0)
    with pytest.raises(RefGone):
        near.resolve(ref)
    assert keys_left(client, settings.namespace) == set()


def test_a_live_ref_there_expires_and_is_counted_once_for_all_that_share_it(lab, clients, tmp_path):
    there = Lab(clients, tmp_path / "far")
    there.namespace, there.settings = (
        lab.namespace,
        replace(there.settings, namespace=lab.namespace),
    )
    far, near = there.process(), lab.process()
    path = there.file("a.jpg", "four")
    for ttl in (5, 8, 600):
        far.store(path, scope="s", ttl=ttl)
    near.forget_root(root_of(far))

    lab.pass_time(10)
    swept = near.sweep()

    assert (swept.expired, swept.deleted, near.stats().lost_blobs) == (2, 0, 0)
    lab.pass_time(600)
    near.sweep()
    assert (near.stats().lost_blobs, near.stats().refs, near.stats().trash) == (1, 0, 0)
    assert keys_left(lab.client, lab.namespace) == set()


@pytest.mark.parametrize("adopted_first", [False, True])
def test_a_borrowed_file_there_was_never_ours_to_lose(near, far, settings, client, adopted_first):
    path = write(far)
    if adopted_first:
        far.store(path, scope="s")
    far.store(path, scope="s", meta=FORGET)
    near.forget_root(root_of(far))

    done = near.release_all("s")

    assert (done.kept >= 1, done.pending, near.stats().lost_blobs) == (True, 0, 0)
    assert keys_left(client, settings.namespace) == set()


def test_a_borrowed_file_whose_second_name_waited_is_not_lost_either(near, far, settings, client):
    path = write(far)
    far.store(path, scope="s")
    far.store(path, scope="s", meta=FORGET)
    assert near.release_all("s").pending == 1

    done = near.forget_root(root_of(far))

    assert (done.lost_blobs, near.stats().lost_blobs, near.stats().trash) == (0, 0, 0)
    assert keys_left(client, settings.namespace) == set()


def test_a_claim_whose_worker_died_is_ended_with_its_blobs(lab):
    lab.process().store(lab.file("a.jpg", "ours"), scope="s")
    with lab.fused(Fuse(at=4)) as worker, pytest.raises(Crash):
        worker.release_all("s")
    assert any(key.startswith("claim:") for key in keys_left(lab.client, lab.namespace))

    lab.process().forget_root(root_of(worker), even_here=True)

    assert keys_left(lab.client, lab.namespace) == set()


# --- refusals


def test_a_root_in_use_here_is_refused_and_nothing_changes(store, cat):
    ref = store.store(cat, scope="s")

    with pytest.raises(InvalidRequest, match=r"in use on this host.*--yes"):
        store.forget_root(root_of(store))

    assert store.resolve(ref) == cat
    assert info(store, root_of(store)).forgotten_at is None


@pytest.mark.parametrize("root", ["x" * 22, "", 7, None])
def test_a_root_nobody_knows_is_refused(store, root):
    with pytest.raises(InvalidRequest):
        store.forget_root(root)

    assert store.stats().lost_blobs == 0


# --- a forgotten root that is still here, or comes back


def test_a_process_that_has_it_stores_and_deletes_there_no_more(store, other, cat, media, settings):
    store.store(cat, scope="s")
    other.stats()
    root = root_of(store)
    other.release_all("s", wait=False)
    store.forget_root(root, even_here=True)

    with pytest.raises(InvalidRoot, match=r"was forgotten on .* adopt DIR"):
        other.store(cat, scope="t")

    assert cat.exists()
    assert not any((media / ".mediastore" / "new").iterdir())


def test_nothing_is_claimed_of_a_forgotten_root(lab):
    """Also not what a crashed call left half forgotten."""
    process = lab.process()
    root = root_of(process)
    path = lab.file("a.jpg", "ours")
    process.store(path, scope="s")
    process.sweep()  # the first greets the index, which would tell it
    process.release_all("s", wait=False)
    lab.client.hset(f"mediastore:{{{lab.namespace}}}:lost", root, "1 host:/media")

    assert (process.sweep().deleted, path.exists()) == (0, True)


def test_a_forgotten_root_that_comes_back_is_refused_by_every_new_process(far, near, at):
    path = write(far)
    far.store(path, scope="s")
    near.forget_root(root_of(far))
    back = at(*far.settings.roots)

    for call in (back.stats, back.sweep, lambda: back.store(path, scope="t")):
        with pytest.raises(InvalidRoot, match=r"was forgotten on .*; `mediastore roots adopt DIR`"):
            call()

    (known,) = [each for each in back.roots() if each.here]
    assert (known.verified, known.forgotten_at is None) == (False, False)
    assert [each.place.partition(":")[2] for each in near.roots()] == [*far.settings.roots]


def test_a_running_process_hears_of_it_at_its_next_greeting_and_then_in_every_call(other, cat):
    ref = other.store(cat, scope="s")
    other.forget_root(root_of(other), even_here=True)
    assert other.resolve(ref) == cat
    other._speech.distrust_time()

    for call in (lambda: other.release_all("s"), lambda: other.resolve(ref), other.stats):
        with pytest.raises(InvalidRoot, match=r"was forgotten on"):
            call()


def test_doctor_says_that_a_root_here_was_forgotten(server_url, settings, tmp_path, cat):
    mine = replace(settings, redis_url=server_url)
    with MediaStore.from_settings(mine) as store:
        store.store(cat, scope="s")
        store.forget_root(root_of(store), even_here=True)

    finding = examine(mine)[-1]

    assert finding.state == "problem"
    assert "was forgotten on" in finding.detail
    assert f"mediastore roots adopt {settings.roots[0]}" in finding.advice


# --- stopped halfway


def test_a_forgetting_that_was_stopped_anywhere_is_finished_by_the_next(clients, tmp_path):
    for number in count():
        for after in (False, True):
            lab = Lab(clients, tmp_path / f"{number}{after}")
            process = lab.process()
            for name in range(40):
                process.store(lab.file(f"{name}.jpg", "four"), scope=f"s{name // 8}")
            live = process.store(lab.file("live.jpg", "four"), scope="live")
            for scope in range(5):
                process.release_all(f"s{scope}", wait=False)
            root, fuse = root_of(process), Fuse(at=number, after=after)
            with lab.fused(fuse) as operator:
                try:
                    operator.forget_root(root, even_here=True)
                except Crash:
                    pass
                else:
                    assert number >= 2
                    return

            done = process.forget_root(root, even_here=True)

            (known,) = process.roots()
            assert (known.lost, known.waiting, done.lost_blobs <= 40) == (40, 0, True)
            assert (known.blobs, live.id != "") == (1, True)
            assert len(lab.files()) == 41
            assert len(names_left(lab.root)) == 41


def stopped_halfway(lab, process):
    """Stop a forgetting after its first script, with more waiting than one script gives up."""
    for name in range(70):
        process.store(lab.file(f"{name}.jpg", "four"), scope=f"s{name // 8}")
    for scope in range(9):
        process.release_all(f"s{scope}", wait=False)
    with (
        lab.fused(Fuse(at=0, after=True)) as operator,
        pytest.raises(Crash, match="after forget"),
    ):
        operator.forget_root(root_of(process), even_here=True)
    return root_of(process)


def test_a_forgetting_that_was_stopped_is_finished_by_a_sweep_elsewhere(lab, clients, tmp_path):
    there = Lab(clients, tmp_path / "far")
    there.namespace = lab.namespace
    there.settings = replace(there.settings, namespace=lab.namespace)
    root = stopped_halfway(there, there.process())
    near = lab.process()
    (known,) = [each for each in near.roots() if each.root == root]
    assert (known.lost, known.waiting > 0) == (32, True)

    lost = []
    asked = near._ask

    def ask(step):
        answer = asked(step)
        if getattr(step, "script", "") == "forget":
            lab.pass_time(10)
            lost.append(answer.blobs)
        return answer

    near._ask = ask
    near.sweep(budget=5)
    assert lost == [32]  # its time was up
    near.sweep()
    assert lost == [32, 6]

    (known,) = [each for each in near.roots() if each.root == root]
    assert (known.lost, known.waiting, known.blobs) == (70, 0, 0)
    assert (near.stats().lost_blobs, near.stats().lost_bytes) == (70, 280)
    assert keys_left(lab.client, lab.namespace) == set()
    assert (len(there.files()), root in near.stats().roots) == (70, False)


def test_a_sweep_does_not_forget_a_root_that_was_adopted_meanwhile(lab, clients, tmp_path):
    there = Lab(clients, tmp_path / "far")
    there.namespace = lab.namespace
    there.settings = replace(there.settings, namespace=lab.namespace)
    root = stopped_halfway(there, there.process())
    near = lab.process()
    asked = near._ask

    def ask(step):
        if getattr(step, "script", "") == "forget":
            there.newcomer().adopt_root(there.root)
        return asked(step)

    near._ask = ask
    near.sweep()

    (known,) = [each for each in near.roots() if each.root == root]
    assert (known.lost, known.forgotten_at) == (32, None)
    there.settle()
    assert len(there.files()) == 32
