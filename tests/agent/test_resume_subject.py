"""kill -9 while labels are tried on a real subject: the same tables, nothing paid for or measured twice."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from exegete.datastore.workspace import Workspace
from tests.agent import competent
from tests.agent.harness import results, rows, run_job, statuses
from tests.agent.processes import running, wait_until, words
from tests.agent.test_resume import billed, check_the_bill, journalled, settle
from tests.agent.writing_model import make
from tests.provider import Asked, ProviderServer
from tests.subjects.tiny import WORDS

CONCURRENCY = 3
N_FEATURES = 3
PATIENCE_S = 300.0
"""Longest that a job is waited for: it imports torch, loads a model and tries labels on it."""
JOB: dict[str, Any] = {
    "features": f"0-{N_FEATURES - 1}",
    "candidates": 1,
    "falsify": True,
    "effects": True,
    "device": "cpu",
    "seed": 3,
    "name": "night",
}
SCORERS = ("simulation", "detection", "generation")

FEW = {"output_ablation.RANDOM": 6, "output_ablation.OTHERS": 4, "output_steering.PUSHED": 6}
FEW |= {"output_steering.CONTROLS": 4, "output_steering.TEXTS": 8, "output_steering.WRITTEN": 4}
"""What is measured less of than in earnest, in every process: a feature takes a moment, and not seconds."""

WITH_FEW = "\n".join(
    ["import exegete.agent.output", *(f"exegete.agent.{name} = {n}" for name, n in FEW.items()), ""]
)

BEFORE_THE_FIRST_TEST = """
import os, signal
from exegete.subjects.laboratory import Laboratory
Laboratory._run = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
"""Run in the job's process: it dies when predictions are on disk, and the subject has not seen a text."""


def answer(asked: Asked) -> str:
    """What somebody says who knows the commonest marked word, and adds another one whenever asked again."""
    prompt = asked.turns[0][1]
    wanted = set((asked.schema or {})["properties"])
    if wanted == {"excerpts"}:
        return json.dumps(competent.simulate(prompt))
    if wanted == {"tests"}:
        return json.dumps(competent.tests(prompt))
    if wanted == {"set"}:
        return json.dumps({"set": 1 + crc32(prompt.encode()) % 4})
    if wanted == {"label"}:
        return json.dumps({"label": f"promotes words, such as {crc32(prompt.encode())}"})
    if wanted == {"fires", "near_misses"}:
        said = re.findall(r'"(\w+)"', competent.blocks(prompt)["label"])
        others = [word for word in WORDS if word not in said]
        fires = [f"{others[i]} {said[i % len(said)]} {others[i + 1]}" for i in range(10)]
        return json.dumps({"fires": fires, "near_misses": [f"{others[i]} {others[-i]}" for i in range(10)]})
    n = 2 if "attempts" in competent.blocks(prompt) else 1
    said = ", ".join(f'"{word}"' for word, _ in Counter(re.findall(r"<<(\w+)>>", prompt)).most_common(n))
    return json.dumps(competent.proposals(f"the words {said}"))


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    """A provider with a ledger of its own, which no test kills."""
    provider = ProviderServer(answer, delay_s=0.01)
    provider._server.config.timeout_keep_alive = 600
    with provider:
        yield provider


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the harvest of a small causal model."""
    workspace = Workspace.open_or_create(tmp_path_factory.mktemp("causal") / "workspace")
    make(workspace.root).file.close()
    return workspace.root


@pytest.fixture(scope="module")
def undisturbed(
    server: ProviderServer, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """The same job, run in one go."""
    root = tmp_path_factory.mktemp("reference") / "workspace"
    workspace = Workspace.open(shutil.copytree(template, root))
    with pytest.MonkeyPatch.context() as patch:
        run_to_its_end(server, workspace, patch)
    return workspace


def run_to_its_end(server: ProviderServer, workspace: Workspace, patch: pytest.MonkeyPatch) -> None:
    """The job in this process."""
    for name, value in FEW.items():
        patch.setattr(f"exegete.agent.{name}", value)
    run_job(workspace, llm=f"openai:m@{server.url}/v1", scorers=SCORERS, **JOB)


def measured(workspace: Workspace) -> Counter[tuple[int, str]]:
    """How often each text was written down as run, by feature."""
    kept = (path.read_text().splitlines() for path in workspace.measurements.glob("*"))
    lines = [json.loads(line) for some in kept for line in some]
    return Counter((line["index"], run["text"]) for line in lines for run in line["runs"])


@pytest.mark.slow
def test_killed_while_labels_are_tried(
    server: ProviderServer,
    template: Path,
    undisturbed: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between a prediction and its running, and at a random moment: the tables of an undisturbed run.

    What was predicted is on disk before the subject runs it, and stays. No text is measured twice, and what
    is paid for twice was in flight at a kill.
    """
    whole = results(undisturbed)
    assert {table for table in ("experiments", "decisions", "outputs") if not whole[table]} == set()
    kinds = rows(undisturbed, "SELECT DISTINCT purpose FROM experiments")
    assert {row["purpose"] for row in kinds} == {"falsify", "generation"}
    workspace = Workspace.open(shutil.copytree(template, tmp_path / "workspace"))
    arguments = words(workspace, server.url, scorers=",".join(SCORERS), concurrency=CONCURRENCY, **JOB)
    begin = len(server.ledger)

    with running(arguments, WITH_FEW + BEFORE_THE_FIRST_TEST) as job:
        assert job.wait(PATIENCE_S) == -signal.SIGKILL
    settle(server)
    assert not measured(workspace)
    predicted = journalled(workspace)

    moment = random.Random(6).randrange(len(predicted) + 5, journalled(undisturbed).total() - 5)
    with running(arguments, WITH_FEW) as job:
        wait_until(lambda: len(server.ledger) - begin >= moment, job, PATIENCE_S)
        job.send_signal(signal.SIGKILL)
        assert job.wait(PATIENCE_S) == -signal.SIGKILL
    settle(server)
    position, known = len(server.ledger), set(journalled(workspace))
    assert predicted.keys() <= known
    assert statuses(workspace).total() < N_FEATURES, "killed before the end"

    run_to_its_end(server, workspace, monkeypatch)
    assert not known & set(billed(server, position)), "journalled, and paid for again"
    check_the_bill(server, workspace, begin, 2)
    assert set(measured(workspace).values()) == {1}
    assert measured(workspace) == measured(undisturbed)
    assert results(workspace) == whole
