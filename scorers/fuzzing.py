"""Fuzzing score: are the marked words the ones that a label says fire?

Marks are put into excerpts, rightly and wrongly, and the label has to tell which is which [cf. the fuzzing of
Paulo et al. 2024, which asks a judge about every marked excerpt]. Here the answer is read from the simulation
that is already paid for: it says of every word how strongly it should fire, and so of every mark.

1. *Right marks*: in each activating excerpt, its words above 30% of its own peak.
2. *Wrong marks*: for each of these, as many marks on silent words of the same kinds at the same places
   (`exegete.scorers.marking`), once in an activating excerpt and once in a quiet one.
3. *Strength*: the mean level on the marks minus the mean level off them. Words that fire more weakly than
   marked ones do belong to neither. The marks are judged right from half a level upwards.
4. The value is balanced accuracy: right marks called right, wrong ones called wrong; .5 by chance, and for a
   simulation that is the same everywhere or goes by places alone.

The difference of means asks what a judge is asked: do the marked words fit the label, and better than the
rest? The share of all simulated levels that lies on the marks would ask besides whether every word that fits
is marked, and so count against a label the weak firings that are not.

An excerpt has several judgements: they are weighed together in the interval, and dealt together for chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Evidence, Excerpt, Floats, Label, Score, Split
from exegete.scorers.classification import Judgements, auroc, average_precision, balanced_accuracy, f1
from exegete.scorers.drawing import shared_accuracy_draws
from exegete.scorers.marking import Marked, marks_of, substitutes
from exegete.scorers.missing import accuracy_bounds
from exegete.scorers.reading import ACTIVATING, MIN_A_SIDE, Reading, read
from exegete.scorers.resampling import LEVEL, compare, percentile_interval, permutations, share_at_least
from exegete.scorers.scorer import refuse_other_splits, unscored
from exegete.scorers.statistics import Array
from exegete.simulators.simulator import Simulator

HALF_A_LEVEL = 0.5
"""What rounds to a level is one; less is the noise of expected levels."""


@dataclass(frozen=True, slots=True)
class Item:
    """One excerpt with marks to be judged."""

    marked: Marked
    right: bool
    """Whether the marked words are those that fire."""


@dataclass(frozen=True, slots=True)
class FuzzingScorer:
    """Scores labels by the balanced accuracy with which they tell right marks from wrong ones.

    `Score.details` holds:

    - `in_activating`, `in_quiet`: the value with wrong marks of one kind of excerpt only. The first is blind
      to whether an excerpt fires at all, and asks of nothing but the place;
    - `auroc`, `average_precision`: of the strength; `f1`: from half a level upwards;
    - `recall_STRATUM`: share of right marks called right; `refused_STRATUM`: share of wrong marks called
      wrong, by the stratum of the excerpt that carries them;
    - `if_missing_wrong`, `if_missing_right`: the value if all marks on excerpts that could not be read were
      judged wrongly, or rightly;
    - `share_above_threshold`: share of draws at or above the threshold; `chance_p95`: 95th percentile of the
      value by chance; `n_items`: judgements.
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
        return f"fuzzing@1({self.simulator.name})"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Simulate a label on the evidence and judge right and wrong marks by its levels.

        Args:
            label: the label to score.
            evidence: excerpts of this scorer's split.

        Returns:
            A score; its value is None when too few excerpts are there or could be read, or when no silent
            words are left to be marked wrongly.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: no model could be reached.
        """
        refuse_other_splits(self, evidence)
        return self.score_reading(await read(self.simulator, label, evidence, self.seed))

    def score_reading(self, reading: Reading) -> Score:
        """Score a simulation that has been read."""
        if reading.why_none is not None:
            return self._none(reading, reading.why_none)
        items = items_of(reading, self.seed)
        n_wrong = sum(not item.right for item in items)
        if min(n_wrong, len(items) - n_wrong) < MIN_A_SIDE:
            return self._none(
                reading,
                f"right marks were found in {len(items) - n_wrong} excerpts and silent words for wrong ones "
                f"in {n_wrong}, and {MIN_A_SIDE} of each are needed",
            )
        return self._score(reading, items)

    def _score(self, reading: Reading, items: Sequence[Item]) -> Score:
        rows = np.array([item.marked.row for item in items])
        right = np.array([item.right for item in items])
        dealt = strengths(reading.excerpts, reading.levels, items)  # (n_items, n_excerpts)
        strength = dealt[np.arange(len(items)), rows]
        judged = Judgements(fires=right, said=strength > HALF_A_LEVEL, strength=strength)
        value = balanced_accuracy(judged)
        draws = shared_accuracy_draws(right, judged.said, rows, self.seed, self.n_boot)
        interval = percentile_interval(draws, self.level)
        null = _dealt_accuracies(dealt > HALF_A_LEVEL, right, rows, self.seed, self.n_perm)
        chance = compare(value, null)
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
                "f1": f1(judged),
                "n_items": float(len(items)),
                **_if_missing(reading, judged),
                **_parts(reading, items, judged),
            },
        )

    def _none(self, reading: Reading, why: str) -> Score:
        return unscored(self, reading.n_asked, reading.n_read, why)


def items_of(reading: Reading, seed: int) -> list[Item]:
    """Right marks of every activating excerpt, and wrong ones in activating and in quiet excerpts."""
    firing = [row for row, group in enumerate(reading.groups) if group in ACTIVATING]
    quiet = [row for row, group in enumerate(reading.groups) if group not in ACTIVATING]
    true = [Marked(row, marks_of(reading.excerpts[row])) for row in firing]
    true = [marked for marked in true if len(marked.places)]
    false = [
        marked for hosts in (firing, quiet) for marked in substitutes(reading.excerpts, true, hosts, seed)
    ]
    return [Item(marked, True) for marked in true] + [
        Item(marked, False) for marked in false if marked is not None
    ]


def strengths(excerpts: Sequence[Excerpt], levels: Sequence[Floats], items: Sequence[Item]) -> Array:
    """How much stronger every simulation is on the marks of every item than off them.

    An item reads a simulation of another excerpt stretched or shrunk to its own excerpt's words.

    Args:
        excerpts: all excerpts.
        levels: their simulations, (n_words,) levels each.
        items: marks on some of them.

    Returns:
        (n_items, n_excerpts) levels; an item's own excerpt is that of its `row`.
    """
    lengths = np.array([len(own) for own in levels])
    padded = np.zeros((len(levels), int(lengths.max())))
    for row, own in enumerate(levels):
        padded[row, : len(own)] = own
    stretched: dict[int, Array] = {}
    found = np.zeros((len(items), len(levels)))
    for number, item in enumerate(items):
        excerpt = excerpts[item.marked.row]
        n = len(excerpt.activations)
        if n not in stretched:
            there = np.arange(n) * lengths[:, None] // n
            stretched[n] = np.take_along_axis(padded, there, axis=1)
        found[number] = stretched[n] @ _contrast(excerpt, item.marked.places)
    return found


def _contrast(excerpt: Excerpt, places: NDArray[np.intp]) -> Array:
    """(n_words,) weights whose product with levels is their mean on the marks minus their mean off them."""
    off = excerpt.activations <= 0  # words that fire, but too weakly to be marked, are on neither side
    off[marks_of(excerpt)] = True
    off[places] = False
    weights = np.zeros(len(off))
    weights[places] = 1 / len(places)
    weights[off] = -1 / max(1, int(off.sum()))
    return weights


def _dealt_accuracies(
    said: NDArray[np.bool_], right: NDArray[np.bool_], rows: NDArray[np.intp], seed: int, n_perm: int
) -> Array:
    """Balanced accuracies with the simulations dealt to excerpts at random.

    Args:
        said: (n_items, n_excerpts) whether an item is called right by every excerpt's simulation.
        right: (n_items,) what is true.
        rows: (n_items,) the excerpt of every item.
        seed: chooses the deals.
        n_perm: deals, B.

    Returns:
        (B,) values.
    """
    n = said.shape[1]
    n_right = int(right.sum())
    share = np.where(right, 0.5 / n_right, 0.5 / (len(right) - n_right))
    gains = np.zeros((n, n))  # what excerpt i's items add to the value under simulation j
    np.add.at(gains, rows, (said == right[:, None]) * share[:, None])
    return np.asarray(gains[np.arange(n), permutations(n, seed, n_perm)].sum(1), dtype=np.float64)


def _if_missing(reading: Reading, judged: Judgements) -> dict[str, float | None]:
    """The value with what is missing judged wrongly, or rightly: of each activating excerpt, three items."""
    missing = sum(group in ACTIVATING for group in reading.missing_groups)
    bounds = accuracy_bounds(judged, missing, 2 * missing)
    return {"if_missing_wrong": bounds.wrong, "if_missing_right": bounds.right}


def _parts(reading: Reading, items: Sequence[Item], judged: Judgements) -> dict[str, float | None]:
    """The value by kind of excerpt with wrong marks, and shares of right judgements by stratum."""
    good = judged.said == judged.fires
    in_activating = np.array([reading.groups[item.marked.row] in ACTIVATING for item in items])
    recall = good[judged.fires].mean()
    parts: dict[str, float | None] = {}
    for name, kind in (("in_activating", in_activating), ("in_quiet", ~in_activating)):
        wrong = ~judged.fires & kind
        parts[name] = float((recall + good[wrong].mean()) / 2) if wrong.any() else None
    strata = np.array([reading.excerpts[item.marked.row].stratum for item in items])
    for right, word in ((True, "recall"), (False, "refused")):
        side = judged.fires == right
        for stratum in dict.fromkeys(strata[side].tolist()):
            parts[f"{word}_{stratum.replace(' ', '_')}"] = float(good[side & (strata == stratum)].mean())
    return parts
