"""Jobs that simulate by probabilities: with a local model, killed and resumed; and with models that can't."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.llm.abilities_file import remembered
from exegete.llm.record import records
from tests.agent.harness import SMALL, rows, run_job
from tests.agent.processes import LIMIT_S, running, wait_until
from tests.llm import local
from tests.llm.test_prepare import obliging
from tests.provider import ProviderServer
from tests.provider_abilities import KNOWS

FEW: dict[str, Any] = {
    "explainer": "lexical",
    "simulator": "logprob",
    "features": "0-1",
    "top": 4,
    "per_decile": 1,
    "quiet": 6,
    "hard": 0,
    "window": 8,
    "candidates": 2,
    "rounds": 0,
    "nulls": 0,
    "name": "night",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A local model that gives every level about the same probability."""
    return f"hf:{local.save_for_levels(tmp_path_factory.mktemp('models') / 'm')}"


@pytest.fixture(scope="module")
def whole(model: str, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The job, run in one go."""
    root = tmp_path_factory.mktemp("whole") / "workspace"
    workspace = Workspace.open(shutil.copytree(template, root))
    run_job(workspace, **everything(model))
    return workspace


def everything(model: str) -> dict[str, Any]:
    """The job's parameters; six calls at once, so that a kill can lose six at most."""
    return SMALL | FEW | {"llm": model, "concurrency": 6}


def values(workspace: Workspace) -> list[tuple[str, float]]:
    """All scores, in an order of their own."""
    found = rows(workspace, "SELECT feature_index, split, scorer, label, value FROM scores")
    return sorted((repr({**row, "value": None}), row["value"]) for row in found)


def journalled(workspace: Workspace) -> Counter[str]:
    """How often each request is in the journal."""
    return Counter(record["key"] for record in records(workspace.journal))


def test_a_local_model(whole: Workspace) -> None:
    """Every excerpt is read, scores are those of the logprob simulator, and all of it is in the journal."""
    scores = rows(whole, "SELECT * FROM scores WHERE split = 'report' AND scorer LIKE 'simulation%'")
    assert len(scores) == 2
    for score in scores:
        assert "logprob@1/hf:" in score["scorer"]
        assert score["n_asked"] == score["n_read"] > 0
        assert -1 <= score["value"] <= 1
    stored = list(records(whole.journal))
    assert len(stored) >= sum(score["n_asked"] for score in scores)
    for record in stored:
        assert record["slots"]["levels"] == list("0123456789")
        assert all(len(odds) == 10 and None not in odds for odds in record["reply"]["slots"])


@pytest.mark.slow
def test_killed_and_resumed(model: str, whole: Workspace, workspace: Workspace, tmp_path: Path) -> None:
    """Killed on its way and run again, it has the calls of an uninterrupted job, each of them once."""
    parameters = everything(model)
    file = tmp_path / "job.toml"
    file.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in parameters.items()))
    with running(["label", "--job", str(file), "--workspace", str(workspace.root), "--llm", model]) as job:
        wait_until(lambda: journalled(workspace).total() >= 12, job)
        job.send_signal(signal.SIGKILL)
        assert job.wait(LIMIT_S) == -signal.SIGKILL
    known = set(journalled(workspace))
    assert 12 <= len(known) < len(journalled(whole))
    assert known < set(journalled(whole))
    run_job(workspace, **parameters)
    assert journalled(workspace) == journalled(whole)
    assert set(journalled(whole).values()) == {1}
    # Batches of another shape round in another order.
    for one, other in zip(values(workspace), values(whole), strict=True):
        assert one == (other[0], pytest.approx(other[1], abs=1e-3))


def run(workspace: Workspace, llm: str, **parameters: Any) -> None:
    """Run a job as the command line does."""
    asyncio.run(Job(workspace, JobSpec(**(FEW | {"llm": llm} | parameters))).run())


def test_models_that_can_not(workspace: Workspace, tmp_path: Path) -> None:
    """A model without such probabilities is refused before the job starts, with what to use instead."""
    (tmp_path / "script").write_text('{"reply": "x"}')
    with pytest.raises(UsageError) as caught:
        run(workspace, f"scripted:{tmp_path / 'script'}")
    assert "has nothing that simulator 'logprob' could read (logprobs of prompts: not passed on; " in str(
        caught.value
    )
    assert "--simulator sparse needs neither" in str(caught.value)
    assert rows(workspace, "SELECT * FROM store.runs") == []


def test_not_in_batches(workspace: Workspace) -> None:
    """In batch mode it is refused before anything is ordered."""
    with ProviderServer(obliging) as server:
        name = f"openai:m@{server.url}/v1"
        with pytest.raises(UsageError, match=r"can.t ask .* in batches: leave out --batch"):
            run(workspace, name, batch=True)
        assert not [asked for asked in server.asked if "\t?" in asked.text]


@pytest.mark.parametrize("knows", [frozenset({"echo"}), frozenset({"logprobs", "logprob_token_ids"}), KNOWS])
def test_a_server_that_can(knows: frozenset[str], workspace: Workspace) -> None:
    """A server with any of the ways is used; what it can do is asked once, and remembered."""
    with ProviderServer(obliging) as server:
        server.knows = knows
        name = f"openai:m@{server.url}/v1"
        run(workspace, name, features="0")
        abilities = remembered(workspace.root, name)
        assert abilities.prompt_logprobs.has or abilities.token_id_logprobs.has
        (score,) = rows(
            workspace, "SELECT * FROM scores WHERE split = 'report' AND scorer LIKE 'simulation%'"
        )
        assert score["n_asked"] == score["n_read"] > 0


def test_a_server_that_can_not(workspace: Workspace) -> None:
    """A server without any of the ways is asked what it can do, and no more."""
    with ProviderServer(obliging) as server:
        with pytest.raises(UsageError, match=r"taken, and ignored; .*taken, and ignored"):
            run(workspace, f"openai:m@{server.url}/v1")
        assert not [asked for asked in server.asked if "Excerpt" in asked.text or "\t?" in asked.text]
        asked = len(server.asked)
        with pytest.raises(UsageError):
            run(workspace, f"openai:m@{server.url}/v1")
        assert len(server.asked) == asked
