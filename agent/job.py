"""A batch job: many features through the graph, recorded as they finish, resumable at any moment.

1. Every feature of the run that has no outcome goes through the graph.
2. Once all have one, a sample of them is scored with labels that are not theirs (null_plan.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from exegete.agent.cases import Work
from exegete.agent.crew import check_processes, opened_work
from exegete.agent.events import note_finished
from exegete.agent.mixed import Sides, opened_sides
from exegete.agent.models import Models
from exegete.agent.null_plan import plan_nulls
from exegete.agent.nulls import Null
from exegete.agent.parts import Parts, open_parts, opened_evidence
from exegete.agent.recorder import Recorder
from exegete.agent.rows import Case
from exegete.agent.runs import as_begun, register_run
from exegete.agent.sitting import Failed, Sitting
from exegete.agent.spec import JobSpec, digest_of
from exegete.agent.state import CaseState
from exegete.agent.subject import NoEffects, opened_subject
from exegete.agent.todo import features_wanted
from exegete.datastore.evidence_file import FeatureSummary
from exegete.datastore.records import FeatureId, Verdict
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm import Budget, load_prices
from exegete.llm.meter import Spent
from exegete.llm.traced import span

log = logging.getLogger(__name__)

_BEGUN = {
    True: "the run stops scoring early, as it was begun: in batches each portion of excerpts is a wave",
    False: "the run scores labels on all excerpts, as it was begun in batches",
}
"""What a run that is asked in another way than before keeps, by whether it stops scoring early."""


@dataclass(slots=True)
class Progress:
    """How far a job has come; updated in place."""

    run: str = ""
    total: int = 0
    """Features of this sitting."""
    done: int = 0
    """Of them, finished."""
    before: int = 0
    """Finished in earlier sittings."""
    by_status: Counter[str] = field(default_factory=Counter)
    """Of this sitting, planted features left out."""
    planted: int = 0
    """Of the finished ones, planted."""
    nulls: int = 0
    """Nulls of this sitting; 0 until all features have outcomes."""
    nulls_done: int = 0
    spent: Spent = field(default_factory=Spent)
    message: str = ""
    """What a person should know now, for example who holds the labels file."""

    def begin(self, run: str, total: int, before: int) -> None:
        """Set what is known before the first feature."""
        self.run, self.total, self.before = run, total, before


@dataclass(frozen=True, slots=True)
class JobReport:
    """How a job's sitting ended."""

    run: str
    progress: Progress
    interrupted: bool
    """Asked by a person to stop before the run was finished."""
    left: int
    """Features of the run that are not finished."""
    nulls_left: int
    """Nulls of the run that are not scored; 0 while features are left."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A feature whose turn it is."""

    summary: FeatureSummary
    harvest: str
    planted: bool

    @property
    def feature(self) -> FeatureId:
        return self.summary.feature


