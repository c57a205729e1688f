"""Our books equal the server's bill: over cached, repeated, retried, failed and ambiguous calls."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from exegete.errors import LLMError
from exegete.llm import Budget, Journal, Reply, ambiguous_calls, open_llm
from exegete.llm.anthropic import read_message
from exegete.llm.lines import seal
from exegete.llm.meter import Metered, Spent
from exegete.llm.openai import read_chat, read_response
from exegete.llm.prices import Price, Prices
from exegete.llm.record import line_of, record_of, records
from tests.llm.fakes import reply, request
from tests.provider import Act, Asked, ProviderServer, Said

PRICES = Prices("2026-11-21", [Price(match=("*",), input=2.0, cached_input=0.2, output=10.0)])


def answer(asked: Asked) -> Said:
    """A reply whose length and cached share are a function of the question."""
    n = int(asked.text.split()[0])
    return Said("y" * (n % 97 * 4), cached_tokens=n % 7, finish="length" if n % 11 == 0 else "stop")


def question(n: int) -> str:
    """One of many questions, longer than what of it is cached."""
    return f"{n} and some more words to ask"


def bill(server: ProviderServer) -> float:
    """What the server would charge, USD, by its own ledger."""
    return (
        sum(
            (e["input_tokens"] - e["cached_tokens"]) * 2.0
            + e["cached_tokens"] * 0.2
            + e["output_tokens"] * 10.0
            for e in server.ledger
        )
        / 1e6
    )


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_the_books_balance(api: str, tmp_path: Path) -> None:
    """Two sittings with repeats, 429s, 5xx and lost connections: journal, meter, budget and bill agree.

    What is ambiguous is in no reply: the bill has it, the budget has it at its most, and it is counted.
    """
    dice = random.Random(api)
    with ProviderServer(answer, delay_s=0.002) as server:
        name = f"{api}:m@{server.url}" + ("/v1" if api == "openai" else "")
        acts = [Act()] * 60
        acts += [Act(status=status, headers={"retry-after-ms": "1"}) for status in (429, 500, 503, 529) * 4]
        acts += [Act(status=400), Act(cut="before"), Act(cut="before")]
        acts += [Act(cut="after"), Act(cut="mid-body"), Act(cut="gzip")]
        dice.shuffle(acts)
        server.acts += acts
        spent, budget, ambiguous = Spent(), Budget(usd=100.0), 0

        async def sitting(numbers: list[int]) -> int:
            with Journal(tmp_path) as journal:
                llm = open_llm(name, journal=journal, concurrency=8, prices=PRICES, budget=budget)
                metered = Metered(llm, {}, spent)
                calls = (metered.complete(request(question(n), model=name, max_tokens=400)) for n in numbers)
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(one, LLMError | Reply) for one in outcomes)
                await llm.close()
                return ambiguous_calls(llm)

        for numbers in ([*range(80), *range(40)], [*range(20, 140)]):
            ambiguous += asyncio.run(sitting(numbers))

    stored = [record["reply"] for record in records(tmp_path)]
    journalled = sum(one["usd"] for one in stored)
    assert {one["prices"] for one in stored} == {"2026-11-21"}
    assert spent.usd == pytest.approx(journalled, rel=1e-9)
    assert (spent.calls, spent.unpriced) == (len(stored), 0)
    assert ambiguous == budget.ambiguous >= 5  # after, mid-body, gzip, and two that the model never saw
    lost = len(server.ledger) - len(stored)
    assert lost == 3
    replied = bill(server) - journalled
    assert 0 <= replied <= budget.spent_usd - journalled  # the three lost replies, at most as budgeted
    assert bill(server) <= budget.spent_usd


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_equal_without_losses(api: str, tmp_path: Path) -> None:
    """With refusals and failures but no lost reply, all of our books equal the bill to the last digit."""
    with ProviderServer(answer) as server:
        name = f"{api}:m@{server.url}" + ("/v1" if api == "openai" else "")
        server.acts += [Act(status=s, headers={"retry-after-ms": "1"}) for s in (500, 429, 503, 400, 529) * 5]
        spent, budget = Spent(), Budget(usd=100.0)

        async def main() -> None:
            with Journal(tmp_path) as journal:
                llm = open_llm(name, journal=journal, prices=PRICES, budget=budget)
                metered = Metered(llm, {}, spent)
                calls = (metered.complete(request(question(n % 50), model=name)) for n in range(120))
                await asyncio.gather(*calls, return_exceptions=True)
                await llm.close()

        asyncio.run(main())
        stored = [record["reply"] for record in records(tmp_path)]
        assert len(stored) == len(server.ledger) < 50
        for ours in (sum(one["usd"] for one in stored), spent.usd, budget.spent_usd):
            assert ours == pytest.approx(bill(server), rel=1e-9)
        assert budget.spent_tokens == sum(e["input_tokens"] + e["output_tokens"] for e in server.ledger)


def test_cache_writes_are_read() -> None:
    """Tokens written to a provider's cache are part of the input, and told apart, in all three APIs."""
    cache = {"cached_tokens": 2, "cache_write_tokens": 3}
    chat = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": cache}
    responses = {"input_tokens": 9, "output_tokens": 1, "input_tokens_details": cache}
    messages = {"input_tokens": 4, "output_tokens": 1}
    messages |= {"cache_read_input_tokens": 2, "cache_creation_input_tokens": 3}
    replies = [
        read_chat({"choices": [{"message": {"content": "x"}}], "usage": chat}, "m"),
        read_response({"output": [], "usage": responses}, "m"),
        read_message({"content": [], "usage": messages}, "m"),
    ]
    counts = {(r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens) for r in replies}
    assert counts == {(9, 2, 3, 1)}


def test_old_journals_are_read(tmp_path: Path) -> None:
    """Replies stored before there were prices have no known cost, and are read as they are."""
    asked = request("old")
    record = dict(record_of(asked, reply("kept"), keep_messages=False))
    for name in ("usd", "prices", "cache_write_tokens"):
        del record["reply"][name]
    (tmp_path / "000001.jsonl").write_bytes(seal(line_of(record)))
    with Journal(tmp_path) as journal:
        old = journal.get(asked.key)
    assert old is not None
    assert (old.text, old.usd, old.prices, old.cache_write_tokens) == ("kept", None, None, None)
