"""What a job would take, before anything is spent: some of its features, rehearsed with a made-up model.

The real graph runs on real evidence and renders every prompt; the replies say nothing, so nothing is learnt
about the labels. How many revisions a feature will need can't be known: two totals are given, one without any
and one in which every feature uses all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exegete.agent import strategy
from exegete.agent.graph import RECURSION_LIMIT, build_graph
from exegete.agent.null_plan import kinds, sample_size
from exegete.agent.nulls import STAGE as NULL
from exegete.agent.parts import Parts, open_parts, opened_evidence
from exegete.agent.runs import run_name
from exegete.agent.spec import JobSpec
from exegete.agent.tags import Tags, at_stage, at_work_on
from exegete.agent.todo import features_left, features_wanted
from exegete.datastore.records import FeatureId, Label
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError, NoReadableReply
from exegete.explainers.proposing import Candidate, Proposals
from exegete.llm import LLM, Prices, Reply, Request, parse
from exegete.llm.estimate import Estimate, Stage, estimate

REHEARSED = 24
"""Features whose prompts are rendered; the others are taken to be like these."""
ASSUMED: Mapping[str, int] = {"propose": 150, "revise": 150, "simulate": 300}
"""Tokens of a reply, by purpose, until a workspace has calls of its own to go by."""
_STAGES = ("propose", "try proposals", "revise", "try revisions", "report", NULL)
_REVISING = ("revise", "try revisions")
_SEEN = """
SELECT model, purpose, avg(output_tokens) AS tokens FROM store.calls
WHERE finish = 'stop' AND output_tokens IS NOT NULL GROUP BY ALL HAVING count(*) >= 20
"""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a job would take."""

    run: str
    features: int
    """Left to do in this sitting."""
    asking: int
    """Of them, those about which a model would be asked at all."""
    rehearsed: int
    without_revisions: Estimate
    with_all_revisions: Estimate
    measured: tuple[str, ...]
    """Purposes whose length of a reply is the mean of earlier calls here; the others' is assumed."""


class Rehearsal:
    """A model that is made up: it answers at once, says nothing, and keeps what it was asked."""

    def __init__(self, candidates: int) -> None:
        """Answer with so many labels when asked for some."""
        self._candidates = candidates
        self.asked: list[tuple[str, Request]] = []
        """(stage, request) in order, without those that ask again for what could not be read."""
        self._tags = Tags()

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """Stand in for any model of that name.

        Raises:
            UsageError: the name is none.
        """
        return (None, None) if spec is None else (self, str(parse(spec)))

    async def complete(self, request: Request) -> Reply:
        """Answer one request."""
        if "again" not in request.tags:
            self.asked.append((self._tags.get("stage", ""), request))
        purpose = request.tags.get("purpose", "")
        # What said the same again would be dropped, and the calls that try it with it.
        asked = request.key[:8]
        labels = [Candidate(text=f"{purpose} {asked} {i} in rehearsal {i}") for i in range(self._candidates)]
        text = Proposals(labels=labels).model_dump_json() if purpose in ("propose", "revise") else "{}"
        return Reply(text, "stop", "rehearsal", None, None, None, 0.0)

    async def close(self) -> None:
        """Nothing is open."""


