"""A subject for the planted harvest, which was imported and has none: its features fire by their truths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from exegete.agent.spec import JobSpec
from exegete.agent.subject import Subject
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId, Unit
from exegete.datastore.workspace import Workspace
from exegete.subjects.bench import Measured, NotRun
from exegete.subjects.measurements import Measurements
from tests.agent import competent
from tests.agent.planted import TRUTH


@dataclass
class TruthBench:
    """Runs texts by the label that is true of a feature, and remembers what it did as a laboratory does."""

    measurements: Measurements
    ran: list[tuple[int, str]] = field(default_factory=list)
    """Feature and text, in order; what is remembered is not run again."""

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        known = self.measurements.known(feature, unit, texts)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        self.ran += [(feature.index, text) for text in new]
        found = {text: measured(feature, text) for text in new}
        known |= self.measurements.remember(feature, unit, found)
        return [known[text] for text in texts]

    def threshold(self, feature: FeatureId) -> float:
        return 0.0


def measured(feature: FeatureId, text: str) -> Measured:
    """What is true of a text, raw units."""
    words = text.split()
    activations = np.zeros(len(words), dtype=np.float32)
    for place, level in competent.fires(TRUTH.get(feature.index, competent.WRONG), words):
        activations[place] = level / 10
    return Measured(tuple(f" {word}" for word in words), activations)


def give_subject(patch: pytest.MonkeyPatch) -> list[TruthBench]:
    """Let jobs find a subject for the planted harvest; each job's bench is added to the list."""
    opened: list[TruthBench] = []

    @contextmanager
    def subject(workspace: Workspace, spec: JobSpec, evidence: EvidenceFile) -> Iterator[Subject]:
        opened.append(TruthBench(Measurements(workspace.measurements, evidence)))
        yield Subject(opened[-1])

    patch.setattr("exegete.agent.job.opened_subject", subject)
    return opened
