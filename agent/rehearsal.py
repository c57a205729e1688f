"""Steps of a job gone through with a made-up model and no subject, to see what it would ask."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from exegete.agent.graph import run_case
from exegete.agent.nulls import STAGE as NULL
from exegete.agent.output_steering import A_ROUND, TEXTS, WRITTEN
from exegete.agent.parts import Parts
from exegete.agent.tags import Tags, at_stage, at_work_on
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.records import FeatureId, Label, Unit
from exegete.errors import JobError, NoReadableReply
from exegete.explainers.explainer import Attempt
from exegete.explainers.output import output_explainer
from exegete.explainers.proposing import Candidate, Proposals
from exegete.llm import LLM, Reply, Request, parse
from exegete.scorers.steering import CHOICES, Continued, Round, judge_of
from exegete.subjects.bench import Measured, NotRun
from exegete.subjects.output_tokens import KEPT, OutputTokens

STAGES = ("propose", "try proposals", "falsify", "revise", "try revisions", "report", "output", NULL)
"""Kinds of calls, in the order in which a case makes them."""
_NOBODY = "in rehearsal"


class NoSubject:
    """A bench on which nothing is run."""

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        """Nothing; see `exegete.subjects.bench.Bench.measure`."""
        return [NotRun("it is a rehearsal")] * len(texts)

    def threshold(self, feature: FeatureId) -> float:
        """Any; nothing is held against it."""
        return 0.0


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
            told = replace(request, tags={**request.tags, **self._tags})  # a simulator knows no feature
            self.asked.append((self._tags.get("stage", ""), told))
        purpose = request.tags.get("purpose", "")
        # What said the same again would be dropped, and the calls that try it with it.
        asked = request.key[:8]
        labels = [Candidate(text=f"{purpose} {asked} {i} in rehearsal {i}") for i in range(self._candidates)]
        text = Proposals(labels=labels).model_dump_json() if purpose in ("propose", "revise") else "{}"
        return Reply(text, "stop", "rehearsal", None, None, None, 0.0)

    async def close(self) -> None:
        """Nothing is open."""


async def rehearse_nulls(parts: Parts, features: Sequence[FeatureId], rehearsal: Rehearsal) -> list[Request]:
    """Requests for one null of each feature."""
    examiner = parts.examiner()
    rehearsal.asked.clear()
    for feature in features:
        at_work_on(feature)
        at_stage(NULL)
        await examiner.examine(Label(feature, f"{NULL} in rehearsal", NULL))
    return [request for _, request in rehearsal.asked]


async def rehearse(
    graph: Any, features: Sequence[FeatureId], rehearsal: Rehearsal
) -> dict[str, list[Request]]:
    """Requests of some features, by stage; those of the first revision stand for every one."""
    asked: dict[str, list[Request]] = {name: [] for name in STAGES}
    for feature in features:
        rehearsal.asked.clear()
        at_work_on(feature)
        try:
            await run_case(graph, feature)
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


async def rehearse_tests(parts: Parts, features: Sequence[FeatureId], rehearsal: Rehearsal) -> list[Request]:
    """Requests for one round of tests of each feature; none where the job tests no labels."""
    if parts.falsifier is None or parts.explainer is None:
        return []
    rehearsal.asked.clear()
    reader = AgentEvidence(parts.evidence)
    for feature in features:
        at_work_on(feature)
        at_stage("falsify")
        evidence = reader.explain(feature, parts.explainer.plan)
        attempt = Attempt(Label(feature, f"a label {_NOBODY}", _NOBODY), None, (), ())
        with contextlib.suppress(NoReadableReply):
            await parts.falsifier.predictions(attempt, evidence, ())
    return [request for _, request in rehearsal.asked]


async def rehearse_effects(parts: Parts, rehearsal: Rehearsal) -> list[Request]:
    """Requests for what one feature does, with made-up tokens; none where the job does not ask for it."""
    spec = parts.spec
    if not spec.effects:
        return []
    rehearsal.asked.clear()
    explainer = rehearsal.open(spec.explainer_llm or spec.llm)
    judge = rehearsal.open(spec.simulator_llm or spec.llm)
    feature = parts.evidence.features[0]
    at_work_on(feature)
    at_stage("output")
    words, values = (" word",) * KEPT, (0.0,) * KEPT
    tokens = [OutputTokens(kind, words, values, words, values) for kind in ("logit lens", "token change")]
    with contextlib.suppress(NoReadableReply):
        await output_explainer(*explainer).explain(feature, tokens)
    texts = ((" word",) * WRITTEN,) * A_ROUND
    sets = (Continued(texts, texts),) * CHOICES
    rounds = [Round(number, sets, 0) for number in range(TEXTS // A_ROUND)]
    await judge_of(*judge, spec.seed).pick(Label(feature, f"a label {_NOBODY}", _NOBODY), rounds)
    return [request for _, request in rehearsal.asked]
