"""Chance and intervals against literal loops and scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exegete.scorers.resampling import (
    Interval,
    compare,
    dealt_correlations,
    percentile_interval,
    permutations,
    quantiles,
    share_at_least,
)
from exegete.scorers.statistics import Paired, pair, pearson
from tests.scorers.scorer_fakes import like, ragged


def made(seed: int, n: int = 21, words: tuple[int, int] = (3, 12)) -> Paired:
    """Excerpts whose simulated values follow the true ones in part."""
    rng = np.random.default_rng(seed)
    true = ragged(rng, n, words)
    return pair([t + 0.7 * o for t, o in zip(true, like(rng, true), strict=True)], true)


def test_deals_depend_on_the_number_and_the_seed_only() -> None:
    """The same number and seed give the same deals, another seed others; nobody can write to them."""
    first, again, other = permutations(9, 1, 50), permutations(9, 1, 50), permutations(9, 2, 50)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 3


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_intervals_are_scipys(level: float) -> None:
    """Given the same draws, scipy's bootstrap has the same ends at every level."""
    draws = np.random.default_rng(0).beta(5, 2, 2000)
    first = stats.bootstrap([np.arange(9.0)], np.mean, n_resamples=2, method="percentile")
    given = replace(first, bootstrap_distribution=draws)
    theirs = stats.bootstrap(
        [np.arange(9.0)],
        np.mean,
        n_resamples=0,
        method="percentile",
        confidence_level=level,
        bootstrap_result=given,
    ).confidence_interval
    ours = percentile_interval(draws, level)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


@given(
    st.lists(st.floats(-9, 9), min_size=1, max_size=30),
    st.lists(st.sampled_from([0.025, 0.5, 0.95]) | st.floats(0, 1), min_size=1, max_size=3),
)
def test_quantiles_are_numpys(values: list[float], shares: list[float]) -> None:
    """The same numbers as numpy's, to the bit, ties and single values included."""
    assert quantiles(np.array(values), *shares) == np.quantile(values, shares).tolist()


def test_undefined_draws() -> None:
    """They are left out of the interval while the minority, leave none when not, and clear no threshold."""
    values = np.concatenate([np.linspace(0, 1, 61), np.full(39, np.nan)])
    assert percentile_interval(values) == percentile_interval(np.linspace(0, 1, 61))
    assert share_at_least(values, 0.5) == pytest.approx(31 / 100)
    assert percentile_interval(np.concatenate([values, np.full(50, np.nan)])) == Interval(None, None)
    assert share_at_least(np.full(10, np.nan), -1.0) == 0.0


def test_nothing_drawn_nothing_said() -> None:
    """Without draws and permutations there is no interval, no share, no chance and no p-value."""
    assert percentile_interval(np.zeros(0)) == Interval(None, None)
    assert share_at_least(np.zeros(0), 0.5) is None
    chance = compare(0.5, dealt_correlations(made(0), 0, 0))
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


@pytest.mark.parametrize("words", [(18, 30), (25, 26), (5, 29)])
def test_p_values_are_uniform_under_the_null(words: tuple[int, int]) -> None:
    """Where simulations are random but clustered by excerpt, p is uniform (a test by words would not be)."""
    rng = np.random.default_rng(11)
    p_values, by_words = [], []
    for seed in range(500):
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
