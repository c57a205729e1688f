"""The steps of the loop, each a function from what a case knows to what it learns.

The nodes hold a reader that has no method for the report split; what scores there is the examiner, which is
handed a frozen label and gives back a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from exegete.agent import strategy
from exegete.agent.examiner import Examiner
from exegete.agent.state import CaseState, Taken, Trial
from exegete.agent.tags import at_stage
from exegete.agent.tally import tokens_so_far
from exegete.agent.testing import Testing
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.records import Evidence, Excerpt, FeatureId, Floats, Label, Plan, Score, Verdict
from exegete.errors import NoReadableReply, SubjectError
from exegete.explainers.explainer import Attempt, Explainer, Mistake
from exegete.scorers.reading import Reading
from exegete.scorers.scorer import Scorer
from exegete.scorers.statistics import largest
from exegete.scorers.together import score_and_read
from exegete.simulators.simulator import Simulator

if TYPE_CHECKING:
    from exegete.agent.output import OutputFindings

SHOWN = Plan(top=10, per_decile=0, quiet=0)
"""Excerpts kept in the labels file for people to see."""
MISTAKES = 5
"""Misses, and false alarms, that a reviser is shown of a label."""


class Effects(Protocol):
    """Finds out what features do to the subject's predictions."""

    async def study(self, feature: FeatureId) -> OutputFindings:
        """Measure one feature.

        Raises:
            SubjectError: the subject has no output side, or the feature none that can be measured.
            NoReadableReply: what was measured could not be put in words.
        """


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the steps of the graph work with.

    Attributes:
        evidence: reader of the explain and refine splits.
        explainer: proposes and revises.
        simulator: the one that the refine scorer uses: mistakes are read from what it scores.
        scorer: the primary scorer, on the refine split.
        examiner: scores the frozen label on the report split.
        plan: excerpts of the refine split.
        candidates: labels wanted from a proposal and from a revision.
        rounds: revisions allowed.
        seed: the scorer's; with it, mistakes are read from the very simulation that was scored.
        testing: writes tests of labels and runs them on the subject; None: labels are not tested.
        effects: measures what features do; None: that is not asked for.
        case_budget: tokens a case may take before its label is frozen; None: any number.
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
    testing: Testing | None = None
    effects: Effects | None = None
    case_budget: int | None = None

    async def recall(self, state: CaseState) -> CaseState:
        """Look at what is known of the feature; dead and unscorable ones leave here."""
        feature = state["feature"]
        decision = strategy.after_recall(self.evidence.summary(feature))
        known = _took(state, "recall", decision)
        if decision.action == "dead":
            known |= {"shown": (), "verdict": Verdict(feature, "dead", None, None, decision.why)}
        if decision.action == "unscorable":
            verdict = Verdict(feature, "unscorable", None, None, decision.why)
            known |= {"shown": self._shown(feature), "verdict": verdict}
        return known

    async def propose(self, state: CaseState) -> CaseState:
        """Ask the explainer for candidates.

        Raises:
            NoReadableReply: it had none.
        """
        at_stage("propose")
        evidence = self.evidence.explain(state["feature"], self.explainer.plan)
        shown = self._shown(state["feature"], evidence)
        labels = await self.explainer.explain(evidence, self.candidates)
        if not labels:
            raise NoReadableReply(f"{self.explainer.name} proposed no label for feature {state['feature']}")
        return {"shown": shown, "pending": tuple(labels), "trials": (), "attempts": (), "best_by_round": ()}

    async def trial(self, state: CaseState) -> CaseState:
        """Score the pending labels on the refine split, find each one's worst mistakes there, and decide."""
        at_stage("trial")
        evidence = self.evidence.refine(state["feature"], self.plan)
        tried, attempts = [], []
        for label in state["pending"]:
            score, reading = await score_and_read(self.scorer, self.simulator, self.seed, label, evidence)
            tried.append(Trial(label, score))
            attempts.append(_attempt(label, score, reading, evidence.maximum))
        ranked = _best_first([*state["attempts"], *attempts])
        best = (*state["best_by_round"], ranked[0].score)
        spent = (*state.get("spent_by_round", ()), tokens_so_far())
        case = strategy.Standing(best, self.rounds, self.testing is not None, spent, self.case_budget)
        return {
            "pending": (),
            "trials": (*state["trials"], *tried),
            "attempts": ranked,
            "best_by_round": best,
            "spent_by_round": spent,
            **_took(state, "trial", strategy.after_trial(case)),
        }

    async def falsify(self, state: CaseState) -> CaseState:
        """Have the best label tested on the subject; what came out goes to the reviser with it."""
        at_stage("falsify")
        assert self.testing is not None, "the strategy sends no case here without"
        best, *others = state["attempts"]
        evidence = self.evidence.explain(state["feature"], self.explainer.plan)
        before, number = state.get("experiments", ()), state.get("falsified", 0) + 1
        found, why_none = await self.testing.round(number, best, evidence, before)
        tested = replace(best, experiments=(*best.experiments, *found))
        return {
            "attempts": (tested, *others),
            "experiments": (*before, *found),
            "falsified": number,
            **_took(state, "falsify", strategy.after_falsification(found, why_none)),
        }

    async def revise(self, state: CaseState) -> CaseState:
        """Show the explainer what went wrong, and ask for better labels; those already tried are dropped."""
        at_stage("revise")
        evidence = self.evidence.explain(state["feature"], self.explainer.plan)
        known = {attempt.label.text for attempt in state["attempts"]}
        why_none = None
        try:
            labels = await self.explainer.revise(evidence, state["attempts"], self.candidates)
        except NoReadableReply as error:
            labels = []  # the labels so far stand; an unreadable revision costs a round, not the case
            why_none = str(error)
        new = tuple(label for label in labels if label.text not in known)
        return {"pending": new, **_took(state, "revise", strategy.after_revision(len(new), why_none))}

    async def report(self, state: CaseState) -> CaseState:
        """Freeze the label with the best refine score, and have it examined on the report split."""
        spent = tokens_so_far()
        at_stage("report")
        verdict, scores = await self.examiner.examine(state["attempts"][0].label)
        return {"verdict": verdict, "scores": scores, "tokens_spent": spent}

    async def output(self, state: CaseState) -> CaseState:
        """Find out what the feature does, and decide anew; where that can't be, the case goes on without."""
        at_stage("output")
        assert self.effects is not None, "no case comes here without"
        try:
            found = await self.effects.study(state["feature"])
        except (SubjectError, NoReadableReply) as error:
            return _took(state, "output", strategy.Decision("go on without", str(error)))
        known: CaseState = {"output": found}
        if (label := state["verdict"].label) is not None:
            known["verdict"] = self.examiner.verdict_on(label, state["scores"], found.interventions)
        return known

    def _shown(self, feature: FeatureId, read: Evidence | None = None) -> tuple[Excerpt, ...]:
        """The strongest excerpts of the explain split, which may be among what was read for the explainer."""
        plan = replace(SHOWN, window=self.plan.window, unit=self.plan.unit)
        own = self.explainer.plan
        if read is None or (own.window, own.unit) != (plan.window, plan.unit) or own.top < plan.top:
            return self.evidence.explain(feature, plan).activating
        return tuple(excerpt for excerpt in read.activating[: plan.top] if excerpt.stratum == "top")


