"""Scopes of loops that end, of servers that are gone, of tasks and threads of others: how asyncio leaves a block."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mediastore import AsyncMediaStore, MediaStore
from mediastore.embedded import EmbeddedServer, find_engine
from mediastore.errors import IndexUnavailable, RefGone

from .scope_fixtures import gate, gone, run, steps, where  # noqa: F401 - fixtures
from .waiting import LIMIT_S

HERE = Path(__file__).parent.parent


# --- loops that end


def test_a_loop_that_ends_in_the_middle_of_a_release_still_makes_the_cut(where, cat, gate):
    """`asyncio.run` ends by cancelling every task, also the one that releases."""
    refs = []

    async def work():
        async with AsyncMediaStore(None, where) as store, store.scope("s") as scope:
            refs.append(await scope.store(cat))

    async def main():
        task = asyncio.create_task(work())
        await gate.reached.wait()
        gate.open.set()
        return task  # and the loop ends, before anybody has gone on

    task = asyncio.run(main())

    assert task.cancelled()
    assert gate.waits == [True, False]
    with MediaStore(None, where) as elsewhere, pytest.raises(RefGone):
        elsewhere.resolve(refs[0])


def test_a_background_task_that_ends_with_its_loop_makes_the_cut(where, cat):
    refs, stored = [], asyncio.Event()

    async def work():
        async with AsyncMediaStore(None, where) as store, store.scope("s") as scope:
            refs.append(await scope.store(cat))
            stored.set()
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(work())
        await stored.wait()
        return task

    asyncio.run(main())

    with MediaStore(None, where) as elsewhere, pytest.raises(RefGone):
        elsewhere.resolve(refs[0])


def test_a_block_that_is_cleared_away_after_its_loop_says_so(where, caplog):
    async def work(store):
        async with store.scope("chat:42"):
            await asyncio.get_running_loop().create_future()

    task = work(AsyncMediaStore(None, where))
    loop = asyncio.new_event_loop()
    loop.call_soon(lambda: task.send(None))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    task.close()

    (record,) = [each for each in caplog.records if each.name == "mediastore"]
    assert record.levelno == logging.WARNING
    assert "scope 'chat:42' failed: no running event loop" in record.getMessage()


#: Tests that run in the background of a shell have SIGINT ignored, and their children inherit that.
#: Where it hangs, if it does, it says itself.
PROGRAM = """
import asyncio, faulthandler, signal, sys
from mediastore import AsyncMediaStore

signal.signal(signal.SIGINT, signal.default_int_handler)
faulthandler.dump_traceback_later(15)

async def main():
    async with AsyncMediaStore.from_url(sys.argv[1], namespace=sys.argv[2], roots=[sys.argv[3]]) as store:
        async with store.scope("s") as scope:
            print(await scope.store(sys.argv[4]), flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


def test_ctrl_c_makes_the_cut(where, cat):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, where.redis_url, where.namespace, where.roots[0], str(cat)],
        cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        ref = program.stdout.readline().strip()
        with MediaStore(None, where) as elsewhere:
            assert elsewhere.resolve(ref) == cat

            program.send_signal(signal.SIGINT)
            try:
                _, said = program.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired as late:
                pytest.fail(f"it does not end: {late.stderr!r}")

            assert "KeyboardInterrupt" in said
            assert "never awaited" not in said
            assert "destroyed" not in said
            assert program.returncode in {1, 130, -signal.SIGINT}
            with pytest.raises(RefGone):
                elsewhere.resolve(ref)
    finally:
        program.kill()
        program.communicate()


def test_an_async_generator_that_is_closed_elsewhere_releases_and_leaves_its_scope(run, cat):
    async def main(store):

        async def refs():
            async with store.scope("generator") as scope:
                yield await scope.store(cat)
                yield "never"

        made = refs()
        ref = await anext(made)
        assert store.current_scope().name == "generator"
        await asyncio.create_task(made.aclose())
        assert store.current_scope() is None
        assert await gone(store, ref)

    run(main)


