"""Jobs on a subject that is loaded again: a small causal model, from the harvest to the tables and back."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from exegete.agent import output_ablation, output_steering
from exegete.agent.job import Job, Progress
from exegete.agent.rebuild import Rebuild
from exegete.agent.spec import JobSpec
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError, SubjectError
from tests.agent.harness import Runner, results, rows
from tests.agent.test_falsification import FALSIFY
from tests.agent.test_leak import echoing
from tests.agent.writing_model import PLANTED, make

LEXICAL: dict[str, Any] = {"features": "0", "nulls": 0, "device": "cpu", "top": 4, "per_decile": 1}


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the harvest of a small causal model's directions, of which some write known tokens."""
    root = tmp_path_factory.mktemp("causal")
    written = make(root / "made")
    workspace = Workspace.open_or_create(root / "workspace")
    written.file.close()
    for path in (root / "made" / "evidence").iterdir():
        shutil.copy(path, workspace.evidence)
    return workspace.root


@pytest.fixture
def space(harvested: Path, tmp_path: Path) -> Workspace:
    """A copy of it."""
    return Workspace.open(shutil.copytree(harvested, tmp_path / "causal"))


def job(space: Workspace, **given: Any) -> list[str]:
    """Run a job without a language model; what it said."""
    said: list[str] = []

    def listen(progress: Progress) -> None:
        if progress.message not in ("", *said):
            said.append(progress.message)

    asyncio.run(Job(space, JobSpec(**(LEXICAL | given)), listen).run())
    return said


@pytest.mark.slow
def test_what_features_do_stands_beside_what_they_respond_to(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both labels of a feature, with their scores. With the subject all of it can be made anew.

    Without, what features do is left out, which is said, and all else is restored.
    """
    monkeypatch.setattr(output_steering, "PUSHED", 4)
    monkeypatch.setattr(output_ablation, "RANDOM", 20)  # the fewest of which a p of .05 can come
    monkeypatch.setattr(output_ablation, "OTHERS", 5)
    assert job(space, effects=True, name="night") == []
    (row,) = rows(space, "SELECT * FROM labels")
    assert row["output_label"].startswith(f'raises "{PLANTED[0]}"')
    assert row["ablation_p"] <= 0.05
    assert row["steering"] is not None
    assert row["report_looks"] == 1, "what a feature does is no look at its label"
    texts = {row["side"]: row["label"] for row in rows(space, "SELECT side, label FROM scores")}
    assert texts == {"input": row["label"], "output": row["output_label"]}
    (lens,) = rows(space, "SELECT * FROM outputs WHERE kind = 'logit lens'")
    assert lens["top_tokens"][0].strip() == PLANTED[0]
    before = results(space)
    space.labels.unlink()
    assert asyncio.run(Rebuild(space).run()).missing == []
    assert results(space) == before

    def gone(*args: object, **given: object) -> None:
        raise SubjectError("it has moved")

    monkeypatch.setattr("exegete.subjects.laboratory.Laboratory.open", gone)
    space.labels.unlink()
    rebuilt = asyncio.run(Rebuild(space).run())
    assert rebuilt.missing == ["of run night, what features do is left out: it has moved"]
    (again,) = rows(space, "SELECT * FROM labels")
    assert (again["label"], again["score"]) == (row["label"], row["score"])
    assert (again["output_label"], again["ablation"]) == (None, None)


def test_labels_are_tested_on_the_model_itself(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts go through tokenizer, model and dictionary; made anew, nothing is run and all is there again."""
    run = Runner(space, monkeypatch)
    run(echoing, features="0-7", device="cpu", **FALSIFY)
    tests = rows(space, "SELECT * FROM experiments")
    assert tests
    assert all("".join(row["words"]) == "".join(row["text"].split()) for row in tests)
    before = results(space)
    space.labels.unlink()
    monkeypatch.setattr("exegete.subjects.laboratory.Laboratory.open", None)
    assert asyncio.run(Rebuild(space).run()).missing == []
    assert results(space) == before


def test_a_subject_that_has_moved(space: Workspace, tmp_path: Path) -> None:
    """It is said before anything is spent or registered, in a sentence that names the option."""
    with pytest.raises(SubjectError, match="can't be loaded again") as caught:
        job(space, effects=True, subject=str(tmp_path / "nowhere"))
    assert len(str(caught.value).splitlines()) == 1
    assert not space.labels.exists()


def test_nobody_to_write_tests(space: Workspace) -> None:
    """Without a language model a job that is to test labels says what is missing, and does nothing."""
    with pytest.raises(JobError, match="--falsify has a language model write tests of labels: name one with"):
        job(space, falsify=True)
    assert not space.labels.exists()


def test_a_subject_without_an_output_side(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """That --effects will measure nothing is said once, before the first feature; all else is as usual."""

    def causal(laboratory: object) -> None:
        raise SubjectError("it is an encoder")

    monkeypatch.setattr("exegete.subjects.laboratory.Laboratory.causal", causal)
    heard: list[tuple[str, int]] = []

    def listen(progress: Progress) -> None:
        if progress.message and progress.message not in (message for message, _ in heard):
            heard.append((progress.message, progress.done))

    asyncio.run(Job(space, JobSpec(**LEXICAL, effects=True, name="night"), listen).run())
    assert heard == [("what features do is left out: it is an encoder", 0)]
    (row,) = rows(space, "SELECT label, output_label FROM labels")
    assert row["label"]
    assert row["output_label"] is None
    whys = rows(space, "SELECT why FROM decisions WHERE step = 'output'")
    assert [found["why"] for found in whys] == ["what features do is left out: it is an encoder"]
