"""Intervals and chance levels by resampling excerpts: a stratified bootstrap and a permutation test.

1. *Interval.* Excerpts are drawn again with replacement, n_h - 1 of the n_h of a stratum, each counted
   n_h / (n_h - 1) times [Rao & Wu 1988: drawing n_h of n_h understates the variance by 1 / n_h, which in
   strata of three is a third]. A statistic of summed rows makes all replicates in one matrix product.
2. *Ends.* Percentiles of the replicates, bias-corrected and accelerated ("BCa") [Efron 1987; several strata:
   Efron & Tibshirani 1993, ch. 14 and 22].
3. *Chance.* The predictions of excerpt i are dealt to excerpt π(i); p = (1 + #{null >= observed}) / (1 + B).

Draws depend only on a design (stratum sizes, seed, B), not on data, and are kept: features of one design
share them.

Undefined replicates (a draw that left out every excerpt with a prediction has no correlation) are left out of
the interval, and there is none when they are the majority; they count as not reaching a threshold.
Undefined deals count as no worse than what was observed. Both are to the label's disadvantage.

Coverage of nominal 95% intervals for r over 1,000 simulated features each (benchmarks/coverage.py),
percentile / BCa; in brackets how often the low end lies above the truth, which accepts a label wrongly:

    excerpts    good label, r .71 to .75      middling, r .26 to .33      poor, r .08 to .11
        20      73% / 74%  (27% / 25%)        86% / 88%  (7% / 5%)        75% / 76%  (1% / 1%)
        50      82% / 84%  (17% / 14%)        94% / 95%  (3% / 3%)        90% / 92%  (1% / 2%)
        60      84% / 86%  (15% / 12%)        94% / 95%  (3% / 2%)        90% / 92%  (1% / 2%)
       200      93% / 94%  ( 6% /  4%)        94% / 94%  (3% / 3%)        94% / 94%  (2% / 3%)

BCa is the better nearly everywhere and is what scores use. Neither can know of the rare bad miss that the
excerpts at hand do not show: below some 100 excerpts the low end of a good label's interval is too high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from exegete.scorers.statistics import Array, Paired, correlation

Statistic = Callable[[Array], Array]
"""From sums over excerpts, (..., k), to values, (...,), NaN where undefined."""

LEVEL = 0.95
"""Nominal coverage of intervals."""

_ROUNDING = 1e-9
"""Two values closer than this are the same value, summed in another order."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; both ends None when too few replicates are defined."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Chance:
    """What predictions dealt at random reach, and how often they reach what was observed."""

    p_value: float | None
    """(1 + #{null >= observed}) / (1 + B), in (0, 1]; None without permutations."""
    mean: float | None
    """Mean of the null, in the statistic's units; None when no deal has a value."""
    p95: float | None
    """95th percentile of the null."""


@lru_cache(maxsize=16)
def bootstrap_weights(sizes: tuple[int, ...], seed: int, n_boot: int) -> Array:
    """How often every excerpt counts in every replicate.

    Args:
        sizes: excerpts in each stratum, in the order of the rows to be resampled. A stratum of one is
            always taken once, and adds nothing to the interval's width.
        seed: chooses the draws.
        n_boot: replicates, B.

    Returns:
        (B, sum of sizes), read-only; rows sum to `sizes` within each stratum.
    """
    rng = np.random.default_rng([seed, 1])
    weights = np.ones((n_boot, sum(sizes)))
    start = 0
    for size in sizes:
        if size > 1:
            drawn = rng.integers(size, size=(n_boot, size - 1)) + size * np.arange(n_boot)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=n_boot * size).reshape(n_boot, size)
            weights[:, start : start + size] = counts * (size / (size - 1))
        start += size
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=16)
def permutations(n: int, seed: int, n_perm: int) -> NDArray[np.intp]:
    """Random orders of n excerpts.

    Returns:
        (n_perm, n), read-only; each row is a permutation of 0 to n - 1.
    """
    rng = np.random.default_rng([seed, 2])
    orders = rng.permuted(np.tile(np.arange(n), (n_perm, 1)), axis=1)
    orders.setflags(write=False)
    return orders


def bootstrap(statistic: Statistic, rows: Array, sizes: tuple[int, ...], seed: int, n_boot: int) -> Array:
    """Replicates of a statistic.

    Args:
        statistic: from summed rows to a value.
        rows: (n_excerpts, k) what each excerpt adds to the sums, stratum after stratum.
        sizes: excerpts in each stratum.
        seed: chooses the draws.
        n_boot: replicates, B.

    Returns:
        (B,) values, NaN where undefined.
    """
    return statistic(bootstrap_weights(sizes, seed, n_boot) @ rows)


def percentile_interval(replicates: Array) -> Interval:
    """The middle 95% of the replicates that are defined."""
    return _between(replicates, (1 - LEVEL) / 2, (1 + LEVEL) / 2)


