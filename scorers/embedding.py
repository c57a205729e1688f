"""Embedding score: is a label nearer in meaning to the excerpts its feature fires in than to quiet ones?

1. The label and all excerpts, as plain text, are embedded by a sentence model (`exegete.subjects.sentences`).
2. The value is the AUROC of the cosine of label and excerpt as a measure of firing: the share of (firing,
   quiet) pairs in which the firing excerpt is the nearer; .5 by chance.

It costs no call and sees no words, only topics. With people's judgement its rank correlation is .32, where
fuzzing has .69 and simulation .60 [Paulo et al. 2024]: triage, and never the score that decides on a label.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from exegete.datastore.records import Evidence, Label, Score, Split
from exegete.scorers.classification import Judgements, auroc, average_precision
from exegete.scorers.drawing import auroc_draws, dealt_aurocs
from exegete.scorers.reading import MIN_A_SIDE
from exegete.scorers.resampling import compare, percentile_interval, permutations, share_at_least
from exegete.scorers.scorer import refuse_other_splits, unscored
from exegete.scorers.statistics import Array
from exegete.subjects.sentences import Sentences


@dataclass(frozen=True, slots=True)
class EmbeddingScorer:
    """Scores labels by how well their nearness in meaning tells firing excerpts from quiet ones.

    A label of several senses is as near as its nearest sense.

    `Score.details` holds:

    - `average_precision`: of the cosine; `auroc_hard_quiet`: the value with hard quiet excerpts only;
    - `share_above_threshold`: share of draws at or above the threshold; `chance_p95`: 95th percentile of the
      value by chance.
    """

    BAR: ClassVar[float] = 0.75
    """The bar it has beside another scorer."""
    WHY_NOT_FIRST: ClassVar[str] = "it sees what texts are about and not which words fire: it is for triage"

    sentences: Sentences
    split: Split
    threshold: float
    """The AUROC a label is to clear, for `share_above_threshold`."""
    seed: int
    n_boot: int = 2000
    """Draws for the interval; 0 leaves it out."""
    n_perm: int = 1999
    """Permutations; 0 leaves chance and the p-value out."""

    @property
    def name(self) -> str:
        """name@version, with the sentence model's."""
        return f"embedding@1({self.sentences.name})"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Embed a label and the excerpts of its feature, and compare.

        Args:
            label: the label to score; what the model does not read of a long one does not count.
            evidence: excerpts of this scorer's split.

        Returns:
            A score; its value is None for an empty label, and when too few excerpts are there.

        Raises:
            LeakageError: the evidence is of another split.
            UsageError: the sentence model gives values that are no numbers.
        """
        refuse_other_splits(self, evidence)
        why = _why_none(label, evidence)
        if why is not None:
            return self._none(evidence, why)
        fires = np.arange(len(evidence.excerpts)) < len(evidence.activating)
        # In a thread, as it takes a while and others' calls are under way.
        nearness = await asyncio.to_thread(self._nearness, label, evidence)
        judged = Judgements(fires=fires, said=np.ones_like(fires), strength=nearness)
        value = auroc(judged)
        draws = auroc_draws(fires, nearness, self.seed, self.n_boot)
        interval = percentile_interval(draws)
        chance = compare(
            value, dealt_aurocs(fires, nearness, permutations(len(fires), self.seed, self.n_perm))
        )
        return Score(
            scorer=self.name,
            split=self.split,
            value=value,
            low=interval.low,
            high=interval.high,
            chance=chance.mean,
            p_value=chance.p_value,
            n_asked=len(fires),
            n_read=len(fires),
            details={
                "share_above_threshold": share_at_least(draws, self.threshold),
                "chance_p95": chance.p95,
                "average_precision": average_precision(judged),
                "auroc_hard_quiet": _against_hard(judged, evidence),
            },
        )

    def _nearness(self, label: Label, evidence: Evidence) -> Array:
        """(n_excerpts,) cosines, -1 to 1."""
        said = [text for text in label.senses if text.strip()] or [label.text]
        vectors = self.sentences.embed([*said, *(e.context.text for e in evidence.excerpts)])
        cosines = vectors[len(said) :] @ vectors[: len(said)].T  # (n_excerpts, n_senses)
        return np.asarray(cosines.max(1), dtype=np.float64)

    def _none(self, evidence: Evidence, why: str) -> Score:
        return unscored(self, len(evidence.excerpts), len(evidence.excerpts), why)


def _why_none(label: Label, evidence: Evidence) -> str | None:
    """Why there is nothing to compare, or None."""
    if not label.text.strip():
        return "the label is empty, and near to nothing"
    n_activating, n_quiet = len(evidence.activating), len(evidence.quiet)
    if min(n_activating, n_quiet) >= MIN_A_SIDE:
        return None
    found = f"{n_activating} activating and {n_quiet} quiet excerpts were found"
    return f"{found}, and {MIN_A_SIDE} of each are needed"


def _against_hard(judged: Judgements, evidence: Evidence) -> float | None:
    """The AUROC against hard quiet excerpts alone, or None where there are none."""
    hard = np.array([excerpt.stratum == "hard quiet" for excerpt in evidence.excerpts])
    if not hard.any():
        return None
    some = judged.fires | hard
    return auroc(Judgements(judged.fires[some], judged.said[some], judged.strength[some]))
