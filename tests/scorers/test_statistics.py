"""Correlation and explained deviation against scipy, statsmodels and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LinearRegression
from statsmodels.stats.weightstats import DescrStatsW

from exegete.scorers.statistics import (
    Paired,
    absolute_deviation_explained,
    correlation,
    largest,
    pair,
    pearson,
)
from tests.scorers.scorer_fakes import like, ragged


def made(seed: int, n: int = 12, share: float = 0.5) -> Paired:
    """Simulated values that are a mix of the true ones and others."""
    rng = np.random.default_rng(seed)
    true = ragged(rng, n)
    simulated = [share * t + (1 - share) * o for t, o in zip(true, like(rng, true), strict=True)]
    return pair(simulated, true)


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 30),
    share=st.floats(-1, 1),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    offset=st.sampled_from([0.0, -3.0, 1e3]),
)
def test_pearson_is_scipys(seed: int, n: int, share: float, scale: float, offset: float) -> None:
    """r over ragged excerpts is scipy's r over their words, whatever the units and the offset."""
    paired = made(seed, n, share)
    shifted = Paired(np.stack([paired.simulated, scale * (offset + paired.true)]), paired.lengths)
    if len(shifted.true) < 3:
        return
    value = pearson(shifted)
    assert value is not None
    assert value == pytest.approx(stats.pearsonr(shifted.simulated, shifted.true).statistic, abs=1e-9)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 20))
def test_weighted_pearson_is_statsmodels(seed: int, n: int) -> None:
    """Weighted r gives all words of an excerpt its weight; only the weights' ratios matter."""
    paired = made(seed, n)
    weights = np.random.default_rng(seed).uniform(0.1, 50, n)
    both = np.stack([paired.simulated, paired.true], axis=1)
    expected = DescrStatsW(both, weights=np.repeat(weights, paired.lengths)).corrcoef[0, 1]
    assert pearson(paired, weights) == pytest.approx(expected, abs=1e-9)
    assert pearson(paired, 1e-3 * weights) == pytest.approx(expected, abs=1e-9)


def test_weights_count_copies() -> None:
    """An excerpt of weight 3 counts as three, one of weight 0 not at all."""
    rng = np.random.default_rng(5)
    true = ragged(rng, 4)
    simulated = like(rng, true)
    copies = [0, 0, 0, 1, 3, 3]
    expected = pearson(pair([simulated[i] for i in copies], [true[i] for i in copies]))
    assert pearson(pair(simulated, true), [3, 1, 0, 2]) == pytest.approx(expected, abs=1e-12)


def test_constant_sides_have_no_correlation() -> None:
    """A side that does not vary gives None, and the reason says which side and at which value."""
    flat, varied = [np.full(4, 2.5), np.full(3, 2.5)], [np.arange(4.0), np.arange(3.0)]
    assert pearson(pair(flat, varied)) is None
    assert pearson(pair(varied, flat)) is None
    assert absolute_deviation_explained(pair(flat, varied)) is None
    assert pair(flat, varied).why_undefined == "constant simulation: 2.5 on all 7 words"
    assert pair(varied, flat).why_undefined == "constant activations: 2.5 on all 7 words"
    assert pair(varied, varied).why_undefined is None


def test_a_constant_part_is_undefined_after_standardising() -> None:
    """Excerpts that are constant among themselves, off the mean of all, still sum to an undefined r."""
    paired = pair([np.full(9, 0.1), np.array([0.1, 7.0])], [np.arange(9.0) / 7, np.array([3.0, 9.0])])
    rows = paired.standardised.moments
    assert np.isnan(correlation(rows[0]))
    assert np.isfinite(correlation(rows.sum(0)))


def test_moments_are_sums() -> None:
    """Moments are the six sums over each excerpt's words."""
    paired = made(3, 5)
    start = 0
    for length, row in zip(paired.lengths, paired.moments, strict=True):
        x, y = paired.simulated[start : start + length], paired.true[start : start + length]
        expected = [length, sum(x), sum(y), sum(x * x), sum(y * y), sum(x * y)]
        assert row.tolist() == pytest.approx(expected, rel=1e-12)
        start += length


@given(seed=st.integers(0, 2**32), share=st.floats(-1, 1))
def test_absolute_deviation(seed: int, share: float) -> None:
    """It is 1 - mean|residual| / mean|true| with scikit-learn's least-squares fit."""
    paired = made(seed, 8, share)
    x = paired.simulated[:, None]
    fitted = LinearRegression().fit(x, paired.true).predict(x)
    expected = 1 - np.mean(np.abs(paired.true - fitted)) / np.mean(np.abs(paired.true))
    assert absolute_deviation_explained(paired) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("simulated", "true"),
    [
        ([], []),
        ([np.zeros(0)], [np.zeros(0)]),
        ([np.zeros(3)], [np.zeros(2)]),
        ([np.zeros(3)], [np.zeros(3), np.zeros(2)]),
        ([np.array([0, np.nan])], [np.zeros(2)]),
        ([np.zeros(2)], [np.array([0, np.inf])]),
    ],
)
def test_what_does_not_fit_is_refused(simulated: list[np.ndarray], true: list[np.ndarray]) -> None:
    """Different excerpts, empty ones and values that are no numbers are errors, never scores."""
    with pytest.raises(ValueError, match="simulated and true values must be"):
        pair(simulated, true)


@given(st.lists(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=4), min_size=1, max_size=5))
def test_largest(excerpts: list[list[float]]) -> None:
    """Of every excerpt its largest value, in order; an excerpt without words has none."""
    values = np.array([value for excerpt in excerpts for value in excerpt], dtype=np.float32)
    lengths = [len(excerpt) for excerpt in excerpts]
    assert largest(values, lengths).tolist() == [max(excerpt) for excerpt in excerpts]
    with pytest.raises(ValueError, match="without words"):
        largest(values, [*lengths, 0])
