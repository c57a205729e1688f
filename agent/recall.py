"""The cases of a run once more, from the evidence and the journal alone: nobody is asked anything.

The same graph runs over models that answer from the journal. What a run concluded of a feature is a function
of its parameters, the evidence and the replies, so this is what it concluded. A feature with a call that has
no reply in the journal (the server was down, a line is damaged) is left undone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from exegete.agent.cases import AHEAD, Cases
from exegete.agent.events import Finished
from exegete.agent.mixed import opened_sides
from exegete.agent.null_plan import plan_nulls
from exegete.agent.parts import Parts, open_parts
from exegete.agent.recorder import Recorder
from exegete.agent.remembering import NotJournalled, RememberedBench, RememberedModels, Remembers
from exegete.agent.rows import Case
from exegete.agent.runs import frozen_spec
from exegete.agent.spec import JobSpec, digest_of
from exegete.agent.state import CaseState
from exegete.agent.subject import NoEffects, Subject, is_planted, opened_subject, wants_bench
from exegete.agent.todo import features_wanted
from exegete.controls.bench import PlantedBench
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId, Verdict
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError, JobError, SubjectError, WorkspaceError
from exegete.llm import Journal
from exegete.subjects.bench import Bench
from exegete.subjects.measurements import RememberedOnly

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What became of a run's cases."""

    done: int
    undone: int
    """Features with a call that is not in the journal, or that the harvest does not have."""
    nulls_undone: int
    """Nulls with a call that is not in the journal."""
    no_effects: str | None
    """Why what features do could not be measured again; None when it was, or the run did not ask for it."""


async def recall_run(
    workspace: Workspace,
    store: Store,
    run: Mapping[str, Any],
    evidence: EvidenceFile,
    journal: Journal,
    finished: Finished,
    on_progress: Callable[[str], None],
) -> Recalled:
    """Work a run's cases out again and record them, and then its nulls.

    What was measured of texts is remembered, and needs no subject; what features do is measured again, where
    the subject is still to be had.

    Args:
        workspace: where measurements are.
        store: where its rows go.
        run: its row of `runs`.
        evidence: its harvest.
        journal: what models said.
        finished: the features to do, and when they were noted as done.
        on_progress: told how far it is.

    Raises:
        JobError: its parameters mean something else in this version of exegete.
    """
    models = RememberedModels(journal)
    with _subject(workspace, frozen_spec(run["parameters"]), evidence) as subject:
        parts = _parts(run, evidence, models, subject)
        return await _recall(store, run, parts, models, finished, on_progress)


async def _recall(
    store: Store,
    run: Mapping[str, Any],
    parts: Parts,
    models: RememberedModels,
    finished: Finished,
    on_progress: Callable[[str], None],
) -> Recalled:
    evidence = parts.evidence
    recorder = Recorder(store, run["run"], None, parts.independence.kind)
    wanted = features_wanted(evidence, parts.spec.features)
    done = 0
    with opened_sides(parts) as sides:
        sides.register(store)
        work = Cases(sides)
        todo = [f for f in sides.features(wanted) if (f.index, f.polarity) in finished.features]
        for start in range(0, len(todo), AHEAD):
            some = todo[start : start + AHEAD]
            work.prefetch(some)
            for feature in some:
                file = sides.of(feature).evidence
                state = await _case(work, feature)
                if state is not None:
                    at = _when(run["made_at"], models.llm.last.get(str(feature)), finished.noted_at)
                    recorder.add(Case(state, file.summary(feature), file.name, at))
                    done += 1
            await recorder.flush()
            on_progress(f"{run['run']}: {start + len(some):,} of {len(todo):,} features")
    times = (run["made_at"], finished.noted_at)
    nulls_undone = await _recall_nulls(recorder, parts, work, wanted, models.llm, *times)
    await recorder.finish()
    no_effects = parts.effects.why if isinstance(parts.effects, NoEffects) else None
    return Recalled(done, len(finished.features) - done, nulls_undone, no_effects)


async def _recall_nulls(
    recorder: Recorder,
    parts: Parts,
    work: Cases,
    wanted: list[FeatureId],
    llm: Remembers,
    started: datetime,
    noted: datetime,
) -> int:
    """Score a finished run's nulls again; how many there are of which a reply is not in the journal."""
    plan = await plan_nulls(recorder, parts, wanted) if parts.spec.nulls else None
    undone = 0
    for null in plan.left if plan is not None else ():
        llm.last.clear()
        try:
            case = await work.null(null)
        except NotJournalled:
            undone += 1
            continue
        recorder.add(replace(case, made_at=_when(started, llm.last.get(str(null.feature)), noted)))
    return undone


@contextmanager
def _subject(workspace: Workspace, spec: JobSpec, evidence: EvidenceFile) -> Iterator[Subject]:
    """What a run tried things on, as far as it is remembered; the model itself to see what features do."""
    with ExitStack() as stack:
        laboratory, why = None, ""
        if spec.effects and not is_planted(evidence):
            try:
                laboratory = stack.enter_context(opened_subject(workspace, spec, evidence)).laboratory
            except SubjectError as error:
                why = f"what features do is left out: {error}"
        bench: Bench | None = None
        if is_planted(evidence):
            bench = PlantedBench(evidence)
        elif wants_bench(spec):
            bench = RememberedBench(RememberedOnly(evidence, workspace.measurements))
        yield Subject(bench, laboratory, why)


def _parts(
    run: Mapping[str, Any], evidence: EvidenceFile, models: RememberedModels, subject: Subject
) -> Parts:
    """A run's parts, from its parameters as they were frozen.

    Raises:
        JobError: they can't be built, or their parameters have another digest than the run's.
    """
    before: dict[str, Any] = dict(run["parameters"])
    try:
        parts = open_parts(frozen_spec(run["parameters"]), evidence, models, subject=subject)
    except ExegeteError as error:
        raise JobError(f"its parameters can't be used any more: {str(error).splitlines()[0]}") from error
    now = parts.frozen()
    if digest_of(now) != run["digest"]:
        changed = [k for k in sorted({*before, *now}) if before.get(k) != json.loads(json.dumps(now.get(k)))]
        raise JobError(f"another version of exegete or other evidence made it ({', '.join(changed)} differ)")
    return parts


async def _case(work: Cases, feature: FeatureId) -> CaseState | None:
    """Run one case; None when a reply that it needs is not there."""
    try:
        return await work.case(feature)
    except NotJournalled:
        return None
    except WorkspaceError:
        raise
    except ExegeteError as error:
        return _failed(feature, str(error))
    except Exception as error:
        log.exception("feature %s failed", feature)
        return _failed(feature, f"{type(error).__name__}: {error}")


def _failed(feature: FeatureId, why: str) -> CaseState:
    return {"feature": feature, "verdict": Verdict(feature, "failed", None, None, why)}


def _when(started: datetime, last_reply: datetime | None, noted: datetime) -> datetime:
    """When a case was finished: with its last call, if the call is the run's own, else when it was noted.

    A reply from before the run was another run's: the case asked nobody, and took no time.
    """
    return last_reply if last_reply is not None and last_reply >= started else max(started, noted)
