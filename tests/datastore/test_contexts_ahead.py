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
    """Excerpts are as ever, and no context is looked for."""
    wanted = {feature: values(evidence, feature) for feature in evidence.features}
    with closing(EvidenceFile(evidence.path)) as file:
        assert file.read_contexts("word")
        monkeypatch.setattr(ContextReader, "_fetch", lambda *_: pytest.fail("a context was not there"))
        assert {feature: values(file, feature) for feature in file.features} == wanted
    assert any(map(len, wanted.values()))


@pytest.mark.parametrize("limit", ["REMEMBERED", "TOKENS_AHEAD"])
def test_too_many_are_not_read(evidence: EvidenceFile, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """What would be forgotten while it is read, or take too much memory, costs nobody anything."""
    monkeypatch.setattr(f"exegete.datastore.evidence_file.{limit}", 3)
    with closing(EvidenceFile(evidence.path)) as file:
        assert not file.read_contexts("word")
