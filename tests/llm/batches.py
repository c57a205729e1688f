"""What the tests of batches share: models behind the provider server's batch APIs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exegete.llm import BatchLog, Budget, Journal, Prices, Reply, Request, parse
from exegete.llm.anthropic_batch import AnthropicBatches
from exegete.llm.batch import Batches
from exegete.llm.batching import Batched
from exegete.llm.journalled import Journalled
from exegete.llm.openai_batch import OpenAIBatches
from exegete.llm.prices import Price
from exegete.llm.record import records
from tests.llm.fakes import request
from tests.provider import ProviderServer

APIS = ("chat", "responses", "messages")
PRICES = Prices("v", [Price(match=("*",), input=2.0, output=10.0, batch=0.5)])
LINGER_S = 0.03


async def no_time(seconds: float) -> None:
    """Sleeps without taking any time."""
    await asyncio.sleep(0)


def batch_api(api: str, url: str) -> Batches:
    """The model "m" behind one of the server's batch APIs; "responses" takes a key in the environment."""
    if api == "chat":
        return OpenAIBatches(parse(f"openai:m@{url}/v1"))
    if api == "responses":
        return OpenAIBatches(parse("openai:m"), official_url=f"{url}/v1")
    return AnthropicBatches(parse(f"anthropic:m@{url}"))


def fresh(server: ProviderServer) -> ProviderServer:
    """A server as new."""
    server.asked.clear()
    server.ledger.clear()
    server.desk.clear()
    server.answer = lambda asked: f"re: {asked.text}"
    return server


@dataclass
class Opened:
    """A model over a journal and a log of batches."""

    batched: Batched
    llm: Journalled
    journal: Journal
    log: BatchLog
    name: str

    def asking(self, text: str, **options: Any) -> Request:
        """A request to it."""
        return request(text, model=self.name, **options)

    async def ask(self, *texts: str, **options: Any) -> list[Reply]:
        """Ask several things at once."""
        return list(
            await asyncio.gather(*(self.llm.complete(self.asking(text, **options)) for text in texts))
        )

    async def outcomes(self, *texts: str) -> list[Reply | BaseException]:
        """Likewise, failures as values."""
        calls = (self.llm.complete(self.asking(text)) for text in texts)
        return list(await asyncio.gather(*calls, return_exceptions=True))


@asynccontextmanager
async def opened(
    server: ProviderServer, api: str, folder: Path, *, budget: Budget | None = None, **options: Any
) -> AsyncIterator[Opened]:
    """A model that is asked in batches, and closed again."""
    with Journal(folder / "journal") as journal, BatchLog(folder / "batches") as log:
        defaults = {"prices": PRICES, "linger_s": LINGER_S, "sleep": no_time}
        api_ = batch_api(api, server.url)
        batched = Batched(api_, log=log, journal=journal, budget=budget, **(defaults | options))
        try:
            llm = Journalled(batched, journal)
            yield Opened(batched, llm, journal, log, str(api_.name))
        finally:
            await batched.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something in another thread has happened."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def billed(server: ProviderServer) -> Counter[str]:
    """How often each question was billed."""
    return Counter(entry["asked"] for entry in server.ledger)


def bill(server: ProviderServer) -> float:
    """What the server charges for all it has answered in batches, by PRICES."""
    return sum((e["input_tokens"] * 2.0 + e["output_tokens"] * 10.0) * 0.5 / 1e6 for e in server.ledger)


def journalled(folder: Path) -> Counter[str]:
    """How often each reply is in the journal, by key."""
    return Counter(record["key"] for record in records(folder / "journal"))


def texts(replies: Sequence[Reply]) -> list[str]:
    """What they say."""
    return [reply.text for reply in replies]
