"""From a job's parameters to the parts that do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from exegete import explainers, scorers, simulators
from exegete.agent.examiner import Examiner
from exegete.agent.nodes import Nodes
from exegete.agent.spec import JobSpec
from exegete.agent.spending import spent_before
from exegete.agent.tags import Tags
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.import_labels import imported_labels
from exegete.datastore.records import Split
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError, UsageError
from exegete.explainers.explainer import Explainer
from exegete.llm import LLM, Account, BatchLog, Budget, Journal, Prices, load_prices, open_llm, parse
from exegete.llm.abilities import AbilityName
from exegete.llm.budget import Amount
from exegete.llm.meter import Metered, Spent
from exegete.llm.prepare import prepare
from exegete.llm.reach import check_reachable
from exegete.scorers.scorer import Scorer
from exegete.simulators.remembered import Remembered
from exegete.simulators.simulator import Simulator

NEEDS: tuple[AbilityName, ...] = ("structured_output",)
"""What our explainers and simulators want of a model."""
_BESIDE = {"simulation": 0.5, "detection": 0.75}
"""Bars of scorers that stand beside the primary one: the job's threshold is in the primary score's units."""


class Opens(Protocol):
    """What finds a job's models by their names."""

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """A model by name and its canonical name; (None, None) for None."""


@dataclass(slots=True)
class Models:
    """The language models of a job: each opened once, all over one journal."""

    workspace: Workspace
    concurrency: int
    prices: Prices | None = None
    """None: the built-in table."""
    budget: Budget | None = None
    """Shared by all of them; None: anything may be spent."""
    batch: bool = False
    """Ask them by their providers' batch APIs."""
    spent: Spent = field(default_factory=Spent)
    tags: Tags = field(default_factory=Tags)
    journal: Journal | None = None
    batches: BatchLog | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
    """What each provider's account bears, shared by all models that are billed to it."""
    _opened: dict[str, LLM] = field(default_factory=dict)

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """A model by name and its canonical name; (None, None) for None.

        Raises:
            UsageError: the name is none, or its key is not set.
            WorkspaceBusy: another process has the journal.
        """
        if spec is None:
            return None, None
        name = str(parse(spec))
        if name not in self._opened:
            if self.journal is None:
                self.journal = Journal(self.workspace.journal)
            if self.batch and self.batches is None:
                self.batches = BatchLog(self.workspace.batches)
            inner = open_llm(
                spec,
                journal=self.journal,
                concurrency=self.concurrency,
                accounts=self.accounts,
                prices=self.prices,
                budget=self.budget,
                batches=self.batches,
            )
            self._opened[name] = Metered(inner, self.tags, self.spent)
        return self._opened[name], name

    def begin(self, run: str) -> None:
        """From here on calls are made for a run; what it spent before counts in its budget.

        Raises:
            UsageError: there is a budget in dollars, and an earlier call of the run has no known price.
        """
        self.tags.run = run
        if self.budget is None or self.journal is None:
            return
        prices = load_prices() if self.prices is None else self.prices
        before = spent_before(self.journal.entries(), run, prices)
        if before.usd is None and self.budget.usd is not None:
            raise UsageError(
                f"earlier calls of the run {run} have no known price, so a budget in dollars can't be kept: "
                "give their price with --prices, or set --budget-tokens"
            )
        self.budget.count(Amount(before.usd or 0.0, before.tokens))

    async def check(self) -> list[str]:
        """Make sure that every server is there, and find out what it lacks, before anything is started.

        Returns:
            Lines for a person: what a model can't do, and what is done instead.

        Raises:
            LLMUnavailable, LLMStop: one is not there, or refuses the key.
        """
        for name in self._opened:
            await check_reachable(parse(name))
        return await prepare(self._opened, self.workspace.root, NEEDS)

    async def close(self) -> None:
        """Let go of connections, then of the journal and the log of batches."""
        for llm in self._opened.values():
            await llm.close()
        if self.batches is not None:
            self.batches.close()
        if self.journal is not None:
            self.journal.close()


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
        simulator: shared by all scorers, and remembers.
    """

    explainer: Explainer | None
    simulator: Simulator
    spec: JobSpec
    evidence: EvidenceFile

    def scorers(self, split: Split) -> list[Scorer]:
        """The job's scorers for a split, with intervals and chance levels; the primary one first."""
        return [self._scorer(name, split, {}) for name in self.spec.scorers]

    def ranker(self) -> Scorer:
        """The primary scorer on the refine split: it only ranks candidates, so nothing is resampled."""
        return self._scorer(self.spec.scorers[0], "refine", {"n_boot": 0, "n_perm": 0})

    def _scorer(self, name: str, split: Split, resamples: Mapping[str, int]) -> Scorer:
        primary = name == self.spec.scorers[0]
        return scorers.build(
            name,
            self.simulator,
            split=split,
            threshold=self.spec.threshold if primary else _BESIDE.get(name, self.spec.threshold),
            seed=self.spec.seed,
            **resamples,
        )

    def examiner(self) -> Examiner:
        """What scores frozen labels."""
        return Examiner(
            ReportEvidence(self.evidence), self.scorers("report"), self.spec.report_plan, self.spec.threshold
        )

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
        )

    def frozen(self) -> dict[str, Any]:
        """Everything that decides results, with names and digests resolved."""
        return self.spec.frozen(
            harvest=self.evidence.name,
            evidence_sha256=self.evidence.manifest.sha256,
            explainer_version=self.explainer.name if self.explainer else None,
            simulator=self.simulator.name,
            scorer_versions=[s.name for s in self.scorers("report")],
        )


def open_parts(spec: JobSpec, evidence: EvidenceFile, models: Opens, *, explain: bool = True) -> Parts:
    """Build a job's parts.

    Raises:
        UsageError: an unknown explainer, simulator, scorer or model.
    """
    explainer = None
    if explain:
        llm, name = models.open(spec.explainer_llm or spec.llm)
        explainer = explainers.build(
            spec.explainer, llm, name, labels=lambda feature: imported_labels(evidence, feature)
        )
    llm, name = models.open(spec.simulator_llm or spec.llm)
    simulator = Remembered(simulators.build(spec.simulator_name, llm, name))
    unknown = [s for s in spec.scorers if s not in scorers.names()]
    if unknown or not spec.scorers:
        raise JobError(
            f"there is no scorer {unknown[0] if unknown else ''!r}: choose among {', '.join(scorers.names())}"
        )
    return Parts(explainer, simulator, spec, evidence)
