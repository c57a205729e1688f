"""From a job's parameters to the parts that do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from exegete import explainers, scorers, simulators
from exegete.agent.examiner import Examiner
from exegete.agent.independence import Independence, judge
from exegete.agent.models import Models, Opens
from exegete.agent.nodes import Effects, Nodes
from exegete.agent.spec import JobSpec
from exegete.agent.subject import NOTHING, Subject, effects_of, output_versions
from exegete.agent.testing import Testing
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.import_labels import imported_labels
from exegete.datastore.records import Split
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError
from exegete.explainers.explainer import Explainer
from exegete.explainers.falsifier import Falsifier
from exegete.explainers.hinted import Hinted
from exegete.llm import LLM
from exegete.scorers.scorer import Scorer
from exegete.scorers.stopping import Looks
from exegete.simulators.simulator import Simulator
from exegete.subjects.bench import Bench


@contextmanager
def opened_evidence(workspace: Workspace, harvest: str | None) -> Iterator[EvidenceFile]:
    """An evidence file that is closed again."""
    with ExitStack() as stack:
        file = workspace.open_evidence(harvest)
        stack.callback(file.close)
        yield file


@dataclass(frozen=True, slots=True)
class Parts:
    """What a job is run with.

    Attributes:
        explainer: None when only scoring.
        simulator: shared by all scorers.
        explainer_model: the model that the explainer asks, or "imported"; None when it asks none.
        simulator_model: likewise of the simulator.
        judge_llm, judge_name: the simulator's model, for scorers that ask one themselves.
        bench: what texts are run on; None when the job runs none.
        falsifier: writes tests of labels; None when the job asks for none.
        effects: measures what features do; None when the job does not ask for that.
        output_versions: what writes output labels, and what judges them.
    """

    explainer: Explainer | None
    simulator: Simulator
    spec: JobSpec
    evidence: EvidenceFile
    explainer_model: str | None = None
    simulator_model: str | None = None
    judge_llm: LLM | None = None
    judge_name: str | None = None
    bench: Bench | None = None
    falsifier: Falsifier | None = None
    effects: Effects | None = None
    output_versions: Sequence[str] = ()

    @property
    def asks_to_simulate(self) -> bool:
        """Does every simulation ask a language model, and so cost something?"""
        return simulators.asks_model(self.spec.simulator_name)

    @property
    def independence(self) -> Independence:
        """Whether labels are judged by somebody else than who wrote them."""
        return judge(self.explainer_model, self.simulator_model)

    def scorers(self, split: Split) -> list[Scorer]:
        """The job's scorers for a split, with intervals and chance levels; the primary one first."""
        return [self._scorer(name, split, {}) for name in self.spec.scorers]

    def quick_scorers(self) -> list[Scorer]:
        """The job's scorers on the report split, without intervals and chance levels."""
        return [self._scorer(name, "report", {"n_boot": 0, "n_perm": 0}) for name in self.spec.scorers]

    def ranker(self) -> Scorer:
        """The primary scorer on the refine split: it only ranks candidates, so nothing is resampled."""
        return self._scorer(self.spec.scorers[0], "refine", {"n_boot": 0, "n_perm": 0})

    def _scorer(self, name: str, split: Split, resamples: Mapping[str, int]) -> Scorer:
        return scorers.build(
            name,
            self.simulator,
            split=split,
            threshold=self.bars.get(name, self.spec.threshold),
            seed=self.spec.seed,
            llm=self.judge_llm,
            model_name=self.judge_name,
            sentence_model=self.spec.sentence_model,
            first=name == self.spec.scorers[0],
            bench=self.bench,
            **resamples,
        )

    @property
    def bars(self) -> dict[str, float]:
        """Values to clear beside the primary scorer, as the threshold is in that one's units."""
        bars = {name: scorers.bar(name) for name in self.spec.scorers[1:] if name != self.spec.scorers[0]}
        return {name: bar for name, bar in bars.items() if bar is not None}

    def examiner(self) -> Examiner:
        """What scores frozen labels."""
        spec, own = self.spec, self.scorers("report")
        looks = Looks(self.simulator, own, spec.threshold, spec.seed) if self.stops_early else None
        evidence = ReportEvidence(self.evidence)
        return Examiner(evidence, own, spec.report_plan, spec.threshold, self.bars, looks)

    @property
    def stops_early(self) -> bool:
        """Is scoring ended once it is clear of the threshold? Unless told, where that saves calls to a model.

        In batch mode it would add a wave of up to a day for every look.
        """
        if self.spec.stop_early is not None:
            return self.spec.stop_early
        return self.asks_to_simulate and not self.spec.batch

    def nodes(self) -> Nodes:
        """The steps of the graph."""
        if self.explainer is None:
            raise JobError("a job needs an explainer: name one with --explainer")
        return Nodes(
            AgentEvidence(self.evidence),
            self.explainer,
            self.simulator,
            self.ranker(),
            self.examiner(),
            self.spec.refine_plan,
            self.spec.candidates,
            self.spec.rounds,
            self.spec.seed,
            self.testing,
            self.effects,
            self.spec.case_budget,
        )

    @property
    def testing(self) -> Testing | None:
        """What labels are tested with; None when the job asks for no tests."""
        if self.falsifier is None or self.bench is None:
            return None
        return Testing(self.falsifier, self.bench)

    def frozen(self) -> dict[str, Any]:
        """Everything that decides results, with names and digests resolved."""
        return self.spec.frozen(
            harvest=self.evidence.name,
            evidence_sha256=self.evidence.manifest.sha256,
            explainer_version=self.explainer.name if self.explainer else None,
            falsifier=self.falsifier.name if self.falsifier else None,
            output_versions=list(self.output_versions),
            simulator=self.simulator.name,
            scorer_versions=[s.name for s in self.scorers("report")],
            stop_early=self.stops_early,
        )


