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
    auroc,
    average_precision,
    balanced_accuracy,
    balanced_accuracy_draws,
    dealt_balanced_accuracies,
    f1,
)
from exegete.scorers.resampling import compare, permutations


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


def test_draws_are_beta_posteriors() -> None:
    """Where one side is known for sure, draws are half the other side's Jeffreys posterior plus a half."""
    fires = np.arange(20_010) < 10
    said = np.arange(20_010) < 7
    judged = Judgements(fires, said, said.astype(float))
    draws = balanced_accuracy_draws(judged, 0, 4000)
    assert stats.kstest(2 * draws - 1, stats.beta(7.5, 3.5).cdf).pvalue > 0.01


def test_a_perfect_label_is_not_a_certain_one() -> None:
    """Ten right of ten on both sides leave room below 1, and less with two hundred."""
    lows = []
    for size in (10, 200):
        fires = np.arange(2 * size) < size
        draws = balanced_accuracy_draws(Judgements(fires, fires, fires.astype(float)), 0, 4000)
        lows.append(np.quantile(draws, 0.025))
    assert 0.8 < lows[0] < 0.95 < lows[1] < 1


def test_one_kind_alone_is_refused() -> None:
    """There is nothing to tell apart among excerpts that all fire, or are all silent."""
    for fires in (np.ones(3, bool), np.zeros(3, bool)):
        with pytest.raises(ValueError, match="both kinds"):
            Judgements(fires, fires, fires.astype(float))
