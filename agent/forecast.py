"""What a job would take, before anything is spent: some of its features, rehearsed with a made-up model.

The real graph runs on real evidence and renders every prompt; the replies say nothing, so nothing is learnt
about the labels. How many revisions a feature will need can't be known: two totals are given, one without any
and one in which every feature uses all of them, or as many as its budget has room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exegete.agent import strategy
from exegete.agent.graph import build_graph
from exegete.agent.null_plan import kinds, sample_size
from exegete.agent.nulls import STAGE as NULL
from exegete.agent.parts import Parts, open_parts, opened_evidence
from exegete.agent.rehearsal import (
    STAGES,
    NoSubject,
    Rehearsal,
    rehearse,
    rehearse_effects,
    rehearse_nulls,
    rehearse_tests,
)
from exegete.agent.runs import as_begun, run_name
from exegete.agent.spec import JobSpec
from exegete.agent.subject import Subject
from exegete.agent.todo import features_left, features_wanted
from exegete.datastore.records import FeatureId
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm import Prices, Request
from exegete.llm.estimate import Estimate, Stage, estimate
from exegete.llm.size import likely_tokens

REHEARSED = 24
"""Features whose prompts are rendered; the others are taken to be like these."""
ASSUMED: Mapping[str, int] = {
    **{"propose": 150, "revise": 150, "simulate": 300, "falsify": 500, "generation": 500},
    **{"output": 40, "steering": 10},
}
"""Tokens of a reply, by purpose, until a workspace has calls of its own to go by."""
_REVISING = ("falsify", "revise", "try revisions")
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
    revisions: float
    """How many a feature has in the latter, on average: fewer than are allowed where a case has a budget."""
    measured: tuple[str, ...]
    """Purposes whose length of a reply is the mean of earlier calls here; the others' is assumed."""
    purposes: tuple[str, ...]
    """What calls would be made for."""


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
        parts = open_parts(spec, evidence, rehearsal, subject=Subject(NoSubject()))
        store = Store(workspace.labels) if workspace.labels.exists() else None
        parts = as_begun(store, parts)
        run = run_name(parts, "job", spec.name)
        wanted = features_wanted(evidence, spec.features)
        left = features_left(store, run, evidence.name, wanted)
        todo = left[: spec.limit]
        asking = _asking(parts, todo)
        n_planted = _planted_left(spec, store, run) * len(todo) // max(1, len(left))
        some = asking or _asking(parts, wanted)  # with nulls alone left, some are rehearsed for them
        some = [some[i * len(some) // REHEARSED] for i in range(REHEARSED)] if len(some) > REHEARSED else some
        asked = await rehearse(build_graph(parts.nodes()), some, rehearsal)
        asked["falsify"] = await rehearse_tests(parts, some, rehearsal)
        n_nulls = 0 if len(todo) < len(left) else _nulls_left(parts, store, run, wanted)
        asked[NULL] = await rehearse_nulls(parts, some, rehearsal)
        asked["output"] = await rehearse_effects(parts, rehearsal)
    measured = {} if store is None else {(r["model"], r["purpose"]): r["tokens"] for r in store.read(_SEEN)}
    n_all = len(asking) + n_planted
    scales = dict.fromkeys(STAGES, n_all / max(1, len(some))) | {NULL: n_nulls / max(1, len(some))}
    scales["output"] = len(asking)  # one feature stands for all; planted ones do nothing
    revisions = _revisions(spec, asked, measured)

    repeated = {name: _repeated(name, asked[name], revisions, spec.rounds) for name in STAGES}
    stages = {name: _stages(name, repeated[name], scales[name], measured) for name in STAGES}
    once = [one for name in STAGES if name not in _REVISING for one in stages[name]]
    often = [one for name in STAGES for one in stages[name]]
    return Forecast(
        run,
        len(todo) + n_planted,
        n_all,
        min(len(some), len(asking)),
        estimate(once, prices, batch=spec.batch),
        estimate(often, prices, batch=spec.batch),
        sum(revisions.values()) / max(1, len(revisions)),
        tuple(sorted({purpose for _, purpose in measured})),
        tuple(sorted({_purpose(request) for some in asked.values() for request in some})),
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


def _revisions(
    spec: JobSpec, asked: Mapping[str, Sequence[Request]], measured: Mapping[tuple[str, str], float]
) -> dict[str, int]:
    """Revisions of each rehearsed feature: as many as the job allows, and a case's budget has room for."""

    def tokens(*stages: str) -> Counter[str]:
        found = Counter[str]()
        for request in (request for stage in stages for request in asked[stage]):
            reply = _likely_reply(request, measured) or request.max_tokens
            found[_feature(request)] += likely_tokens(request) + reply
        return found

    another, found = tokens(*_REVISING), {}
    for feature, first in tokens("propose", "try proposals").items():
        spent = [first]
        while len(spent) <= spec.rounds and strategy.has_room(spent, spec.case_budget):
            spent.append(spent[-1] + another[feature])
        found[feature] = len(spent) - 1
    return found


def _repeated(
    name: str, asked: Sequence[Request], revisions: Mapping[str, int], rounds: int
) -> Sequence[Request]:
    """Requests of a stage over all revisions, those of the first standing for every one."""
    if name not in _REVISING:
        return asked
    # A feature whose first label is found without a model has used nothing of its budget.
    return [request for request in asked for _ in range(revisions.get(_feature(request), rounds))]


def _stages(
    name: str, examples: Sequence[Request], scale: float, measured: Mapping[tuple[str, str], float]
) -> list[Stage]:
    """A stage, every example of which stands for `scale` calls; in parts, where purposes differ."""
    purposes = list(dict.fromkeys(map(_purpose, examples)))
    if not purposes:
        return [Stage(name, 0, ())]
    found = []
    for purpose in purposes:
        own = [request for request in examples if _purpose(request) == purpose]
        part = name if len(purposes) == 1 else f"{name}: {purpose}"
        found.append(Stage(part, round(scale * len(own)), own, _likely_reply(own[0], measured)))
    return found


def _likely_reply(request: Request, measured: Mapping[tuple[str, str], float]) -> int | None:
    """Tokens of a reply, as earlier ones were or as is assumed; None: as long as it may be."""
    purpose = _purpose(request)
    known = measured.get((request.model, purpose))
    return ASSUMED.get(purpose) if known is None else round(known)


def _feature(request: Request) -> str:
    return request.tags.get("feature", "")


def _purpose(request: Request) -> str:
    return request.tags.get("purpose", "")
