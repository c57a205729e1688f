"""Bootstrap and permutations against literal loops and scipy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from exegete.scorers.resampling import (
    Interval,
    bca_interval,
    bootstrap,
    bootstrap_weights,
    compare,
    dealt_correlations,
    percentile_interval,
    permutations,
    share_at_least,
)
from exegete.scorers.statistics import Array, Paired, correlation, moments, pair, pearson
from tests.scorers.scorer_fakes import like, ragged

SIZES = (4, 9, 1, 7)


def made(seed: int, n: int = sum(SIZES), words: tuple[int, int] = (3, 12)) -> Paired:
    """Excerpts whose simulated values follow the true ones in part."""
    rng = np.random.default_rng(seed)
    true = ragged(rng, n, words)
    return pair([t + 0.7 * o for t, o in zip(true, like(rng, true), strict=True)], true)


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_weights(seed: int, sizes: list[int]) -> None:
    """A replicate draws n - 1 of a stratum's n excerpts, each counted n / (n - 1) times; one alone, once."""
    weights = bootstrap_weights(tuple(sizes), seed, 20)
    assert weights.shape == (20, sum(sizes))
    start = 0
    for size in sizes:
        part = weights[:, start : start + size]
        assert part.sum(1) == pytest.approx(np.full(20, size))
        times = part * (size - 1) / size if size > 1 else part
        assert times == pytest.approx(np.round(times), abs=1e-9)
        assert part.min() >= 0
        start += size


def test_draws_depend_on_the_design_and_the_seed_only() -> None:
    """The same design and seed give the same draws, another seed others; nobody can write to them."""
    for first, again, other in (
        (bootstrap_weights(SIZES, 1, 50), bootstrap_weights(SIZES, 1, 50), bootstrap_weights(SIZES, 2, 50)),
        (permutations(9, 1, 50), permutations(9, 1, 50), permutations(9, 2, 50)),
    ):
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        with pytest.raises(ValueError, match="read-only"):
            first[0, 0] = 3


def test_weights_have_the_variance_of_a_mean() -> None:
    """Over strata of three, a sum's replicates vary as its unbiased variance says (not 2/3 of it)."""
    values = np.random.default_rng(0).normal(size=12)
    replicates = bootstrap_weights((3, 3, 3, 3), 0, 40_000) @ values
    expected = sum(3 * np.var(values[i : i + 3], ddof=1) for i in range(0, 12, 3))
    assert np.var(replicates) == pytest.approx(expected, rel=0.03)


def test_replicates_are_a_literal_loop() -> None:
    """Each replicate is statsmodels' weighted r with that replicate's weights on every word."""
    paired = made(1)
    replicates = bootstrap(correlation, moments(paired.standardised()), SIZES, 3, 40)
    both = np.stack([paired.simulated, paired.true], axis=1)
    for weights, value in zip(bootstrap_weights(SIZES, 3, 40), replicates, strict=True):
        expected = DescrStatsW(both, weights=np.repeat(weights, paired.lengths)).corrcoef[0, 1]
        assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_are_scipys(seed: int) -> None:
    """Given the same replicates, scipy's bootstrap of several samples has the same ends."""
    rows = moments(made(seed).standardised())
    replicates = bootstrap(correlation, rows, SIZES, seed, 2000)
    edges = np.cumsum([0, *SIZES])
    # scipy can't leave out the only excerpt of a stratum: it goes into the statistic as a constant.
    alone = [i for i, size in zip(edges, SIZES, strict=False) if size == 1]
    samples = [np.arange(a, b) for a, b in pairwise(edges) if b - a > 1]

    def statistic(*indices: Array) -> float:
        return float(correlation(rows[np.concatenate([*indices, alone]).astype(int)].sum(0)))

    first = stats.bootstrap(samples, statistic, n_resamples=2, vectorized=False, method="percentile")
    for method, ours in (
        ("percentile", percentile_interval(replicates)),
        ("BCa", bca_interval(correlation, rows, SIZES, replicates)),
    ):
        given = replace(first, bootstrap_distribution=replicates)
        theirs = stats.bootstrap(
            samples, statistic, n_resamples=0, vectorized=False, method=method, bootstrap_result=given
        ).confidence_interval
        assert ours.low == pytest.approx(theirs.low, abs=1e-9)
        assert ours.high == pytest.approx(theirs.high, abs=1e-9)


