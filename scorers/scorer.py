"""What a scorer is: how well does a label predict a feature on excerpts nobody tuned it on?"""

from __future__ import annotations

from typing import Protocol

from exegete.datastore.records import Evidence, Label, Score, Split
from exegete.errors import LeakageError


class Scorer(Protocol):
    """Scores labels on one split, and refuses evidence of any other."""

    @property
    def name(self) -> str:
        """name@version, raised when old values stop being comparable."""

    @property
    def split(self) -> Split:
        """The only split whose evidence it takes."""

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Score one label.

        Args:
            label: the label to score.
            evidence: excerpts of this scorer's split.

        Returns:
            A score with its interval, chance level and p-value, or with value None and the reason.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: no model could be reached.
        """


def refuse_other_splits(scorer: Scorer, evidence: Evidence) -> None:
    """Raise LeakageError unless the evidence is of the scorer's split."""
    if evidence.split != scorer.split:
        raise LeakageError(
            f"scorer {scorer.name} takes evidence of the {scorer.split} split and was handed the "
            f"{evidence.split} split of feature {evidence.feature}: this is a bug in what called it"
        )


def unscored(scorer: Scorer, n_asked: int, n_read: int, why: str) -> Score:
    """A score without a value.

    Args:
        scorer: whose it would be.
        n_asked: excerpts (or rounds) it asked about.
        n_read: of them, those whose reply could be read.
        why: why it has no value.
    """
    return Score(
        scorer=scorer.name,
        split=scorer.split,
        value=None,
        low=None,
        high=None,
        chance=None,
        p_value=None,
        n_asked=n_asked,
        n_read=n_read,
        why_none=why,
    )
