"""Chance levels by dealing predictions to excerpts at random, and what is read from any set of draws.

*Chance.* The predictions of excerpt i are dealt to excerpt π(i); p = (1 + #{null >= observed}) / (1 + B).
Ties count as reaching what was observed, so p is uniform under the null where values are all different (as r
is) and lies above uniform where many are alike (as balanced accuracies are). Undefined deals count as no
worse than what was observed. Both are to the label's disadvantage. Orders depend only on the number of
excerpts, the seed and B, not on data, and are kept: features of one design share them.

*Intervals* are quantiles of draws that a scorer makes of what its value could be (`exegete.scorers.intervals`
and `exegete.scorers.classification`); the share of the same draws that reach a threshold is the confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from exegete.scorers.statistics import Array, Paired, correlation

LEVEL = 0.95
"""Nominal coverage of intervals, unless another is asked for."""

ROUNDING = 1e-9
"""Two values closer than this are the same value, summed in another order."""

DEALS_AT_ONCE = 500
"""What is looked up for so many stays in a processor's cache until it is added up."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; both ends None when too few draws are defined."""

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
def permutations(n: int, seed: int, n_perm: int) -> NDArray[np.intp]:
    """Random orders of n excerpts.

    Returns:
        (n_perm, n), read-only; each row is a permutation of 0 to n - 1. A column's numbers lie together, as
        deals are worked out excerpt by excerpt.
    """
    rng = np.random.default_rng([seed, 2])
    orders = np.asfortranarray(rng.permuted(np.tile(np.arange(n), (n_perm, 1)), axis=1))
    orders.setflags(write=False)
    return orders


def percentile_interval(draws: Array, level: float = LEVEL) -> Interval:
    """The middle of the draws that are defined: its ends leave out (1 - level) / 2 on either side.

    Args:
        draws: (B,) plausible values, NaN where undefined; there is no interval when the majority are.
        level: nominal coverage, between 0 and 1. Levels so near 1 that few of B draws lie outside are rough.
    """
    defined = draws[~np.isnan(draws)]
    if not len(defined) or 2 * len(defined) < len(draws):
        return Interval(None, None)
    return Interval(*quantiles(defined, (1 - level) / 2, (1 + level) / 2))


def quantiles(values: Array, *shares: float) -> list[float]:
    """What shares of some values lie below: linear between the nearest two, to the bit as numpy's.

    (numpy.quantile takes six times as long over two thousand values, most of it before it looks at them.)

    Args:
        values: (n,) of which none is NaN, in any order; at least one.
        shares: 0 to 1.
    """
    last = len(values) - 1
    places = [share * last for share in shares]
    around = [(int(place), min(int(place) + 1, last)) for place in places]
    ordered = np.partition(values, [place for both in around for place in both])
    found = []
    for place, (below, above) in zip(places, around, strict=True):
        low, high, part = float(ordered[below]), float(ordered[above]), place - below
        # From the nearer of the two, so that rounding does not lead past it.
        found.append(high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part)
    return found


def share_at_least(draws: Array, threshold: float) -> float | None:
    """Share of draws that reach a threshold; undefined ones do not. None without draws."""
    return float(np.count_nonzero(draws >= threshold) / len(draws)) if len(draws) else None


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
    tables = _pair_sums(paired.standardised)
    deals = _dealt_pairs(len(paired.lengths), seed, n_perm)
    sums = [np.concatenate([pairs.take(dealt, axis=0).sum(0) for pairs in tables], axis=1) for dealt in deals]
    return correlation(np.concatenate(sums))


def compare(observed: float, null: Array) -> Chance:
    """Hold an observed value against what dealing at random gives.

    Args:
        observed: the statistic of the true pairing; larger is better.
        null: (B,) the statistic of random ones, NaN where undefined.
    """
    if not len(null):
        return Chance(None, None, None)
    defined = null[~np.isnan(null)]
    as_good = len(null) - np.count_nonzero(defined < observed - ROUNDING)
    p_value = float((1 + as_good) / (1 + len(null)))
    if not len(defined):
        return Chance(p_value, None, None)
    return Chance(p_value, float(defined.mean()), *quantiles(defined, 0.95))


@lru_cache(maxsize=16)
def _dealt_pairs(n: int, seed: int, n_perm: int) -> tuple[NDArray[np.intp], ...]:
    """The pairs (simulated i, true j) that deals make of n excerpts, as places i * n + j, kept as deals are.

    Returns:
        Of `DEALS_AT_ONCE` deals after the other (n, deals), read-only.
    """
    pairs = permutations(n, seed, n_perm).T + n * np.arange(n)[:, None]
    starts = range(0, n_perm, DEALS_AT_ONCE)
    deals = [np.ascontiguousarray(pairs[:, at : at + DEALS_AT_ONCE]) for at in starts]
    for dealt in deals:
        dealt.setflags(write=False)
    return tuple(deals)


def _pair_sums(paired: Paired) -> tuple[Array, Array]:
    """The six moments of every simulated excerpt i against every true excerpt j.

    Returns:
        (n * n, 4) and (n * n, 2): numpy takes rows of four numbers, or two, more quickly than rows of six.
    """
    lengths = paired.lengths
    n, longest = len(lengths), int(lengths.max())
    there = np.arange(longest) < lengths[:, None]
    values = np.zeros((4, n, longest))  # x, y and their squares
    values[0][there], values[1][there] = paired.values
    np.square(values[:2], out=values[2:])
    x, y, xx, yy = np.cumsum(values, axis=2).reshape(4, -1)
    shared = np.minimum(lengths[:, None], lengths)  # (n, n) words that i and j share
    last = np.arange(n)[:, None] * longest + shared - 1  # row's own excerpt, cut at the other's length
    four, two = np.empty((n, n, 4)), np.empty((n, n, 2))
    four[..., 0] = shared
    four[..., 1], four[..., 2] = x.take(last), y.take(last).T
    four[..., 3], two[..., 0] = xx.take(last), yy.take(last).T
    two[..., 1] = values[0] @ values[1].T
    return four.reshape(-1, 4), two.reshape(-1, 2)
