"""Draws of shares and AUROCs where judgements share excerpts, against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from exegete.scorers.drawing import auroc_draws, dealt_aurocs, shared_accuracy_draws
from exegete.scorers.resampling import permutations


@pytest.mark.parametrize(("hits", "passes"), [(20, 30), (13, 30), (0, 5), (11, 17)])
def test_one_item_an_excerpt_is_jeffreys(hits: int, passes: int) -> None:
    """With one judgement an excerpt, draws are means of two Jeffreys posteriors."""
    fires = np.arange(50) < 20
    said = (np.arange(50) < hits) | (np.arange(50) >= 20 + passes)
    draws = shared_accuracy_draws(fires, said, np.arange(50), 0, 4000)
    rng = np.random.default_rng(9)
    expected = stats.beta(hits + 0.5, 20.5 - hits).rvs(100_000, random_state=rng)
    expected = (expected + stats.beta(passes + 0.5, 30.5 - passes).rvs(100_000, random_state=rng)) / 2
    assert stats.ks_2samp(draws, expected).pvalue > 0.01


def test_copies_add_nothing() -> None:
    """Each judgement of an excerpt four times over: as wide as once, and wider than of four excerpts."""
    rng = np.random.default_rng(3)
    fires, said = np.arange(60) < 25, rng.random(60) < 0.6

    def width(fires: np.ndarray, said: np.ndarray, rows: np.ndarray) -> float:
        return float(np.std(shared_accuracy_draws(fires, said, rows, 1, 20_000)))

    once = width(fires, said, np.arange(60))
    copied = width(np.tile(fires, 4), np.tile(said, 4), np.tile(np.arange(60), 4))
    apart = width(np.tile(fires, 4), np.tile(said, 4), np.arange(240))
    assert copied == pytest.approx(once, rel=0.08)
    assert apart == pytest.approx(once / 2, rel=0.08)


def test_intervals_hold_the_truth() -> None:
    """Two wrong-mark judgements and one right-mark one an excerpt, correlated: 95% hold the truth, +- 3."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(600):
        # An excerpt is read well or badly, and what is asked of it mostly follows.
        well = rng.random(40) < 0.8
        rows = np.concatenate([np.arange(40)] * 3)
        fires = np.arange(120) < 40
        correct = rng.random(120) < np.where(well[rows], 0.95, 0.45)
        draws = shared_accuracy_draws(fires, correct == fires, rows, 0, 400)
        low, high = np.quantile(draws, [0.025, 0.975])
        held.append(low <= 0.8 * 0.95 + 0.2 * 0.45 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_auroc_draws_hold_the_truth() -> None:
    """95% intervals hold the true AUROC of two normals in 95% of features, +- 3."""
    rng = np.random.default_rng(1)
    fires = np.arange(70) < 40
    for shift in (0.5, 1.8):
        truth = float(stats.norm.cdf(shift / np.sqrt(2)))
        held = []
        for _ in range(400):
            draws = auroc_draws(fires, rng.normal(shift * fires), 0, 400)
            low, high = np.quantile(draws, [0.025, 0.975])
            held.append(low <= truth <= high)
        assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_auroc_draws_of_a_perfect_order() -> None:
    """A perfect order has draws below 1; with ties everywhere they centre on .5."""
    fires = np.arange(40) < 20
    perfect = auroc_draws(fires, fires.astype(float), 0, 2000)
    assert 0.8 < np.quantile(perfect, 0.025) < np.quantile(perfect, 0.975) < 1
    assert np.mean(auroc_draws(fires, np.zeros(40), 0, 4000)) == pytest.approx(0.5, abs=0.01)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=2, max_size=20))
def test_dealt_aurocs_are_scikit_learns(items: list[tuple[bool, float]]) -> None:
    """Every deal's AUROC is scikit-learn's of the dealt strengths."""
    fires, strength = np.array([f for f, _ in items]), np.array([s for _, s in items])
    if fires.all() or not fires.any():
        return
    orders = permutations(len(items), 3, 5)
    found = dealt_aurocs(fires, strength, orders)
    for order, value in zip(orders, found, strict=True):
        assert value == pytest.approx(metrics.roc_auc_score(fires, strength[order]))
