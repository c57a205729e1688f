"""The same job by a provider's batch API: the same tables, in a few waves, whatever happens in between."""

from __future__ import annotations

import inspect
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from exegete.datastore.workspace import Workspace
from exegete.errors import BudgetSpent, UsageError
from exegete.llm import wave_states
from exegete.llm.batching import Batched
from tests.agent.harness import LOOKED_AT, Runner, results, rows, run_job, statuses
from tests.agent.processes import LIMIT_S, competent_server, running, wait_until, words
from tests.cli.conftest import Cli, cli
from tests.provider import ProviderServer

__all__ = ["cli"]

FEATURES = "0-12"
PRICES = """
version = "mine"
[[price]]
match = ["openai:m@*"]
input = 2.0
output = 0.1
batch = 0.5
"""
"""Replies are cheap, so that what is reserved for them does not stop a job long before its cap."""
SOON = """
from exegete.llm import batch_course, batching
batching.LINGER_S = 0.1
batching.Batched.__init__.__kwdefaults__["linger_s"] = 0.1
"""
"""Run in a job's process: waves leave soon."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waves leave soon, and batches are looked at often."""
    defaults = dict(Batched.__init__.__kwdefaults__ or {}) | {"linger_s": 0.1}
    monkeypatch.setattr(Batched.__init__, "__kwdefaults__", defaults)
    assert inspect.signature(Batched).parameters["linger_s"].default == 0.1


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """A provider with a batch API."""
    with competent_server() as found:
        yield found


def test_the_same_tables_in_a_few_waves(server: ProviderServer, workspace: Workspace, template: Path) -> None:
    """What each feature asks next goes together; every reply names its batch; results are those of calls."""
    llm = f"openai:m@{server.url}/v1"
    given = {"llm": llm, "features": FEATURES, "name": "night", "nulls": 10}
    report = run_job(workspace, batch=True, **given)
    assert (report.left, report.nulls_left) == (0, 0)
    assert all("batch" in entry for entry in server.ledger)
    batched = results(workspace)
    waves = wave_states(workspace.batches)
    assert not any(wave.open for wave in waves)
    assert sum(wave.requests for wave in waves) == len(server.ledger)
    assert len(waves) < 12 < len(server.ledger)
    found = rows(workspace, "SELECT batch, count(*) AS n FROM calls GROUP BY batch")
    assert {row["batch"] for row in found} == {wave.id for wave in waves}
    of_nulls = rows(workspace, "SELECT DISTINCT batch FROM calls WHERE stage = 'null'")
    assert len(of_nulls) == 1, "all nulls are one wave"
    workspace.labels.unlink()
    for segment in workspace.journal.glob("*.jsonl*"):
        segment.unlink()
    run_job(workspace, **given)
    assert results(workspace) == batched
    empty = {table for table, found in batched.items() if not found}
    assert empty == {"experiments", "outputs"}, "this job tries nothing on a subject"
    assert set(batched) == set(LOOKED_AT)


@pytest.mark.slow
def test_killed_and_left_and_gone_on_with(server: ProviderServer, workspace: Workspace, cli: Cli) -> None:
    """kill -9 while a batch is under way, then Ctrl-C in the next sitting: each batch is bought once.

    `exegete status` shows the open batch meanwhile, and a second job is told who has it. Ctrl-C doesn't wait
    for a batch, which may take a day.
    """
    arguments = [*words(workspace, server.url, name="night", features=FEATURES), "--batch"]
    server.desk.tricks.endless = frozenset(range(100))
    with running(arguments, SOON) as job:
        wait_until(lambda: server.ledger, job)
        wait_until(lambda: [wave for wave in wave_states(workspace.batches) if wave.id], job)
        job.send_signal(signal.SIGKILL)
        assert job.wait(LIMIT_S) == -signal.SIGKILL
    shown = cli("status").out
    assert "batches: 1 open, 0 done" in shown
    billed = len(server.ledger)
    with running(arguments, SOON) as job:
        polled = server.desk.polled
        wait_until(lambda: server.desk.polled > polled, job)
        assert f"another job is running in {workspace.root} (process {job.pid})" in cli(*arguments).complaint
        assert len(server.desk.batches) == 1, "a second job buys nothing"
        begun = time.monotonic()
        job.send_signal(signal.SIGINT)
        printed, complaints = job.communicate(timeout=LIMIT_S)
        assert time.monotonic() - begun < 20
    assert job.returncode == 130
    assert "batches go on at the provider; run the same command to fetch them" in complaints
    assert "features are left" in printed
    assert len(server.ledger) == billed, "the batch under way was not bought again"
    server.desk.tricks.endless = frozenset()
    run_job(workspace, llm=f"openai:m@{server.url}/v1", features=FEATURES, name="night", batch=True)
    assert statuses(workspace).total() == 13
    assert set(Counter(entry["custom_id"] for entry in server.ledger).values()) == {1}
    assert "batches: 0 open" in cli("status").out


