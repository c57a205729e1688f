"""Draws of r against a literal loop over words, and what their intervals promise of any data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from exegete.scorers.intervals import correlation_draws, draw_weights
from exegete.scorers.resampling import Interval, percentile_interval
from exegete.scorers.statistics import Paired, pair, pearson

SIZES = (4, 9, 1, 7)
SEEDS = st.integers(0, 2**32)
Words = list[NDArray[np.float64]]


def words(seed: int, finds: float = 0.7, alarms: float = 0.3) -> tuple[Words, Words]:
    """Simulated and true values of the words of 21 excerpts, of which the last 8 are silent."""
    rng = np.random.default_rng(seed)
    simulated, true = [], []
    for place in range(sum(SIZES)):
        n = int(rng.integers(3, 12))
        y = np.where(rng.permutation(n) < 2, rng.exponential(1.0, n), 0.0) * (place < 13)
        x = np.round(3 * y) * (rng.random() < finds)
        x[rng.integers(n)] += 4 * (rng.random() < alarms)
        simulated.append(x)
        true.append(y)
    simulated[0] = np.round(3 * true[0]) + 1  # r is defined
    return simulated, true


def made(seed: int, finds: float = 0.7, alarms: float = 0.3) -> Paired:
    """The same, side by side."""
    return pair(*words(seed, finds, alarms))


def test_draws_are_a_literal_loop() -> None:
    """Each draw is statsmodels' weighted r of all words, those of the imaginary excerpts among them."""
    simulated, true = words(1)
    said = [x for x in simulated if x.any()]
    power = np.mean([np.sum(x * x) for x in said]) / np.mean([np.sum(y * y) for y in true if y.any()])
    own, other = draw_weights(SIZES, 3, 20)
    draws = correlation_draws(pair(simulated, true), SIZES, 3, 40)
    for number, value in enumerate(draws):
        rightly, (weights, copies) = number >= 20, (own[number % 20], other[number % 20])
        rows = [(w, x, y) for w, x, y in zip(weights, simulated, true, strict=True)]
        for copy, y in zip(copies, true, strict=True):
            if rightly:
                rows.append((copy, np.sqrt(power) * y, y))
            elif y.any():
                rows.append((copy, 0 * y, y))
            else:  # as much of a prediction as a usual one
                rows += [(copy / len(said), x, 0 * x) for x in said]
        both = np.stack([np.concatenate([r[k] for r in rows]) for k in (1, 2)], axis=1)
        expected = DescrStatsW(both, weights=np.concatenate([np.full(len(r[1]), r[0]) for r in rows]))
        assert value == pytest.approx(expected.corrcoef[0, 1], abs=1e-9)


@given(seed=SEEDS, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_weights(seed: int, sizes: list[int]) -> None:
    """In every draw a stratum's weights sum to its size, and one of its excerpts has an imaginary copy."""
    own, other = draw_weights(tuple(sizes), seed, 20)
    assert own.shape == other.shape == (20, sum(sizes))
    assert own.min() > 0
    edges = np.cumsum([0, *sizes])[:-1]
    assert np.add.reduceat(own + other, edges, axis=1) == pytest.approx(np.tile(sizes, (20, 1)))
    assert np.array_equal(np.add.reduceat(other > 0, edges, axis=1, dtype=int), np.ones((20, len(sizes))))


def test_weights_are_dirichlet() -> None:
    """An excerpt's share is Beta, its copy's too, and copies are of all excerpts alike."""
    own, other = draw_weights((5,), 0, 4000)
    assert stats.kstest(own[:, 2] / 5, stats.beta(1.2, 4 * 1.2 + 1).cdf).pvalue > 0.01
    assert stats.kstest(other.sum(1) / 5, stats.beta(1, 5 * 1.2).cdf).pvalue > 0.01
    assert stats.chisquare((other > 0).sum(0)).pvalue > 0.01


def test_weights_depend_on_the_design_and_the_seed_only() -> None:
    """The same design and seed give the same weights, another seed others; nobody can write to them."""
    for first, again, other in zip(
        draw_weights(SIZES, 1, 50), draw_weights(SIZES, 1, 50), draw_weights(SIZES, 2, 50), strict=True
    ):
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        with pytest.raises(ValueError, match="read-only"):
            first[0, 0] = 3


@given(seed=SEEDS, finds=st.floats(0, 1), alarms=st.floats(0, 1))
def test_intervals_hold_the_value(seed: int, finds: float, alarms: float) -> None:
    """Whatever the data, -1 <= low <= r <= high <= 1, and a higher level holds a lower one."""
    paired = made(seed, finds, alarms)
    draws = correlation_draws(paired, SIZES, 0, 400)
    value = pearson(paired)
    assert value is not None
    ends = [percentile_interval(draws, level) for level in (0.8, 0.95, 0.99)]
    lows, highs = [e.low for e in ends], [e.high for e in ends]
    assert [*reversed(lows), value, *highs] == sorted([*reversed(lows), value, *highs])
    assert -1 <= lows[-1] <= highs[-1] <= 1


@given(seed=SEEDS, levels=st.sampled_from([1e-3, 7.0]), units=st.sampled_from([1e-6, 1e5]))
def test_units_do_not_matter(seed: int, levels: float, units: float) -> None:
    """Draws are the same in other units of activations, or of levels."""
    paired = made(seed)
    other = Paired(np.stack([levels * paired.simulated, units * paired.true]), paired.lengths)
    assert correlation_draws(other, SIZES, 0, 50) == pytest.approx(
        correlation_draws(paired, SIZES, 0, 50), abs=1e-9
    )


@pytest.mark.parametrize("times", [1, 10])
def test_a_perfect_label_is_not_a_certain_one(times: int) -> None:
    """Levels that follow activations exactly leave room below 1, and less with more excerpts."""
    _, true = words(0)
    order = np.argsort(np.repeat([0, 1, 2, 3], SIZES).tolist() * times, kind="stable")
    many = [(true * times)[i] for i in order]
    sizes = tuple(times * size for size in SIZES)
    interval = percentile_interval(correlation_draws(pair(many, many), sizes, 0, 2000))
    assert interval.high == pytest.approx(1)
    assert interval.low is not None
    assert 0.1 / times < 1 - interval.low < 0.8 / times


@pytest.mark.parametrize("side", ["simulated", "true"])
def test_a_constant_side_has_no_draws(side: str) -> None:
    """Where r is undefined so is every draw, and there is no interval."""
    paired = made(0)
    values = paired.values.copy()
    values[["simulated", "true"].index(side)] = 0
    constant = Paired(values, paired.lengths)
    draws = correlation_draws(constant, SIZES, 0, 30)
    assert len(draws) == 30
    assert np.isnan(draws).all()
    assert percentile_interval(draws) == Interval(None, None)


def test_a_simulation_in_one_excerpt() -> None:
    """A label that predicts something in one excerpt only has an interval, and a wide one."""
    _, true = words(2)
    simulated = [np.round(3 * true[0]), *[0 * y for y in true[1:]]]
    draws = correlation_draws(pair(simulated, true), SIZES, 0, 400)
    interval = percentile_interval(draws)
    assert not np.isnan(draws).any()
    assert interval.low is not None
    assert interval.high is not None
    assert interval.high - interval.low > 0.3


@pytest.mark.parametrize("n_draws", [0, 1, 7])
def test_as_many_draws_as_asked_for(n_draws: int) -> None:
    """Any number of draws can be had, none too."""
    assert correlation_draws(made(0), SIZES, 0, n_draws).shape == (n_draws,)