def test_a_cancellation_while_a_generator_is_closed_is_not_swallowed(run, gate):
    async def main(store):

        async def stream():
            async with store.scope("s"):
                yield 1

        made, after = stream(), []
        await anext(made)

        async def close():
            await made.aclose()
            after.append("went on")

        task = asyncio.create_task(close())
        await gate.reached.wait()
        task.cancel()
        await steps(3)
        gate.open.set()
        await asyncio.wait([task])
        assert (task.cancelled(), after) == (True, [])

    run(main)


@pytest.mark.filterwarnings("ignore:.* was scheduled after loop.shutdown_asyncgens:ResourceWarning")
def test_a_generator_that_nobody_finished_is_released_when_its_loop_ends(where, cat):
    kept = []

    async def refs():
        async with AsyncMediaStore(None, where) as store, store.scope("s") as scope:
            yield await scope.store(cat)

    async def main():
        made = refs()
        kept.append((made, await anext(made)))

    asyncio.run(main())

    with MediaStore(None, where) as elsewhere, pytest.raises(RefGone):
        elsewhere.resolve(kept[0][1])


# --- the server is gone


@pytest.fixture
def doomed(tmp_path):
    """Give a real server that a test may end."""
    if find_engine() is None:
        pytest.skip("a server that is not ours cannot be ended")
    with EmbeddedServer(tmp_path / "server") as server:
        yield server


@pytest.mark.parametrize("how", ["normally", "cancelled", "failing"])
def test_a_server_that_is_gone_at_the_end_is_told_honestly_and_soon(run, doomed, cat, how, caplog):
    async def work(store, stored):
        async with store.scope("s") as scope:
            await scope.store(cat)
            await asyncio.to_thread(doomed.stop)
            stored.set()
            if how == "cancelled":
                await asyncio.sleep(60)
            if how == "failing":
                raise ValueError("mine")

    async def main(store):
        stored = asyncio.Event()
        task = asyncio.create_task(work(store, stored))
        await stored.wait()
        if how == "cancelled":
            task.cancel()
        await asyncio.wait([task], timeout=LIMIT_S)
        assert task.done()
        return task

    task = run(main, redis_url=doomed.url)

    assert task.cancelled() == (how == "cancelled")
    if how == "normally":
        assert isinstance(task.exception(), IndexUnavailable)
        return
    assert how == "cancelled" or isinstance(task.exception(), ValueError)
    assert "the release of scope 's' failed: " in caplog.text


# --- where one is


def test_tasks_and_threads_of_a_pool_begin_in_the_scopes_of_their_parent(run):
    async def main(store):
        async with store.scope("parent") as parent:
            seen = []

            async def child():
                assert store.current_scope() is parent
                async with store.scope("child") as own:
                    await steps(3)
                    assert store.current_scope() is own

            await asyncio.gather(child(), child())
            assert store.current_scope() is parent
            assert await asyncio.to_thread(store.current_scope) is parent
            thread = threading.Thread(target=lambda: seen.append(store.current_scope()))
            thread.start()
            await asyncio.to_thread(thread.join, 10)
            assert seen == [None]

    run(main)


def test_a_task_that_outlives_the_block_is_in_no_scope_that_was_released(run, cat):
    async def main(store):
        async with store.scope("outer") as outer:
            left = asyncio.Event()

            async def child():
                await left.wait()
                return store.current_scope(), (await store.get(await store.store(cat))).scope

            async with store.scope("inner"):
                task = asyncio.create_task(child())
                await steps(3)
            left.set()
            assert await task == (outer, "outer")

    run(main)


def test_one_object_is_entered_by_one_task_at_a_time(run):
    async def main(store):
        scope = store.scope("s")
        entered = []

        async def enter():
            with contextlib.suppress(ValueError):
                async with scope:
                    entered.append(1)
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(enter() for _ in range(5)))
        assert entered == [1]
        await enter()
        assert entered == [1, 1]

    run(main)
