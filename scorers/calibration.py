"""How often is a confidence right? Reliability of confidences, and a map that mends them.

A raw confidence is the share of bootstrap replicates in which a label's score clears the job's threshold. It
says how stable the measurement is, not how often such labels are right. Where the truth is known of some
labels (planted features, decisions of people) it can be mapped to how often they were:

1. *Pool.* Labels of equal confidence are one group; adjacent groups whose rates fall are pooled until the
   rates rise [isotonic regression: Ayer et al. 1955; as calibration: Zadrozny & Elkan 2002].
2. *Shrink.* Every block's rate is drawn to the overall one as if it held `PRIOR` labels more, of the overall
   rate, so that three right of three do not become certainty; and pooled again, should shrinking have broken
   the order.
3. *Between* blocks the map is linear, beyond them constant.

What is fitted looks right on the labels it was fitted on. `held_out` maps each label by a map fitted without
its fold: the expected calibration error that counts is the one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.scorers.statistics import Array

Values = Sequence[float] | Array
"""(n,) numbers."""
Truths = Sequence[bool] | NDArray[np.bool_]
"""(n,) what turned out: whether each label was right."""

MIN_LABELS = 30
"""Labels of known truth that a map needs."""
MIN_OF_EACH = 3
"""Right ones, and wrong ones, among them."""
PRIOR = 2.0
"""Labels of the overall rate that are added to every block."""
LEVEL = 0.95
"""Nominal coverage of a bin's interval."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising map from a raw confidence to how often labels of that confidence were right."""

    shares: tuple[float, ...]
    """Raw confidences, rising, 0 to 1."""
    rates: tuple[float, ...]
    """How often labels were right there, not falling, above 0 and below 1."""
    n: int
    """Labels it was fitted on."""

    def __call__(self, share: float) -> float:
        """Map one raw confidence, 0 to 1."""
        return float(self.map(np.array([share]))[0])

    def map(self, shares: Array) -> Array:
        """Map many at once: (n,) raw confidences to (n,) rates; NaN stays NaN."""
        return np.interp(shares, self.shares, self.rates)


@dataclass(frozen=True, slots=True)
class Bin:
    """Labels whose confidences lie close together, and how many of them were right."""

    low: float
    """Confidences above this (the first bin's lower end is its own) ..."""
    high: float
    """... up to and with this."""
    n: int
    mean_confidence: float
    rate: float
    """Share that was right."""
    rate_low: float
    rate_high: float
    """95% Jeffreys interval of the rate, with 0 or 1 for an end that nothing was seen beyond
    [Brown, Cai & DasGupta 2001]."""


def too_little(confidence: Values, right: Truths) -> str | None:
    """Why no map can be fitted to so little, in words, or None when it can."""
    n, n_right = len(confidence), int(np.sum(right))
    if n >= MIN_LABELS and MIN_OF_EACH <= n_right <= n - MIN_OF_EACH:
        return None
    return (
        f"{n} labels of known truth, {n_right} right and {n - n_right} wrong: a map needs {MIN_LABELS} with "
        f"{MIN_OF_EACH} of each"
    )


def fit(confidence: Values, right: Truths) -> Calibration | None:
    """Fit a map from raw confidence to how often labels were right.

    Args:
        confidence: (n,) raw confidences, 0 to 1.
        right: (n,) whether each label was right.

    Returns:
        The map, the same for any order of the labels; None when there is too little (see `too_little`).

    Raises:
        ValueError: lengths differ, or a confidence is not in [0, 1].
    """
    raw, truth = _checked(confidence, right)
    return None if too_little(raw, truth) is not None else _fit(raw, truth)


def held_out(
    confidence: Values,
    right: Truths,
    folds: Sequence[int] | NDArray[np.integer],
) -> Array:
    """Map each label by a map fitted to the labels of the other folds, however few these are.

    Args:
        confidence: (n,) raw confidences, 0 to 1.
        right: (n,) whether each label was right.
        folds: (n,) the fold of each label.

    Returns:
        (n,) rates; NaN where there is no other fold.

    Raises:
        ValueError: lengths differ, or a confidence is not in [0, 1].
    """
    raw, truth = _checked(confidence, right)
    fold = np.asarray(folds)
    mapped = np.full(len(raw), np.nan)
    for one in np.unique(fold).tolist():
        own = fold == one
        if not own.all():
            mapped[own] = _fit(raw[~own], truth[~own]).map(raw[own])
    return mapped