def bill(server: ProviderServer) -> float:
    """Dollars that all calls of a server cost by PRICES, in batches."""
    return sum(0.5 * (e["input_tokens"] * 2.0 + e["output_tokens"] * 0.1) / 1e6 for e in server.ledger)


@pytest.mark.slow
def test_a_budget_stops_it_and_more_goes_on(
    server: ProviderServer, workspace: Workspace, template: Path, tmp_path: Path
) -> None:
    """The cap is not passed by the server's bill, what is finished stays, the same cap buys nothing more.

    A higher one buys the rest and nothing twice, and the tables are those of a job that was never stopped.
    """
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    given = {"llm": f"openai:m@{server.url}/v1", "features": "6-12", "name": "night", "prices": prices}
    given |= {"candidates": 1, "rounds": 0}
    undisturbed = Workspace.open(shutil.copytree(template, tmp_path / "undisturbed"))
    run_job(undisturbed, **given)
    cap = 0.97 * bill(server)
    server.ledger.clear()

    said: list[str] = []
    for _ in range(2):
        with pytest.raises(BudgetSpent, match=r"of the budget of .* is spent: what is finished is kept"):
            run_job(workspace, lambda p: said.append(p.message), batch=True, budget=cap, **given)
        assert "those half way keep what is paid for" in said[-1]
        assert 0.5 * cap < bill(server) <= cap
    (spent,) = rows(workspace, "SELECT count(*) AS n, sum(usd) AS usd FROM calls WHERE batch IS NOT NULL")
    assert (spent["n"], spent["usd"]) == (len(server.ledger), pytest.approx(bill(server)))
    done = statuses(workspace)
    assert 2 < done.total() < 7, "more than the two that ask nothing"
    assert done["failed"] == 0
    assert not any(wave.open for wave in wave_states(workspace.batches))

    assert run_job(workspace, batch=True, budget=10 * cap, **given).left == 0
    assert set(Counter(entry["custom_id"] for entry in server.ledger).values()) == {1}
    assert results(workspace) == results(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [False, True])
def test_a_run_goes_on_as_it_was_begun(server: ProviderServer, workspace: Workspace, batch: bool) -> None:
    """With calls after batches, and in batches after calls: the same run, which keeps its early stopping."""
    given = {"llm": f"openai:m@{server.url}/v1", "features": "8-10", "stop_early": None, "rounds": 0}
    said: list[str] = []
    run_job(workspace, batch=batch, limit=1, **given)
    report = run_job(workspace, lambda p: said.append(p.message), batch=not batch, **given)
    assert (report.left, report.progress.before) == (0, 1)
    (run,) = rows(workspace, "SELECT parameters->>'stop_early' AS early FROM store.runs")
    assert run["early"] == str(not batch).lower()
    words = "on all excerpts, as it was begun in batches" if batch else "stops scoring early, as it was begun"
    assert any(words in message for message in said)
    first = rows(workspace, "SELECT count(*) FILTER (batch IS NULL) AS n, count(*) AS of_all FROM calls")
    assert 0 < first[0]["n"] < first[0]["of_all"]


def test_another_run_is_no_run_to_go_on_with(run: Runner, workspace: Workspace) -> None:
    """Who asks for no early stopping once, and does not the next time, has asked for two runs."""
    run(features="8", rounds=0, stop_early=False)
    run(features="8", rounds=0, stop_early=None)
    assert len(rows(workspace, "SELECT * FROM store.runs")) == 2


def test_a_model_without_batches(workspace: Workspace) -> None:
    """One sentence, before anything is sent or written."""
    with pytest.raises(UsageError, match="has no batch API"):
        run_job(workspace, llm=None, explainer_llm="scripted:x", simulator="lexical", batch=True)
    assert not workspace.labels.exists()
