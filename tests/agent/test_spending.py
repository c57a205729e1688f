"""A budget is the run's: kept over all its sittings, never passed, and raised by whoever wants more."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from exegete.agent.models import Models
from exegete.agent.spending import spent_before
from exegete.datastore.workspace import Workspace
from exegete.errors import BudgetSpent, UsageError
from exegete.llm import Budget
from exegete.llm.prices import load_prices
from exegete.llm.record import entries
from tests.agent.harness import Runner, competently, results, rows, statuses
from tests.provider import Said

PRICES = """
version = "dear"
[[price]]
match = ["scripted:*"]
input = 1000.0
output = 2000.0
"""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A file of prices for the function's model."""
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path


def spent(workspace: Workspace) -> tuple[int, float]:
    """Calls and dollars of all runs."""
    (row,) = rows(workspace, "SELECT count(*) AS n, coalesce(sum(usd), 0) AS usd FROM calls")
    return row["n"], row["usd"]


def test_it_stops_and_goes_on_with_more(run: Runner, workspace: Workspace, prices: Path) -> None:
    """The cap is not passed, what was finished stays, the same cap buys nothing more, a higher one does."""
    given = {"features": "4-12", "concurrency": 2, "prices": prices}
    with pytest.raises(
        BudgetSpent, match=r"of the budget of \$50 is spent: what is finished is kept"
    ) as stop:
        run(budget=50.0, **given)
    assert "higher budget" in str(stop.value)
    first, usd = spent(workspace)
    assert first > 0
    assert 25 < usd <= 50, "spent but for what the next call could have cost"
    done = statuses(workspace)
    assert 0 < done.total() < 9
    assert done["failed"] == 0
    with pytest.raises(BudgetSpent):
        run(budget=usd, **given)
    assert spent(workspace) == (first, usd), "nothing is left of it"
    assert statuses(workspace)["failed"] == 0
    assert run(budget=1000.0, **given).left == 0
    assert spent(workspace)[0] > first


def test_in_tokens(run: Runner, workspace: Workspace) -> None:
    """Likewise in tokens; and the results are those of a run without a budget."""
    given = {"features": "4-12", "name": "night"}
    with pytest.raises(BudgetSpent, match=r"tokens, and .* of the budget of 40,000 are spent"):
        run(budget_tokens=40_000, **given)
    assert 0 < statuses(workspace).total() < 9
    assert run(budget_tokens=10_000_000, **given).left == 0
    found = results(workspace)
    workspace.labels.unlink()
    for segment in workspace.journal.glob("*.jsonl*"):
        segment.unlink()
    run(**given)
    assert results(workspace) == found


def test_a_price_that_nobody_knows(run: Runner, workspace: Workspace, prices: Path) -> None:
    """A budget in dollars is refused before anything is sent or written, in tokens it is kept."""
    prices.write_text('version = "none"\n')
    with pytest.raises(UsageError, match=r"no price is known for openai:m@.*so a budget in dollars"):
        run(budget=1.0, llm="openai:m@http://127.0.0.1:1/v1", prices=prices)
    assert not workspace.labels.exists() or not rows(workspace, "SELECT 1 FROM store.runs")


def test_only_what_the_run_has_paid_for(run: Runner, workspace: Workspace) -> None:
    """Another run's calls are not counted, and what both ask was the first one's to pay."""
    table = load_prices()
    run(features="8", name="night")
    (row,) = rows(workspace, "SELECT sum(input_tokens + output_tokens) AS n FROM calls")
    assert spent_before(entries(workspace.journal), "night", table).tokens == row["n"]
    run(features="8", name="again", threshold=0.4)
    assert spent_before(entries(workspace.journal), "again", table).tokens == 0


def test_adding_up() -> None:
    """By hand: a priced reply, one without usage, one of a model without a price then, a lost call."""
    table = load_prices()
    tags = {"tags": {"run": "night"}, "model": "openai:gpt-5-nano", "max_tokens": 100}
    reply = {"input_tokens": 1000, "output_tokens": 10, "usd": 0.5}
    found = spent_before(
        [
            {"key": "a", "reply": reply, **tags},
            {"key": "b", "reply": reply | {"input_tokens": None, "usd": None}, "most_input": 200, **tags},
            {"key": "c", "reply": reply | {"usd": None}, **tags},
            {"lost": "d", "most_usd": 0.25, "most_tokens": 7, **tags},
            {"lost": "e", "most_usd": None, "most_tokens": 8, **tags},
            {"key": "f", "reply": reply, **tags, "tags": {"run": "other"}},
        ],
        "night",
        table,
    )
    nano = (0.05e-6, 0.4e-6)
    assert found.tokens == 1010 + 300 + 1010 + 7 + 8
    assert found.usd == pytest.approx(
        0.5 + 200 * nano[0] + 100 * nano[1] + 1000 * nano[0] + 10 * nano[1] + 0.25 + 8 * nano[1]
    )


def test_a_price_that_nobody_knew(workspace: Workspace) -> None:
    """A call without a price makes the sum unknown, not smaller: tokens can be capped, dollars not."""
    entry = {"tags": {"run": "night"}, "model": "openai:nobody-knows", "max_tokens": 9}
    lost = entry | {"lost": "a", "most_usd": None, "most_tokens": 7}
    reply = entry | {"key": "b", "reply": {"input_tokens": 3, "output_tokens": 4, "usd": None}}
    for made in (lost, reply):
        found = spent_before([made], "night", load_prices())
        assert (found.usd, found.tokens) == (None, 7)
        models = Models(workspace, 1, budget=Budget(usd=1.0))
        models.journal = SimpleNamespace(entries=lambda made=made: [made])  # type: ignore[assignment]
        with pytest.raises(UsageError, match=r"run night have no known price.*--prices"):
            models.begin("night")
        models.budget = Budget(tokens=10)
        models.begin("night")
        assert models.budget.spent_tokens == 7


def test_states_of_calls(run: Runner, workspace: Workspace) -> None:
    """A refusal and a cut reply are states of their own in `calls`; only complete replies are scores."""

    def moody(request: object) -> Said:
        from exegete.llm import Request

        assert isinstance(request, Request)
        text = competently(request)
        n = int(request.key[:4], 16) % 4
        return Said(text, ("stop", "refusal", "filtered", "length")[n])  # type: ignore[arg-type]

    run(moody, features="4-12")
    found = {row["finish"] for row in rows(workspace, "SELECT finish FROM calls")}
    assert found == {"stop", "refusal", "filtered", "length"}
