"""Discrimination score: does a label tell a feature from its nearest neighbours?

A label may find every excerpt that its feature fires in, and be silent on random text, and yet fit another
feature as well: it collides. So it is simulated on excerpts in which a near neighbour fires and the feature
is known to be silent (`exegete.datastore.neighbours`), among as many of the feature's own:

1. Own excerpts are drawn by hash from all strata, as many as there are of neighbours, so that all of them fit
   into one further call.
2. An excerpt is judged to be the feature's when any of its words is given a level above 0, as in detection.
3. The value is balanced accuracy, .5 by chance: for a label that fits the neighbours as well, and for one
   that fits none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from exegete.datastore.hashing import digest64
from exegete.datastore.records import Evidence, Label, Score, Split
from exegete.scorers.classification import (
    auroc,
    average_precision,
    balanced_accuracy,
    balanced_accuracy_draws,
    dealt_balanced_accuracies,
)
from exegete.scorers.detection import judge
from exegete.scorers.reading import MIN_A_SIDE, Reading, read
from exegete.scorers.resampling import compare, percentile_interval, share_at_least
from exegete.scorers.scorer import refuse_other_splits, unscored
from exegete.simulators.simulator import Simulator


@dataclass(frozen=True, slots=True)
class DiscriminationScorer:
    """Scores labels by the balanced accuracy with which they tell a feature's excerpts from its neighbours'.

    `Score.details` holds:

    - `auroc`, `average_precision`: of the highest level;
    - `recall`: share of own excerpts judged so; `refused`: share of the neighbours' judged silent;
    - `share_above_threshold`: share of draws at or above the threshold; `chance_p95`: 95th percentile of the
      value by chance.
    """

    BAR: ClassVar[float] = 0.75
    """The bar it has beside another scorer."""

    simulator: Simulator
    split: Split
    threshold: float
    """The balanced accuracy a label is to clear, for `share_above_threshold`."""
    seed: int
    n_boot: int = 2000
    """Draws for the interval; 0 leaves it out."""
    n_perm: int = 1999
    """Permutations; 0 leaves chance and the p-value out."""

    @property
    def name(self) -> str:
        """name@version, with the simulator's."""
        return f"discrimination@1({self.simulator.name})"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Simulate a label on own and neighbours' excerpts, and judge every one by its highest level.

        Args:
            label: the label to score.
            evidence: excerpts of this scorer's split, with `neighbours` (see `Plan.neighbours`).

        Returns:
            A score; its value is None when no neighbour fires in the quiet pool, or too few excerpts are
            there or could be read.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: no model could be reached.
        """
        refuse_other_splits(self, evidence)
        n = len(evidence.neighbours)
        if not n:
            return self._none("no neighbour fires in the quiet pool where the feature is known to be silent")
        if min(n, len(evidence.activating)) < MIN_A_SIDE:
            return self._none(
                f"{len(evidence.activating)} excerpts of the feature and {n} of its neighbours were found, "
                f"and {MIN_A_SIDE} of each are needed"
            )
        reading = await read(self.simulator, label, among_neighbours(evidence, self.seed), self.seed)
        if reading.why_none is not None:
            return self._none(reading.why_none, reading)
        return self._score(reading)

    def _score(self, reading: Reading) -> Score:
        judged = judge(reading)
        value = balanced_accuracy(judged)
        draws = balanced_accuracy_draws(judged, self.seed, self.n_boot)
        interval = percentile_interval(draws)
        chance = compare(value, dealt_balanced_accuracies(judged, self.seed, self.n_perm))
        return Score(
            scorer=self.name,
            split=self.split,
            value=value,
            low=interval.low,
            high=interval.high,
            chance=chance.mean,
            p_value=chance.p_value,
            n_asked=reading.n_asked,
            n_read=reading.n_read,
            details={
                "share_above_threshold": share_at_least(draws, self.threshold),
                "chance_p95": chance.p95,
                "auroc": auroc(judged),
                "average_precision": average_precision(judged),
                "recall": judged.hits / judged.positives,
                "refused": judged.passes / judged.negatives,
            },
        )

    def _none(self, why: str, reading: Reading | None = None) -> Score:
        return unscored(
            self, 0 if reading is None else reading.n_asked, 0 if reading is None else reading.n_read, why
        )


def among_neighbours(evidence: Evidence, seed: int) -> Evidence:
    """The neighbours' excerpts as the quiet ones, and as many of the feature's own."""
    drawn = sorted(
        range(len(evidence.activating)),
        key=lambda i: digest64(seed, "discrimination", evidence.activating[i].context.id),
    )[: len(evidence.neighbours)]
    own = tuple(evidence.activating[i] for i in sorted(drawn))
    return replace(evidence, activating=own, quiet=evidence.neighbours, neighbours=())