class Job:
    """One labelling job in one workspace."""

    def __init__(
        self, workspace: Workspace, spec: JobSpec, on_progress: Callable[[Progress], None] = lambda _: None
    ) -> None:
        """Prepare a job.

        Args:
            workspace: where its harvest is and its labels go.
            spec: its parameters.
            on_progress: called whenever something has changed.
        """
        self._workspace, self._spec, self._on_progress = workspace, spec, on_progress
        self._progress = Progress()
        self._sitting = Sitting(spec, self._say)
        self._said: set[str] = set()

    async def run(self) -> JobReport:
        """Label every feature that has no outcome yet, then score the run's nulls.

        Raises:
            JobError: a run of this name was started with other parameters, or they can't be done together.
            WorkerLost: processes that worked on features keep ending; what is finished is recorded.
            WorkspaceBusy: another job is running here.
            LLMStop, LLMUnavailable: no model can be asked any more; what is finished is recorded.
        """
        spec = self._spec
        check_processes(spec)
        prices, budget = load_prices(spec.prices), _budget(spec)
        models = Models(self._workspace, spec.concurrency, prices, budget, spec.batch)
        self._progress.spent = models.spent
        with ExitStack() as stack:
            stack.enter_context(self._workspace.job_lock())
            evidence = stack.enter_context(opened_evidence(self._workspace, spec.harvest))
            try:
                subject = stack.enter_context(opened_subject(self._workspace, spec, evidence))
                parts = self._as_begun(open_parts(spec, evidence, models, subject=subject))
                sides = stack.enter_context(opened_sides(parts))
                wanted = features_wanted(evidence, spec.features)
                for line in await models.check():
                    self._say(line)
                store = Store(self._workspace.labels)
                run = register_run(store, parts, "job", spec.name)
                sides.register(store)
                models.begin(run)
                left = sides.left(store, run, wanted)
                todo = left[: spec.limit]
                self._progress.begin(run, len(todo), len(sides.features(wanted)) - len(left))
                self._warn(parts)
                self._log_begin(digest_of(parts.frozen()))
                recorder = Recorder(store, run, models.journal, parts.independence.kind, self._say)
                n = min(spec.processes, len(todo))
                try:
                    with self._sitting.signals():
                        async with opened_work(self._workspace, sides, models, n, self._say) as work:
                            await self._label(sides, work, todo, recorder)
                            await self._score_nulls(parts, work, wanted, recorder)
                finally:
                    await recorder.finish()
                    await asyncio.to_thread(note_finished, store, run)
            finally:
                await models.close()
        report = self._report(len(left) - self._progress.done)
        self._log_end(report)
        if self._sitting.error is not None:
            raise self._sitting.error
        return report

    def stop(self) -> None:
        """Start nothing further; what is under way, and waits for no batch, is finished and recorded."""
        self._sitting.stop()

    async def _label(self, sides: Sides, work: Work, todo: list[FeatureId], recorder: Recorder) -> None:
        """Features through the graph."""

        async def label(ready: _Ready) -> None:
            state = await self._case(work, ready)
            if state is not None:
                self._say_what_is_missing(state)
                recorder.add(Case(state, ready.summary, ready.harvest))
                self._progress.done += 1
                if ready.planted:
                    self._progress.planted += 1
                else:
                    self._progress.by_status[state["verdict"].status] += 1
                self._on_progress(self._progress)

        await self._sitting.each(self._ahead(sides, work, todo), len(todo), label, recorder.flush_regularly())

    async def _score_nulls(
        self, parts: Parts, work: Work, wanted: list[FeatureId], recorder: Recorder
    ) -> None:
        """Labels that are not a feature's, once all features have outcomes."""
        if self._sitting.stopping or not self._spec.nulls:
            return
        await recorder.written()
        plan = await plan_nulls(recorder, parts, wanted)
        if plan is None or not plan.left:
            return
        await recorder.finish()  # a job killed from here on has its features, q-values and all
        self._progress.nulls = len(plan.left)
        self._on_progress(self._progress)

        async def score(null: Null) -> None:
            with span("null", run=recorder.run, feature=str(null.feature)):
                case = await self._sitting.tried(str(null.feature), work.null(null))
            if case is not None and not isinstance(case, Failed):  # a failed one is left for another sitting
                self._sitting.answered()
                recorder.add(case)
                self._progress.nulls_done += 1
                self._on_progress(self._progress)

        await self._sitting.each(iter(plan.left), len(plan.left), score, recorder.flush_regularly())

    def _ahead(self, sides: Sides, work: Work, todo: list[FeatureId]) -> Iterator[_Ready]:
        """The features to do, announced some dozens at a time."""
        for at in range(0, len(todo), work.ahead):
            some = todo[at : at + work.ahead]
            work.prefetch(some)
            for feature in some:
                parts = sides.of(feature)
                file = parts.evidence
                yield _Ready(file.summary(feature), file.name, parts is sides.planted)

    async def _case(self, work: Work, ready: _Ready) -> CaseState | None:
        """Run one case, in a span of its own; None when it should be tried again in another sitting."""
        feature = ready.feature
        with span("case", run=self._progress.run, feature=str(feature)) as case:
            state: CaseState | Failed | None = await self._sitting.tried(str(feature), work.case(feature))
            if state is None:
                return None
            if isinstance(state, Failed):
                verdict = Verdict(feature, "failed", None, None, state.why)
                state = {"feature": feature, "verdict": verdict}
            elif "trials" in state:  # dead and unscorable features ask no model and prove nothing
                self._sitting.answered()
            case.set(status=state["verdict"].status)
        return state

    def _as_begun(self, parts: Parts) -> Parts:
        """The parts a run was begun with, where only how models are asked has changed since."""
        labels = self._workspace.labels
        begun = as_begun(Store(labels) if labels.exists() else None, parts)
        if begun is not parts:
            self._say(_BEGUN[begun.stops_early])
        return begun

    def _warn(self, parts: Parts) -> None:
        """Say what labels will be judged by, and what can't be measured, before anything is spent."""
        if isinstance(parts.effects, NoEffects):
            self._said.add(parts.effects.why)
            self._say(parts.effects.why)
        independence = parts.independence
        # That the lexical pair judges itself is what it is for, and no news at every start.
        if independence.sentence is not None and independence.kind != "no model":
            self._say(independence.sentence)

    def _say_what_is_missing(self, state: CaseState) -> None:
        """What could not be measured on the subject, once each: many features have the same reason."""
        for taken in state.get("decisions", ()):
            why = taken.decision.why
            if taken.decision.action == "go on without" and why not in self._said:
                self._said.add(why)
                self._say(why)

    def _report(self, left: int) -> JobReport:
        p = self._progress
        nulls_left = p.nulls - p.nulls_done
        interrupted = self._sitting.interrupted and left + nulls_left > 0
        return JobReport(p.run, p, interrupted, left, nulls_left)

    def _log_begin(self, digest: str) -> None:
        p = self._progress
        facts = {"run": p.run, "digest": digest[:8], "features": p.total}
        log.info("run %s: %d features to do, %d done before", p.run, p.total, p.before, extra=facts)

    def _log_end(self, report: JobReport) -> None:
        p = self._progress
        facts = {"run": p.run, "done": p.done, "left": report.left, "nulls": p.nulls_done, **p.by_status}
        spent = {"calls": p.spent.calls, "from_journal": p.spent.from_journal, "usd": p.spent.usd}
        log.info("run %s: sitting ended", p.run, extra=facts | spent)

    def _say(self, message: str) -> None:
        log.info("%s", message)
        self._progress.message = message
        self._on_progress(self._progress)


def _budget(spec: JobSpec) -> Budget | None:
    """What the run may spend; None for anything."""
    if spec.budget is None and spec.budget_tokens is None:
        return None
    return Budget(spec.budget, spec.budget_tokens)
