"""How well judgements "fires" or "silent" follow the truth, excerpt by excerpt.

The value is balanced accuracy, the mean of two proportions: firing excerpts called so, silent excerpts called
so. Resampling excerpts fails it just where labels are good, because 20 right answers of 20 have no other
resample. Its interval is therefore made of draws of each proportion from its Jeffreys posterior,
Beta(right + 1/2, wrong + 1/2), whose intervals cover well near 0 and 1 [Brown, Cai & DasGupta 2001].
Measured (benchmarks/coverage.py), truth .94 to .95: a 95% bootstrap interval over 20, 60 or 200 excerpts
holds it in 67%, 88% and 95% of simulated features, this one in 94%, 94% and 96%.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.scorers.resampling import permutations
from exegete.scorers.statistics import Array

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judgements:
    """What was said of excerpts, and what is true of them."""

    fires: Bools
    """(n_excerpts,) the feature fires in it."""
    said: Bools
    """(n_excerpts,) the label predicts that it fires."""
    strength: Array
    """(n_excerpts,) how strongly, in any increasing unit."""

    def __post_init__(self) -> None:
        if not self.fires.any() or self.fires.all():
            raise ValueError("judgements are counted over excerpts of both kinds, firing and silent")

    @property
    def positives(self) -> int:
        """Excerpts in which the feature fires."""
        return int(self.fires.sum())

    @property
    def negatives(self) -> int:
        """Excerpts in which it is silent."""
        return len(self.fires) - self.positives

    @property
    def hits(self) -> int:
        """Firing excerpts called so."""
        return int((self.fires & self.said).sum())

    @property
    def passes(self) -> int:
        """Silent excerpts called so."""
        return int((~self.fires & ~self.said).sum())


def balanced_accuracy(judged: Judgements) -> float:
    """Mean of sensitivity and specificity; .5 for one that always says the same."""
    return (judged.hits / judged.positives + judged.passes / judged.negatives) / 2


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
    """Plausible balanced accuracies, given the judgements: draws of both proportions' Jeffreys posteriors.

    Args:
        judged: the judgements; excerpts of one kind count alike, whatever their stratum.
        seed: chooses the draws.
        n_draws: how many, B.

    Returns:
        (B,) values between 0 and 1.
    """
    rng = np.random.default_rng([seed, 3])
    hits, passes = judged.hits, judged.passes
    sensitivity = rng.beta(hits + 0.5, judged.positives - hits + 0.5, n_draws)
    specificity = rng.beta(passes + 0.5, judged.negatives - passes + 0.5, n_draws)
    return np.asarray((sensitivity + specificity) / 2, dtype=np.float64)


def dealt_balanced_accuracies(judged: Judgements, seed: int, n_perm: int) -> Array:
    """Balanced accuracies with the same judgements dealt to excerpts at random.

    Returns:
        (n_perm,) values; their mean is .5, since a deal keeps how many excerpts are said to fire.
    """
    orders = permutations(len(judged.fires), seed, n_perm)
    # Counts of excerpts are exact in half the memory.
    dealt = judged.said.astype(np.float32).take(orders) @ judged.fires.astype(np.float32)  # (B,)
    hits = dealt.astype(np.float64)
    passes = judged.negatives - (judged.said.sum() - hits)
    return np.asarray((hits / judged.positives + passes / judged.negatives) / 2, dtype=np.float64)
