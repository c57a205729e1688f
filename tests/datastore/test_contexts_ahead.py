"""All contexts of a file read ahead, for who looks at features in no order."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_contexts import ContextReader
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId, Plan


def values(file: EvidenceFile, feature: FeatureId) -> list[tuple[Any, ...]]:
    """Excerpts of a feature, as values that can be compared."""
    reader, plan = AgentEvidence(file), Plan(top=5, per_decile=2, quiet=4)
    excerpts = [*reader.explain(feature, plan).excerpts, *reader.refine(feature, plan).excerpts]
    return [(e.context, e.activations.tolist(), e.stratum, e.weight) for e in excerpts]


def test_none_is_asked_for_again(evidence: EvidenceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read a step at a time; from then on excerpts are as ever, and no context is looked for."""
    monkeypatch.setattr("exegete.datastore.evidence_file._CONTEXTS_AT_ONCE", 7)
    wanted = {feature: values(evidence, feature) for feature in evidence.features}
    with closing(EvidenceFile(evidence.path)) as file:
        left = list(file.read_contexts("word"))
        assert left == [*range(left[0], 0, -7), 0]
        assert len(left) > 3
        monkeypatch.setattr(ContextReader, "_fetch", lambda *_: pytest.fail("a context was not there"))
        assert {feature: values(file, feature) for feature in file.features} == wanted
    assert any(map(len, wanted.values()))


def test_more_than_are_remembered_are_not_read(
    evidence: EvidenceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be forgotten while it is read costs nobody anything."""
    monkeypatch.setattr("exegete.datastore.evidence_file.READ_AHEAD", 3)
    with closing(EvidenceFile(evidence.path)) as file:
        assert list(file.read_contexts("word")) == []
