"""Detection score: does a label tell excerpts in which the feature fires from those in which it is silent?

Read from the same simulation as the simulation score, at no further cost [cf. the detection scoring of
Paulo et al. 2024, which asks for it apart]: an excerpt is judged firing when any of its words is given
half a level or more, as strongly as its highest level. The value is balanced accuracy, .5 by chance.

It does not see where in an excerpt, or how often, a label over-predicts: it stands beside the
simulation score, not in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Evidence, Label, Score, Split
from exegete.scorers.classification import (
    Bools,
    Judgements,
    auroc,
    average_precision,
    balanced_accuracy,
    balanced_accuracy_draws,
    dealt_balanced_accuracies,
    f1,
    weighted,
)
from exegete.scorers.missing import accuracy_bounds
from exegete.scorers.reading import ACTIVATING, PREDICTED, Design, Reading, read
from exegete.scorers.resampling import LEVEL, compare, percentile_interval, share_at_least
from exegete.scorers.scorer import refuse_other_splits, unscored
from exegete.scorers.statistics import largest
from exegete.simulators.simulator import Simulator


@dataclass(frozen=True, slots=True)
class DetectionScorer:
    """Scores labels by the balanced accuracy with which they find the excerpts a feature fires in.

    `Score.details` holds:

    - `auroc`, `average_precision`: of the highest level as a measure of firing; `f1`: at half a level;
    - `recall_STRATUM`: share of a firing stratum's excerpts judged firing ("recall_decile_1");
      `silent_STRATUM`: share of a quiet stratum's excerpts judged silent ("silent_hard_quiet");
    - `weighted_balanced_accuracy`, `weighted_recall`, `weighted_precision`: over the corpus, excerpts counted
      by their weights (hard quiet ones not at all); None where no weights are known;
    - `if_missing_wrong`, `if_missing_right`: the value if all excerpts that could not be read were judged
      wrongly, or rightly; both are the value where none is missing;
    - `share_above_threshold`: share of draws (see `exegete.scorers.classification`) at or above the
      threshold; `chance_p95`: 95th percentile of the value by chance.
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
    level: float = LEVEL
    """Nominal coverage of the interval."""

    @property
    def name(self) -> str:
        """name@version, with the simulator's."""
        return f"detection@2({self.simulator.name})"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Simulate a label on the evidence and judge every excerpt by its highest level.

        Args:
            label: the label to score.
            evidence: excerpts of this scorer's split.

        Returns:
            A score; its value is None when too few excerpts are there or could be read. A label that
            predicts nothing, or firing everywhere, has a value: .5.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: no model could be reached.
        """
        refuse_other_splits(self, evidence)
        return self.score_reading(await read(self.simulator, label, evidence, self.seed))

    def score_reading(self, reading: Reading) -> Score:
        """Score a simulation that has been read."""
        if reading.why_none is not None:
            return unscored(self, reading.n_asked, reading.n_read, reading.why_none)
        judged = judge(reading)
        value = balanced_accuracy(judged)
        draws = balanced_accuracy_draws(judged, self.seed, self.n_boot)
        interval = percentile_interval(draws, self.level)
        chance = compare(value, dealt_balanced_accuracies(judged, self.seed, self.n_perm))
        details = {
            "share_above_threshold": share_at_least(draws, self.threshold),
            "chance_p95": chance.p95,
            "auroc": auroc(judged),
            "average_precision": average_precision(judged),
            "f1": f1(judged),
            **_over_corpus(reading, judged),
            **_if_missing(reading, judged),
            **_by_stratum(reading, judged),
        }
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
            details=details,
        )


def judge(reading: Reading) -> Judgements:
    """Judgements of whole excerpts from the levels of their words: firing from half a level on."""
    words = reading.words
    strength = largest(words.simulated, words.lengths)
    return Judgements(_strata(reading.design).fires, strength >= PREDICTED, strength)


def _over_corpus(reading: Reading, judged: Judgements) -> dict[str, float | None]:
    """Shares over the corpus."""
    shares = weighted(judged, reading.weights)
    return {
        "weighted_balanced_accuracy": shares.balanced_accuracy,
        "weighted_recall": shares.recall,
        "weighted_precision": shares.precision,
    }


def _if_missing(reading: Reading, judged: Judgements) -> dict[str, float | None]:
    """The value with what is missing judged wrongly, or rightly."""
    firing = sum(group in ACTIVATING for group in reading.missing_groups)
    bounds = accuracy_bounds(judged, firing, len(reading.missing) - firing)
    return {"if_missing_wrong": bounds.wrong, "if_missing_right": bounds.right}


def _by_stratum(reading: Reading, judged: Judgements) -> dict[str, float | None]:
    """Share of right judgements in every stratum that is there, those of firing excerpts first."""
    strata = _strata(reading.design)
    right = np.bincount(strata.of_each, judged.said == judged.fires)
    return dict(zip(strata.names, (right / np.bincount(strata.of_each)).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Strata:
    """The strata of a design, those of firing excerpts first."""

    fires: Bools
    """(n_excerpts,)"""
    names: tuple[str, ...]
    """What the share of right judgements in each is called."""
    of_each: NDArray[np.intp]
    """(n_excerpts,) each one's stratum, as its place among `names`."""


@lru_cache(maxsize=64)
def _strata(design: Design) -> _Strata:
    fires = [group in ACTIVATING for group in design.groups]
    each = [
        f"{'recall' if one else 'silent'}_{stratum.replace(' ', '_')}"
        for one, stratum in zip(fires, design.strata, strict=True)
    ]
    names = tuple(dict.fromkeys(each))  # excerpts come kind after kind, firing ones first
    found = _Strata(np.array(fires), names, np.array([names.index(name) for name in each]))
    for shared in (found.fires, found.of_each):
        shared.setflags(write=False)
    return found
