"""Imported labels as candidates: as they came, by whom they came from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.import_labels import ImportedLabel, from_metadata, imported_labels, to_metadata
from exegete.datastore.import_neuronpedia import import_neuronpedia
from exegete.datastore.records import Evidence, FeatureId, Split
from exegete.errors import LeakageError
from exegete.explainers import build
from exegete.explainers.hygiene import MAX_LENGTH
from exegete.explainers.imported import ImportedLabels
from tests.datastore.imported import SPEC
from tests.datastore.neuronpedia_folders import good

FEATURE = FeatureId("m", "s", "d", 3)
OTHER = FeatureId("m", "s", "d", 4)


def evidence(split: Split = "explain", feature: FeatureId = FEATURE) -> Evidence:
    return Evidence(feature, split, (), (), "word", 1.0)


def proposed(labels: Sequence[tuple[str, str]], k: int = 3) -> list[tuple[str, str, int]]:
    """Text, author and round of what is proposed for a feature with these labels."""
    explainer = ImportedLabels(
        lambda feature: [ImportedLabel(*label) for label in labels] if feature == FEATURE else ()
    )
    assert asyncio.run(explainer.explain(evidence(feature=OTHER), k)) == []
    found = asyncio.run(explainer.explain(evidence(), k))
    assert all(label.feature == FEATURE for label in found)
    return [(label.text, label.author, label.round) for label in found]


def test_as_they_came() -> None:
    """The first k, in order, by their authors; what differs in spaces alone is one label."""
    labels = [("one", "a"), ("one ", "b"), ("two", "b"), ("three", "c"), ("four", "d")]
    assert proposed(labels) == [("one", "a", 0), ("two", "b", 0), ("three", "c", 0)]
    assert proposed(labels, 1) == [("one", "a", 0)]
    assert proposed(labels, 0) == []
    assert proposed([]) == []


def test_only_what_can_be_kept() -> None:
    """Labels that are too long or empty are passed over, and control characters removed."""
    labels = [("x" * (MAX_LENGTH + 1), "a"), ("\u202e \x1b[2J", "b"), ("red\x1b[31m\nwords", "c\x1b[2J\n")]
    assert proposed(labels) == [("red words", "c", 0)]
    assert proposed([("text", "\x1b[2J")]) == [("text", "imported", 0)]


def test_never_revised() -> None:
    """They are judged as they came."""
    explainer = ImportedLabels(lambda _: [ImportedLabel("one", "a")])
    assert asyncio.run(explainer.revise(evidence(), (), 3)) == []


@pytest.mark.parametrize("split", ["refine", "report"])
def test_other_splits(split: Split) -> None:
    """Evidence of another split is refused."""
    with pytest.raises(LeakageError):
        asyncio.run(ImportedLabels(lambda _: ()).explain(evidence(split), 3))


def test_built_by_name() -> None:
    """The method is built with whatever gives labels, and with nothing has none."""
    explainer = build("imported", labels=lambda _: [ImportedLabel("one", "a")])
    assert isinstance(explainer, ImportedLabels)
    assert [label.text for label in asyncio.run(explainer.explain(evidence(), 3))] == ["one"]
    assert asyncio.run(build("imported").explain(evidence(), 3)) == []


def test_metadata() -> None:
    """Labels come back from metadata as they went in, and what only looks like labels is none."""
    labels = (ImportedLabel("one", "a"), ImportedLabel("\x1b[2J", ""))
    assert from_metadata({"labels": to_metadata(labels), "name": "x"}) == labels
    for odd in ({}, {"labels": "one"}, {"labels": [1, None, {"text": "x"}, {"text": 1, "author": "a"}]}):
        assert from_metadata(odd) == ()


def test_of_an_import(tmp_path: Path) -> None:
    """The labels of an imported harvest are proposed for the features they came with."""
    manifest, _ = import_neuronpedia(good().write(tmp_path), SPEC, tmp_path / "evidence")
    file = EvidenceFile(tmp_path / "evidence" / f"{manifest.name}.duckdb")
    explainer = ImportedLabels(lambda feature: imported_labels(file, feature))
    texts = {}
    for feature in file.features:
        shown = AgentEvidence(file).explain(feature, explainer.plan)
        texts[feature.index] = [label.text for label in asyncio.run(explainer.explain(shown, 3))]
    assert texts == {0: ["zeros"], 1: [], 2: [], 7: ["sevens"], 2**31 - 1: []}
    file.close()
