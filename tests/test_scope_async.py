"""Scopes and cancellation: the release goes out whatever happens to its task, in bounded time, and nothing is swallowed."""

from __future__ import annotations

import asyncio
import time

import pytest

from .scope_fixtures import gate, gone, run, steps, where  # noqa: F401 - fixtures
from .waiting import LIMIT_S

# --- cancelled in the block


@pytest.mark.parametrize("after", [0, 1, 2, 4, 8, 16, 32, 64])
def test_a_block_that_is_cancelled_while_it_stores_leaves_no_live_ref(run, make_file, after):
    """Wherever the cancellation strikes: before the first file, in the middle of one, after the last."""
    files = [make_file(f"{number}.jpg") for number in range(20)]

    async def fill(store, entered):
        async with store.scope("s") as scope:
            entered.set()
            for path in files:
                await scope.store(path)
            await asyncio.sleep(60)

    async def main(store):
        await store.stats()
        entered = asyncio.Event()
        task = asyncio.create_task(fill(store, entered))
        await entered.wait()
        await steps(after)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await store.refs("s") == []

    run(main)


def test_a_cancelled_block_makes_the_cut_with_a_context_that_is_cancelled(run, cat):
    async def main(store):
        refs = []

        async def work():
            async with store.scope("s") as scope:
                refs.append(await scope.store(cat))
                asyncio.current_task().cancel()
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.wait([task])
        assert task.cancelled()
        assert await gone(store, *refs)
        assert cat.exists()
        assert (await store.sweep()).deleted == 1

    run(main)


def test_a_cancellation_that_nobody_has_felt_yet_is_felt_after_the_release(run, cat):
    """Cancelled in the block, which then ends without waiting for anything."""

    async def main(store):
        refs, after = [], []

        async def work():
            async with store.scope("s") as scope:
                refs.append(await scope.store(cat))
                asyncio.current_task().cancel()
            after.append("went on")

        task = asyncio.create_task(work())
        await asyncio.wait([task])
        assert (task.cancelled(), after) == (True, [])
        assert await gone(store, *refs)

    run(main)


def test_a_timeout_around_the_block_is_a_timeout(run, cat):
    async def main(store):
        with pytest.raises(TimeoutError):  # noqa: PT012 - the block is meant
            async with asyncio.timeout(0.2), store.scope("s") as scope:
                ref = await scope.store(cat)
                await asyncio.sleep(60)
        assert asyncio.current_task().cancelling() == 0
        assert await gone(store, ref)

    run(main)


def test_a_timeout_inside_the_block_is_an_error_like_any_other(run, cat):
    async def main(store):
        with pytest.raises(TimeoutError):  # noqa: PT012 - the block is meant
            async with store.scope("s") as scope, asyncio.timeout(0.2):
                ref = await scope.store(cat)
                await asyncio.sleep(60)
        assert await gone(store, ref)
        assert not cat.exists()

    run(main)


def test_a_failing_sibling_releases_the_scopes_of_the_others(run, make_file):
    async def main(store):
        refs = []
        all_stored = asyncio.Event()

        async def work(number):
            async with store.scope(f"s{number}") as scope:
                refs.append(await scope.store(make_file(f"{number}.jpg")))
                if len(refs) == 3:
                    all_stored.set()
                await all_stored.wait()
                if number == 2:
                    raise ValueError("mine")
                await asyncio.sleep(60)

        async def group_of_three():
            async with asyncio.TaskGroup() as group:
                for number in range(3):
                    group.create_task(work(number))

        with pytest.raises(ExceptionGroup) as caught:
            await group_of_three()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert await gone(store, *refs)

    run(main)


