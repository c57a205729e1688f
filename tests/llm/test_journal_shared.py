"""One call for all who ask the same at once, whoever of them leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from exegete.errors import LLMUnavailable
from exegete.llm import Journal, Reply
from exegete.llm.journalled import Journalled
from exegete.llm.segments import Then
from tests.llm.fakes import FakeLLM, echo, reply, request


async def settle() -> None:
    """Let everything that can run without the disk run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_one_call_for_all_who_ask_at_once(tmp_path: Path) -> None:
    """Equal requests at once are one call, across models that share the journal; the others paid nothing."""

    async def run() -> None:
        fakes = [echo(), echo()]
        with Journal(tmp_path) as journal:
            llms = [Journalled(fake, journal) for fake in fakes]
            replies = await asyncio.gather(*(llms[n % 2].complete(request()) for n in range(10)))
            assert sum(len(fake.asked) for fake in fakes) == 1
            assert [one.journalled for one in replies] == [False] + [True] * 9
            assert {one.text for one in replies} == {"re: hello"}
            assert not journal.calls

    asyncio.run(run())


def shared_call(
    tmp_path: Path, check: Callable[[Journalled, FakeLLM, list[asyncio.Task[Reply]]], Awaitable[None]]
) -> None:
    """Run a check while three callers wait for one call."""

    async def run() -> None:
        fake = echo()
        fake.gate = asyncio.Event()
        with Journal(tmp_path) as journal:
            llm = Journalled(fake, journal)
            callers = [asyncio.create_task(llm.complete(request())) for _ in range(3)]
            await settle()
            await asyncio.wait_for(check(llm, fake, callers), 10)
            await settle()
            assert not journal.calls
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


@pytest.mark.parametrize("leaving", [[0], [1], [0, 1], [2, 0]])
def test_some_leave(tmp_path: Path, leaving: list[int]) -> None:
    """When callers of a shared call are cancelled, the first one too, the others get their reply."""

    async def check(llm: Journalled, fake: FakeLLM, callers: list[asyncio.Task[Reply]]) -> None:
        for number in leaving:
            callers[number].cancel()
        await settle()
        assert fake.gate is not None
        fake.gate.set()
        results = await asyncio.gather(*callers, return_exceptions=True)
        for number, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError if number in leaving else Reply)
        assert len(fake.asked) == 1

    shared_call(tmp_path, check)


def test_all_leave(tmp_path: Path) -> None:
    """When all callers leave, the call is cancelled; one who asks at that moment gets a call of their own."""

    async def check(llm: Journalled, fake: FakeLLM, callers: list[asyncio.Task[Reply]]) -> None:
        for caller in callers:
            caller.cancel()
        late = asyncio.create_task(llm.complete(request()))
        await settle()
        assert fake.under_way == 1
        assert fake.gate is not None
        fake.gate.set()
        assert (await late).text == "re: hello"
        assert len(fake.asked) == 2

    shared_call(tmp_path, check)


def test_failure_reaches_all(tmp_path: Path) -> None:
    """When a shared call fails, it fails for all who wait, and nobody hangs."""

    async def run() -> None:
        fake = FakeLLM([LLMUnavailable("down"), reply()])
        fake.gate = asyncio.Event()
        with Journal(tmp_path) as journal:
            llm = Journalled(fake, journal)
            callers = [asyncio.create_task(llm.complete(request())) for _ in range(3)]
            await settle()
            fake.gate.set()
            results = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 10)
            assert [str(one) for one in results] == ["down"] * 3
            assert (await llm.complete(request())).text == "ok"

    asyncio.run(run())


def test_cancelled_while_writing(tmp_path: Path) -> None:
    """A caller that leaves while its reply is being written does not lose it: it is in the journal."""

    async def run() -> None:
        fake = echo()
        with Journal(tmp_path) as journal:
            llm = Journalled(fake, journal)
            real = journal._segments.write  # reached into: the moment between reply and fsync has no outside

            def write(bodies: Sequence[bytes], then: Then) -> None:
                caller.cancel()
                real(bodies, then)

            journal._segments.write = write  # type: ignore[method-assign]
            caller = asyncio.create_task(llm.complete(request()))
            with pytest.raises(asyncio.CancelledError):
                await caller
            journal._segments.write = real  # type: ignore[method-assign]
            for _ in range(200):
                if len(journal):
                    break
                await asyncio.sleep(0.01)
            assert (await llm.complete(request())).journalled
            assert len(fake.asked) == 1

    asyncio.run(run())