def open_parts(
    spec: JobSpec,
    evidence: EvidenceFile,
    models: Opens,
    *,
    explain: bool = True,
    subject: Subject = NOTHING,
) -> Parts:
    """Build a job's parts.

    Args:
        spec: its parameters.
        evidence: its harvest.
        models: what finds its language models.
        explain: whether labels are written, and not only scored.
        subject: what things are tried on, where the job tries some.

    Raises:
        UsageError: an unknown explainer, simulator, scorer or model.
        JobError: labels are to be tested, and there is no model to write tests.
    """
    explainer = explainer_model = falsifier = effects = None
    versions: tuple[str, ...] = ()
    llm, name = models.open(spec.explainer_llm or spec.llm) if explain else (None, None)
    simulator_llm, simulator_name = models.open(spec.simulator_llm or spec.llm)
    if explain:
        explainer = explainers.build(
            spec.explainer,
            llm,
            name,
            labels=lambda feature: imported_labels(evidence, feature),
            sentence_model=spec.sentence_model,
        )
        if spec.hint is not None:
            explainer = Hinted(explainer, spec.hint)
        explainer_model = name if name and name in explainer.name else None
        if spec.explainer == "imported":  # by somebody, and nobody knows who
            explainer_model = spec.explainer
        falsifier = _falsifier(spec, llm, name)
        judge = (simulator_llm, simulator_name)
        effects = effects_of(spec, subject, evidence, (llm, name), judge)
        versions = output_versions(spec, (llm, name), judge)
    simulator = simulators.build(spec.simulator_name, simulator_llm, simulator_name)
    one_of = simulators.one_of(spec.simulator_name)
    if simulator_name is not None and one_of and isinstance(models, Models):
        models.one_of[simulator_name] = (spec.simulator_name, one_of)  # others answer without asking anybody
    unknown = [s for s in spec.scorers if s not in scorers.names()]
    if unknown or not spec.scorers:
        raise JobError(
            f"there is no scorer {unknown[0] if unknown else ''!r}: choose among {', '.join(scorers.names())}"
        )
    return Parts(
        explainer,
        simulator,
        spec,
        evidence,
        explainer_model,
        simulator_name if simulators.asks_model(spec.simulator_name) else None,
        simulator_llm,
        simulator_name,
        subject.bench,
        falsifier,
        effects,
        versions,
    )


def _falsifier(spec: JobSpec, llm: LLM | None, name: str | None) -> Falsifier | None:
    """What writes tests of labels: the explainer's model, which knows best what it meant.

    Raises:
        JobError: there is no model.
    """
    if not spec.falsify:
        return None
    if llm is None or name is None:
        raise JobError("--falsify has a language model write tests of labels: name one with --llm")
    return Falsifier(llm, name, spec.tests)
