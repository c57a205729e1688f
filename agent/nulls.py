"""What labels score that are not the feature's: the chance level of a run, measured and not argued.

The report split of some features (null_plan.py) is scored as it was with their own label, by the same scorers
on the same excerpts, with another feature's label (matching.py), with the empty label, and with the lexical
one: the label that counting alone writes, which any other explainer has to beat. What a job would have
concluded of such a label is kept beside its score.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from exegete import explainers
from exegete.agent.parts import Parts
from exegete.agent.tags import at_stage
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.records import FeatureId, Label, Score, Status
from exegete.errors import NoReadableReply

Kind = Literal["another feature", "empty", "lexical"]
STAGE = "null"
"""What calls for nulls are tagged with."""


@dataclass(frozen=True, slots=True)
class Null:
    """A feature, and the label that is not its own."""

    feature: FeatureId
    kind: Kind
    text: str | None = None
    """What it says; None: to be found out when it is its turn (lexical), or there is none."""
    senses: tuple[str, ...] = ()
    of: FeatureId | None = None
    """Whose label it is; of "another feature" alone."""


@dataclass(frozen=True, slots=True)
class NullCase:
    """A null that was scored, or why it was not."""

    null: Null
    harvest: str
    text: str
    status: Status
    """What a job would have concluded of the label."""
    scores: tuple[Score, ...]
    """The primary one first; where there was nothing to score, that alone, without a value."""
    made_at: datetime | None = None
    """UTC, without a zone; None: now."""


class NullScorer:
    """Scores nulls as a job's own labels are scored."""

    def __init__(self, parts: Parts) -> None:
        """Prepare to score with a job's parts."""
        self._harvest = parts.evidence.name
        self._examiner = parts.examiner()
        self._evidence = AgentEvidence(parts.evidence)
        self._lexical = explainers.build("lexical")

    async def score(self, null: Null) -> NullCase:
        """Score one null on the report split.

        Raises:
            LLMError: no model could be reached.
        """
        at_stage(STAGE)
        text = await self._written(null) if null.kind == "lexical" else null.text
        if text is None:
            why = {"lexical": "counting wrote no label"}.get(null.kind, "no other feature has another label")
            return self._without(null, "", "unscorable", why)
        try:
            label = Label(null.feature, text, STAGE, senses=null.senses)
            verdict, scores = await self._examiner.examine(label)
        except NoReadableReply as error:
            return self._without(null, text, "failed", str(error))
        return NullCase(null, self._harvest, text, verdict.status, scores)

    def _without(self, null: Null, text: str, status: Status, why: str) -> NullCase:
        scorer = self._examiner.scorers[0].name
        score = Score(scorer, "report", None, None, None, None, None, 0, 0, why)
        return NullCase(null, self._harvest, text, status, (score,))

    async def _written(self, null: Null) -> str | None:
        evidence = self._evidence.explain(null.feature, self._lexical.plan)
        labels = await self._lexical.explain(evidence, 1)
        return labels[0].text if labels else None
