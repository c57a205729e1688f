"""The steps of the loop, each a function from what a case knows to what it learns.

The nodes hold a reader that has no method for the report split; what scores there is the examiner, which is
handed a frozen label and gives back a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from exegete.agent import strategy
from exegete.agent.examiner import Examiner
from exegete.agent.state import CaseState, Trial
from exegete.agent.tags import at_stage
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.records import Evidence, Label, Plan, Score, Verdict
from exegete.errors import NoReadableReply
from exegete.explainers.explainer import Attempt, Explainer, Mistake
from exegete.scorers.reading import read
from exegete.scorers.scorer import Scorer
from exegete.simulators.simulator import Simulator

SHOWN = Plan(top=10, per_decile=0, quiet=0)
"""Excerpts kept in the labels file for people to see."""
MISTAKES = 5
"""Misses, and false alarms, that a reviser is shown of a label."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the steps of the graph work with.

    Attributes:
        evidence: reader of the explain and refine splits.
        explainer: proposes and revises.
        simulator: the simulator that the refine scorer uses; it remembers, so mistakes cost no second call.
        scorer: the primary scorer, on the refine split.
        examiner: scores the frozen label on the report split.
        plan: excerpts of the refine split.
        candidates: labels wanted from a proposal and from a revision.
        rounds: revisions allowed.
        seed: the scorer's; with it, mistakes are read from the very simulation that was scored.
    """

    evidence: AgentEvidence
    explainer: Explainer
    simulator: Simulator
    scorer: Scorer
    examiner: Examiner
    plan: Plan
    candidates: int
    rounds: int
    seed: int

    async def recall(self, state: CaseState) -> CaseState:
        """Look at what is known of the feature; dead and unscorable ones leave here."""
        feature = state["feature"]
        decision = strategy.after_recall(self.evidence.summary(feature))
        shown = self.evidence.explain(feature, replace(SHOWN, window=self.plan.window, unit=self.plan.unit))
        if decision.action == "dead":
            return {"shown": (), "verdict": Verdict(feature, "dead", None, None, decision.why)}
        known: CaseState = {"shown": shown.activating}
        if decision.action == "unscorable":
            known["verdict"] = Verdict(feature, "unscorable", None, None, decision.why)
        return known

    def after_recall(self, state: CaseState) -> str:
        """To `propose`, unless the case is decided."""
        return "end" if "verdict" in state else "propose"

    async def propose(self, state: CaseState) -> CaseState:
        """Ask the explainer for candidates.

        Raises:
            NoReadableReply: it had none.
        """
        at_stage("propose")
        evidence = self.evidence.explain(state["feature"], self.explainer.plan)
        labels = await self.explainer.explain(evidence, self.candidates)
        if not labels:
            raise NoReadableReply(f"{self.explainer.name} proposed no label for feature {state['feature']}")
        return {"pending": tuple(labels), "trials": (), "attempts": (), "best_by_round": ()}

    async def trial(self, state: CaseState) -> CaseState:
        """Score the pending labels on the refine split, and find each one's worst mistakes there."""
        at_stage("trial")
        evidence = self.evidence.refine(state["feature"], self.plan)
        tried = [(label, await self.scorer.score(label, evidence)) for label in state["pending"]]
        attempts = [await self._attempt(label, score, evidence) for label, score in tried]
        ranked = _best_first([*state["attempts"], *attempts])
        return {
            "pending": (),
            "trials": (*state["trials"], *(Trial(label, score) for label, score in tried)),
            "attempts": ranked,
            "best_by_round": (*state["best_by_round"], ranked[0].score),
        }

    def after_trial(self, state: CaseState) -> str:
        """To `revise` while it pays, else to `report`."""
        decision = strategy.after_trial(state["best_by_round"], self.rounds)
        return "revise" if decision.action == "revise" else "report"

    async def revise(self, state: CaseState) -> CaseState:
        """Show the explainer what went wrong, and ask for better labels; those already tried are dropped."""
        at_stage("revise")
        evidence = self.evidence.explain(state["feature"], self.explainer.plan)
        known = {attempt.label.text for attempt in state["attempts"]}
        try:
            labels = await self.explainer.revise(evidence, state["attempts"], self.candidates)
        except NoReadableReply:
            labels = []  # the labels so far stand; an unreadable revision costs a round, not the case
        return {"pending": tuple(label for label in labels if label.text not in known)}

    def after_revise(self, state: CaseState) -> str:
        """To `trial` if there is anything new."""
        return "trial" if state["pending"] else "report"

    async def report(self, state: CaseState) -> CaseState:
        """Freeze the label with the best refine score, and have it examined on the report split."""
        at_stage("report")
        verdict, scores = await self.examiner.examine(state["attempts"][0].label)
        return {"verdict": verdict, "scores": scores}

    async def _attempt(self, label: Label, score: Score, evidence: Evidence) -> Attempt:
        reading = await read(self.simulator, label, evidence, self.seed)
        misses, false_alarms = [], []
        for excerpt, levels in zip(reading.excerpts, reading.levels, strict=True):
            mistake = Mistake(excerpt, levels)
            # Both on a scale of 0 to 1: how much of the feature's range was missed, or made up.
            true = excerpt.activations / (evidence.maximum or 1.0)
            difference = true - levels / 10.0
            misses.append((float(difference.max(initial=0.0)), mistake))
            false_alarms.append((float((-difference).max(initial=0.0)), mistake))
        return Attempt(label, score.value, _worst(misses), _worst(false_alarms))


def _worst(mistakes: Sequence[tuple[float, Mistake]]) -> tuple[Mistake, ...]:
    """The largest mistakes, leaving out those too small to speak of."""
    ranked = sorted(mistakes, key=lambda pair: -pair[0])
    return tuple(mistake for size, mistake in ranked[:MISTAKES] if size >= 0.2)


def _best_first(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """By refine score, undefined ones last, senses only where they pay; among equals, the earlier."""
    return tuple(sorted(attempts, key=lambda a: -strategy.standing(a.score, len(a.label.senses))))
