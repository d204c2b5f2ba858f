"""The thread that renews leases, alone: a callable answers for the server, and nothing else is there."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from mediastore.clocks import elapsed_s
from mediastore.errors import Corrupt, IndexUnavailable

from .lease_fixtures import in_child
from .renewer_fixtures import Server, Waited, renewing, term
from .waiting import until


def raising(error):
    def answer(_):
        raise error

    return answer


# --- when


def test_a_lease_is_renewed_at_a_third_of_its_ttl():
    clock = Waited()
    lease = term("a", 0.9, clock=clock)
    asked = []

    def at(_):
        asked.append(clock.now_s)
        return 1

    with renewing(Server(at), lease, clock=clock):
        until(lambda: len(asked) >= 3)

    assert [round(each, 2) for each in asked[:3]] == [0.3, 0.6, 0.9]
    assert not lease.lost


def test_one_call_serves_all_leases_of_which_a_sixth_has_passed():
    due, ripe, young = term("due", 30, age_s=11), term("ripe", 30, age_s=6), term("young", 30)

    with renewing(server := Server(), young, ripe, due):
        until(lambda: server.calls)

    assert server.calls == [["ripe", "due"]]


def test_many_leases_of_one_length_settle_on_one_call_an_interval():
    clock = Waited()
    leases = [term(str(number), 1.2, age_s=number / 100, clock=clock) for number in range(20)]

    with renewing(server := Server(), *leases, clock=clock):
        until(lambda: len(server.calls_of("0")) >= 4)

    assert all(len(call) == 20 for call in server.calls[1:])
    assert not any(lease.lost for lease in leases)


def test_a_short_lease_added_to_long_ones_is_not_late():
    with renewing(server := Server(), term("long", 3600)) as renewer:
        until(lambda: renewer.running)
        short = term("short", 9, age_s=2.9)  # due now, and good for long enough on a slow machine
        renewer.add(short)
        until(lambda: server.calls)

    assert not short.lost
    assert server.calls_of("long") == []


def test_a_renewed_lease_counts_from_the_moment_the_call_was_sent():
    """The answer may have been under way for long; the server counted from before."""
    sent, later = threading.Event(), threading.Event()

    def slow(taken):
        sent.set()
        assert later.wait(5)
        return 1

    lease = term("a", 30, age_s=11)
    with renewing(Server(slow), lease):
        assert sent.wait(5)
        asked = elapsed_s()
        until(lambda: elapsed_s() > asked)
        later.set()
        until(lambda: lease.taken.until_ms == 1)

    assert asked + 29 < lease._until_s <= asked + 30


def test_nothing_is_renewed_that_cannot_be_made_longer():
    clock = Waited()
    lease = term("a", 0.6, longest_s=0.6, clock=clock)

    with renewing(server := Server(), lease, clock=clock) as renewer:
        until(lambda: not renewer.running)

    assert server.calls == []
    assert lease.lost


def test_renewals_never_go_beyond_the_longest_time():
    clock = Waited()
    lease = term("a", 0.9, longest_s=1.6, clock=clock)

    with renewing(server := Server(), lease, clock=clock) as renewer:
        until(lambda: not renewer.running)

    assert lease.lost
    assert 1 <= len(server.calls) <= 8
    assert clock.now_s - lease._last_s < 0.5


# --- the thread


def test_the_thread_comes_with_the_first_lease_and_goes_with_the_last():
    lease, other = term("a", 30), term("b", 30)
    with renewing(Server()) as renewer:
        assert not renewer.running

        renewer.add(lease)
        renewer.add(other)
        renewer.drop(lease)
        assert renewer.running
        renewer.drop(other)
        until(lambda: not renewer.running)

        renewer.add(term("c", 30))
        assert renewer.running


def renewers():
    """Return the threads that renew, those of stores which other tests have left among them."""
    return [each for each in threading.enumerate() if each.name == "mediastore-renewer"]


def test_there_is_one_thread_and_it_holds_no_process_up():
    before = renewers()
    with renewing(Server(), *(term(str(n), 30) for n in range(10))):
        threads = [each for each in renewers() if each not in before]

    assert len(threads) == 1
    assert threads[0].daemon


def test_a_lease_that_is_given_up_without_a_word_is_not_renewed():
    """Finalizers cannot take locks: they set a flag, and the thread looks at it."""
    lease = term("a", 0.6)

    with renewing(server := Server(), lease) as renewer:
        lease.over = True
        until(lambda: not renewer.running)

    assert server.calls == []
    assert not lease.lost


def test_what_is_stopped_renews_nothing_and_can_begin_anew():
    lease = term("a", 0.9)
    with renewing(server := Server(), lease) as renewer:
        until(lambda: server.calls)
        renewer.stop()
        calls = len(server.calls)
        until(lambda: lease.lost)

        renewer.add(term("b", 0.9))
        until(lambda: server.calls_of("b"))

    assert len(server.calls_of("a")) == calls


def test_a_call_that_hangs_over_a_stop_does_not_make_two_threads():
    entered, go_on = threading.Event(), threading.Event()

    def hang(_):
        entered.set()
        go_on.wait(10)
        return 1

    server, before = Server(hang), renewers()
    with renewing(server, term("a", 30, age_s=11)) as renewer:
        assert entered.wait(5)
        renewer.stop(timeout_s=0.01)
        renewer.add(term("b", 60))
        go_on.set()
        until(lambda: len([each for each in renewers() if each not in before]) == 1)

        assert renewer.running


# --- trouble


@pytest.mark.parametrize("error", [IndexUnavailable("away"), ValueError("odd"), SystemExit()])
def test_no_error_ends_the_thread(error, caplog):
    clock = Waited()
    lease = term("a", 30, clock=clock)

    def answer(_):
        if len(server.calls) < 4:
            raise error
        return 1

    with renewing(server := Server(answer), lease, clock=clock):
        until(lambda: lease.taken.until_ms == 1)

    assert not lease.lost
    told = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(told) == 1
    assert lease.taken.ref not in caplog.text


def test_a_lease_is_tried_until_its_own_deadline_and_then_lost_for_ever():
    server = Server(raising(IndexUnavailable("away")))
    short, long = term("short", 0.9), term("long", 6.0, age_s=2.0)

    with renewing(server, short, long):
        until(lambda: short.lost)
        server.answer = lambda taken: int(time.time() * 1000) + 60_000
        until(lambda: long.taken.until_ms)

    assert len(server.calls_of("short")) >= 2
    assert short.lost == "it was not renewed before its deadline"
    assert not long.lost
    assert "short" not in server.calls[-1]
    short.renewed(elapsed_s(), int(time.time() * 1000) + 60_000)
    assert short.lost
    assert short.taken.until_ms == 0


def test_a_lease_the_server_has_let_go_is_lost_and_the_others_stay():
    server = Server(lambda taken: None if taken.token == "gone" else 1)
    clock = Waited()
    gone, here = term("gone", 0.9, clock=clock), term("here", 0.9, clock=clock)

    with renewing(server, gone, here, clock=clock):
        until(lambda: gone.lost)
        until(lambda: len(server.calls_of("here")) >= 2)

    assert gone.lost == "it had lapsed on the server"
    assert not here.lost
    assert len(server.calls_of("gone")) == 1


def test_an_answer_that_comes_after_the_deadline_saves_nothing():
    """Whoever asked meanwhile was told that it is lost; it cannot be otherwise for the next."""

    now = [0.0]

    def late(taken):
        now[0] += 60.0
        return 1

    lease = term("a", 30, age_s=11, clock=lambda: now[0])
    with renewing(server := Server(late), lease, clock=lambda: now[0]) as renewer:
        until(lambda: not renewer.running)

    assert server.calls == [["a"]]
    assert lease.lost
    assert lease.taken.until_ms == 0


def test_a_wrong_number_of_answers_renews_nobody():
    """Nobody knows whom they were meant for."""
    clock = Waited()
    lease, other = term("a", 0.6, clock=clock), term("b", 0.6, clock=clock)

    with renewing(lambda terms: [1], lease, other, clock=clock):
        until(lambda: other.lost)

    assert lease.lost


def test_an_ended_lease_is_not_lost_by_an_answer_that_comes_later():
    lease = term("a", 30)

    lease.over = True
    lease.renewed(elapsed_s(), None)

    assert not lease.lost


def test_a_renewal_never_shortens():
    lease = term("a", 30)
    before = lease._until_s

    lease.renewed(elapsed_s() - 20, 1)

    assert lease._until_s == before


def test_the_time_a_host_is_suspended_counts():
    """The clock jumps, and no waiting has told the thread."""
    passed = [0.0]
    lease = term("a", 30, clock=lambda: elapsed_s() + passed[0])

    passed[0] = 31.0

    assert lease.lost == "it was not renewed before its deadline"
    passed[0] = 0.0
    assert lease.lost


# --- forks


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_renews_nothing_of_its_parent_and_may_have_leases_of_its_own():
    lease = term("parents", 1.2)
    server = Server()

    def child():
        own = term("young", 0.9)
        before = len(server.calls_of("parents"))
        assert not renewer.running
        renewer.add(own)
        until(lambda: len(server.calls_of("young")) >= 2)
        return len(server.calls_of("parents")) == before and own.mine and not lease.mine

    with renewing(server, lease) as renewer:
        until(lambda: server.calls)

        assert in_child(child)

        assert not lease.lost
        assert lease.mine
        assert server.calls_of("young") == []


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_lock_held_across_a_fork_hangs_no_child():
    with renewing(Server(), term("a", 30)) as renewer, renewer._watch().wake:
        assert in_child(lambda: renewer.add(term("b", 30)) or renewer.running)


def test_a_lease_that_could_not_be_renewed_is_not_asked_for_again_at_once():
    server = Server(lambda taken: IndexUnavailable("away") if taken.token == "bad" else 2**60)
    good, bad = (term(name, 30, age_s=11, clock=lambda: 100.0) for name in ("good", "bad"))

    with renewing(server, bad, clock=lambda: 100.0) as renewer:
        until(lambda: server.calls_of("bad"))
        renewer.add(good)
        until(lambda: server.calls_of("good"))

    assert len(server.calls_of("bad")) == 1


def test_an_error_of_one_lease_is_its_own(caplog):
    clock = Waited()
    good, bad = term("good", 0.9, clock=clock), term("bad", 0.9, clock=clock)
    server = Server(lambda taken: Corrupt("foreign") if taken.token == "bad" else 2**60)

    with renewing(server, good, bad, clock=clock):
        # Its error, and its loss.
        until(lambda: [each.levelname for each in caplog.records].count("WARNING") == 2)
        held = not good.lost

    assert bad.lost
    assert held
