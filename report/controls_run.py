"""A run over controls: from a text to what the run shows.

1. The suite is planted on the text, or found in the workspace (controls/suite.py).
2. A job labels it like any harvest, blind; killed, it goes on where it was.
3. Its labels are held against the truth, and right and wrong labels are put through its scorers. What a
   model is asked for that is journalled too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from exegete.agent.job import Job, JobReport, Progress
from exegete.agent.models import Models
from exegete.agent.parts import Parts, open_parts, opened_evidence
from exegete.agent.spec import JobSpec
from exegete.agent.subject import opened_subject
from exegete.controls.suite import SuiteSpec, make_suite
from exegete.controls.text import Text
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm import Budget, load_prices
from exegete.report.contrast import contrast
from exegete.report.evaluation import Evaluation
from exegete.report.judged import judge


@dataclass(frozen=True, slots=True)
class ControlsRun:
    """How a sitting of a run over controls ended."""

    job: JobReport
    evaluation: Evaluation | None
    """None until all controls are labelled."""


async def run_controls(
    space: Workspace,
    text: Text,
    suite: SuiteSpec,
    spec: JobSpec,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> ControlsRun:
    """Label a suite of controls, and hold the labels against the truth.

    Args:
        space: where the suite, its labels and the journal are.
        text: what the controls are planted on.
        suite: how many, and which.
        spec: the job's parameters; its harvest is the suite.
        on_progress: called whenever something has changed; features, or labels, are counted.

    Raises:
        CorpusError: the text is too short.
        WorkspaceBusy: another job is running here.
        LLMStop, LLMUnavailable: no model can be asked any more; what is finished is kept.
    """

    def say(words: str) -> None:
        on_progress(Progress(message=words))

    manifest, _ = make_suite(text, suite, space.evidence, say)
    spec = spec.model_copy(update={"harvest": manifest.name})
    report = await Job(space, spec, on_progress).run()
    if report.left or report.interrupted:
        return ControlsRun(report, None)
    async with opened_parts(space, spec, report.run) as parts:
        say("holding labels against the truth")
        judged = await judge(Store(space.labels), report.run, parts)

        def on_label(done: int, of: int) -> None:
            on_progress(Progress(report.run, of, done))

        told = await contrast(parts, spec.concurrency, on_label)
    left_out = tuple(manifest.parameters["left_out"])
    return ControlsRun(report, Evaluation(report.run, tuple(judged), tuple(told), left_out))


@asynccontextmanager
async def opened_parts(space: Workspace, spec: JobSpec, run: str) -> AsyncIterator[Parts]:
    """A run's parts without its explainer, over its journal and within its budget.

    Raises:
        WorkspaceBusy: another job is running here.
        UsageError: an unknown simulator, scorer or model.
    """
    capped = spec.budget is not None or spec.budget_tokens is not None
    budget = Budget(spec.budget, spec.budget_tokens) if capped else None
    models = Models(space, spec.concurrency, load_prices(spec.prices), budget, spec.batch)
    with (
        space.job_lock(),
        opened_evidence(space, spec.harvest) as file,
        opened_subject(space, spec, file) as subject,
    ):
        try:
            parts = open_parts(spec, file, models, explain=False, subject=subject)
            await models.check()
            models.begin(run)
            yield parts
        finally:
            await models.close()
