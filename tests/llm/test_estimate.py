"""Forecasts before anything is sent."""

from __future__ import annotations

import asyncio

import pytest

from exegete.errors import UsageError
from exegete.llm import open_llm
from exegete.llm.estimate import METHOD, Forecast, Stage, estimate
from exegete.llm.prices import Price, Prices
from tests.llm.fakes import request
from tests.provider import ProviderServer

PRICES = Prices("v", [Price(match=("m",), input=2.0, output=10.0, cached_input=0.1)])


def test_by_hand() -> None:
    """Calls times mean sizes; replies as long as they are likely to be, and as long as they may be."""
    short, long = request("x" * 392, max_tokens=100), request("x" * 792, max_tokens=300)  # 100 and 200 tokens
    stages = [
        Stage("propose", 10, [short, long], reply_tokens=150),
        Stage("simulate", 3, [short]),
        Stage("refine", 0, []),
    ]
    forecast = estimate(stages, PRICES)
    propose, simulate, refine = forecast.stages
    assert (propose.calls, propose.input_tokens, propose.output_tokens) == (10, 1500, 1250)
    assert (propose.most_output_tokens, simulate.output_tokens) == (2000, 300)
    assert propose.usd == pytest.approx((1500 * 2 + 1250 * 10) / 1e6)
    assert simulate.usd == pytest.approx((300 * 2 + 300 * 10) / 1e6) == simulate.most_usd
    assert refine == Forecast("refine", 0, 0, 0, 0, 0.0, 0.0)
    total = forecast.total
    assert (total.calls, total.input_tokens) == (13, 1800)
    assert (total.output_tokens, total.most_output_tokens) == (1550, 2300)
    assert total.usd == pytest.approx((1800 * 2 + 1550 * 10) / 1e6)
    assert total.most_usd == pytest.approx((1800 * 2 + 2300 * 10) / 1e6)
    assert (forecast.method, forecast.prices) == (METHOD, "v")


def test_unknown_price() -> None:
    """One unknown price makes the total unknown, and leaves the tokens."""
    forecast = estimate([Stage("a", 1, [request()]), Stage("b", 1, [request(model="other")])], PRICES)
    assert forecast.stages[0].usd is not None
    assert (forecast.stages[1].usd, forecast.total.usd, forecast.total.most_usd) == (None, None, None)
    assert forecast.total.input_tokens > 0


def test_in_batches() -> None:
    """At the price of batches; where that is not known, at the full one, which is the most it can be."""
    half = Prices("v", [Price(match=("m",), input=2.0, output=10.0, batch=0.5)])
    stages = [Stage("ask", 7, [request("x" * 392, max_tokens=300)], reply_tokens=50)]
    usd, most = 7 * (100 * 2 + 50 * 10) / 1e6, 7 * (100 * 2 + 300 * 10) / 1e6
    for prices, factor in ((half, 0.5), (PRICES, 1.0)):
        found = estimate(stages, prices, batch=True).total
        assert (found.usd, found.most_usd) == (pytest.approx(usd * factor), pytest.approx(most * factor))
    assert estimate(stages, half).total.usd == pytest.approx(usd)


def test_no_example() -> None:
    """Nothing to go by is said, not guessed."""
    with pytest.raises(UsageError, match="'propose'"):
        estimate([Stage("propose", 1, [])], PRICES)


def test_against_the_bill() -> None:
    """What a job that did what was forecast is billed for lies within a tenth of the forecast."""
    texts = ["word " * n for n in range(100, 200)]
    with ProviderServer(lambda asked: "y" * 200) as server:
        name = f"openai:m@{server.url}/v1"
        examples = [request(text, model=name) for text in texts[::10]]
        forecast = estimate([Stage("ask", len(texts), examples, reply_tokens=50)], PRICES).total

        async def main() -> None:
            llm = open_llm(name)
            await asyncio.gather(*(llm.complete(request(text, model=name)) for text in texts))
            await llm.close()

        asyncio.run(main())
        assert forecast.calls == len(server.ledger)
        assert forecast.input_tokens == pytest.approx(sum(e["input_tokens"] for e in server.ledger), rel=0.1)
        assert forecast.output_tokens == sum(e["output_tokens"] for e in server.ledger)
