"""Waits that are ended from another thread, and from the loop's own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from exegete.llm.bell import Bell


def test_each_wait_ends_as_it_was_told() -> None:
    """Waits ended by several threads at once end with their own error or none; a cancelled one stays so."""

    async def run() -> None:
        bell, loop = Bell(), asyncio.get_running_loop()
        waits = [loop.create_future() for _ in range(300)]
        waits[7].cancel()
        errors = [ValueError(str(n)) if n % 3 == 0 else None for n in range(300)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(bell.end, waits, errors))
            outcomes = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 10)
        assert isinstance(outcomes.pop(7), asyncio.CancelledError)
        assert outcomes == errors[:7] + errors[8:]

    asyncio.run(run())


def test_woken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many waits end before the loop comes to look, it is woken once; after that, again."""

    async def run() -> None:
        bell, loop, woken = Bell(), asyncio.get_running_loop(), []
        real = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *a: (woken.append(1), real(*a))[1])
        for times in (1, 2):
            waits = [loop.create_future() for _ in range(20)]
            with ThreadPoolExecutor(1) as thread:
                for wait in waits:
                    thread.submit(bell.end, wait, None).result()
            await asyncio.wait_for(asyncio.gather(*waits), 10)
            assert len(woken) == times

    asyncio.run(run())


def test_a_loop_that_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that is ended in its own loop is over at once, with its error or none, and nobody is woken."""

    async def run() -> None:
        bell, loop = Bell(), asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_soon_threadsafe", None)
        done, failed, left = (loop.create_future() for _ in range(3))
        left.cancel()
        for wait, error in ((done, None), (failed, ValueError("no")), (left, None)):
            bell.end(wait, error)
        assert done.done()
        assert isinstance(failed.exception(), ValueError)
        assert left.cancelled()

    asyncio.run(run())


def test_a_loop_that_is_gone() -> None:
    """A wait of a closed loop ends nothing and breaks nothing; waits of the next loop end."""
    bell = Bell()

    async def waiting() -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    async def again() -> None:
        wait = await waiting()
        bell.end(wait, None)
        await asyncio.wait_for(wait, 10)

    bell.end(asyncio.run(waiting()), None)
    asyncio.run(again())
