"""Labels that are tested on a real subject in a job: scores, nulls, and the same again without it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.rebuild import Rebuild
from exegete.datastore.manifest import note_source
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


def test_a_subject_that_is_gone(run: Runner) -> None:
    """It is said before anything is asked, and the job can say where it is now."""
    shutil.move(run.workspace.root / "model", run.workspace.root / "elsewhere")
    with pytest.raises(SubjectError, match="can't be loaded again"):
        run(writes, **JOB)
    assert not run.llm.asked
    run(writes, subject=str(run.workspace.root / "elsewhere"), **JOB | {"nulls": 0})
    assert run.scores(0)["generation"]["value"] == 1.0
