"""Features of several senses, from evidence to the tables, with and without a model."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exegete.agent.strategy import SENSES_GAIN, standing
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.llm import Request
from tests.agent import competent
from tests.agent.competent import proposals
from tests.agent.harness import Runner, competently, first, purpose, rows, run_job, statuses
from tests.agent.planted import VOCABULARY, documents

ONE, OTHER, ALONE = VOCABULARY[40], VOCABULARY[41], VOCABULARY[42]
EITHER, SINGLE = 0, 1
"""Features: one that fires on two unrelated words, and one that fires on a single one."""
DOCS = Path(__file__).parents[2] / "docs" / "senses.md"
STRENGTH = {EITHER: {ONE: 4.0, OTHER: 3.5}, SINGLE: {ALONE: 4.0}}
SENSES = {f'the word "{ONE}"', f'the word "{OTHER}"'}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with evidence of both features; not to be written to."""
    root = tmp_path_factory.mktemp("senses")
    texts = documents()
    fired = [
        (feature, context, place, strength[word])
        for feature, strength in STRENGTH.items()
        for context, (_, words) in enumerate(texts)
        for place, word in enumerate(words)
        if word in strength
    ]
    names = ("feature", "context_id", "position", "activation")
    kinds = (pa.int32(), pa.int64(), pa.int32(), pa.float32())
    columns = {
        name: pa.array(column, kind)
        for name, kind, column in zip(names, kinds, zip(*fired, strict=True), strict=True)
    }
    contexts = {
        "context_id": pa.array(range(len(texts)), pa.int64()),
        "document": pa.array([name for name, _ in texts]),
        "tokens": pa.array([words for _, words in texts], pa.list_(pa.string())),
    }
    folder = root / "senses"
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "activations.parquet")
    pq.write_table(pa.table(contexts), folder / "contexts.parquet")
    pq.write_table(pa.table({"feature": pa.array(list(STRENGTH), pa.int32())}), folder / "features.parquet")
    workspace = Workspace.open_or_create(root / "workspace")
    import_parquet(folder, ImportSpec(quiet=300), workspace.evidence)
    return workspace.root


@pytest.fixture
def workspace(evidence: Path, tmp_path: Path) -> Workspace:
    """A workspace of the test's own."""
    return Workspace.open(shutil.copytree(evidence, tmp_path / "workspace"))


@pytest.fixture(autouse=True)
def _by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Excerpts are grouped by their words: no sentence model is loaded."""

    def absent(name: str | None) -> None:
        raise UsageError("no sentence model in this test")

    monkeypatch.setattr("exegete.explainers.clustered.Sentences.open", absent)


def of_one_idea(request: Request) -> str:
    """A model that names the commonest marked word and never two; it simulates faithfully."""
    if purpose(request) == "simulate":
        return competently(request)
    marked = Counter(re.findall(r"<<(\w+)>>", competent.blocks(first(request))["excerpts"]))
    (word, _), *_ = marked.most_common(1)
    return json.dumps(proposals(f'the word "{word}"'))


def tried(workspace: Workspace, feature: int) -> list[dict[str, Any]]:
    """Every label tried on the refine split, with its senses, value and details."""
    return rows(
        workspace,
        "SELECT l.text, l.senses, s.value, s.details "
        "FROM store.labels l JOIN store.scores s USING (run, label_id) "
        f"WHERE l.feature_index = {feature} AND s.split = 'refine' ORDER BY s.value DESC",
    )


def test_a_model_of_one_idea_finds_both_senses(run: Runner, workspace: Workspace) -> None:
    """The label with senses beats each of its halves and the plain label, and is reported sense by sense."""
    run(of_one_idea, explainer="clustered", features=str(EITHER), rounds=0)
    found = run.outcome(EITHER)
    assert (set(found["senses"]), found["status"]) == (SENSES, "accepted")
    assert found["label"] == f"either: (1) {found['senses'][0]}; or (2) {found['senses'][1]}"
    values = {row["text"]: row["value"] for row in tried(workspace, EITHER)}
    (plain,) = SENSES & set(values)
    assert values[found["label"]] > values[plain] + 0.2
    details = json.loads(run.scores(EITHER)["simulation"]["details"])
    assert details["polysemantic"] == 1.0
    assert details["sense_1_only"] + details["sense_2_only"] > 0.8
    (query,) = re.findall(r"(?m)^    (SELECT .*\n    FROM .*)$", DOCS.read_text(encoding="utf-8"))
    assert rows(workspace, query) == [{"feature_index": EITHER, "label": found["label"], "own": 2.0}]
    for number in (1, 2):
        assert details[f"sense_{number}_only"] > 0.25
        assert details[f"sense_{number}_precision"] == 1.0
        assert details[f"sense_{number}_r"] < found["score"] - 0.2


def test_each_sense_costs_its_own_calls(run: Runner, workspace: Workspace) -> None:
    """One proposal of the whole and one of each sense; plain labels share their simulations with senses."""
    run(of_one_idea, explainer="clustered", features=str(EITHER), rounds=0)
    assert run.llm.count("propose") == 3
    simulated = {competent.label_of(first(r)) for r in run.llm.asked if purpose(r) == "simulate"}
    assert simulated == SENSES
    before = len(run.llm.asked)
    run(of_one_idea, explainer="clustered", features=str(EITHER), rounds=0, name="again")
    assert len(run.llm.asked) == 0 < before


def test_one_sense_stays_one(run: Runner, workspace: Workspace) -> None:
    """A feature of one word is asked about once, and gets a label without senses."""
    run(of_one_idea, explainer="clustered", features=str(SINGLE), rounds=0)
    found = run.outcome(SINGLE)
    assert (found["label"], list(found["senses"] or [])) == (f'the word "{ALONE}"', [])
    assert run.llm.count("propose") == 1
    assert "polysemantic" not in json.loads(run.scores(SINGLE)["simulation"]["details"])


def test_without_a_model_both_words_are_found(workspace: Workspace) -> None:
    """Counting finds both senses, each with a share of its own; one list says as much, and is reported."""
    run_job(workspace, explainer="clustered", llm=None, rounds=0)
    assert statuses(workspace) == {"accepted": 2}
    label, whole = sorted(tried(workspace, EITHER), key=lambda row: len(row["senses"]))
    assert set(whole["senses"]) == SENSES
    details = json.loads(whole["details"])
    assert (details["own_senses"], details["polysemantic"]) == (2.0, 1.0)
    assert whole["value"] - label["value"] < SENSES_GAIN
    outcomes = rows(workspace, "SELECT label, senses FROM labels ORDER BY feature_index")
    assert [row["label"] for row in outcomes] == [label["text"], f'the word "{ALONE}"']
    assert [len(row["senses"] or []) for row in outcomes] == [0, 0]


def test_senses_need_a_lead() -> None:
    """A label with senses ranks above one without from SENSES_GAIN on; labels of a kind rank by score."""
    assert standing(0.6 + 2 * SENSES_GAIN, 2) > standing(0.6, 0) > standing(0.6 + SENSES_GAIN / 2, 5)
    assert standing(0.6, 2) == standing(0.6, 5) > standing(0.5, 2)
    assert standing(-1.0, 0) > standing(None, 0) > standing(None, 2)
