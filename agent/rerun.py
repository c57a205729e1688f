"""One feature labelled once more, with a hint: a run of its own, as any job's, over a single case.

It has the parameters of the run whose label it is about, and the hint; so its name is the same when the same
is asked again, its calls are answered from the journal, and it can be worked out anew like every run. Its
outcome is later than the earlier run's, and is thereby the feature's current label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from exegete.agent.events import note_finished
from exegete.agent.graph import RECURSION_LIMIT, build_graph
from exegete.agent.models import Models
from exegete.agent.parts import open_parts, opened_evidence
from exegete.agent.recorder import Recorder
from exegete.agent.rows import Case
from exegete.agent.runs import register_run
from exegete.agent.spec import JobSpec
from exegete.agent.state import CaseState
from exegete.agent.subject import opened_subject
from exegete.agent.tags import at_work_on
from exegete.datastore.records import Polarity
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace

_STEPS = {
    "recall": "has read the evidence",
    "propose": "has candidates",
    "trial": "has tried candidates",
    "falsify": "has tested a label on the subject",
    "revise": "has revised",
    "report": "has scored the label on the report split",
}
"""What each step of the graph leaves behind, in words."""


async def rerun(
    workspace: Workspace,
    spec: JobSpec,
    index: int,
    polarity: Polarity,
    hint: str,
    on_progress: Callable[[str], None] = lambda _: None,
) -> str:
    """Label a feature again with a hint, and record it.

    Args:
        workspace: where its harvest is.
        spec: parameters of the run whose label it had.
        index: the feature.
        polarity: its side.
        hint: what a person thinks makes it fire.
        on_progress: told, in words, which step is done.

    Returns:
        The run's name.

    Raises:
        WorkspaceBusy: a job runs here, or another process holds a file.
        UsageError: the parameters can't be used any more, or there is no such feature.
        LLMError: no model could be reached.
    """
    own = spec.model_copy(
        update={"hint": hint, "features": str(index), "nulls": 0, "with_controls": 0, "name": None}
    )
    models = Models(workspace, own.concurrency)
    with (
        workspace.job_lock(),
        opened_evidence(workspace, own.harvest) as evidence,
        opened_subject(workspace, own, evidence) as subject,
    ):
        try:
            feature = evidence.feature(index, polarity)
            parts = open_parts(own, evidence, models, subject=subject)
            await models.check()
            store = Store(workspace.labels)
            run = register_run(store, parts, "job", None)
            models.begin(run)
            at_work_on(feature)
            state: dict[str, Any] = {"feature": feature}
            graph = build_graph(parts.nodes())
            config = {"recursion_limit": RECURSION_LIMIT}
            async for step in graph.astream(dict(state), config, stream_mode="updates"):
                for name, learned in step.items():
                    state |= learned or {}
                    on_progress(_STEPS.get(name, name))
            recorder = Recorder(store, run, models.journal, parts.independence.kind)
            recorder.add(Case(CaseState(**state), evidence.summary(feature), evidence.name))  # type: ignore[typeddict-item]
            await recorder.finish()
            await asyncio.to_thread(note_finished, store, run)
        finally:
            await models.close()
    return run
