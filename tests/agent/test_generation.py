"""Labels that are tested on a real subject in a job: scores, nulls, and the same again without it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.person import score_person
from exegete.agent.rebuild import Rebuild
from exegete.agent.spec import JobSpec
from exegete.datastore.manifest import note_source
from exegete.datastore.records import Split
from exegete.datastore.workspace import Workspace
from exegete.errors import SubjectError
from exegete.llm import Request
from tests.agent.harness import Runner, results, rows
from tests.subjects.planted import planted_evidence
from tests.subjects.tiny import WORDS

JOB: dict[str, Any] = {
    "explainer": "lexical",
    "simulator": "lexical",
    "scorers": ("simulation", "generation"),
    "nulls": 4,
    "rounds": 0,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the harvest of a real model, in which feature 0 fires on "fox" and "dog"."""
    workspace = Workspace.open_or_create(tmp_path_factory.mktemp("real") / "workspace")
    planted_evidence(workspace.root).close()
    return workspace.root


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    """A workspace of the test's own, with a model of its own."""
    space = Workspace.open(shutil.copytree(template, tmp_path / "workspace"))
    (path,) = space.evidence.glob("*.duckdb")
    note_source(path, {"subject": str(space.root / "model"), "dictionary": "neurons"})
    return space


def writes(request: Request) -> str:
    """A model that can read a lexical label, and writes just what it says."""
    label = request.messages[0].text.partition("[begin label")[2].partition("\n")[2].partition("\n[end")[0]
    own = [word for word in re.findall(r'"(\w+)"', label) if word in WORDS] or ["able"]
    others = [word for word in WORDS if word not in own] or ["said"]
    fires = [f"there {own[i % len(own)]} was {i}" for i in range(10)]
    misses = [f"there {others[i % len(others)]} was {i}" for i in range(10)]
    return json.dumps({"fires": fires, "near_misses": misses})


def test_a_job_with_a_real_subject(run: Runner) -> None:
    """The planted feature's label holds on new text, another's does not; made anew without the subject."""
    run(writes, **JOB)
    own = run.scores(0)["generation"]
    assert (own["value"], own["n_asked"], own["n_read"]) == (1.0, 20, 20)
    nulls = rows(run.workspace, "SELECT * FROM nulls WHERE scorer LIKE 'generation%' AND feature_index = 0")
    by_kind = {row["kind"]: row for row in nulls}
    assert by_kind["another feature"]["high"] < own["low"]
    assert by_kind["empty"]["why_none"] == "nothing can be written from an empty label"
    before = results(run.workspace)
    shutil.rmtree(run.workspace.root / "model")
    run.workspace.labels.unlink()
    asyncio.run(Rebuild(run.workspace).run())
    assert results(run.workspace) == before


def test_texts_that_were_run_can_be_queried(run: Runner) -> None:
    """Of every frozen label, and of no null, with the score's own shares; they are no tests of the label."""
    run(writes, **JOB)
    held = rows(
        run.workspace,
        "SELECT feature_index, label, avg((verdict = 'held')::INT) FILTER (kind = 'fires') AS fired, "
        "avg((verdict = 'held')::INT) FILTER (kind = 'near miss') AS silent, count(*) AS n "
        "FROM experiments WHERE purpose = 'generation' AND round = 0 GROUP BY ALL ORDER BY 1",
    )
    scored = rows(run.workspace, "SELECT feature_index FROM labels WHERE generation IS NOT NULL ORDER BY 1")
    assert [row["feature_index"] for row in held] == [row["feature_index"] for row in scored]
    for row in held:
        own = run.scores(row["feature_index"])["generation"]
        assert row["label"] == own["label"] == run.outcome(row["feature_index"])["label"]
        assert row["n"] == own["n_asked"] == 20
        both = row["fired"] + row["silent"]
        assert own["value"] == pytest.approx(2 * row["fired"] * row["silent"] / both if both else 0.0)
        assert run.outcome(row["feature_index"])["tests"] is None
    assert len({(row["fired"], row["silent"]) for row in held}) > 1
    first = rows(run.workspace, "SELECT * FROM experiments WHERE feature_index = 0 AND number = 0")[0]
    assert (first["kind"], first["predicted"], first["verdict"]) == ("fires", "fires", "held")
    assert first["measured"] == max(first["activations"]) > first["threshold"]


def test_a_persons_label(run: Runner) -> None:
    """Texts written from it stand beside those of a job, once, and are there again in a file made anew."""
    run(writes, **JOB | {"features": "1", "nulls": 0})
    spec = JobSpec(simulator="lexical", llm="scripted:function", scorers=("simulation", "generation"))
    splits: tuple[Split, ...] = ("refine", "report", "report")
    for split in splits:
        asyncio.run(score_person(run.workspace, spec, 0, "+", 'the word "fox"', split))
    texts = rows(run.workspace, "SELECT text, verdict FROM experiments WHERE label = 'the word \"fox\"'")
    assert len(texts) == 20
    assert sum("fox" in row["text"] for row in texts) == 10
    before = results(run.workspace)
    run.workspace.labels.unlink()
    asyncio.run(Rebuild(run.workspace).run())
    assert results(run.workspace) == before


def test_a_subject_that_is_gone(run: Runner) -> None:
    """It is said before anything is asked, and the job can say where it is now."""
    shutil.move(run.workspace.root / "model", run.workspace.root / "elsewhere")
    with pytest.raises(SubjectError, match="can't be loaded again"):
        run(writes, **JOB)
    assert not run.llm.asked
    run(writes, subject=str(run.workspace.root / "elsewhere"), **JOB | {"nulls": 0})
    assert run.scores(0)["generation"]["value"] == 1.0
