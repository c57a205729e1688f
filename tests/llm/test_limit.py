"""At most so many calls at once."""

from __future__ import annotations

import asyncio

import pytest

from exegete.errors import LLMUnavailable, UsageError
from exegete.llm.limit import Limited
from tests.llm.fakes import FakeLLM, reply, request


@pytest.mark.parametrize("concurrency", [1, 3])
def test_limit(concurrency: int) -> None:
    """As many calls as allowed run together, never more, and all are answered."""
    fake = FakeLLM(lambda asked: reply(asked.messages[0].text))

    async def run() -> list[str]:
        limited = Limited(fake, concurrency)
        replies = await asyncio.gather(*(limited.complete(request(str(n))) for n in range(10)))
        await limited.close()
        return [one.text for one in replies]

    assert asyncio.run(run()) == [str(n) for n in range(10)]
    assert fake.peak == concurrency
    assert fake.closed == 1


def test_failures_and_cancellations_free_their_slot() -> None:
    """A call that fails or is cancelled makes room for the next."""

    async def run() -> str:
        fake = FakeLLM([LLMUnavailable("no"), reply("cancelled"), reply("third")])
        limited = Limited(fake, 1)
        with pytest.raises(LLMUnavailable):
            await limited.complete(request())
        fake.gate = asyncio.Event()
        second = asyncio.create_task(limited.complete(request()))
        await asyncio.sleep(0)
        second.cancel()
        fake.gate.set()
        return (await asyncio.wait_for(limited.complete(request()), 5)).text

    assert asyncio.run(run()) == "third"


def test_no_concurrency() -> None:
    """Fewer than one call at once is wrong use."""
    with pytest.raises(UsageError, match="at least 1"):
        Limited(FakeLLM([]), 0)
