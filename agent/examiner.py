"""The only thing that looks at the report split: it scores a frozen label, once, and gives a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exegete.datastore.evidence import ReportEvidence
from exegete.datastore.records import Label, Plan, Score, Verdict
from exegete.scorers.scorer import Scorer
from exegete.scorers.verdict import decide


@dataclass(frozen=True, slots=True)
class Examiner:
    """Scores frozen labels on the report split.

    Attributes:
        evidence: reader of the report split.
        scorers: scorers of the report split; the first is the primary one.
        plan: how many excerpts they are scored on.
        threshold: the primary score a label has to clear.
    """

    evidence: ReportEvidence
    scorers: Sequence[Scorer]
    plan: Plan
    threshold: float

    async def examine(self, label: Label) -> tuple[Verdict, tuple[Score, ...]]:
        """Score a label, and decide by the primary score.

        Raises:
            LLMError: no model could be reached.
        """
        evidence = self.evidence.report(label.feature, self.plan)
        scores = tuple([await scorer.score(label, evidence) for scorer in self.scorers])
        return decide(label.feature, label, scores[0], self.threshold), scores