def test_undefined_replicates() -> None:
    """They are left out of the interval while the minority, leave none when not, and clear no threshold."""
    values = np.concatenate([np.linspace(0, 1, 61), np.full(39, np.nan)])
    assert percentile_interval(values) == percentile_interval(np.linspace(0, 1, 61))
    assert share_at_least(values, 0.5) == pytest.approx(31 / 100)
    assert percentile_interval(np.concatenate([values, np.full(50, np.nan)])) == Interval(None, None)
    assert share_at_least(np.full(10, np.nan), -1.0) == 0.0


def test_a_simulation_in_one_excerpt() -> None:
    """Replicates that leave out the only excerpt with a prediction are undefined, not 0."""
    paired = pair([np.array([0.0, 5.0]), *[np.zeros(2)] * 4], [np.array([0.0, 5.0]), *[np.ones(2)] * 4])
    weights = bootstrap_weights((5,), 0, 200)
    replicates = bootstrap(correlation, moments(paired.standardised()), (5,), 0, 200)
    assert np.array_equal(np.isnan(replicates), weights[:, 0] == 0)
    assert 20 < np.isnan(replicates).sum() < 180


def test_nothing_drawn_nothing_said() -> None:
    """Without replicates and permutations there is no interval, no share, no chance and no p-value."""
    paired = made(0)
    rows = moments(paired.standardised())
    replicates = bootstrap(correlation, rows, SIZES, 0, 0)
    assert bca_interval(correlation, rows, SIZES, replicates) == Interval(None, None)
    assert share_at_least(replicates, 0.5) is None
    chance = compare(0.5, dealt_correlations(paired, 0, 0))
    assert (chance.p_value, chance.mean, chance.p95) == (None, None, None)


def test_permutations_are_permutations() -> None:
    """Each row holds every excerpt once, and every place takes every excerpt about as often."""
    orders = permutations(6, 0, 6000)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(6), (6000, 1)))
    for place in range(6):
        assert stats.chisquare(np.bincount(orders[:, place])).pvalue > 1e-4


@pytest.mark.parametrize("words", [(3, 12), (7, 8)])
def test_dealt_correlations_are_a_literal_loop(words: tuple[int, int]) -> None:
    """Each deal is scipy's r over the words that simulated excerpt i and true excerpt π(i) share."""
    paired = made(4, 9, words)
    ends = np.cumsum(paired.lengths)[:-1]
    simulated, true = np.split(paired.simulated, ends), np.split(paired.true, ends)
    dealt = dealt_correlations(paired, 5, 60)
    for order, value in zip(permutations(9, 5, 60), dealt, strict=True):
        pairs = [(simulated[i], true[j]) for i, j in enumerate(order)]
        x = np.concatenate([a[: min(len(a), len(b))] for a, b in pairs])
        y = np.concatenate([b[: min(len(a), len(b))] for a, b in pairs])
        assert value == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)


def test_p_values_count() -> None:
    """p = (1 + #{null >= observed}) / (1 + B); ties and undefined deals count, rounding makes no winner."""
    null = np.array([0.1, 0.2, 0.3 + 1e-13, np.nan])
    assert compare(0.3 + 2e-13, null).p_value == pytest.approx(3 / 5)
    assert compare(0.25, null).p_value == pytest.approx(3 / 5)
    assert compare(0.9, null[:3]).p_value == pytest.approx(1 / 4)
    assert compare(0.9, null).mean == pytest.approx(0.2)
    assert compare(0.9, null).p95 == pytest.approx(np.quantile([0.1, 0.2, 0.3], 0.95))
    empty = compare(0.9, np.array([np.nan]))
    assert (empty.p_value, empty.mean) == (1.0, None)


@pytest.mark.parametrize("words", [(18, 30), (25, 26)])
def test_p_values_are_uniform_under_the_null(words: tuple[int, int]) -> None:
    """Where simulations are random but clustered by excerpt, p is uniform (a test by words would not be)."""
    rng = np.random.default_rng(11)
    p_values, by_words = [], []
    for seed in range(700):
        true = ragged(rng, 30, words)
        paired = pair(like(rng, true), true)
        value = pearson(paired)
        assert value is not None
        p = compare(value, dealt_correlations(paired, seed, 199)).p_value
        assert p is not None
        p_values.append(p - rng.random() / 200)  # p sits on a grid of 1/200
        by_words.append(stats.pearsonr(paired.simulated, paired.true, alternative="greater").pvalue)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert stats.kstest(by_words, "uniform").pvalue < 1e-4