def _attempt(label: Label, score: Score, reading: Reading, maximum: float) -> Attempt:
    """A label that was tried, with its worst mistakes."""
    if not reading.excerpts:
        return Attempt(label, score.value, (), ())
    # Both on a scale of 0 to 1: how much of the feature's range was missed, or made up.
    true = np.concatenate([excerpt.activations for excerpt in reading.excerpts]) / (maximum or 1.0)
    missed = true - np.concatenate(reading.levels) / 10.0
    return Attempt(label, score.value, _worst(missed, reading), _worst(-missed, reading))


def _took(state: CaseState, step: str, decision: strategy.Decision) -> CaseState:
    """A decision, after those before it."""
    return {"decisions": (*state.get("decisions", ()), Taken(step, decision))}


def _worst(sizes: Floats, reading: Reading) -> tuple[Mistake, ...]:
    """The excerpts with the largest mistakes, leaving out those too small to speak of.

    Args:
        sizes: (n_words,) how large the mistake is at every word.
        reading: the excerpts, end to end in `sizes`.
    """
    of_each = largest(sizes, [len(levels) for levels in reading.levels]).tolist()
    ranked = sorted(range(len(of_each)), key=lambda i: -of_each[i])[:MISTAKES]
    return tuple(Mistake(reading.excerpts[i], reading.levels[i]) for i in ranked if of_each[i] >= 0.2)


def _best_first(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """By refine score, undefined ones last, senses only where they pay; among equals, the earlier."""
    return tuple(sorted(attempts, key=lambda a: -strategy.standing(a.score, len(a.label.senses))))
