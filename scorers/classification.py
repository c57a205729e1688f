"""How well judgements "fires" or "silent" follow the truth, excerpt by excerpt.

The value is balanced accuracy, the mean of two proportions: firing excerpts called so, silent excerpts called
so. Resampling excerpts fails it just where labels are good, because 20 right answers of 20 have no other
resample. Its interval is made as that of r is (`exegete.scorers.intervals`): weights of excerpts are random,
and each side has one imaginary excerpt more, judged wrongly in half of the draws and rightly in the other
half. Of judgements that are right or wrong only their counts matter: in n judgements the right ones weigh
Gamma(right (1 + 1/n)), the wrong ones Gamma(wrong (1 + 1/n)), the imaginary one Gamma(1).

Nominal 95% intervals hold the truth in 95.1% to 97.6% of simulated features, at 20 to 200 excerpts and with
good, middling and poor labels (python -m benchmarks.coverage).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from exegete.scorers.resampling import permutations
from exegete.scorers.statistics import Array

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Judgements:
    """What was said of excerpts, and what is true of them; its counts are made once."""

    fires: Bools
    """(n_excerpts,) the feature fires in it."""
    said: Bools
    """(n_excerpts,) the label predicts that it fires."""
    strength: Array
    """(n_excerpts,) how strongly, in any increasing unit."""

    def __post_init__(self) -> None:
        if not self.fires.any() or self.fires.all():
            raise ValueError("judgements are counted over excerpts of both kinds, firing and silent")

    @cached_property
    def positives(self) -> int:
        """Excerpts in which the feature fires."""
        return int(self.fires.sum())

    @cached_property
    def negatives(self) -> int:
        """Excerpts in which it is silent."""
        return len(self.fires) - self.positives

    @cached_property
    def hits(self) -> int:
        """Firing excerpts called so."""
        return int((self.fires & self.said).sum())

    @cached_property
    def passes(self) -> int:
        """Silent excerpts called so."""
        return int((~self.fires & ~self.said).sum())


def balanced_accuracy(judged: Judgements) -> float:
    """Mean of sensitivity and specificity; .5 for one that always says the same."""
    return (judged.hits / judged.positives + judged.passes / judged.negatives) / 2


@dataclass(frozen=True, slots=True)
class Weighted:
    """Shares over the corpus; None where it is not known how an excerpt was drawn, or nothing is counted."""

    recall: float | None
    """Of the firing excerpts, those called so."""
    precision: float | None
    """Of the excerpts called firing, those that fire."""
    balanced_accuracy: float | None
    """Mean of the shares of firing and of silent excerpts called what they are."""


def weighted(judged: Judgements, weights: Array) -> Weighted:
    """Shares that stand for the corpus: sums of weights [Horvitz & Thompson 1952], divided [Hájek 1971].

    Args:
        judged: the judgements.
        weights: (n_excerpts,) 1 / inclusion probability, 0 for what is no sample; NaN where unknown.
    """

    def share(of: Bools, among: Bools) -> float | None:
        total = float(weights[among].sum())
        return float(weights[of & among].sum()) / total if total > 0 else None  # NaN is not above 0

    recall, passed = share(judged.said, judged.fires), share(~judged.said, ~judged.fires)
    both = None if recall is None or passed is None else (recall + passed) / 2
    return Weighted(recall, share(judged.fires, judged.said), both)


def f1(judged: Judgements) -> float:
    """Harmonic mean of precision and recall over firing excerpts; 0 without a hit."""
    return 2 * judged.hits / (judged.positives + int(judged.said.sum()))


def auroc(judged: Judgements) -> float:
    """Share of (firing, silent) pairs in which the firing excerpt is the stronger; ties count half."""
    firing, silent = judged.strength[judged.fires, None], judged.strength[~judged.fires]  # (p, 1), (q,)
    return float(np.mean((firing > silent) + 0.5 * (firing == silent)))


def average_precision(judged: Judgements) -> float:
    """Mean precision over firing excerpts, each at its own strength as the threshold (no interpolation)."""
    above = judged.strength >= judged.strength[judged.fires, None]  # (positives, n)
    return float(np.mean((above & judged.fires).sum(1) / above.sum(1)))


def balanced_accuracy_draws(judged: Judgements, seed: int, n_draws: int) -> Array:
    """Plausible balanced accuracies, given the judgements.

    Args:
        judged: the judgements; excerpts of one side count alike, whatever their stratum.
        seed: chooses the draws.
        n_draws: how many, B.

    Returns:
        (B,) values between 0 and 1; 1 among them only where all judgements are right.
    """
    firing, silent = share_draws(
        ((judged.hits, judged.positives), (judged.passes, judged.negatives)), seed, n_draws
    )
    return (firing + silent) / 2


@lru_cache(maxsize=128)
def share_draws(counts: tuple[tuple[int, int], ...], seed: int, n_draws: int) -> tuple[Array, ...]:
    """Plausible shares of right judgements, given some of each kind.

    They depend on the counts only, and are kept: features that are judged as well share them.

    Args:
        counts: for each kind, how many judgements were right, of how many.
        seed: chooses the draws.
        n_draws: how many, B.

    Returns:
        For each kind (B,) shares, read-only. In the first half of the draws the imaginary judgement of every
        kind is wrong, in the second it is right.
    """
    rng = np.random.default_rng([seed, 3])
    rightly = np.arange(n_draws) >= (n_draws + 1) // 2

    def shares(right: int, n: int) -> Array:
        imaginary = rng.gamma(1.0, size=n_draws)
        weight = rng.gamma(right * (1 + 1 / n), size=n_draws)
        wrong = rng.gamma((n - right) * (1 + 1 / n), size=n_draws)
        drawn = np.asarray((weight + rightly * imaginary) / (weight + wrong + imaginary))
        drawn.setflags(write=False)
        return drawn

    return tuple(shares(right, n) for right, n in counts)


def dealt_balanced_accuracies(judged: Judgements, seed: int, n_perm: int) -> Array:
    """Balanced accuracies with the same judgements dealt to excerpts at random.

    Returns:
        (n_perm,) values; their mean is .5, since a deal keeps how many excerpts are said to fire.
    """
    firing = _dealt_to_firing(judged.fires.tobytes(), seed, n_perm)
    hits = (firing @ judged.said.astype(np.float32)).astype(np.float64)  # counts are exact in half the memory
    passes = judged.negatives - (judged.said.sum() - hits)
    return np.asarray((hits / judged.positives + passes / judged.negatives) / 2, dtype=np.float64)


@lru_cache(maxsize=16)
def _dealt_to_firing(fires: bytes, seed: int, n_perm: int) -> NDArray[np.float32]:
    """Whose judgements every deal hands to firing excerpts, kept as the deals are: 1 or 0, (n_perm, n).

    Args:
        fires: the bools of `Judgements.fires` as bytes.
        seed: chooses the deals.
        n_perm: deals, B.
    """
    firing = np.frombuffer(fires, dtype=np.bool_)
    orders = permutations(len(firing), seed, n_perm)
    handed = np.zeros(orders.shape, dtype=np.float32)
    np.put_along_axis(handed, orders[:, firing], 1, axis=1)
    handed.setflags(write=False)
    return handed
