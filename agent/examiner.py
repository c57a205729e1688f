"""The only thing that looks at the report split: it scores a frozen label, once, and gives a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exegete.datastore.evidence import ReportEvidence
from exegete.datastore.records import Label, Plan, Score, Verdict
from exegete.explainers.hygiene import reads_like_instruction
from exegete.scorers.scorer import Scorer
from exegete.scorers.stopping import Looks
from exegete.scorers.together import score_together
from exegete.scorers.triangulation import Reason
from exegete.scorers.verdict import decide


@dataclass(frozen=True, slots=True)
class Examiner:
    """Scores frozen labels on the report split.

    Attributes:
        evidence: reader of the report split.
        scorers: scorers of the report split; the first is the primary one.
        plan: how many excerpts they are scored on at most.
        threshold: the primary score a label has to clear.
        bars: values that the other scores are to clear, by the scorer's name without its version.
        looks: asks about the excerpts portion by portion, until the primary score is clear of the threshold;
            None: every label is asked about all of them.
    """

    evidence: ReportEvidence
    scorers: Sequence[Scorer]
    plan: Plan
    threshold: float
    bars: Mapping[str, float] = field(default_factory=dict)
    looks: Looks | None = None

    async def examine(self, label: Label) -> tuple[Verdict, tuple[Score, ...]]:
        """Score a label, and decide by the primary score.

        Raises:
            LLMError: no model could be reached.
        """
        scores = await self.scores_of(label)
        return self.verdict_on(label, scores), scores

    def verdict_on(
        self, label: Label, scores: Sequence[Score], interventions: Sequence[Score] = ()
    ) -> Verdict:
        """Decide by a label's scores, and by what acting on its feature did, where that is known.

        Args:
            label: the frozen label.
            scores: on the report split, the primary one first.
            interventions: ablation and steering of its feature.
        """
        return decide(
            label.feature,
            label,
            scores[0],
            self.threshold,
            beside=[*scores[1:], *interventions],
            bars=self.bars,
            noted=remarks(label),
        )

    async def scores_of(self, label: Label) -> tuple[Score, ...]:
        """Score a label on its feature's report evidence, whoever's label it is, without a verdict.

        Returns:
            One score a scorer, the primary one first.

        Raises:
            LLMError: no model could be reached.
        """
        evidence = self.evidence.report(label.feature, self.plan)
        if self.looks is not None:
            return await self.looks.score(label, evidence)
        return await score_together(self.scorers, label, evidence)


def remarks(label: Label) -> tuple[Reason, ...]:
    """Reasons to look at a label that its text gives by itself."""
    return ("reads like an instruction",) if reads_like_instruction(label.text) else ()