def reliability(confidence: Values, right: Truths, n_bins: int = 10) -> list[Bin]:
    """The reliability curve: in bins of equal width, how confident on the mean, and how often right.

    Args:
        confidence: (n,) confidences, 0 to 1.
        right: (n,) whether each label was right.
        n_bins: bins between 0 and 1.

    Returns:
        The bins that hold a label, rising.

    Raises:
        ValueError: lengths differ, or a confidence is not in [0, 1].
    """
    values, truth = _checked(confidence, right)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    place = np.searchsorted(edges[1:-1], values)
    bins = []
    for i in np.unique(place).tolist():
        own = place == i
        n, k = int(own.sum()), int(truth[own].sum())
        held, (rate_low, rate_high) = values[own], jeffreys(k, n)
        bins.append(
            Bin(
                low=float(edges[i]),
                high=float(edges[i + 1]),
                n=n,
                mean_confidence=float(held.mean().clip(held.min(), held.max())),  # rounding can leave the bin
                rate=k / n,
                rate_low=rate_low,
                rate_high=rate_high,
            )
        )
    return bins


def jeffreys(k: int, n: int) -> tuple[float, float]:
    """95% Jeffreys interval of a rate of which k of n were seen [Brown, Cai & DasGupta 2001].

    Returns:
        Its ends, with 0 or 1 for an end that nothing was seen beyond.
    """
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = 0.0 if k == 0 else float(betaincinv(k + 0.5, n - k + 0.5, tail))
    return low, 1.0 if k == n else float(betaincinv(k + 0.5, n - k + 0.5, 1 - tail))


def expected_calibration_error(confidence: Values, right: Truths, n_bins: int = 10) -> float | None:
    """Mean distance of confidence from rate over the bins, weighed by their labels [Naeini et al. 2015].

    It is biased upwards: n labels in a bin miss their rate by chance, by some .4 / sqrt(n) at a rate of .5.

    Returns:
        0 (calibrated) to 1; None without labels.

    Raises:
        ValueError: lengths differ, or a confidence is not in [0, 1].
    """
    bins = reliability(confidence, right, n_bins)
    total = sum(bin.n for bin in bins)
    return sum(bin.n * abs(bin.rate - bin.mean_confidence) for bin in bins) / total if total else None


def brier_score(confidence: Values, right: Truths) -> float | None:
    """Mean squared distance of confidence from what turned out, 1 or 0 [Brier 1950].

    Unlike the calibration error it also tells whether confidences tell right from wrong labels.

    Returns:
        0 (certain and right) to 1; None without labels.

    Raises:
        ValueError: lengths differ, or a confidence is not in [0, 1].
    """
    values, truth = _checked(confidence, right)
    return float(np.mean((values - truth) ** 2)) if len(values) else None


def _fit(raw: Array, truth: NDArray[np.bool_]) -> Calibration:
    """The map of one label or more."""
    shares, place = np.unique(raw, return_inverse=True)
    counts = np.bincount(place).astype(np.float64)
    rates, blocks = _rising(np.bincount(place, weights=truth) / counts, counts)
    sizes = np.add.reduceat(counts, blocks[:-1])
    overall = (truth.sum() + PRIOR / 2) / (len(truth) + PRIOR)
    shrunken, _ = _rising((rates[blocks[:-1]] * sizes + PRIOR * overall) / (sizes + PRIOR), sizes)
    # A block's first and last confidence: the map is flat between them, and linear to the next block.
    ends = np.stack([blocks[:-1], blocks[1:] - 1])
    return Calibration(
        tuple(shares[ends].T.ravel().tolist()), tuple(np.repeat(shrunken, 2).tolist()), len(raw)
    )


def _rising(rates: Array, weights: Array) -> tuple[Array, NDArray[np.intp]]:
    """The rising rates nearest to these, and where their blocks begin, with the end of the last."""
    from scipy.optimize import isotonic_regression

    found = isotonic_regression(rates, weights=weights)
    return np.clip(found.x, 0.0, 1.0), found.blocks


def _checked(confidence: Values, right: Truths) -> tuple[Array, NDArray[np.bool_]]:
    """Both as arrays, (n,)."""
    values, truth = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.bool_)
    if values.shape != truth.shape or values.ndim != 1:
        raise ValueError("confidences and what turned out must be of the same labels")
    if not ((values >= 0) & (values <= 1)).all():  # NaN is not
        raise ValueError("a confidence must be between 0 and 1: leave out labels that have none")
    return values, truth