def bca_interval(statistic: Statistic, rows: Array, sizes: tuple[int, ...], replicates: Array) -> Interval:
    """Percentiles of the replicates, shifted for the statistic's bias and skewness [Efron 1987].

    Args:
        statistic: from summed rows to a value.
        rows: (n_excerpts, k), stratum after stratum.
        sizes: excerpts in each stratum.
        replicates: (B,) as of `bootstrap`.
    """
    defined = replicates[~np.isnan(replicates)]
    total = rows.sum(0)
    value = float(statistic(total))
    if not len(defined) or np.isnan(value):
        return Interval(None, None)
    below = (np.mean(defined < value - _ROUNDING) + np.mean(defined <= value + _ROUNDING)) / 2
    edge = 1 / (2 * len(defined))
    bias = _NORMAL.inv_cdf(float(np.clip(below, edge, 1 - edge)))
    skew = _acceleration(statistic(total - rows), sizes)
    shares = []
    for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + _NORMAL.inv_cdf(share)
        # The denominator's limit at 0 is an end of the replicates; past it the map would turn back.
        shares.append(_NORMAL.cdf(bias + z / max(1 - skew * z, _ROUNDING)))
    return _between(replicates, shares[0], shares[1])


def share_at_least(replicates: Array, threshold: float) -> float | None:
    """Share of replicates that reach a threshold; undefined ones do not. None without replicates."""
    return float(np.mean(replicates >= threshold)) if len(replicates) else None


def dealt_correlations(paired: Paired, seed: int, n_perm: int) -> Array:
    """Correlations with the predictions of excerpt i paired, word by word, with excerpt π(i).

    Two excerpts of different lengths share as many words as the shorter has, and only these are correlated.
    Filling the shorter up with zeros would be quicker and wrong: deals then lose products that the true
    pairing keeps, and where simulations are random p <= .05 comes up in 11% of features instead of 5%
    (excerpts of 18 to 29 words; 32% with 5 to 39). All pairs' sums are computed once, and a deal
    looks up n of them. Windows are cut at a random offset around the peak, so a position tells nothing.

    Args:
        paired: simulated and true values.
        seed: chooses the deals.
        n_perm: deals, B.

    Returns:
        (B,) correlations, NaN where undefined.
    """
    if not n_perm:  # a ranker asks for none, of every candidate
        return np.zeros(0)
    orders = permutations(len(paired.lengths), seed, n_perm)
    sums = np.zeros((n_perm, 6))
    # Excerpt by excerpt, its six sums together: a third of the time that one sum after the other takes.
    for with_others, dealt in zip(_pair_sums(paired.standardised()), orders.T, strict=True):
        sums += with_others.take(dealt, axis=0)
    return correlation(sums)


def compare(observed: float, null: Array) -> Chance:
    """Hold an observed value against what dealing at random gives.

    Args:
        observed: the statistic of the true pairing; larger is better.
        null: (B,) the statistic of random ones, NaN where undefined.
    """
    if not len(null):
        return Chance(None, None, None)
    defined = null[~np.isnan(null)]
    as_good = len(null) - np.count_nonzero(defined < observed - _ROUNDING)
    p_value = float((1 + as_good) / (1 + len(null)))
    if not len(defined):
        return Chance(p_value, None, None)
    return Chance(p_value, float(defined.mean()), float(np.quantile(defined, 0.95)))


def _between(replicates: Array, low: float, high: float) -> Interval:
    defined = replicates[~np.isnan(replicates)]
    if not len(defined) or 2 * len(defined) < len(replicates):
        return Interval(None, None)
    ends = np.quantile(defined, [low, high])
    return Interval(float(ends[0]), float(ends[1]))


def _acceleration(left_out: Array, sizes: tuple[int, ...]) -> float:
    """Skewness of the statistic's influence values, from its values with each excerpt left out."""
    third = second = 0.0
    start = 0
    for size in sizes:
        values = left_out[start : start + size]
        values = values[~np.isnan(values)]
        start += size
        if len(values) > 1:
            influence = (len(values) - 1) / len(values) * (values.mean() - values)
            third += float(np.sum(influence**3))
            second += float(np.sum(influence**2))
    return third / (6 * second**1.5) if second > _ROUNDING**2 else 0.0


def _pair_sums(paired: Paired) -> Array:
    """The six moments of every simulated excerpt i against every true excerpt j: (n, n, 6)."""
    lengths = paired.lengths
    n, longest = len(lengths), int(lengths.max())
    there = np.arange(longest) < lengths[:, None]
    x, y = np.zeros((n, longest)), np.zeros((n, longest))
    x[there], y[there] = paired.simulated, paired.true
    shared = np.minimum(lengths[:, None], lengths)  # (n, n) words that i and j share
    rows = np.arange(n)[:, None]
    up_to = [np.cumsum(values, axis=1) for values in (x, y, x * x, y * y)]
    sx, sy, sxx, syy = (
        sums[rows, shared - 1] for sums in up_to
    )  # row's own excerpt, cut at the other's length
    return np.stack([shared.astype(np.float64), sx, sy.T, sxx, syy.T, x @ y.T], axis=-1)
