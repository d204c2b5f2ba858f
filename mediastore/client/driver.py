"""How a flow is driven: `next`, perform the step, `send` its answer or `throw` its error; blocking, and for asyncio."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from mediastore import blobs
from mediastore.blobs import drafting
from mediastore.blobs.sources import agathered, gathered
from mediastore.connection import AsyncLink, Link, connect, connect_async
from mediastore.errors import StaleCommand
from mediastore.flows.context import Flow
from mediastore.index.steps import Batch, Command, Read
from mediastore.speech import Step

from .base import BaseStore, judged, not_stale, to_say_again

T = TypeVar("T")


class Driver(BaseStore):
    """Drives flows and waits for each step."""

    _link: Link | None = None

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._perform(step)
                except Exception as error:  # noqa: BLE001 - the flow decides what an error means
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def _perform(self, step: Any) -> Any:
        if isinstance(step, Command | Batch | Read):
            return self._ask(step)
        if isinstance(step, blobs.Elapsed):
            return time.monotonic()
        if isinstance(step, blobs.Pause):
            return time.sleep(step.seconds)
        if isinstance(step, drafting.Peek):
            return step.source.head()
        if isinstance(step, drafting.Draw):
            return gathered(step.source, step.size)
        if isinstance(step, drafting.Guard):
            return self._guard(step.taken)
        return self._blobs.perform(step)

    def _ask(self, step: Step) -> Any:
        if self._link is None:
            self._client = self._client or connect(self.settings)
            self._link = Link(self._client, self._speech)
        if self._speech.must_open(step):
            with judged(refused=True):
                self._greet(self._link, rooted=not step.unrooted)
        try:
            return not_stale(self._link.perform(step))
        except StaleCommand as stale:
            # Our idea of the server's clock was wrong: learn it and say the same once more, with the same ids.
            again = to_say_again(step, stale)
            with judged(refused=not again):
                self._greet(self._link, rooted=not step.unrooted)
            return self._link.perform(step, again=again)

    def _greet(self, link: Link, *, rooted: bool) -> None:
        roots = self._blobs.perform(blobs.Roots()) if rooted else None
        opened = link.perform(self._greeting(roots or {}))
        self._speech.heard(opened, roots)
        news = self._clock_news(opened)
        if news is not None:
            link.perform(news)
            self._speech.distrust_time()

    def _hang_up(self) -> None:
        """Close the connections this store made; a later call opens new ones."""
        if self._link is not None and not self._given:
            self._link.close()
        self._link = None


class AsyncDriver(BaseStore):
    """Drives flows on the running event loop: Redis natively, files in threads."""

    _awaits = True
    _link: AsyncLink | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    async def _run(self, flow: Flow[T]) -> T:
        task = asyncio.current_task()
        asked = task.cancelling() if task else 0
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._perform(step)
                except Exception as error:  # noqa: BLE001 - the flow decides what an error means
                    _heed(task, asked)
                    step = flow.throw(error)
                else:
                    _heed(task, asked)
                    step = flow.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    async def _perform(self, step: Any) -> Any:
        if isinstance(step, Command | Batch | Read):
            return await self._ask(step)
        if isinstance(step, blobs.Elapsed):
            return time.monotonic()
        if isinstance(step, blobs.Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, drafting.Guard):
            return self._guard(step.taken)
        if isinstance(step, drafting.Peek):
            source = step.source
            return await (source.ahead() if source.async_ else asyncio.to_thread(source.head))
        if isinstance(step, drafting.Draw):
            source = step.source
            if source.async_:
                return await agathered(source, step.size)
            return await asyncio.to_thread(gathered, source, step.size)
        return await asyncio.to_thread(self._blobs.perform, step)

    async def _ask(self, step: Step) -> Any:
        link = self._linked()
        if self._speech.must_open(step):
            with judged(refused=True):
                await self._greet(link, rooted=not step.unrooted)
        try:
            return not_stale(await link.perform(step))
        except StaleCommand as stale:
            # Our idea of the server's clock was wrong: learn it and say the same once more, with the same ids.
            again = to_say_again(step, stale)
            with judged(refused=not again):
                await self._greet(link, rooted=not step.unrooted)
            return await link.perform(step, again=again)

    def _linked(self) -> AsyncLink:
        """Return the link of this event loop; connections of another loop cannot be used."""
        loop = asyncio.get_running_loop()
        if not self._given and self._loop is not loop:
            self._client, self._link = connect_async(self.settings), None
        self._loop = loop
        if self._link is None:
            self._link = AsyncLink(self._client, self._speech)
        return self._link

    async def _greet(self, link: AsyncLink, *, rooted: bool) -> None:
        roots = await asyncio.to_thread(self._blobs.perform, blobs.Roots()) if rooted else None
        opened = await link.perform(self._greeting(roots or {}))
        self._speech.heard(opened, roots)
        news = self._clock_news(opened)
        if news is not None:
            await link.perform(news)
            self._speech.distrust_time()


def _heed(task: asyncio.Task[Any] | None, asked: int) -> None:
    """Raise a cancellation that was swallowed: until Python 3.12, asyncio.wait_for does, with which redis-py sends."""
    if task is not None and task.cancelling() > asked:
        raise asyncio.CancelledError
