"""A batch job: many features through the graph, recorded as they finish, resumable at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from exegete.agent.deadline import next_time, wait_until
from exegete.agent.events import note_finished
from exegete.agent.graph import RECURSION_LIMIT, build_graph
from exegete.agent.parts import Models, Parts, open_parts, opened_evidence
from exegete.agent.recorder import Recorder
from exegete.agent.rows import Case
from exegete.agent.runs import register_run
from exegete.agent.spec import JobSpec, digest_of
from exegete.agent.state import CaseState
from exegete.agent.tags import at_work_on
from exegete.agent.todo import features_left, features_wanted
from exegete.datastore.evidence_file import EvidenceFile, FeatureSummary
from exegete.datastore.records import FeatureId, Verdict
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import (
    BudgetSpent,
    ExegeteError,
    LLMStop,
    LLMUnavailable,
    NoReadableReply,
    WorkspaceError,
)
from exegete.llm import Budget, load_prices
from exegete.llm.meter import Spent
from exegete.llm.traced import span

log = logging.getLogger(__name__)

OUTAGE = 5
"""So many features in a row that no model could be reached for end the job, to be resumed later."""
_GO_ON = "what is finished is kept; see to the server and run the same command to go on"
_PREFETCH = 64
_BATCHED = 5000
"""Features under way at once in batch mode at least: a wave holds what all of them ask next."""


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
    """Of this sitting."""
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
    """Asked by a person to stop before the features of the run were finished."""
    left: int
    """Features of the run that are not finished."""


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
        self._stopping = self._interrupted = False
        self._leaving = asyncio.Event()
        self._outage = 0
        self._error: ExegeteError | None = None

    async def run(self) -> JobReport:
        """Label every feature that has no outcome yet.

        Raises:
            JobError: a run of this name was started with other parameters.
            WorkspaceBusy: another job is running here.
            LLMStop, LLMUnavailable: no model can be asked any more; what is finished is recorded.
        """
        spec = self._spec
        prices, budget = load_prices(spec.prices), _budget(spec)
        models = Models(self._workspace, spec.concurrency, prices, budget, spec.batch)
        self._progress.spent = models.spent
        with self._workspace.job_lock(), opened_evidence(self._workspace, spec.harvest) as evidence:
            try:
                parts = open_parts(spec, evidence, models)
                wanted = features_wanted(evidence, spec.features)
                for line in await models.check():
                    self._say(line)
                store = Store(self._workspace.labels)
                run = register_run(store, parts, "job", spec.name)
                models.begin(run)
                left = features_left(store, run, wanted)
                todo = left[: spec.limit]
                self._progress.begin(run, len(todo), len(wanted) - len(left))
                self._log_begin(digest_of(parts.frozen()))
                recorder = Recorder(store, run, evidence.name, models.journal, self._say)
                try:
                    await self._label(parts, todo, recorder)
                finally:
                    await recorder.finish()
                    await asyncio.to_thread(note_finished, store, run)
            finally:
                await models.close()
        n_left = len(left) - self._progress.done
        self._log_end(n_left)
        if self._error is not None:
            raise self._error
        return JobReport(run, self._progress, self._interrupted and n_left > 0, n_left)

    def stop(self) -> None:
        """Start no further feature; those under way are finished and recorded.

        Features that wait for a batch are left: it goes on at the provider, and may take a day.
        """
        self._stopping = self._interrupted = True
        if self._spec.batch:
            self._leave_batches("stopping")
        else:
            self._say("stopping: finishing what is under way (again to leave at once)")

    def _leave_batches(self, why: str) -> None:
        self._say(f"{why}: batches go on at the provider; run the same command to fetch them")
        self._leaving.set()

    async def _label(self, parts: Parts, todo: list[FeatureId], recorder: Recorder) -> None:
        # Cases make many objects and few cycles: looking for them as often as usual is a sixth of the work.
        gc.set_threshold(50_000, 20, 100)
        graph = build_graph(parts.nodes())
        queue = self._ahead(parts.evidence, todo)
        at_once = max(self._spec.concurrency, _BATCHED) if self._spec.batch else self._spec.concurrency
        n_workers = min(at_once, len(todo))
        with self._signals():
            flusher = asyncio.create_task(recorder.flush_regularly())
            deadline = asyncio.create_task(self._until())
            leaving = asyncio.create_task(self._leaving.wait())
            workers = asyncio.gather(*(self._work(graph, queue, recorder) for _ in range(n_workers)))
            try:
                any_of: set[asyncio.Future[Any]] = {workers, flusher, leaving}
                await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
                # The flusher ends only by failing (a full disk), and then so does the sitting.
                if not leaving.done():
                    await (flusher if flusher.done() else workers)
            finally:
                tasks = (workers, flusher, deadline, leaving)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _until(self) -> None:
        """At the time of day that was asked for, start no further feature."""
        if self._spec.until is not None:
            await wait_until(next_time(self._spec.until, datetime.now()))
            self._stopping = True
            if self._spec.batch:
                self._leave_batches(f"it is {self._spec.until:%H:%M}")
            else:
                self._say(f"it is {self._spec.until:%H:%M}: finishing what is under way")

    def _ahead(
        self, evidence: EvidenceFile, todo: list[FeatureId]
    ) -> Iterator[tuple[FeatureId, FeatureSummary]]:
        """The features to do, their evidence read some dozens at a time."""
        for at in range(0, len(todo), _PREFETCH):
            some = todo[at : at + _PREFETCH]
            evidence.prefetch(some)
            yield from ((feature, evidence.summary(feature)) for feature in some)

    async def _work(
        self, graph: Any, queue: Iterator[tuple[FeatureId, FeatureSummary]], recorder: Recorder
    ) -> None:
        """One worker: features from the shared queue, until it is empty or the job is stopping."""
        for feature, summary in queue:
            state = await self._case(graph, feature)
            if state is not None:
                recorder.add(Case(state, summary))
                self._progress.done += 1
                self._progress.by_status[state["verdict"].status] += 1
                self._on_progress(self._progress)
            await asyncio.sleep(0)  # a case without calls never yields by itself
            if self._stopping:
                return

    async def _case(self, graph: Any, feature: FeatureId) -> CaseState | None:
        """Run one case, in a span of its own; None when it should be tried again in another sitting."""
        at_work_on(feature)
        with span("case", run=self._progress.run, feature=str(feature)) as case:
            state = await self._tried(graph, feature)
            if state is not None:
                case.set(status=state["verdict"].status)
        return state

    async def _tried(self, graph: Any, feature: FeatureId) -> CaseState | None:
        try:
            state: CaseState = await graph.ainvoke({"feature": feature}, {"recursion_limit": RECURSION_LIMIT})
        except LLMStop as error:
            self._give_up(error)
            return None
        except LLMUnavailable as error:
            self._outage += 1
            if self._outage >= OUTAGE:
                self._give_up(LLMUnavailable(f"{error}; {OUTAGE} features in a row got no reply: {_GO_ON}"))
            return None if self._stopping else _failed(feature, str(error))
        except WorkspaceError:
            raise
        except NoReadableReply as error:
            self._outage = 0
            return _failed(feature, str(error))
        except ExegeteError as error:
            return _failed(feature, str(error))
        except Exception as error:
            log.exception("feature %s failed", feature)
            return _failed(feature, f"{type(error).__name__}: {error}")
        if "trials" in state:  # dead and unscorable features ask no model and prove nothing
            self._outage = 0
        return state

    def _log_begin(self, digest: str) -> None:
        p = self._progress
        facts = {"run": p.run, "digest": digest[:8], "features": p.total}
        log.info("run %s: %d features to do, %d done before", p.run, p.total, p.before, extra=facts)

    def _log_end(self, left: int) -> None:
        p = self._progress
        facts = {"run": p.run, "done": p.done, "left": left, **p.by_status}
        spent = {"calls": p.spent.calls, "from_journal": p.spent.from_journal, "usd": p.spent.usd}
        log.info("run %s: sitting ended", p.run, extra=facts | spent)

    def _give_up(self, error: ExegeteError) -> None:
        # A budget's sentence is ours; another's can hold words of a server, and those of a prompt in them.
        log.info("the job stops: %s", error if isinstance(error, BudgetSpent) else type(error).__name__)
        self._error = self._error or error
        self._stopping = True

    def _say(self, message: str) -> None:
        log.info("%s", message)
        self._progress.message = message
        self._on_progress(self._progress)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM drains; the second leaves at once."""
        loop = asyncio.get_running_loop()

        def on_signal(number: int) -> None:
            if self._stopping:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.stop()

        numbers = (signal.SIGINT, signal.SIGTERM)
        added = []
        for number in numbers:
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
                loop.add_signal_handler(number, on_signal, number)
                added.append(number)
        try:
            yield
        finally:
            for number in added:
                loop.remove_signal_handler(number)


def _budget(spec: JobSpec) -> Budget | None:
    """What the run may spend; None for anything."""
    if spec.budget is None and spec.budget_tokens is None:
        return None
    return Budget(spec.budget, spec.budget_tokens)


def _failed(feature: FeatureId, why: str) -> CaseState:
    return {"feature": feature, "verdict": Verdict(feature, "failed", None, None, why)}