async def forecast(workspace: Workspace, spec: JobSpec, prices: Prices) -> Forecast:
    """Say what a job would take. Nothing is sent, and nothing is recorded.

    Args:
        workspace: where its harvest is.
        spec: its parameters.
        prices: what calls cost.

    Raises:
        UsageError: a parameter can't be used.
        JobError: the explainer can't be rehearsed, because it asks in a form of its own.
    """
    rehearsal = Rehearsal(spec.candidates)
    with opened_evidence(workspace, spec.harvest) as evidence:
        parts = open_parts(spec, evidence, rehearsal)
        run = run_name(parts, "job", spec.name)
        store = Store(workspace.labels) if workspace.labels.exists() else None
        wanted = features_wanted(evidence, spec.features)
        left = features_left(store, run, evidence.name, wanted)
        todo = left[: spec.limit]
        asking = _asking(parts, todo)
        n_planted = _planted_left(spec, store, run) * len(todo) // max(1, len(left))
        some = asking or _asking(parts, wanted)  # with nulls alone left, some are rehearsed for them
        some = [some[i * len(some) // REHEARSED] for i in range(REHEARSED)] if len(some) > REHEARSED else some
        asked = await _rehearse(build_graph(parts.nodes()), some, rehearsal)
        n_nulls = 0 if len(todo) < len(left) else _nulls_left(parts, store, run, wanted)
        asked[NULL] = await _rehearse_nulls(parts, some, rehearsal)
    measured = {} if store is None else {(r["model"], r["purpose"]): r["tokens"] for r in store.read(_SEEN)}
    per_feature = (len(asking) + n_planted) / max(1, len(some))
    scales = dict.fromkeys(_STAGES, per_feature) | {NULL: n_nulls / max(1, len(some))}
    once = [_stage(name, asked[name], scales[name], measured) for name in _STAGES if name not in _REVISING]
    often = [
        _stage(name, asked[name], scales[name] * (spec.rounds if name in _REVISING else 1), measured)
        for name in _STAGES
    ]
    return Forecast(
        run,
        len(todo) + n_planted,
        len(asking) + n_planted,
        min(len(some), len(asking)),
        estimate(once, prices),
        estimate(often, prices),
        tuple(sorted({purpose for _, purpose in measured})),
    )


def _asking(parts: Parts, features: Sequence[FeatureId]) -> list[FeatureId]:
    """Those about which a model would be asked at all."""
    return [f for f in features if strategy.after_recall(parts.evidence.summary(f)).action == "propose"]


def _planted_left(spec: JobSpec, store: Store | None, run: str) -> int:
    """Planted features that the run has still to label; they are taken to be like real ones."""
    counted = "SELECT count(*) AS n FROM controls WHERE run = ? AND status != 'failed'"
    return spec.with_controls - (0 if store is None else int(store.read(counted, [run])[0]["n"]))


def _nulls_left(parts: Parts, store: Store | None, run: str, wanted: Sequence[FeatureId]) -> int:
    """Nulls that would be scored once all features have outcomes, if all that can be labelled get a score."""
    spec = parts.spec
    n = sample_size(spec.nulls, len(wanted), len(_asking(parts, wanted)), costs=parts.asks_to_simulate)
    counted = "SELECT coalesce(sum(nulls_done), 0) AS n FROM runs WHERE run = ?"
    done = 0 if store is None else int(store.read(counted, [run])[0]["n"])
    return max(0, n * len(kinds(spec.explainer)) - done)


async def _rehearse_nulls(parts: Parts, features: Sequence[FeatureId], rehearsal: Rehearsal) -> list[Request]:
    """Requests for one null of each feature."""
    examiner = parts.examiner()
    rehearsal.asked.clear()
    for feature in features:
        at_work_on(feature)
        at_stage(NULL)
        await examiner.examine(Label(feature, f"{NULL} in rehearsal", NULL))
    return [request for _, request in rehearsal.asked]


async def _rehearse(
    graph: Any, features: Sequence[FeatureId], rehearsal: Rehearsal
) -> dict[str, list[Request]]:
    """Requests of some features, by stage; those of the first revision stand for every one."""
    asked: dict[str, list[Request]] = {name: [] for name in _STAGES}
    for feature in features:
        rehearsal.asked.clear()
        try:
            await graph.ainvoke({"feature": feature}, {"recursion_limit": RECURSION_LIMIT})
        except NoReadableReply as error:
            raise JobError(
                f"this job can't be rehearsed, as its explainer takes replies of another form ({error}): run "
                "it with --limit 5 and multiply"
            ) from error
        revised = False
        for stage, request in rehearsal.asked:
            revised = revised or stage == "revise"
            name = {"trial": "try revisions" if revised else "try proposals"}.get(stage, stage)
            asked[name].append(request)
    return asked


def _stage(
    name: str, examples: Sequence[Request], scale: float, measured: Mapping[tuple[str, str], float]
) -> Stage:
    """A stage, every example of which stands for `scale` calls."""
    if not examples:
        return Stage(name, 0, ())
    purpose = examples[0].tags.get("purpose", "")
    known = measured.get((examples[0].model, purpose))
    likely = ASSUMED.get(purpose) if known is None else round(known)
    return Stage(name, round(scale * len(examples)), examples, likely)