# --- cancelled in the release


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_cancellation_in_the_release_is_honoured_after_it(run, cat, gate, times):
    async def main(store):
        refs, after = [], []

        async def work():
            async with store.scope("s") as scope:
                refs.append(await scope.store(cat))
            after.append("went on")

        task = asyncio.create_task(work())
        await gate.reached.wait()
        for _ in range(times):
            task.cancel()
            await steps(3)
        assert not task.done()
        assert await store.resolve(refs[0])
        gate.open.set()
        await asyncio.wait([task])
        assert (task.cancelled(), task.cancelling(), after) == (True, times, [])
        assert await gone(store, *refs)
        assert gate.waits == [True]

    run(main)


def test_a_second_cancellation_does_not_stop_the_cut_of_the_first(run, cat, gate):
    async def main(store):
        refs, stored = [], asyncio.Event()

        async def work():
            async with store.scope("s") as scope:
                refs.append(await scope.store(cat))
                stored.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await stored.wait()
        task.cancel()
        await gate.reached.wait()
        task.cancel()
        await steps(3)
        assert not task.done()
        gate.open.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await gone(store, *refs)
        assert gate.waits == [False]

    run(main)


def test_a_timeout_that_ends_in_the_release_is_a_timeout(run, cat, gate):
    async def main(store):
        with pytest.raises(TimeoutError):  # noqa: PT012 - the block is meant
            async with asyncio.timeout(None) as limit, store.scope("s") as scope:
                ref = await scope.store(cat)
                limit.reschedule(asyncio.get_running_loop().time() + 0.2)
                asyncio.get_running_loop().call_later(0.4, gate.open.set)
        assert asyncio.current_task().cancelling() == 0
        assert await gone(store, ref)

    run(main)


def test_a_cancellation_in_the_release_after_an_error_wins(run, cat, gate):
    """As for every await in a `finally`: the task was cancelled, and the error is its context."""

    async def main(store):
        caught = []

        async def work():
            try:
                async with store.scope("s") as scope:
                    await scope.store(cat)
                    raise ValueError("mine")
            except asyncio.CancelledError as stop:
                caught.append(stop.__context__)
                raise

        task = asyncio.create_task(work())
        await gate.reached.wait()
        task.cancel()
        gate.open.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert [type(error) for error in caught] == [ValueError]

    run(main)


def test_an_exit_of_the_program_is_not_lost_to_a_cancellation_in_the_release(run, cat, gate):
    async def main(store):
        async def work():
            async with store.scope("s"):
                raise SystemExit(3)

        task = asyncio.create_task(work())
        await gate.reached.wait()
        task.cancel()
        await steps(3)
        gate.open.set()
        await asyncio.wait([task])

    with pytest.raises(SystemExit) as caught:
        run(main)

    assert caught.value.code == 3


@pytest.mark.parametrize("when", ["in the block", "in the release"])
def test_once_cancelled_a_release_that_does_not_end_is_left_after_the_timeout(
    run, gate, caplog, when
):
    async def main(store):
        async def work():
            async with store.scope("chat:42"):
                if when == "in the block":
                    asyncio.current_task().cancel()
                    await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await gate.reached.wait()
        began = time.monotonic()
        if when == "in the release":
            task.cancel()
        await asyncio.wait([task], timeout=LIMIT_S)
        assert time.monotonic() - began >= 0.25
        assert task.cancelled()
        await steps(10)
        assert asyncio.all_tasks() == {asyncio.current_task()}  # the release was given up, too

    run(main, timeout=0.3)

    (record,) = [each for each in caplog.records if each.name == "mediastore"]
    assert "release of scope 'chat:42' failed: it did not end within 0.3 s" in record.getMessage()


def test_a_storm_of_cancellations_does_not_keep_a_block_for_ever(run, gate):
    """Some frameworks cancel at every turn of the loop until the task has ended."""

    async def main(store):
        async def work():
            async with store.scope("s"):
                pass

        task = asyncio.create_task(work())
        await gate.reached.wait()
        began = time.monotonic()
        while not task.done() and time.monotonic() - began < LIMIT_S:
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()

    run(main, timeout=0.3)
