"""All that can be read of imported evidence."""

from __future__ import annotations

from typing import Any

from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.importing import ImportSpec
from exegete.datastore.records import SPLITS, Plan

ALL = Plan(top=10_000, per_decile=0, quiet=10_000, window=None)
SPEC = ImportSpec(top=10_000, sample=40_000, quiet=40_000)


def found_in(file: EvidenceFile, plan: Plan = ALL) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Activating and quiet excerpts, by feature, split, document and text."""
    activating, quiet = {}, {}
    for feature in file.features:
        agent, report = AgentEvidence(file), ReportEvidence(file)
        for split, read in zip(SPLITS, (agent.explain, agent.refine, report.report), strict=True):
            evidence = read(feature, plan)
            for e in evidence.activating:
                activating[feature.index, split, e.context.document, e.context.tokens] = (
                    e.activations.tolist()
                )
            for e in evidence.quiet:
                quiet[feature.index, split, e.context.document, e.context.tokens] = e.activations.tolist()
    return activating, quiet
