"""Labels that came with the evidence, through a job of ours, on evidence of unknown weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from exegete.datastore.evidence import ReportEvidence
from exegete.datastore.import_neuronpedia import import_neuronpedia
from exegete.datastore.importing import ImportSpec
from exegete.datastore.records import Plan
from exegete.datastore.workspace import Workspace
from tests.agent.harness import rows, run_job
from tests.datastore.neuronpedia_folders import explanation, good


@pytest.fixture
def imported(tmp_path: Path) -> Workspace:
    """A workspace with an import of Neuronpedia's layout."""
    words = (" the", " cat", " sat", " on", " a", " mat", " and", " saw", " some", " blue", " lock", " in")
    export = good(words, n=240)
    # Features fire anywhere; that a label is wrong is a result like any other.
    export.explanations = [[explanation(index, 'the word "cat"') for index in (0, 1, 2, 7)]]
    export.write(tmp_path / "export")
    workspace = Workspace.open_or_create(tmp_path / "workspace")
    import_neuronpedia(tmp_path / "export", ImportSpec(quiet=200), workspace.evidence)
    return workspace


def test_labels_by_their_authors(imported: Workspace) -> None:
    """Each feature's label is one that came with it, by its author, with chance and q like anybody's."""
    run_job(imported, explainer="imported", simulator="lexical", llm=None)
    found = rows(imported, "SELECT label, author, score, chance, q_value, status FROM labels")
    scored = [row for row in found if row["score"] is not None]
    assert scored
    assert all(row["author"].startswith("neuronpedia:") for row in scored)
    assert all(row["q_value"] is not None and row["chance"] is not None for row in scored)


def test_what_nobody_knows_stays_undefined(imported: Workspace) -> None:
    """Weights are NaN but for the top; presumed silence is never shown as hard; r_weighted is NULL."""
    file = imported.open_evidence()
    try:
        feature = next(f for f in file.features if file.summary(f).fired_contexts["report"] >= 5)
        evidence = ReportEvidence(file).report(feature, Plan(top=3, per_decile=1, quiet=5, hard=5))
    finally:
        file.close()
    weights = {excerpt.stratum: excerpt.weight for excerpt in evidence.excerpts}
    assert weights.pop("top") == 1.0
    assert weights
    assert all(math.isnan(weight) for weight in weights.values())
    assert {excerpt.stratum for excerpt in evidence.quiet} == {"quiet"}
    run_job(imported, explainer="imported", simulator="lexical", llm=None)
    found = rows(
        imported,
        "SELECT value, details->>'r_weighted' AS r_weighted FROM scores "
        "WHERE scorer LIKE 'simulation%' AND value IS NOT NULL",
    )
    assert found
    assert {row["r_weighted"] for row in found} == {None}
