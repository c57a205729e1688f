"""A budget over batches is never passed, by our count and by the server's bill."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exegete.errors import BudgetSpent, LLMUnavailable, UsageError
from exegete.llm import Budget, Prices, Reply
from exegete.llm.prices import Price
from exegete.llm.size import most_tokens
from tests.llm.batches import APIS, bill, fresh, opened, texts, until
from tests.llm.fakes import request
from tests.provider import ProviderServer, Said

ASKED = [f"question {n:02}" for n in range(20)]
ROOM = 40
"""Longest reply, in tokens."""
MOST = (most_tokens(request(ASKED[0], max_tokens=ROOM)) * 2.0 + ROOM * 10.0) * 0.5 / 1e6
"""Dollars that one of them can cost in a batch."""


def ask(
    server: ProviderServer, folder: Path, budget: Budget, *questions: str, **options: object
) -> list[Reply | BaseException]:
    """What becomes of questions that are asked at once."""

    async def main() -> list[Reply | BaseException]:
        async with opened(server, "responses", folder, budget=budget, **options) as model:
            calls = (model.llm.complete(model.asking(text, max_tokens=ROOM)) for text in questions)
            return list(await asyncio.gather(*calls, return_exceptions=True))

    return asyncio.run(main())


@pytest.mark.parametrize("share", [0.5, 3.5, 7.2, 19.5, 40.0])
def test_never_passed(server: ProviderServer, tmp_path: Path, share: float) -> None:
    """Each wave takes as many as surely fit; what they left is used by the next ones, until nothing fits."""
    budget = Budget(usd=share * MOST)
    outcomes = ask(server, tmp_path, budget, *ASKED)
    assert {type(outcome) for outcome in outcomes} <= {Reply, BudgetSpent}
    assert budget.spent_usd == pytest.approx(bill(server), rel=1e-9)
    assert budget.spent_usd <= share * MOST
    assert budget._reserved_usd == 0
    assert budget._reserved_tokens == 0
    sizes = [len(batch.items) for batch in server.desk.batches]
    assert not sizes or sizes[0] == min(20, int(share))
    if share == 0.5:
        assert not server.ledger
    if share > 4:
        assert len(server.ledger) > int(share) or len(server.ledger) == 20, "what was left over was not used"


def test_tokens(server: ProviderServer, tmp_path: Path) -> None:
    """A cap in tokens needs no price."""
    budget = Budget(tokens=5 * (most_tokens(request(ASKED[0])) + ROOM))
    outcomes = ask(server, tmp_path, budget, *ASKED, prices=Prices("none", []))
    used = sum(entry["input_tokens"] + entry["output_tokens"] for entry in server.ledger)
    assert 0 < used == budget.spent_tokens <= (budget.tokens or 0)
    assert {reply.usd for reply in outcomes if isinstance(reply, Reply)} == {None}


def test_unknown_batch_price(server: ProviderServer, tmp_path: Path) -> None:
    """Where the price of batches is not known, the budget counts the full one, and replies say nothing."""
    prices = Prices("v", [Price(match=("*",), input=2.0, output=10.0)])
    budget = Budget(usd=1.0)
    (reply,) = ask(server, tmp_path, budget, ASKED[0], prices=prices)
    assert isinstance(reply, Reply)
    assert (reply.usd, reply.prices) == (None, None)
    assert budget.spent_usd == pytest.approx(2.0 * bill(server), rel=1e-9)


def test_no_price(server: ProviderServer, tmp_path: Path) -> None:
    """A budget in dollars and no price at all is refused before anything is sent."""
    with pytest.raises(UsageError, match="no price is known"):
        ask(server, tmp_path, Budget(usd=1.0), ASKED[0], prices=Prices("none", []))
    assert not server.desk.listed


def test_silent_usage(server: ProviderServer, tmp_path: Path) -> None:
    """A reply that does not say what it used counts at the most it can have cost."""
    server.answer = lambda asked: Said("x", usage=False)
    budget = Budget(usd=1.0)
    ask(server, tmp_path, budget, *ASKED[:3])
    assert budget.spent_usd == pytest.approx(3 * MOST, rel=1e-9)
    assert budget.unreported == 3


def test_failures_cost_nothing(server: ProviderServer, tmp_path: Path) -> None:
    """What expired or was refused gives back all that was reserved; what was lost keeps it."""
    server.desk.tricks.answered = 0
    budget = Budget(usd=4 * MOST)
    outcomes = ask(server, tmp_path / "expired", budget, *ASKED[:3])
    assert {type(outcome) for outcome in outcomes} == {LLMUnavailable}
    assert (budget.spent_usd, budget._reserved_usd) == (0.0, 0)
    fresh(server).desk.tricks.refuse_create = [0]
    ask(server, tmp_path / "lost", budget, *ASKED[:2])
    assert budget.spent_usd == pytest.approx(2 * MOST + bill(server), rel=1e-9)
    assert budget.ambiguous == 2


def test_given_up(server: ProviderServer, tmp_path: Path) -> None:
    """What is given up before its wave is sent gives back what was reserved; afterwards it is paid for."""
    budget = Budget(usd=3 * MOST)

    async def main() -> None:
        async with opened(server, "responses", tmp_path, budget=budget, linger_s=0.2) as model:
            calls = [
                asyncio.create_task(model.llm.complete(model.asking(text, max_tokens=ROOM)))
                for text in ASKED[:3]
            ]
            await until(lambda: budget._reserved_tokens)
            calls[0].cancel()
            await asyncio.sleep(0.05)
            assert float(budget._reserved_usd) == pytest.approx(2 * MOST, rel=1e-9)
            await until(lambda: server.desk.batches)
            calls[1].cancel()
            await calls[2]

    asyncio.run(main())
    assert len(server.ledger) == 2
    assert budget.spent_usd == pytest.approx(bill(server), rel=1e-9)
    assert budget._reserved_usd == 0


@pytest.mark.parametrize("api", APIS)
def test_ordered_by_an_earlier_run(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """What an earlier run has ordered counts as soon as it is taken up: nothing is bought on top of it."""
    server.desk.tricks.polls = 10**9

    async def order() -> None:
        async with opened(server, api, tmp_path) as model:
            calls = [
                asyncio.create_task(model.llm.complete(model.asking(text, max_tokens=ROOM)))
                for text in ASKED[:5]
            ]
            await until(lambda: server.desk.polled)
            for call in calls:
                call.cancel()

    async def go_on(budget: Budget) -> None:
        async with opened(server, api, tmp_path, budget=budget) as model:
            call = asyncio.create_task(model.llm.complete(model.asking(ASKED[6], max_tokens=ROOM)))
            polled = server.desk.polled
            await until(lambda: server.desk.polled > polled + 3)
            assert float(budget._reserved_usd) == pytest.approx(5 * MOST, rel=1e-9)
            assert len(server.desk.batches) == 1
            server.desk.tricks.polls = 1
            assert texts([await call]) == [f"re: {ASKED[6]}"]

    asyncio.run(order())
    budget = Budget(usd=5.5 * MOST)
    asyncio.run(go_on(budget))
    assert budget.spent_usd == pytest.approx(bill(server), rel=1e-9)
    assert budget._reserved_usd == 0
