"""From a job's parameters to the parts that do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from exegete import explainers, scorers, simulators
from exegete.agent.examiner import Examiner
from exegete.agent.independence import Independence, judge
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
from exegete.llm.prepare import prepare, refuse_without
from exegete.llm.reach import check_reachable
from exegete.llm.slots import WHO_CAN
from exegete.scorers.scorer import Scorer
from exegete.scorers.stopping import Looks
from exegete.simulators.remembered import Remembered
from exegete.simulators.simulator import Simulator

NEEDS: tuple[AbilityName, ...] = ("structured_output",)
"""What our explainers and simulators want of a model; a simulator can need more (`simulators.one_of`)."""


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
    one_of: dict[str, tuple[str, tuple[AbilityName, ...]]] = field(default_factory=dict)
    """By model, the simulator that asks it, and abilities of which that needs one."""
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
            UsageError: one can't do what its simulator needs.
        """
        for name in self._opened:
            await check_reachable(parse(name))
        lines = await prepare(self._opened, self.workspace.root, NEEDS)
        for name, (simulator, one_of) in self.one_of.items():
            if self.batch:
                raise UsageError(f"simulator {simulator!r} can't ask {name} in batches: leave out --batch")
            what = f"simulator {simulator!r}"
            lines += await refuse_without(name, self.workspace.root, one_of, what, WHO_CAN)
        return lines

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
        explainer_model: the model that the explainer asks, or "imported"; None when it asks none.
        simulator_model: likewise of the simulator.
        judge_llm, judge_name: the simulator's model, for scorers that ask one themselves.
    """

    explainer: Explainer | None
    simulator: Simulator
    spec: JobSpec
    evidence: EvidenceFile
    explainer_model: str | None = None
    simulator_model: str | None = None
    judge_llm: LLM | None = None
    judge_name: str | None = None

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
        )

    def frozen(self) -> dict[str, Any]:
        """Everything that decides results, with names and digests resolved."""
        return self.spec.frozen(
            harvest=self.evidence.name,
            evidence_sha256=self.evidence.manifest.sha256,
            explainer_version=self.explainer.name if self.explainer else None,
            simulator=self.simulator.name,
            scorer_versions=[s.name for s in self.scorers("report")],
            stop_early=self.stops_early,
        )


def open_parts(spec: JobSpec, evidence: EvidenceFile, models: Opens, *, explain: bool = True) -> Parts:
    """Build a job's parts.

    Raises:
        UsageError: an unknown explainer, simulator, scorer or model.
    """
    explainer = explainer_model = None
    if explain:
        llm, name = models.open(spec.explainer_llm or spec.llm)
        explainer = explainers.build(
            spec.explainer,
            llm,
            name,
            labels=lambda feature: imported_labels(evidence, feature),
            sentence_model=spec.sentence_model,
        )
        explainer_model = name if name and name in explainer.name else None
        if spec.explainer == "imported":  # by somebody, and nobody knows who
            explainer_model = spec.explainer
    llm, name = models.open(spec.simulator_llm or spec.llm)
    simulator = Remembered(simulators.build(spec.simulator_name, llm, name))
    one_of = simulators.one_of(spec.simulator_name)
    if name is not None and one_of and isinstance(models, Models):  # others answer without asking anybody
        models.one_of[name] = (spec.simulator_name, one_of)
    unknown = [s for s in spec.scorers if s not in scorers.names()]
    if unknown or not spec.scorers:
        raise JobError(
            f"there is no scorer {unknown[0] if unknown else ''!r}: choose among {', '.join(scorers.names())}"
        )
    simulator_model = name if simulators.asks_model(spec.simulator_name) else None
    return Parts(explainer, simulator, spec, evidence, explainer_model, simulator_model, llm, name)
