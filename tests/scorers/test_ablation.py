"""Ablation scores from what was measured: the value, its p among controls, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exegete.scorers.ablation import ablation_score, p_among
from exegete.subjects.effects import Ablation

POSITIVE = st.floats(0, 10, allow_nan=False)


def found(kl: float, controls: tuple[float, ...] = (), n: int = 4) -> Ablation:
    """An ablation that moves every context alike."""
    rows = tuple((control,) * n for control in controls)
    return Ablation(0.1, np.zeros(5, np.float32), (2,) * n, (kl,) * n, rows)


@given(POSITIVE, st.lists(POSITIVE, min_size=1, max_size=60))
def test_p(own: float, controls: list[float]) -> None:
    """Its rank from above among itself and the controls, ties counting against it, as scipy ranks."""
    p = p_among(own, controls)
    assert p == pytest.approx(stats.percentileofscore([-c for c in controls] + [-own], -own, "weak") / 100)


def test_p_is_uniform_among_its_likes() -> None:
    """Where own and controls are drawn alike, p <= alpha in alpha of cases at most, whatever alpha is."""
    rng = np.random.default_rng(0)
    draws = rng.lognormal(size=(4000, 51))
    p = np.asarray([p_among(row[0], row[1:].tolist()) for row in draws], dtype=float)
    for alpha in (0.02, 0.05, 0.1, 0.5):
        expected = np.floor(alpha * 51 + 1e-9) / 51
        assert stats.binomtest(int((p <= alpha).sum()), 4000, expected).pvalue > 1e-3


def test_a_score() -> None:
    """The value is the movement, chance the controls' mean; what else was measured stands in details."""
    controls = (0.1, 0.2, 0.6)
    ratios = np.linspace(0.5, 5.0, 50).tolist()
    null = [found(2 * ratio, (2.0,)) for ratio in ratios]
    score = ablation_score(found(0.9, controls), (0.2, 1.2), null, 6, 0)
    assert (score.scorer, score.split, score.value, score.n_asked, score.n_read) == (
        *("ablation@2", "report", pytest.approx(0.9)),
        *(6, 4),
    )
    assert score.chance == pytest.approx(0.3)
    assert score.low == score.high == pytest.approx(0.9)
    assert score.details["ratio"] == pytest.approx(0.9 / 0.2)
    assert score.p_value == pytest.approx((1 + sum(each >= 4.5 for each in ratios)) / 51)
    assert score.details["p_movement"] == pytest.approx((1 + sum(2 * each >= 0.9 for each in ratios)) / 51)
    assert score.details["share_of_others_below"] == 0.5


def test_ratios_are_ranked_and_not_movements() -> None:
    """What is large and no more than its controls is not found; with nothing to rank among there is no p."""
    null = [found(ratio, (1.0,)) for ratio in (0.8, 0.95, 1.1, 1.3)]
    large = ablation_score(found(9.0, (10.0, 10.0)), (), null, 4, 0)
    small = ablation_score(found(0.02, (0.01, 0.01)), (), null, 4, 0)
    assert large.p_value == pytest.approx(4 / 5)
    assert small.p_value == pytest.approx(1 / 5)
    assert (large.details["p_movement"], small.details["p_movement"]) == (pytest.approx(1 / 5), 1.0)
    assert ablation_score(found(0.02, (0.01,)), (), (), 4, 0).p_value is None
    assert ablation_score(found(0.02), (), null, 4, 0).p_value is None


def test_its_interval_is_over_contexts() -> None:
    """Contexts are drawn with replacement, and each counts by its tokens: against a literal loop."""
    fired, moved = (1, 5, 2, 8), (0.1, 0.9, 0.3, 0.4)
    mean = sum(n * kl for n, kl in zip(fired, moved, strict=True)) / sum(fired)
    score = ablation_score(Ablation(None, None, fired, moved), (), (), 4, 3)
    assert score.value == pytest.approx(mean)
    rng = np.random.default_rng(99)
    draws = []
    for _ in range(4000):
        rows = rng.integers(4, size=4)
        draws.append(sum(fired[i] * moved[i] for i in rows) / sum(fired[i] for i in rows))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert score.low == pytest.approx(low, abs=0.03)
    assert score.high == pytest.approx(high, abs=0.03)
    assert score.chance is score.p_value is None


@pytest.mark.parametrize("one", [found(0.4, n=2), Ablation()])
def test_too_few_contexts(one: Ablation) -> None:
    """Where the feature does not fire any more there is no value, and the reason says how often it did."""
    score = ablation_score(one, (), (), 7, 0)
    assert score.value is score.p_value is score.low is None
    assert score.why_none is not None
    assert f"fires in {len(one.fired_in)} of 7" in score.why_none
