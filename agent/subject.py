"""The subject of a job's harvest, loaded again where something is to be tried on it: once a job, before
anything is spent, and let go of at its end.

Tests of labels (`--falsify`) and scorers that run texts want a bench; what features do (`--effects`) wants a
causal language model as well. Planted features have no subject: their truth runs texts (controls/bench.py),
and they do nothing. A subject without an output side leaves that part out of every case, and the job goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exegete import scorers
from exegete.agent.spec import JobSpec
from exegete.controls.bench import PlantedBench
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId
from exegete.datastore.workspace import CONTROLS, Workspace
from exegete.errors import SubjectError
from exegete.subjects.bench import Bench

if TYPE_CHECKING:
    from exegete.agent.nodes import Effects
    from exegete.agent.output import Asked, OutputFindings
    from exegete.subjects.laboratory import Laboratory


def wants_bench(spec: JobSpec) -> bool:
    """Whether a job runs texts on the subject."""
    known = [name for name in spec.scorers if name in scorers.names()]
    return spec.falsify or any(map(scorers.wants_bench, known))


def is_planted(evidence: EvidenceFile) -> bool:
    """Whether a harvest is of planted features."""
    return f"{evidence.parameters.get('kind')}-" == CONTROLS


@dataclass(frozen=True, slots=True)
class Subject:
    """What a job tries things on.

    Attributes:
        bench: runs texts; None when the job runs none.
        laboratory: the model itself; None when the job does not need it, or it can't be had.
        why_no_laboratory: a sentence.
    """

    bench: Bench | None = None
    laboratory: Laboratory | None = None
    why_no_laboratory: str = "what features do is left out: planted features do nothing"


NOTHING = Subject()
"""Of a job that tries nothing."""


@contextmanager
def opened_subject(workspace: Workspace, spec: JobSpec, evidence: EvidenceFile) -> Iterator[Subject]:
    """The subject of a harvest, as far as a job needs it; closed again.

    Raises:
        SubjectError: it can't be loaded, or is not the one that was harvested.
    """
    if is_planted(evidence):
        yield Subject(PlantedBench(evidence))
    elif wants_bench(spec) or spec.effects:
        from exegete.subjects.laboratory import Laboratory

        laboratory = Laboratory.open(evidence, spec.subject, spec.device, workspace.measurements)
        try:
            yield Subject(laboratory, laboratory)
        finally:
            laboratory.close()
    else:
        yield NOTHING


@dataclass(frozen=True, slots=True)
class NoEffects:
    """Stands in for a study of what features do, where there can be none.

    Attributes:
        why: one sentence.
    """

    why: str

    async def study(self, feature: FeatureId) -> OutputFindings:
        """Say why nothing is known.

        Raises:
            SubjectError: always.
        """
        raise SubjectError(self.why)


def effects_of(
    spec: JobSpec, subject: Subject, evidence: EvidenceFile, explainer: Asked, judge: Asked
) -> Effects | None:
    """What finds out what features do; None when a job does not ask for that.

    Args:
        spec: the job's parameters.
        subject: what things are tried on.
        evidence: the harvest.
        explainer: the model that puts in words what a feature does, and its name.
        judge: the model that judges it, likewise.
    """
    if not spec.effects:
        return None
    if subject.laboratory is None:
        return NoEffects(subject.why_no_laboratory)
    from exegete.agent.output import OutputStudy

    try:
        return OutputStudy.open(
            subject.laboratory, evidence, explainer=explainer, judge=judge, seed=spec.seed
        )
    except SubjectError as error:
        return NoEffects(f"what features do is left out: {error}")


def output_versions(spec: JobSpec, explainer: Asked, judge: Asked) -> tuple[str, ...]:
    """What writes and what judges output labels, with versions: known also where there is no subject."""
    if not spec.effects:
        return ()
    from exegete.explainers.output import output_explainer
    from exegete.scorers.steering import judge_of

    return (output_explainer(*explainer).name, judge_of(*judge, spec.seed).name)
