"""A budget is never passed, whatever happens at whatever concurrency."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.errors import BudgetSpent, LLMStop, LLMUnavailable, UsageError
from exegete.llm import Account, Budget, Journal, Reply, Request, ambiguous_calls, open_llm, parse
from exegete.llm.account import account_key
from exegete.llm.budget import Amount, Budgeted
from exegete.llm.failure import CallFailed
from exegete.llm.prices import Price, Prices, load_prices
from exegete.llm.size import most_tokens
from tests.llm import clock
from tests.llm.fakes import FakeLLM, reply, request
from tests.provider import Act, ProviderServer, Said

PRICES = Prices("v", [Price(match=("*",), input=2.0, output=10.0)])
ASKED = request("x" * 1000, max_tokens=100)
MOST = Amount((most_tokens(ASKED) * 2.0 + 100 * 10.0) / 1e6, most_tokens(ASKED) + 100)
USED = {"input_tokens": 250, "output_tokens": 50}
COST = (250 * 2.0 + 50 * 10.0) / 1e6


def budgeted(fake: FakeLLM, **caps: float) -> tuple[Budgeted, Budget]:
    """A model on a budget."""
    budget = Budget(**caps)  # type: ignore[arg-type]
    return Budgeted(fake, "m", PRICES, budget), budget


@pytest.mark.parametrize(
    ("answer", "spent", "ambiguous", "unreported"),
    [
        (reply(**USED), Amount(COST, 300), 0, 0),
        (reply(input_tokens=None, output_tokens=5), MOST, 0, 1),
        (CallFailed("m", status=500), Amount(0.0, 0), 0, 0),
        (CallFailed("m", status=504, ambiguous=True), MOST, 1, 0),
        (LLMUnavailable("no rule"), Amount(0.0, 0), 0, 0),
        (RuntimeError("a bug"), MOST, 1, 0),
    ],
)
def test_settled(answer: Reply | Exception, spent: Amount, ambiguous: int, unreported: int) -> None:
    """What each outcome counts as: usage, the whole reservation, or nothing."""
    llm, budget = budgeted(FakeLLM([answer]), usd=1.0)

    async def main() -> None:
        if isinstance(answer, Exception):
            with pytest.raises(type(answer)):
                await llm.complete(ASKED)
        else:
            assert await llm.complete(ASKED) == answer

    asyncio.run(main())
    assert (budget.spent_usd, budget.spent_tokens) == pytest.approx((spent.usd, spent.tokens))
    assert (budget.ambiguous, budget.unreported) == (ambiguous, unreported)


def test_cancelled() -> None:
    """A call that is cancelled on its way counts as spent; one that still waits for the budget as nothing."""

    async def main() -> Budget:
        fake = FakeLLM([reply(**USED)])
        fake.gate = asyncio.Event()
        llm, budget = budgeted(fake, usd=MOST.usd * 1.5)
        calls = [asyncio.create_task(llm.complete(ASKED)) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(fake.asked) == 1
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert len(fake.asked) == 1
        return budget

    budget = asyncio.run(main())
    assert (budget.spent_usd, budget.ambiguous) == (pytest.approx(MOST.usd), 1)


@pytest.mark.parametrize("caps", [{"usd": 40 * COST}, {"tokens": 40 * 300}])
def test_stops(caps: dict[str, float]) -> None:
    """It stops before the call that could pass the cap, not long before, and in one sentence."""
    fake = FakeLLM([reply(**USED)])
    llm, budget = budgeted(fake, **caps)

    async def main() -> None:
        while True:
            await llm.complete(ASKED)

    with pytest.raises(BudgetSpent, match="budget") as stop:
        asyncio.run(main())
    assert "\n" not in str(stop.value)
    assert isinstance(stop.value, LLMStop)
    most = MOST.usd / COST if "usd" in caps else MOST.tokens / 300
    assert 40 - most <= len(fake.asked) <= 40
    assert budget.spent_usd <= 40 * COST * (1 + 1e-9)


def test_reservations_of_others_are_waited_for() -> None:
    """Many calls at once that would not all fit at their most do fit one by one at what they cost."""
    fake = FakeLLM([reply(**USED)])
    llm, budget = budgeted(fake, usd=MOST.usd + 29.5 * COST)

    async def main() -> None:
        await asyncio.gather(*(llm.complete(ASKED) for _ in range(30)))

    asyncio.run(main())
    assert len(fake.asked) == 30
    assert budget.spent_usd == pytest.approx(30 * COST)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 100))
def test_never_passed(seed: int, cap: int) -> None:
    """Random sizes, prices, outcomes and cancellations: spent and reserved together never pass the cap."""
    dice = random.Random(seed)
    budget = Budget(usd=cap / 100, tokens=cap * 100)

    async def one() -> None:
        most = Amount(dice.random() * 0.1, dice.randrange(1, 1000))
        await budget.reserve(most)
        share = dice.choice([0.0, 0.3, 1.0])
        try:
            await asyncio.sleep(dice.random())
        finally:
            budget.settle(most, Amount(most.usd * share, int(most.tokens * share)))

    async def watch() -> None:
        while True:
            assert budget.spent_usd + float(budget._reserved_usd) <= cap / 100 + 1e-9
            assert budget.spent_tokens + budget._reserved_tokens <= cap * 100
            await asyncio.sleep(0.01)

    async def main() -> None:
        watcher = asyncio.create_task(watch())
        calls = [asyncio.create_task(one()) for _ in range(60)]
        for call in dice.sample(calls, 5):
            asyncio.get_running_loop().call_later(dice.random(), call.cancel)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(o) for o in outcomes} <= {type(None), BudgetSpent, asyncio.CancelledError}
        assert not watcher.done()
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    clock.run(main())


def test_unknown_price() -> None:
    """A budget in dollars without a price is refused before anything is sent; one in tokens is not."""
    fake = FakeLLM([reply(**USED)])
    with pytest.raises(UsageError, match="no price is known for openai:unheard-of"):
        Budgeted(fake, "openai:unheard-of", load_prices(), Budget(usd=1.0))
    llm = Budgeted(fake, "openai:unheard-of", load_prices(), Budget(tokens=10_000))
    assert asyncio.run(llm.complete(ASKED)).text == "ok"
    long = Prices("v", [Price(match=("*",), input=1.0, output=1.0, up_to=500)])
    with pytest.raises(LLMUnavailable, match="no price is known for a request"):
        asyncio.run(Budgeted(fake, "m", long, Budget(usd=1.0)).complete(ASKED))
    assert len(fake.asked) == 1


@pytest.mark.parametrize("caps", [{"usd": 0.0}, {"usd": -1.0}, {"usd": float("nan")}, {"tokens": 0}])
def test_no_budget(caps: dict[str, float]) -> None:
    """A cap that allows nothing is wrong use."""
    with pytest.raises(UsageError, match="above 0"):
        Budget(**caps)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["usd", "tokens"])
def test_at_concurrency_512(tmp_path: Path, unit: str) -> None:
    """Against a real server, 512 at once, with failures: its bill is within the cap, and close to it."""
    with ProviderServer(lambda asked: "y" * 400, delay_s=0.5) as server:
        name = f"openai:m@{server.url}/v1"
        server.acts += [Act(status=503, headers={"retry-after-ms": "1"}), Act(), Act(cut="after")] * 5
        prices = Prices("v", [Price(match=("openai:m@*",), input=1.0, output=4.0)])
        usd, tokens = 0.38, 90_000
        budget = Budget(usd=usd) if unit == "usd" else Budget(tokens=tokens)
        accounts = {account_key(parse(name)): Account(512, first=512)}

        async def main() -> tuple[list[object], int]:
            with Journal(tmp_path) as journal:
                llm = open_llm(name, journal=journal, accounts=accounts, prices=prices, budget=budget)
                calls = (llm.complete(asked(n, name)) for n in range(1000))
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                await llm.close()
                return list(outcomes), ambiguous_calls(llm)

        outcomes, ambiguous = asyncio.run(main())
        stopped = [one for one in outcomes if isinstance(one, BudgetSpent)]
        assert stopped
        billed_usd = sum(e["input_tokens"] * 1.0 + e["output_tokens"] * 4.0 for e in server.ledger) / 1e6
        billed_tokens = sum(e["input_tokens"] + e["output_tokens"] for e in server.ledger)
        assert billed_usd <= budget.spent_usd + 1e-12
        assert billed_tokens <= budget.spent_tokens
        spent, cap = (budget.spent_usd, usd) if unit == "usd" else (budget.spent_tokens, tokens)
        assert 0.95 * cap <= spent <= cap
        assert budget.ambiguous == ambiguous >= 5  # a busy machine loses more connections than it was told to
        assert server.peak >= (400 if unit == "usd" else 150)


def asked(n: int, name: str) -> Request:
    """One of many different requests."""
    return request(f"{n:0200d}", model=name, max_tokens=100)


def test_the_journal_costs_nothing(tmp_path: Path) -> None:
    """What was paid for before is answered even when there is nothing left to spend."""
    with ProviderServer(lambda asked: Said("z")) as server:
        name = f"anthropic:m@{server.url}"

        async def main(budget: Budget) -> Reply:
            with Journal(tmp_path) as journal:
                llm = open_llm(name, journal=journal, prices=PRICES, budget=budget)
                try:
                    return await llm.complete(asked(1, name))
                finally:
                    await llm.close()

        first = asyncio.run(main(Budget(tokens=100_000)))
        poor = Budget(tokens=1)
        again = asyncio.run(main(poor))
        assert (again.text, again.journalled, poor.spent_tokens) == ("z", True, 0)
        assert again.usd == first.usd is not None
        assert len(server.ledger) == 1
