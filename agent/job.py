"""A batch job: many features through the graph, recorded as they finish, resumable at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from exegete.agent.graph import RECURSION_LIMIT, build_graph
from exegete.agent.parts import Models, Parts, open_parts, opened_evidence
from exegete.agent.recorder import Recorder
from exegete.agent.rows import Case
from exegete.agent.runs import register_run
from exegete.agent.spec import JobSpec
from exegete.agent.state import CaseState
from exegete.agent.tags import at_work_on
from exegete.datastore.evidence_file import EvidenceFile, FeatureSummary
from exegete.datastore.records import FeatureId, Verdict
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace, parse_features
from exegete.errors import (
    ExegeteError,
    JobError,
    LLMStop,
    LLMUnavailable,
    NoReadableReply,
    WorkspaceError,
)
from exegete.llm.meter import Spent

log = logging.getLogger(__name__)

OUTAGE = 5
"""So many features in a row that no model could be reached for end the job, to be resumed later."""
_GO_ON = "what is finished is kept; see to the server and run the same command to go on"
_PREFETCH = 64


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


@dataclass(frozen=True, slots=True)
class JobReport:
    """How a job's sitting ended."""

    run: str
    progress: Progress
    interrupted: bool
    """Asked to stop before the features of the run were finished."""
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
        self._stopping = False
        self._outage = 0
        self._error: ExegeteError | None = None

    async def run(self) -> JobReport:
        """Label every feature that has no outcome yet.

        Raises:
            JobError: a run of this name was started with other parameters.
            WorkspaceBusy: another job is running here.
            LLMStop, LLMUnavailable: no model can be asked any more; what is finished is recorded.
        """
        models = Models(self._workspace, self._spec.concurrency)
        self._progress.spent = models.spent
        with self._workspace.job_lock(), opened_evidence(self._workspace, self._spec.harvest) as evidence:
            try:
                parts = open_parts(self._spec, evidence, models)
                await models.check()
                store = Store(self._workspace.labels)
                run = register_run(store, parts, "job", self._spec.name)
                models.tags.run = run
                todo, left = self._todo(store, run, evidence)
                recorder = Recorder(store, run, evidence.name, models.journal, self._say)
                try:
                    await self._label(parts, todo, recorder)
                finally:
                    await recorder.finish()
            finally:
                await models.close()
        if self._error is not None:
            raise self._error
        left -= self._progress.done
        return JobReport(run, self._progress, self._stopping and left > 0, left)

    def stop(self) -> None:
        """Start no further feature; those under way are finished and recorded."""
        self._stopping = True
        self._say("stopping: finishing what is under way (again to leave at once)")

    def _todo(self, store: Store, run: str, evidence: EvidenceFile) -> tuple[list[FeatureId], int]:
        """Features of the run without an outcome (failed ones are tried again, last), and how many."""
        wanted = evidence.features
        if self._spec.features is not None:
            indices = set(parse_features(self._spec.features))
            beyond = indices - {f.index for f in wanted}
            if beyond:
                raise JobError(
                    f"feature {min(beyond)} is not in harvest {evidence.name}: it has "
                    f"{evidence.range_in_words()}"
                )
            wanted = [f for f in wanted if f.index in indices]
        rows = store.read("SELECT feature_index, polarity, status FROM store.outcomes WHERE run = ?", [run])
        status = {(row["feature_index"], row["polarity"]): row["status"] for row in rows}
        left = [f for f in wanted if status.get((f.index, f.polarity), "failed") == "failed"]
        # Last, so that with a --limit features that fail every time can't keep the others from their turn.
        left.sort(key=lambda f: (f.index, f.polarity) in status)
        self._progress.run = run
        self._progress.before = len(wanted) - len(left)
        todo = left[: self._spec.limit]
        self._progress.total = len(todo)
        return todo, len(left)

    async def _label(self, parts: Parts, todo: list[FeatureId], recorder: Recorder) -> None:
        graph = build_graph(parts.nodes())
        queue = self._ahead(parts.evidence, todo)
        n_workers = min(self._spec.concurrency, len(todo))
        with self._signals():
            flusher = asyncio.create_task(recorder.flush_regularly())
            workers = asyncio.gather(*(self._work(graph, queue, recorder) for _ in range(n_workers)))
            try:
                either: set[asyncio.Future[Any]] = {workers, flusher}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                # The flusher ends only by failing (a full disk), and then so does the sitting.
                await (flusher if flusher.done() else workers)
            finally:
                workers.cancel()
                flusher.cancel()
                await asyncio.gather(workers, flusher, return_exceptions=True)

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
        """Run one case; None when it should be tried again in another sitting."""
        at_work_on(feature)
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

    def _give_up(self, error: ExegeteError) -> None:
        self._error = self._error or error
        self._stopping = True

    def _say(self, message: str) -> None:
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


def _failed(feature: FeatureId, why: str) -> CaseState:
    return {"feature": feature, "verdict": Verdict(feature, "failed", None, None, why)}
