"""Detection statistics against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from exegete.scorers.classification import (
    Judgements,
    Weighted,
    auroc,
    average_precision,
    balanced_accuracy,
    balanced_accuracy_draws,
    dealt_balanced_accuracies,
    f1,
    share_draws,
    weighted,
)
from exegete.scorers.resampling import compare, percentile_interval, permutations


def judgements(seed: int, n: int = 30, skill: float = 2.0) -> Judgements:
    """Judgements by levels 0 to 10 with many ties."""
    rng = np.random.default_rng(seed)
    fires = rng.permutation(n) < rng.integers(1, n)
    strength = np.clip(np.round(rng.normal(skill * fires, 2.0)), 0, 10)
    return Judgements(fires, strength > 0, strength)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 40), skill=st.floats(-3, 6))
def test_statistics_are_scikit_learns(seed: int, n: int, skill: float) -> None:
    """All four agree with scikit-learn, ties and degenerate judgements included."""
    judged = judgements(seed, n, skill)
    true, said, strength = judged.fires, judged.said, judged.strength
    expected = {
        balanced_accuracy: metrics.balanced_accuracy_score(true, said),
        f1: metrics.f1_score(true, said, zero_division=0.0),
        auroc: metrics.roc_auc_score(true, strength),
        average_precision: metrics.average_precision_score(true, strength),
    }
    for statistic, value in expected.items():
        assert statistic(judged) == pytest.approx(value, abs=1e-12), statistic.__name__


def test_dealt_accuracies_are_a_literal_loop() -> None:
    """Each deal is scikit-learn's balanced accuracy of the permuted judgements."""
    judged = judgements(1)
    dealt = dealt_balanced_accuracies(judged, 4, 50)
    for order, value in zip(permutations(30, 4, 50), dealt, strict=True):
        assert value == pytest.approx(metrics.balanced_accuracy_score(judged.fires, judged.said[order]))


@pytest.mark.parametrize("seed", range(4))
def test_chance_is_hypergeometric(seed: int) -> None:
    """Mean chance is .5, and p the exact probability of as many hits, up to the number of deals."""
    judged = judgements(seed, skill=1.0)
    chance = compare(balanced_accuracy(judged), dealt_balanced_accuracies(judged, 0, 20_000))
    exact = stats.hypergeom.sf(judged.hits - 1, len(judged.fires), judged.positives, judged.said.sum())
    assert chance.mean == pytest.approx(0.5, abs=0.005)
    assert chance.p_value == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("seed", range(40))
def test_weighted_shares_are_scikit_learns(seed: int) -> None:
    """Over the corpus, recall, precision and balanced accuracy are scikit-learn's with sample weights."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 20))
    judged = judgements(seed, n)
    weights = rng.choice([0.0, 1.0, 7.5, 40.0], n)
    weights[rng.integers(n)] = 2.0
    found = weighted(judged, weights)
    options = {"sample_weight": weights, "zero_division": np.nan}
    expected = [
        metrics.recall_score(judged.fires, judged.said, **options),
        metrics.precision_score(judged.fires, judged.said, **options),
        metrics.recall_score(~judged.fires, ~judged.said, **options),
    ]
    recall, precision, passed = (None if np.isnan(value) else pytest.approx(value) for value in expected)
    assert (found.recall, found.precision) == (recall, precision)
    if recall is None or passed is None:
        assert found.balanced_accuracy is None
    else:
        assert found.balanced_accuracy == pytest.approx((expected[0] + expected[2]) / 2)


def test_unknown_weights_give_none() -> None:
    """Where nobody knows how one excerpt was drawn, nothing is said about the corpus of its side."""
    judged = judgements(0)
    weights = np.ones(30)
    weights[np.flatnonzero(~judged.fires)[0]] = np.nan
    found = weighted(judged, weights)
    assert found.recall == pytest.approx(metrics.recall_score(judged.fires, judged.said))
    assert found.balanced_accuracy is None
    assert weighted(judged, np.full(30, np.nan)) == Weighted(None, None, None)


def test_p_values_under_the_null() -> None:
    """Where judgements are random p is uniform but for ties, which only make it larger."""
    rng = np.random.default_rng(3)
    given_p, between = [], []
    for seed in range(1500):
        fires = rng.permutation(30) < 14
        said = rng.random(30) < 0.4
        judged = Judgements(fires, said, said.astype(float))
        null, value = dealt_balanced_accuracies(judged, seed, 199), balanced_accuracy(judged)
        p = compare(value, null).p_value
        assert p is not None
        given_p.append(p)
        tied = np.sum(np.abs(null - value) < 1e-9)
        between.append(p - rng.random() * (1 + tied) / 200)  # anywhere among its ties
    assert stats.kstest(between, "uniform").pvalue > 0.01
    for alpha in (0.01, 0.05, 0.2, 0.5):
        assert np.mean(np.array(given_p) <= alpha) < alpha + 3 * np.sqrt(alpha / 1500)
    assert stats.kstest(given_p, "uniform", alternative="less").pvalue < 1e-4


def test_draws_are_beta() -> None:
    """Where one side is known for sure, draws are half the other's, each half of which has its Beta."""
    fires = np.arange(200_010) < 10
    said = np.arange(200_010) < 7
    draws = balanced_accuracy_draws(Judgements(fires, said, said.astype(float)), 0, 4000)
    sensitivity = 2 * draws - 1
    assert stats.kstest(sensitivity[:2000], stats.beta(7.7, 3.3 + 1).cdf).pvalue > 0.01
    assert stats.kstest(sensitivity[2000:], stats.beta(7.7 + 1, 3.3).cdf).pvalue > 0.01


def test_a_perfect_label_may_be_perfect_and_need_not() -> None:
    """Ten right of ten on both sides leave room below 1, less with two hundred, and 1 is always in it."""
    lows = []
    for size in (10, 200):
        fires = np.arange(2 * size) < size
        draws = balanced_accuracy_draws(Judgements(fires, fires, fires.astype(float)), 0, 4000)
        interval = percentile_interval(draws)
        assert interval.high == 1
        lows.append(interval.low)
    assert 0.75 < lows[0] < 0.95 < lows[1] < 1


def test_one_kind_alone_is_refused() -> None:
    """There is nothing to tell apart among excerpts that all fire, or are all silent."""
    for fires in (np.ones(3, bool), np.zeros(3, bool)):
        with pytest.raises(ValueError, match="both kinds"):
            Judgements(fires, fires, fires.astype(float))


def test_draws_are_kept() -> None:
    """Equal counts share their draws, which nobody can write to; other counts and seeds have their own."""
    (one, other), again = share_draws(((3, 4), (2, 4)), 1, 50), share_draws(((3, 4), (2, 4)), 1, 50)
    assert np.array_equal(one, again[0])
    assert not np.array_equal(one, share_draws(((3, 4), (2, 4)), 2, 50)[0])
    assert not np.array_equal(other, share_draws(((3, 4), (1, 4)), 1, 50)[1])
    with pytest.raises(ValueError, match="read-only"):
        one[0] = 1.0
